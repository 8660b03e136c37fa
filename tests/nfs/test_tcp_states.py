"""The table of TCP states, where it can be said in a sentence."""

from itertools import product

from fajita.nfs._tcp_states import (
    ACK,
    CLOSED,
    COUNT,
    FIN,
    IGNORED,
    KINDS,
    MALFORMED,
    NONE,
    REFUSED,
    RST,
    SYN,
    SYN_ACK,
    SYN_SENT,
    TRANSITIONS,
)
from fajita.protocols import SYN_FLAG


def after(way: int, kind: int, before: int) -> int:
    return TRANSITIONS[(way * MALFORMED + kind) * COUNT + before]


def test_there_is_a_transition_for_every_way_kind_and_state() -> None:
    assert len(TRANSITIONS) == 2 * MALFORMED * COUNT
    assert set(TRANSITIONS) <= {*range(SYN_SENT, COUNT), IGNORED, REFUSED}


def test_every_state_is_reached() -> None:
    reached, frontier = set(), {NONE}
    while frontier:
        reached |= frontier
        following = {after(way, kind, state) for way, kind, state in product((0, 1), range(MALFORMED), frontier)}
        frontier = following - reached - {IGNORED, REFUSED}
    assert reached == set(range(COUNT))


def test_a_reset_closes_whatever_there_is() -> None:
    assert {after(way, RST, state) for way in (0, 1) for state in range(SYN_SENT, COUNT)} == {CLOSED}


def test_only_a_syn_or_an_ack_begins() -> None:
    begins = [kind for kind in range(MALFORMED) if after(0, kind, NONE) < COUNT]
    assert begins == [SYN, ACK]


def test_only_a_syn_reopens() -> None:
    assert {after(way, kind, CLOSED) for way in (0, 1) for kind in (FIN, ACK, RST)} == {CLOSED}
    assert after(0, SYN, CLOSED) == SYN_SENT
    assert after(1, SYN_ACK, CLOSED) == IGNORED


def test_flags_have_a_kind_with_push_or_without() -> None:
    assert len(KINDS) == 64
    assert [KINDS[flags ^ 8] for flags in range(64)] == KINDS
    assert KINDS[SYN_FLAG] == SYN
    assert KINDS.count(MALFORMED) == 64 - 2 * 9
