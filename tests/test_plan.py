"""From a chain to tables: who shares a lookup, where a rewrite needs another, how entries are laid out."""

from typing import Any

import numpy as np
import pytest

from fajita import planner
from fajita.chain import Chain
from fajita.errors import InputError
from fajita.key import five_tuple
from fajita.lifetime import CHOSEN_TIMEOUT_NS
from fajita.nf import NF, PASS
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.mac_swap import MacSwap
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.packet import Layer
from fajita.packet_attributes import Packet
from fajita.plan import MAXIMUM_SHARING, Plan
from fajita.state_types import u16, u32, u64
from tests.planning import balancer, plan, tables, with_state, without_links


def limiter(**options: Any) -> NF:
    return RateLimiter(rate="1Gbps", burst="64kB", **options)


def segments(plan: Plan) -> list[tuple[list[int], list[str]]]:
    return [(segment.tables, [plan.nfs[index].nf.name for index in segment.nfs]) for segment in plan.segments]


def test_one_key_one_table_one_lookup() -> None:
    planned = plan(FlowCounter(), balancer(), limiter())
    assert tables(planned) == [("five_tuple", ["flow_counter", "load_balancer", "rate_limiter"])]
    assert len(planned.segments) == 1
    assert [nf.mark for nf in planned.nfs] == [0, 1, 2]
    assert [planned.nfs[index].mark for index in planned.tables[0].nfs] == [0, 1, 2]


def test_each_key_has_a_table_and_those_that_are_looked_up_are_so_at_once() -> None:
    planned = plan(SourceCounter(), FlowCounter(), limiter(key="source"), DestinationCounter())
    assert tables(planned) == [
        ("source", ["source_counter", "rate_limiter"]),
        ("five_tuple", ["flow_counter"]),
        ("destination", ["destination_counter"]),
    ]
    names = ["source_counter", "flow_counter", "rate_limiter", "destination_counter"]
    assert segments(planned) == [([0, 1], names)]
    assert segments(without_links(*(nf.nf for nf in planned.nfs))) == [([0, 1, 2], names)]
    assert all(table.why == "the first with this key" for table in planned.tables)


def test_rewrite_of_a_key_field_makes_a_new_lookup() -> None:
    planned = without_links(DestinationCounter(), balancer(), DestinationCounter(name="after"))
    assert tables(planned) == [
        ("destination", ["destination_counter"]),
        ("five_tuple", ["load_balancer"]),
        ("destination", ["after"]),
    ]
    assert segments(planned) == [([0, 1], ["destination_counter", "load_balancer"]), ([2], ["after"])]
    assert planned.tables[2].why == "load_balancer rewrites a field of the key before it"


def test_a_new_lookup_that_a_link_does_without_needs_no_segment() -> None:
    planned = plan(DestinationCounter(), balancer(), DestinationCounter(name="after"))
    assert [name for name, _ in tables(planned)] == ["destination", "five_tuple", "destination"]
    assert segments(planned) == [([0, 1, 2], ["destination_counter", "load_balancer", "after"])]
    assert planned.tables[2].why == "load_balancer rewrites a field of the key before it"


class Renumbers(NF):
    """Gives each packet another network, half an IPv6 address."""

    about = Layer.IPV6

    def packet(self, pkt: Packet) -> int:
        pkt.src_high = pkt.src_high ^ pkt.flow_label
        return PASS


def test_rewrite_of_half_an_address_rewrites_the_keys_that_have_it() -> None:
    planned = plan(SourceCounter(), Renumbers(), SourceCounter(name="after"))
    assert tables(planned) == [("source", ["source_counter"]), ("source", ["after"])]
    assert planned.tables[1].why == "renumbers rewrites a field of the key before it"
    assert [segment.nfs for segment in planned.segments] == [[0, 1], [2]]


def test_rewrite_of_another_field_needs_none() -> None:
    planned = plan(balancer(), SourceCounter(), MacSwap(), SourceCounter(name="again"))
    assert tables(planned) == [("five_tuple", ["load_balancer"]), ("source", ["source_counter", "again"])]
    assert len(planned.segments) == 1


def test_flow_that_is_rewritten_as_a_whole_stays_one_flow() -> None:
    assert len(plan(balancer(), FlowCounter()).tables) == 1


def test_rewrite_by_a_coarser_key_ends_the_finer_flow() -> None:
    planned = plan(FlowCounter(), balancer(key="source"), FlowCounter(name="after"))
    assert tables(planned) == [
        ("five_tuple", ["flow_counter"]),
        ("source", ["load_balancer"]),
        ("five_tuple", ["after"]),
    ]


class PerPacket(NF):
    """Rewrites each packet of a flow in another way."""

    key = five_tuple

    class State:
        turn: u32

    def packet(self, pkt: Packet, state: State) -> int:
        state.turn += 1
        pkt.src_port = state.turn
        return PASS


class Sometimes(NF):
    """Rewrites only some packets of a flow."""

    key = five_tuple

    class State:
        port: u16

    def packet(self, pkt: Packet, state: State) -> int:
        if pkt.length > 100:
            pkt.src_port = state.port
        return PASS


@pytest.mark.parametrize("nf", [PerPacket(), Sometimes()], ids=lambda nf: nf.name)
def test_rewrite_that_differs_within_a_flow_ends_it(nf: NF) -> None:
    assert len(plan(nf, FlowCounter()).tables) == 2


def test_nfs_of_one_key_beyond_the_marks_get_a_table_of_their_own() -> None:
    planned = plan(*(FlowCounter(name=f"nf{index}") for index in range(MAXIMUM_SHARING + 1)))
    assert [len(table.nfs) for table in planned.tables] == [MAXIMUM_SHARING, 1]
    assert planned.tables[1].why == f"an entry serves at most {MAXIMUM_SHARING} network functions"
    assert len(planned.segments) == 1


def test_nf_without_a_key_has_no_table() -> None:
    planned = plan(MacSwap())
    assert planned.tables == []
    assert segments(planned) == [([], ["mac_swap"])]
    assert planned.nfs[0].table is None


def test_last_seen_only_where_something_expires() -> None:
    planned = plan(FlowCounter(timeout="2s"), limiter(timeout="1s"), SourceCounter())
    assert [(table.last_seen, table.shortest_timeout_ns) for table in planned.tables] == [(0, 10**9), (None, None)]
    assert [(table.idle_ends, table.round_ns) for table in planned.tables] == [(True, 10**9 // 2), (False, 0)]
    assert planned.tables[0].slot is not None
    assert planned.tables[1].slot is None


class Chooses(NF):
    """Says of each state when it ends."""

    key = five_tuple

    class State:
        expire_in: u64

    def packet(self, pkt: Packet, state: State) -> int:
        state.expire_in = pkt.length
        return PASS


class Ends(NF):
    """Has something to do at the end of a flow."""

    key = five_tuple

    class State:
        packets: u32

    def packet(self, pkt: Packet, state: State) -> int:
        return PASS

    def expire(self, state: State) -> None:
        state.packets = 0


def test_the_timeout_of_the_chain_is_for_nfs_with_a_key_and_none_of_their_own() -> None:
    planned = Chain([FlowCounter(), limiter(timeout="1s"), MacSwap(), SourceCounter()], timeout="5s").plan
    assert [nf.timeout_ns for nf in planned.nfs] == [5 * 10**9, 10**9, None, 5 * 10**9]
    assert [table.shortest_timeout_ns for table in planned.tables] == [10**9, 5 * 10**9]


def test_the_hand_goes_round_in_half_the_shortest_timeout() -> None:
    def rounds(*nfs: NF) -> list[int]:
        return [table.round_ns for table in plan(*nfs).tables]

    assert rounds(FlowCounter(timeout="1ns")) == [1]
    assert rounds(Chooses()) == [CHOSEN_TIMEOUT_NS // 2]
    assert rounds(Chooses(timeout="1ms")) == [10**6 // 2]
    assert rounds(Chooses(), FlowCounter(timeout="10s")) == [CHOSEN_TIMEOUT_NS // 2]


def test_a_state_that_says_when_it_ends_has_no_timeout_that_all_can_be_tested_for() -> None:
    (table,) = plan(Chooses(), Ends()).tables
    assert (table.idle_ends, table.shortest_timeout_ns) == (True, None)
    assert [nf.ends_idle for nf in plan(Chooses(), Ends()).nfs] == [True, False]


def test_entries_have_slots_where_something_ends_them_before_the_run_is_over() -> None:
    assert plan(FlowCounter()).tables[0].slot is None
    assert plan(Ends()).tables[0].slot is None
    assert plan(Ends()).tables[0].last_seen is None
    assert plan(FlowCounter(timeout="1s")).tables[0].slot is not None
    (table,) = Chain([FlowCounter()], capacity=9, full="evict").plan.tables
    assert (table.evicts, table.last_seen) == (True, 0)
    assert table.slot is not None
    (table,) = Chain([FlowCounter()], capacity=9).plan.tables
    assert (table.evicts, table.last_seen, table.slot) == (False, None, None)


def test_the_number_of_a_slot_lies_in_a_gap_if_there_is_one() -> None:
    (table,) = plan(with_state(0, [(u32, True)], [], None), with_state(1, [(u64, True)], [], "1s")).tables
    assert table.slot == 8 + 4


def test_links_lie_in_gaps_too_or_behind_the_states() -> None:
    (table, _) = plan(FlowCounter(), SourceCounter()).tables
    assert table.links == {1: 16}
    (table, _) = plan(with_state(0, [(u32, True)], [], None, five_tuple), FlowCounter(), SourceCounter()).tables
    assert table.links == {1: 4}


def test_nfs_of_two_segments_share_no_table_that_evicts() -> None:
    nfs = [FlowCounter(), balancer(key="source"), DestinationCounter(), FlowCounter(name="same", key="vlan")]
    assert len(Chain([FlowCounter(name="links", key="vlan"), *nfs]).plan.tables) == 4
    planned = Chain([FlowCounter(name="links", key="vlan"), *nfs], full="evict").plan
    assert planned.tables[-1].why.startswith("a full table evicts flows, and between")


def test_first_segment_of_a_table() -> None:
    planned = without_links(DestinationCounter(), balancer(), DestinationCounter(name="after"))
    assert [planned.first_segment_of(table, table.sides[0]) for table in planned.tables] == [0, 0, 1]


def test_nf_follows_in_the_group_of_the_one_before_it_with_the_same_table() -> None:
    planned = plan(FlowCounter(), limiter(), SourceCounter(), MacSwap())
    assert [planned.follows_in_group(nf) for nf in planned.nfs] == [False, True, False, False]
    # The load balancer sees no IPv6, so that what passes the one before or after it is not what it sees.
    planned = plan(FlowCounter(), balancer(), balancer(name="again"), limiter())
    assert [planned.follows_in_group(nf) for nf in planned.nfs] == [False, False, True, False]


class Lists(NF):
    """Indexes a parameter, an attribute of the class and a constant of the module."""

    NUMBERS = (1, 2, 3)

    class Params:
        numbers: list[int]
        unused: list[int] = []  # noqa: RUF012 - as a user writes it

    class Core:
        numbers: u64

    def packet(self, pkt: Packet) -> int:
        self.core.numbers += self.numbers[0] + self.NUMBERS[pkt.ttl] + SQUARES[pkt.ttl]  # type: ignore[attr-defined]
        return PASS


SQUARES = [0, 1, 4, 2**63]


def test_lists_that_are_indexed_become_constants_and_only_those() -> None:
    planned = plan(Lists(numbers=[7, 8]), Lists(numbers=[9], name="second"))
    squares = [0, 1, 4, -(2**63)]
    area = np.zeros(planned.constants.bytes, np.uint8)
    planned.constants.write(area)
    assert area.view(np.int64).tolist() == [7, 8, 1, 2, 3, *squares, 9, 1, 2, 3, *squares]
    assert planned.nfs[1].constant_offsets == {
        "second__list_numbers": 72,
        "second__list_NUMBERS": 80,
        "second__global_SQUARES": 104,
    }


def test_a_long_list_begins_with_a_cache_line() -> None:
    planned = plan(Lists(numbers=[7]), Lists(numbers=list(range(9)), name="long"))
    assert planned.nfs[0].constant_offsets["lists__list_numbers"] == 0
    assert planned.nfs[1].constant_offsets["long__list_numbers"] == 64


def test_namesakes_in_list_core_and_state_have_names_of_their_own_in_the_kernel() -> None:
    places = plan(Lists(numbers=[7])).nfs[0].places
    assert set(places) == {"lists__core_numbers", "lists__list_numbers", "lists__list_NUMBERS", "lists__global_SQUARES"}


def test_list_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "MAXIMUM_LIST", 3)
    with pytest.raises(InputError, match="has 4 elements; at most 3"):
        plan(Lists(numbers=[1, 2, 3, 4]))
