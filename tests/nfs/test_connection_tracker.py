"""The connection tracker on literal packets: what is new, established, related and invalid, and for how long.

tests/oracle compares it with the Linux kernel.
"""

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.packet import Raw

from fajita import FrameBlock, InputError
from fajita.engine.interface import Engine
from fajita.nfs.connection_tracker import ConnectionTracker
from fajita.verify import verify_blocks
from tests.nfs.running import both_engines
from tests.nfs.scapy_frames import CLIENT, SERVICE, ethernet
from tests.nfs.tracked_packets import SCALE_7, C, S, closing, handshake, judged, packet, tcp, tracked, tracking


def udp(*, back: bool = False, **fields: Any) -> bytes:
    """A datagram from the client, or back from the server."""
    ports = {"sport": 53, "dport": 4000} if back else {"sport": 4000, "dport": 53}
    return packet(UDP(**ports, **fields) / Raw(b"x" * 20), back=back)


def echo(number: int = 1, *, back: bool = False, reply: bool = False) -> bytes:
    """An echo request or reply with an identifier."""
    return packet(ICMP(type=0 if reply else 8, id=number, seq=1) / Raw(b"x" * 8), back=back)


def about(frame: bytes, *, back: bool, kind: int = 3, code: int = 1, quoted: int = 28, **fields: Any) -> bytes:
    """An ICMP error that quotes a packet, to the client or the server."""
    source, destination = ("192.0.2.99", CLIENT) if back else ("198.51.100.99", SERVICE)
    addresses = {"src": source, "dst": destination} | fields
    return bytes(ethernet() / IP(id=78, **addresses) / ICMP(type=kind, code=code) / Raw(frame[14 : 14 + quoted]))


@both_engines
def test_a_connection_is_new_until_it_is_answered(engine: type[Engine]) -> None:
    frames = [*handshake(), tcp("PA", C + 1, S + 1, 100), tcp("A", S + 1, C + 101, back=True)]
    assert judged(engine, frames) == ["new", "established", "established", "established", "established"]


@both_engines
def test_udp_is_new_until_it_is_answered(engine: type[Engine]) -> None:
    assert judged(engine, [udp(), udp(), udp(back=True), udp()]) == ["new", "new", "established", "established"]


@both_engines
@pytest.mark.parametrize("length", [0, 7, 29])
def test_udp_with_a_length_that_is_not_its_own_is_invalid(engine: type[Engine], length: int) -> None:
    assert judged(engine, [udp(len=length, chksum=0)]) == ["invalid"]


@both_engines
def test_echo_replies_are_known_by_their_identifier(engine: type[Engine]) -> None:
    frames = [
        echo(1),
        echo(2),
        echo(1, back=True, reply=True),
        echo(3, back=True, reply=True),
        echo(1),
        echo(2),
        echo(1, reply=True),
    ]
    expected = ["new", "new", "established", "invalid", "established", "new", "invalid"]
    assert judged(engine, frames) == expected


@both_engines
def test_only_so_many_queries_of_two_hosts_are_known(engine: type[Engine]) -> None:
    frames = [*(echo(number) for number in range(5)), *(echo(n, back=True, reply=True) for n in (0, 1, 4))]
    assert judged(engine, frames)[5:] == ["invalid", "established", "established"]


@both_engines
@pytest.mark.parametrize("kind", [1, 9, 10, 19, 30, 255])
def test_icmp_that_asks_nothing_is_invalid(engine: type[Engine], kind: int) -> None:
    assert judged(engine, [packet(ICMP(type=kind) / Raw(b"x" * 8))]) == ["invalid"]


@both_engines
@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_errors_are_related_to_what_they_quote(engine: type[Engine], kind: int) -> None:
    first = [tcp("S", C), udp(), echo(5)]
    errors = [about(frame, back=True, kind=kind) for frame in first]
    assert judged(engine, [*first, *errors]) == ["new"] * 3 + ["related"] * 3


@both_engines
def test_errors_are_related_whichever_end_they_are_for(engine: type[Engine]) -> None:
    frames = [udp(), udp(back=True), about(udp(back=True), back=False), about(udp(), back=True)]
    assert judged(engine, frames)[2:] == ["related", "related"]


@both_engines
def test_errors_about_nothing_that_is_known_are_invalid(engine: type[Engine]) -> None:
    frames = [
        udp(),
        about(tcp("S", C), back=True),
        about(udp(), back=True, dst="192.0.2.8"),
        about(udp(), back=True, quoted=20),
        about(udp(), back=True, quoted=10),
        about(echo(5), back=True),
    ]
    assert judged(engine, frames)[1:] == ["invalid"] * 5


@both_engines
def test_errors_keep_no_connection_alive(engine: type[Engine]) -> None:
    frames = [udp(), about(udp(), back=True), about(udp(), back=True)]
    assert judged(engine, frames, [0, 29, 31]) == ["new", "related", "invalid"]


@both_engines
def test_other_protocols_are_known_by_their_addresses(engine: type[Engine]) -> None:
    ospf, back = packet(Raw(b"x" * 24), proto=89), packet(Raw(b"x" * 24), proto=89, back=True)
    assert judged(engine, [ospf, back, ospf]) == ["new", "established", "established"]


@both_engines
@pytest.mark.parametrize(
    ("first", "after_s", "next_frame", "verdict"),
    [
        ([udp()], 29, udp(back=True), "established"),
        ([udp()], 31, udp(back=True), "new"),
        ([udp(), udp(back=True)], 31, udp(), "new"),
        ([udp(), udp(back=True), *[udp()] * 3], 119, udp(), "established"),
        ([udp(), udp(back=True), *[udp()] * 3], 121, udp(), "new"),
        ([tcp("S", C)], 119, tcp("SA", S, C + 1, back=True), "established"),
        ([tcp("S", C)], 121, tcp("SA", S, C + 1, back=True), "invalid"),
        (handshake(), 400_000, tcp("A", C + 1, S + 1), "established"),
        (handshake(), 433_000, tcp("A", C + 1, S + 1), "new"),
        ([*handshake(), *closing()], 119, tcp("A", C + 2, S + 2), "established"),
        ([*handshake(), *closing()], 121, tcp("A", C + 2, S + 2), "new"),
        ([*handshake(), tcp("R", C + 1)], 11, tcp("A", C + 1, S + 1), "new"),
        ([tcp("A", C, S)], 301, tcp("A", S, C, back=True), "new"),
        ([*handshake(), tcp("PA", C + 1, S + 1, 9)], 301, tcp("A", S + 1, C + 10, back=True), "new"),
        ([echo()], 31, echo(back=True, reply=True), "invalid"),
    ],
)
def test_connections_end_when_linux_ends_them(
    engine: type[Engine], first: list[bytes], after_s: int, next_frame: bytes, verdict: str
) -> None:
    times_s = [*range(len(first)), len(first) - 1 + after_s]
    assert judged(engine, [*first, next_frame], times_s)[-1] == verdict


@both_engines
def test_a_syn_sent_again_and_again_keeps_nothing_alive(engine: type[Engine]) -> None:
    assert judged(engine, [tcp("S", C)] * 3 + [tcp("SA", S, C + 1, back=True)], [0, 60, 119, 121])[-1] == "invalid"


@both_engines
def test_what_is_invalid_keeps_nothing_alive(engine: type[Engine]) -> None:
    frames = [*handshake(), *closing(), *[tcp("", C)] * 3, tcp("A", C + 2, S + 2)]
    assert judged(engine, frames, [*range(7), 60, 100, 120, 130])[-1] == "new"


@both_engines
def test_time_outs_can_be_chosen(engine: type[Engine]) -> None:
    assert judged(engine, [udp(), udp(back=True)], [0, 2], udp="1s") == ["new", "new"]
    assert judged(engine, [udp(), udp(back=True)], [0, 45], udp="1min") == ["new", "established"]


@both_engines
@pytest.mark.parametrize(
    "frame",
    [
        packet(TCP(sport=4000, dport=80, flags="S", chksum=1)),
        udp(chksum=1),
        packet(ICMP(type=8, id=1, chksum=1)),
    ],
    ids=["tcp", "udp", "icmp"],
)
def test_a_wrong_checksum_is_invalid_unless_none_is_looked_at(engine: type[Engine], frame: bytes) -> None:
    assert judged(engine, [frame]) == ["invalid"]
    assert judged(engine, [frame], checksums=False) == ["new"]


@both_engines
def test_later_fragments_are_of_the_connection_of_their_first(engine: type[Engine]) -> None:
    datagram = IP(src=CLIENT, dst=SERVICE, id=9) / UDP(sport=4000, dport=53) / Raw(b"x" * 100)
    first, *later = [bytes(ethernet() / part) for part in fragment(datagram, 48)]
    assert judged(engine, [first, *later]) == ["new"] * 3
    assert judged(engine, [udp(), udp(back=True), first, *later])[2:] == ["established"] * 3


@both_engines
def test_ipv6_is_tracked_too(engine: type[Engine]) -> None:
    out, back = IPv6(src="2001:db8::1", dst="2001:db8::2"), IPv6(src="2001:db8::2", dst="2001:db8::1")
    packets = [
        out / TCP(sport=4000, dport=80, flags="S", seq=C),
        back / TCP(sport=80, dport=4000, flags="SA", seq=S, ack=C + 1),
        out / ICMPv6EchoRequest(id=7),
        back / ICMPv6EchoReply(id=7),
        back / ICMPv6EchoReply(id=8),
        out / ICMPv6ND_NS(tgt="2001:db8::2"),
        back / ICMPv6TimeExceeded() / out / TCP(sport=4000, dport=80, flags="S", seq=C),
        back / ICMPv6TimeExceeded() / out / UDP(sport=4000, dport=80),
    ]
    expected = ["new", "established", "new", "established", "invalid", "untracked", "related", "invalid"]
    assert judged(engine, [bytes(ethernet() / each) for each in packets]) == expected


@both_engines
def test_invalid_packets_are_dropped_if_the_chain_says_so(engine: type[Engine]) -> None:
    frames = [tcp("SA", S, C, back=True), *handshake()]
    result = tracked(engine, frames, drop_invalid=True)
    assert result.verdicts == [0, 1, 1, 1]
    assert result.counters.nfs[0].drops == {"invalid": 1}
    assert tracked(engine, frames).verdicts == [1] * 4


@both_engines
def test_the_summary_counts_connections_and_verdicts(engine: type[Engine]) -> None:
    result = tracked(engine, [*handshake(), udp(), echo(), about(udp(), back=True), tcp("", C)])
    assert result.summary() == {
        "connections": 3,
        "tcp": {"established": 1},
        "packets": {"untracked": 0, "invalid": 1, "new": 3, "established": 2, "related": 1},
    }


@pytest.mark.parametrize(
    ("params", "what"),
    [
        ({"udp": "0s"}, "udp is a time-out of 0"),
        ({"udp": "30"}, "udp"),
        ({"fin_wait": 30}, "fin_wait"),
        ({"loose": "yes"}, "loose"),
        ({"lose": True}, "has no parameter lose"),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        ConnectionTracker(**params)


def test_both_engines_agree_on_damaged_segments() -> None:
    """Every byte of headers and options of every segment of a connection set to 0 and 255, in turn."""
    segments = [*handshake(SCALE_7, SCALE_7), tcp("PA", C + 1, S + 1, 20), *closing(), about(tcp("S", C), back=True)]
    frames = []
    for at in range(14, 66):
        for number, segment in enumerate(segments):
            altered = bytearray(segment)
            if at < len(altered):
                altered[at] = (0, 255)[number & 1]
            frames += [segment, bytes(altered), segment[: at + 1]]
    block = FrameBlock.from_frames(frames, [1_000_000 * number for number in range(len(frames))])
    for checksums in (True, False):
        result = verify_blocks(tracking(checksums=checksums).plan, [block])
        assert result.difference is None, str(result.difference)
