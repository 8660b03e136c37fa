"""The connection tracker on literal packets: what is new, established, related and invalid, and for how long.

tests/oracle compares it with the Linux kernel.
"""

from collections.abc import Sequence
from functools import cache
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
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from fajita import NF, PASS, Array, Chain, FrameBlock, InputError, Packet, everything, u8, u64
from fajita.engine.interface import Engine
from fajita.nfs.connection_tracker import VERDICTS, ConnectionTracker
from fajita.verify import verify_blocks
from tests.nfs.running import Result, both_engines, run
from tests.nfs.scapy_frames import CLIENT, SERVICE, ethernet

SECOND = 10**9
MOST = 64
#: Sequence numbers the two ends begin with; the client's wrap round.
C, S = 2**32 - 2, 5_000
SCALE_7 = [("WScale", 7), ("SAckOK", b"")]


class Notes(NF):
    """Keeps what is said of the connection of each packet."""

    key = everything

    class State:
        packets: u64
        verdicts: Array[u8, MOST]

    def packet(self, pkt: Packet, state: Any) -> int:
        state.verdicts[state.packets] = pkt.connection_state
        state.packets += 1
        return PASS


def judged(
    engine: type[Engine], frames: Sequence[bytes], times_s: Sequence[float] | None = None, **params: Any
) -> list[str]:
    """The verdict on each packet; a second apart if no times are given."""
    result = tracked(engine, frames, times_s, **params)
    verdicts = result.rows(1)[0][-1]
    return [VERDICTS[verdict] for verdict in verdicts[: len(frames)]]


def tracked(
    engine: type[Engine], frames: Sequence[bytes], times_s: Sequence[float] | None = None, **params: Any
) -> Result:
    """A run of the tracker."""
    times_s = range(len(frames)) if times_s is None else times_s
    times_ns = [int(time * SECOND) + 10**18 for time in times_s]
    return run(engine, tracking(**params), frames, times_ns)


@cache
def tracking(**params: Any) -> Chain:
    """The tracker and NFs that note what it says; most tests have the same, which is planned once."""
    return Chain([ConnectionTracker(**params), Notes()])


def tcp(
    flags: str, seq: int, ack: int = 0, data: int = 0, *, back: bool = False, window: int = 8192, options: Any = ()
) -> bytes:
    """A segment from the client, or back from the server."""
    ports = {"sport": 80, "dport": 4000} if back else {"sport": 4000, "dport": 80}
    numbers = {"seq": seq % 2**32, "ack": ack % 2**32}
    segment = TCP(flags=flags, window=window, options=list(options), **ports, **numbers)
    return packet(segment / Raw(b"x" * data) if data else segment, back=back)


def packet(transport: ScapyPacket, *, back: bool = False, **fields: Any) -> bytes:
    """A frame from the client, or back from the server."""
    source, destination = (SERVICE, CLIENT) if back else (CLIENT, SERVICE)
    return bytes(ethernet() / IP(src=source, dst=destination, id=77, **fields) / transport)


def handshake(client: Any = (), server: Any = (), window: int = 8192) -> list[bytes]:
    """SYN, SYN with ACK, ACK."""
    return [
        tcp("S", C, options=client, window=window),
        tcp("SA", S, C + 1, back=True, options=server, window=window),
        tcp("A", C + 1, S + 1, window=window),
    ]


def closing() -> list[bytes]:
    """After a handshake: FIN, its ACK, FIN, its ACK."""
    return [
        tcp("FA", C + 1, S + 1),
        tcp("A", S + 1, C + 2, back=True),
        tcp("FA", S + 1, C + 2, back=True),
        tcp("A", C + 2, S + 2),
    ]


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
def test_a_syn_sent_again_is_still_new(engine: type[Engine]) -> None:
    assert judged(engine, [tcp("S", C), tcp("S", C), tcp("SA", S, C + 1, back=True)]) == ["new", "new", "established"]


@both_engines
def test_both_ends_may_open_at_once(engine: type[Engine]) -> None:
    frames = [
        tcp("S", C),
        tcp("S", S, back=True),
        tcp("SA", C, S + 1),
        tcp("SA", S, C + 1, back=True),
        tcp("A", C + 1, S + 1),
    ]
    assert judged(engine, frames) == ["new", "established", "established", "established", "established"]


@both_engines
@pytest.mark.parametrize(
    ("steps", "state"),
    [(1, "fin_wait"), (2, "close_wait"), (3, "last_ack"), (4, "time_wait")],
)
def test_fins_close_a_connection_step_by_step(engine: type[Engine], steps: int, state: str) -> None:
    result = tracked(engine, [*handshake(), *closing()[:steps]])
    assert result.summary()["tcp"] == {state: 1}


@both_engines
def test_a_reset_closes_a_connection(engine: type[Engine]) -> None:
    result = tracked(engine, [*handshake(), tcp("R", C + 1)])
    assert result.summary()["tcp"] == {"closed": 1}


@both_engines
def test_a_reset_that_is_the_only_answer_leaves_nothing(engine: type[Engine]) -> None:
    refused = [tcp("S", C), tcp("RA", 0, C + 1, back=True)]
    assert judged(engine, [*refused, tcp("S", C + 1000)]) == ["new", "established", "new"]
    assert tracked(engine, refused).summary()["connections"] == 0


@both_engines
def test_a_reset_out_of_order_is_invalid_and_closes_nothing(engine: type[Engine]) -> None:
    frames = [*handshake(), tcp("R", C - 100_000), tcp("A", C + 1, S + 1)]
    assert judged(engine, frames)[3:] == ["invalid", "established"]


@both_engines
def test_a_reset_that_is_not_the_next_byte_is_left_to_the_end(engine: type[Engine]) -> None:
    """RFC 5961, 3.2: it asks the one that seems to have sent it."""
    frames = [*handshake(), tcp("A", S + 1, C + 1, back=True), tcp("R", C + 500)]
    result = tracked(engine, frames)
    assert result.summary()["tcp"] == {"established": 1}


@both_engines
@pytest.mark.parametrize(
    ("segment", "verdict"),
    [
        (tcp("PA", C + 1, S + 1, 8000), "established"),
        (tcp("PA", C + 1 + 8192, S + 1, 100), "established"),
        (tcp("PA", C + 1 + 8192 + 1, S + 1, 100), "established"),
        (tcp("PA", C + 1 + 30_000, S + 1, 100), "invalid"),
        (tcp("A", C + 1, S + 2), "invalid"),
        (tcp("A", C + 1, S + 1 - 60_000), "established"),
        (tcp("PA", C - 50_000, S + 1, 100), "established"),
    ],
    ids=["in", "at the edge", "a little beyond", "beyond", "of unseen data", "an old ACK", "an old segment"],
)
def test_segments_are_judged_by_the_windows(engine: type[Engine], segment: bytes, verdict: str) -> None:
    assert judged(engine, [*handshake(), segment])[-1] == verdict


@both_engines
def test_a_liberal_tracker_takes_what_is_out_of_window(engine: type[Engine]) -> None:
    frames = [*handshake(), tcp("PA", C + 30_000, S + 1, 100), tcp("A", C + 1, S + 90)]
    assert judged(engine, frames, liberal=True)[3:] == ["established", "established"]


@both_engines
def test_what_is_out_of_window_changes_nothing(engine: type[Engine]) -> None:
    invalid = [tcp("FA", C + 30_000, S + 1), tcp("RA", C + 30_000, S + 90)]
    frames = [*handshake(), *invalid, tcp("PA", C + 1, S + 1, 10)]
    assert judged(engine, frames)[3:] == ["invalid", "invalid", "established"]
    assert tracked(engine, frames).summary()["tcp"] == {"established": 1}


@both_engines
def test_a_retransmission_is_established(engine: type[Engine]) -> None:
    data = tcp("PA", C + 1, S + 1, 100)
    frames = [*handshake(), data, data, tcp("A", S + 1, C + 101, back=True), data]
    assert judged(engine, frames)[3:] == ["established"] * 4


@both_engines
@pytest.mark.parametrize(
    ("server", "verdict"), [(SCALE_7, "established"), ((), "invalid")], ids=["both scale", "one scales"]
)
def test_windows_are_scaled_if_both_ends_say_so(engine: type[Engine], server: Any, verdict: str) -> None:
    """With a scale of 7 the windows of 1,000 are 128,000 bytes."""
    grown = tcp("A", S + 1, C + 1, back=True, window=1000)
    frames = [*handshake(SCALE_7, server, 1000), grown, tcp("PA", C + 1 + 100_000, S + 1, 100)]
    assert judged(engine, frames)[-1] == verdict


@both_engines
def test_selective_acknowledgments_are_of_what_was_sent(engine: type[Engine]) -> None:
    sent = tcp("PA", C + 101, S + 1, 100)
    first, end = (C + 101) % 2**32, (C + 201) % 2**32
    seen = tcp("A", S + 1, C + 1, back=True, options=[("SAck", (first, end))])
    unseen = tcp("A", S + 1, C + 1, back=True, options=[("SAck", (first, end + 1))])
    frames = [*handshake([("SAckOK", b"")], [("SAckOK", b"")]), sent, seen, unseen]
    assert judged(engine, frames)[3:] == ["established", "established", "invalid"]


@both_engines
@pytest.mark.parametrize("flags", ["", "F", "SF", "SR", "FPU", "RF", "SRFA"])
def test_flags_that_make_no_sense_are_invalid(engine: type[Engine], flags: str) -> None:
    assert judged(engine, [tcp(flags, C), *handshake(), tcp(flags, C + 1, S + 1)])[::4] == ["invalid", "invalid"]


@both_engines
@pytest.mark.parametrize("words", [0, 4, 15])
def test_a_header_that_is_shorter_or_longer_than_it_can_be_is_invalid(engine: type[Engine], words: int) -> None:
    segment = TCP(sport=4000, dport=80, flags="S", seq=C, dataofs=words)
    assert judged(engine, [packet(segment)]) == ["invalid"]


@both_engines
def test_a_cut_header_is_invalid(engine: type[Engine]) -> None:
    assert judged(engine, [packet(Raw(bytes(tcp("S", C)[34:50])), proto=6)]) == ["invalid"]


@both_engines
def test_a_connection_that_began_before_is_picked_up(engine: type[Engine]) -> None:
    frames = [
        tcp("PA", C, S, 100),
        tcp("A", S, C + 100, back=True),
        tcp("PA", C + 500_000, S, 100),
    ]
    assert judged(engine, frames) == ["new", "established", "established"]
    assert judged(engine, [*frames, *handshake()], loose=False) == [*["invalid"] * 3, "new", *["established"] * 2]


@both_engines
@pytest.mark.parametrize("flags", ["SA", "FA", "R", "RA"])
def test_nothing_is_picked_up_by_what_ends_or_answers(engine: type[Engine], flags: str) -> None:
    result = tracked(engine, [tcp(flags, C, S)])
    assert result.summary()["connections"] == 0
    assert result.summary()["packets"]["invalid"] == 1


@both_engines
@pytest.mark.parametrize("back", [False, True])
def test_a_syn_opens_a_closed_connection_again(engine: type[Engine], back: bool) -> None:
    syn = tcp("S", S + 70_000 if back else C + 70_000, back=back)
    answer = tcp("SA", 9, (S if back else C) + 70_001, back=not back)
    assert judged(engine, [*handshake(), *closing(), syn, answer])[-2:] == ["new", "established"]


@both_engines
def test_a_syn_in_a_connection_opens_it_again_if_it_is_answered(engine: type[Engine]) -> None:
    """The client has begun anew with the same port, which the tracker did not know."""
    again = [tcp("S", C + 900_000), tcp("SA", S + 900_000, C + 900_001, back=True)]
    frames = [*handshake(), *again, tcp("A", C + 900_001, S + 900_001), tcp("PA", C + 900_001, S + 900_001, 100)]
    assert judged(engine, frames)[3:] == ["established"] * 4
    assert judged(engine, [*frames, tcp("PA", C + 1, S + 1, 10)])[-1] != "invalid"


@both_engines
def test_a_challenge_does_not_close_a_connection(engine: type[Engine]) -> None:
    """RFC 5961, 4: an end answers a SYN in a connection with an ACK."""
    frames = [*handshake(), *closing()[:3], tcp("S", C + 2), tcp("A", S + 2, C + 2, back=True)]
    assert tracked(engine, frames).summary()["tcp"] == {"last_ack": 1}


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
