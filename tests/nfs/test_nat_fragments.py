"""Fragments through a NAT, and headers that were not captured whole."""

from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from tests.nfs.nat_steps import ALICE, EXTERNAL, SERVER, Steps, frames_of, nat, tcp
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import ethernet


def fragments_of(packet: Packet) -> list[Packet]:
    """Each as scapy builds it, of one datagram."""
    return [IP(bytes(part)) for part in fragment(packet, 800)]


@both_engines
def test_later_fragments_go_with_their_first(engine: Any) -> None:
    steps = Steps()
    long = b"x" * 2000
    for out, back in (
        ((ALICE, 5000, SERVER, 53), (EXTERNAL, 5000, SERVER, 53)),
        ((SERVER, 53, EXTERNAL, 5000), (SERVER, 53, ALICE, 5000)),
    ):
        whole, translated = (IP(src=a, dst=b, id=77) / UDP(sport=ap, dport=bp) / long for a, ap, b, bp in (out, back))
        for part, expected in zip(fragments_of(whole), fragments_of(translated), strict=True):
            steps.then(part, expected)
    steps.check(engine, nat())


@both_engines
def test_no_fragment_leaves_before_its_first(engine: Any) -> None:
    first, *later = fragments_of(IP(src=ALICE, dst=SERVER, id=77) / UDP(sport=5000, dport=53) / (b"x" * 2000))
    result = run(engine, nat(), frames_of([*later, first, *later]), fragments="drop")
    assert result.verdicts == [0] * len(later) + [1] * (1 + len(later))
    assert all(Ether(frame)[IP].src == EXTERNAL for frame in result.frames[len(later) :])


@both_engines
def test_later_fragments_of_icmp_are_not_let_through(engine: Any) -> None:
    first, *later = fragments_of(IP(src=ALICE, dst=SERVER, id=77) / ICMP(id=7) / (b"x" * 2000))
    result = run(engine, nat(), frames_of([first, *later]))
    assert result.verdicts == [1] + [0] * len(later)
    assert result.counters.nfs[0].drops["icmp fragment"] == len(later)


@both_engines
def test_no_fragment_leaves_whose_first_did_not(engine: Any) -> None:
    tiny = IP(src=ALICE, dst=SERVER, id=77) / TCP(sport=5000, dport=80) / (b"x" * 100)
    result = run(engine, nat(), frames_of([IP(bytes(part)) for part in fragment(tiny, 16)]))
    assert not any(result.verdicts)
    assert result.counters.nfs[0].drops["header not captured"] == 1
    assert result.counters.nfs[0].drops["fragment"] == len(result.verdicts) - 1


@both_engines
def test_headers_that_are_cut_off_are_not_let_through(engine: Any) -> None:
    whole = bytes(ethernet() / tcp(ALICE, 5000, SERVER, 80))
    result = run(engine, nat(), [whole[:40], whole[:50]], wire=[len(whole)] * 2)
    assert result.verdicts == [0, 0]
    assert result.counters.nfs[0].drops["header not captured"] == 2
