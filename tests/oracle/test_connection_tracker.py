"""The connection tracker says of every packet what the Linux kernel says: captures, and traffic made to be difficult.

docs/connection-tracking.md explains every kind of difference that is left. Needs root, nftables and conntrack; the
captures are those of a folder beside the project.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.packets import Renamer, with_identification
from tests.oracle.router import Router, why_not_here
from tests.oracle.traffic import traffic
from tests.oracle.verdicts import RULES, by_fajita, by_kernel, differences, ipv4_packets, tracking

CAPTURES = Path(__file__).parents[2].parent / "shared" / "pcaps"
REASON = why_not_here()
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"the Linux kernel as an oracle {REASON}")
has_captures = pytest.mark.skipif(not CAPTURES.is_dir(), reason="the real captures (../shared/pcaps) are not here")

#: At most so many packets of one capture: as many as the kernel tells apart by their identification, and time.
MOST_PACKETS = 60_000
AGREEMENT = 0.995
#: Is not followed, but told by addresses and ports as any protocol.
SCTP = 132
#: Settings of the kernel: whether it looks at transport checksums; those of captures are often made by network cards.
WITHOUT_CHECKSUMS = {"net.netfilter.nf_conntrack_checksum": 0}


@pytest.fixture(scope="module")
def router() -> Iterator[Router]:
    with Router(RULES, WITHOUT_CHECKSUMS) as running:
        yield running


def large_captures() -> list[str]:
    """The captures that have a test of their own: all but the small ones, and the largest thirty of those."""
    if not CAPTURES.is_dir():
        return []
    small = sorted((CAPTURES / "small").glob("*.pcap*"), key=lambda path: (-path.stat().st_size, path.name))
    return [str(path.relative_to(CAPTURES)) for path in [*sorted(CAPTURES.glob("*.pcap*")), *small[:30]]]


def compare(router: Router, path: Path) -> tuple[int, Counter[tuple[str, str]]]:
    """Packets that the kernel judged, and those that it and fajita judge differently, by what the two say."""
    packets = [packet for packet in ipv4_packets(path, MOST_PACKETS) if packet[9] != SCTP]
    if not packets:
        return 0, Counter()
    packets = Renamer().forwardable(packets)
    kernel = by_kernel(router, packets)
    fajita = by_fajita(packets, tracking(checksums=False))
    return len(packets) - kernel.count(None), differences(kernel, fajita)


@has_captures
@pytest.mark.parametrize("name", large_captures())
def test_verdicts_on_a_capture_are_those_of_the_kernel(name: str, router: Router) -> None:
    judged, different = compare(router, CAPTURES / name)
    assert different.total() <= (1 - AGREEMENT) * judged, different


@has_captures
def test_verdicts_on_small_captures_are_those_of_the_kernel(router: Router) -> None:
    judged, different = Counter[str](), Counter[tuple[str, str, str]]()
    for path in sorted((CAPTURES / "small").glob("*.pcap*")):
        packets, here = compare(router, path)
        judged[path.name] += packets
        different.update({(path.name, *kind): count for kind, count in here.items()})
    assert len(+judged) >= 20
    assert different.total() <= (1 - AGREEMENT) * judged.total(), different


@pytest.mark.parametrize("seed", range(3))
def test_verdicts_on_difficult_traffic_are_those_of_the_kernel(seed: int, router: Router) -> None:
    packets = [with_identification(packet, 1 + number) for number, packet in enumerate(traffic(seed, 10_000))]
    kernel = by_kernel(router, packets)
    assert None not in kernel
    assert min(Counter(kernel)[verdict] for verdict in (1, 2, 3, 4)) > 200
    different = differences(kernel, by_fajita(packets, tracking(checksums=False)))
    assert different.total() <= (1 - AGREEMENT) * len(packets), different


@pytest.mark.parametrize(
    ("setting", "parameters"),
    [
        ("tcp_loose", {"loose": False}),
        ("tcp_be_liberal", {"liberal": True}),
        ("checksum", {"checksums": True}),
    ],
)
def test_settings_are_those_of_the_kernel(setting: str, parameters: dict[str, bool]) -> None:
    value = int(next(iter(parameters.values())))
    with Router(RULES, WITHOUT_CHECKSUMS | {f"net.netfilter.nf_conntrack_{setting}": value}) as router:
        packets = [with_identification(packet, 1 + number) for number, packet in enumerate(traffic(9, 5_000))]
        kernel = by_kernel(router, packets)
        fajita = by_fajita(packets, tracking(**{"checksums": False} | parameters))
    different = differences(kernel, fajita)
    assert different.total() <= (1 - AGREEMENT) * len(packets), different
