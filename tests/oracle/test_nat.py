"""nat does with every packet what the Linux kernel does: captures, and traffic made to be difficult, both ways.

The hosts that begin are inside. What one translator sends out, the other side answers, with the port that it has seen.
docs/nat.md explains every kind of difference that is left.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from fajita import Chain
from fajita.nfs.nat import Nat
from tests.oracle.packets import Renamer, with_identification
from tests.oracle.router import INSIDE, OUTSIDE, Router, why_not_here
from tests.oracle.sides import Sides
from tests.oracle.traffic import traffic
from tests.oracle.translation import EXTERNAL, RULES, compare, counted
from tests.oracle.verdicts import ipv4_packets

CAPTURES = Path(__file__).parents[2].parent / "shared" / "pcaps"
REASON = why_not_here()
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"the Linux kernel as an oracle {REASON}")
has_captures = pytest.mark.skipif(not CAPTURES.is_dir(), reason="the real captures (../shared/pcaps) are not here")

MOST_PACKETS = 20_000
AGREEMENT = 0.995
SEEDS = 8
#: A translator looks at no windows. Transport checksums of fragments are not those of the renamed addresses.
SETTINGS = {"net.netfilter.nf_conntrack_checksum": 0, "net.netfilter.nf_conntrack_tcp_be_liberal": 1}
#: Both choose a port where the host's own is taken or not to be had, each in its way.
AGREED = {"", "another port"}


@cache
def translating() -> Chain:
    """A chain that translates as the kernel does: a port for each session, the host's own if it is free.

    Of what cannot be it drops what the kernel finds invalid, and frames and fragments that have no session.
    """
    nat = Nat(
        inside=["10.0.0.0/8"],
        external=[EXTERNAL],
        mapping="address_and_port_dependent",
        filtering="address_and_port_dependent",
        allocation="preserve",
        parity=False,
        other_protocols="translate",
        strict=True,
    )
    return Chain([nat], other="drop", fragments="drop")


@pytest.fixture(scope="module")
def router() -> Iterator[Router]:
    with Router(RULES, SETTINGS) as running:
        running.route("10.0.0.0/8", INSIDE)
        running.route(f"{EXTERNAL}/32", OUTSIDE)
        yield running


def on_capture(router: Router, path: Path) -> Counter[str]:
    """How many packets of a capture differ in what way."""
    packets = Renamer().forwardable(ipv4_packets(path, MOST_PACKETS))
    return counted(compare(router, translating(), list(Sides().sent(packets))))


def agree(counts: Counter[str]) -> bool:
    """Whether so many packets are the same."""
    return sum(counts[how] for how in AGREED) >= AGREEMENT * counts.total()


@has_captures
@pytest.mark.parametrize("name", sorted(path.name for path in CAPTURES.glob("*.pcap*")) if CAPTURES.is_dir() else [])
def test_a_capture_is_translated_as_the_kernel_does(name: str, router: Router) -> None:
    counts = on_capture(router, CAPTURES / name)
    assert agree(counts), counts


@has_captures
def test_small_captures_are_translated_as_the_kernel_does(router: Router) -> None:
    counts = Counter[str]()
    for path in sorted((CAPTURES / "small").glob("*.pcap*")):
        counts += on_capture(router, path)
    assert agree(counts), counts


def test_difficult_traffic_is_translated_as_the_kernel_does(router: Router) -> None:
    counts = Counter[str]()
    for seed in range(SEEDS):
        packets = [with_identification(packet, 1 + number) for number, packet in enumerate(traffic(seed, 5_000))]
        counts += counted(compare(router, translating(), list(Sides().sent(packets))))
    assert agree(counts), counts
