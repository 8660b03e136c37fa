"""The connection tracker on segments of TCP: states, windows, resets, and connections that began before."""

from typing import Any

import pytest
from scapy.layers.inet import TCP
from scapy.packet import Raw

from fajita.engine.interface import Engine
from tests.nfs.running import both_engines
from tests.nfs.tracked_packets import (
    SCALE_7,
    C,
    S,
    closing,
    handshake,
    judged,
    packet,
    tcp,
    tracked,
)


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
