"""What becomes of new flows where there is no room: eviction, drops, packets that pass, and bounded memory."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fajita import Chain
from fajita.engine.compiled import CompiledEngine
from fajita.engine.counters import TableCounters
from fajita.lifetime import EXAMINED_PER_EVICTION
from tests.lifetime_nfs import (
    MILLISECOND,
    Ends,
    block_of,
    core,
    ipv4,
    ipv6,
    new,
    ports,
    send,
    table_of,
)
from tests.nfs.running import both_engines


def flows_of(mask: int) -> set[int]:
    return {flow for flow in range(64) if mask >> flow & 1}


@both_engines
@settings(max_examples=40, deadline=None)
@given(
    capacity=st.integers(3, 50),
    pause=st.integers(2, 20),
    seed=st.integers(0, 10**6),
)
def test_a_flow_with_packets_between_two_visits_of_the_evictor_survives_any_flood(engine, capacity, pause, seed):
    """It comes by again after as many new flows as there are places for them."""
    random, pause = Random(seed), min(pause, capacity - 1)
    established = capacity - pause
    silent = dict.fromkeys(range(established), 0)
    packets = [*silent, *silent]
    for flow in range(100, 100 + 6 * capacity):
        packets.append(flow)
        for each in silent:
            silent[each] += 1
            if silent[each] == pause - 1 or random.random() < 0.02:
                packets.append(each)
                silent[each] = 0
    running = new(engine, Ends(), capacity=capacity, full="evict")
    send(running, [(flow, number) for number, flow in enumerate(packets)])
    kept = ports(running)
    assert {flow: kept.get(flow) for flow in silent} == {flow: packets.count(flow) for flow in silent}
    counted = table_of(running)
    assert (counted.active, counted.refused) == (capacity, 0)
    assert counted.evicted == 6 * capacity - pause == core(running)["ended"]


@both_engines
def test_a_flow_that_is_silent_while_the_evictor_comes_by_twice_is_evicted(engine):
    running = new(engine, Ends(), capacity=20, full="evict")
    send(running, [(1, 0), (2, 1), (1, 2), (2, 3)])
    send(running, [(100 + flow, 10 + flow) for flow in range(18 + 30)])
    assert flows_of(core(running)["once"]) >= {1, 2}
    assert not {1, 2} & ports(running).keys()


@both_engines
def test_where_all_had_packets_the_last_that_was_looked_at_is_evicted(engine):
    capacity = EXAMINED_PER_EVICTION + 40
    running = new(engine, Ends(), capacity=capacity, full="evict")
    send(running, [(flow, flow) for flow in range(capacity)] + [(flow, 1000 + flow) for flow in range(capacity)])
    send(running, [(1000, 2000)])
    assert {*range(capacity), 1000} - ports(running).keys() == {EXAMINED_PER_EVICTION - 1}
    # In a smaller table it comes to where it began, and finds no packet since.
    running = new(engine, Ends(), capacity=40, full="evict")
    send(running, [(flow, flow) for flow in range(40)] + [(flow, 100 + flow) for flow in range(40)])
    send(running, [(60, 200)])
    assert flows_of(core(running)["once"]) == {0}


@both_engines
@pytest.mark.parametrize("capacity", [1, 2, 100])
def test_a_full_table_that_drops_keeps_those_that_came_first(engine, capacity):
    running = new(engine, Ends(), capacity=capacity, full="drop")
    block = send(running, [(flow, flow) for flow in range(300)] + [(flow, 1000 + flow) for flow in range(300)])
    assert ports(running) == dict.fromkeys(range(capacity), 2)
    assert block.verdict.tolist() == ([1] * capacity + [0] * (300 - capacity)) * 2
    counters = running.counters()
    assert counters.tables == [TableCounters(capacity, refused=2 * (300 - capacity), active=capacity)]
    assert counters.packets_in - counters.packets_out == 2 * (300 - capacity)
    assert counters.nfs[0].received == 2 * capacity


@both_engines
@pytest.mark.parametrize("capacity", [1, 2, 100])
def test_a_full_table_that_lets_pass_hides_new_flows_from_its_nfs(engine, capacity):
    running = new(engine, Ends(), Ends(name="all", key="all"), Ends(name="after"), capacity=capacity, full="bypass")
    block = send(running, [(flow, flow) for flow in range(300)])
    assert block.verdict.tolist() == [1] * 300
    counters = running.counters()
    assert [nf.received for nf in counters.nfs] == [capacity, 300, capacity]
    assert [(table.created, table.refused) for table in counters.tables] == [(capacity, 300 - capacity), (1, 0)]
    assert ports(running) == ports(running, 2) == dict.fromkeys(range(capacity), 1)


@both_engines
def test_places_of_idle_flows_go_to_new_ones(engine):
    running = new(engine, Ends(timeout="1ms"), capacity=10, full="drop")
    send(running, [(flow, 0) for flow in range(12)])
    assert table_of(running).refused == 2
    send(running, [(0, time * 100_000) for time in range(30)])
    block = send(running, [(flow, 3 * MILLISECOND) for flow in range(20, 32)])
    assert block.verdict.tolist() == [1] * 9 + [0] * 3
    assert table_of(running) == TableCounters(created=19, expired=9, refused=5, active=10)


@both_engines
@pytest.mark.parametrize("full", ["drop", "evict"])
def test_ipv4_and_ipv6_flows_share_one_capacity(engine, full):
    running = new(engine, Ends(), capacity=10, full=full)
    frames = [frame(flow) for flow in range(8) for frame in (ipv4, ipv6)]
    running.process(block_of(frames, range(16)))
    counted = table_of(running)
    assert counted.active == 10
    sides = [len(rows) for rows in running.rows(running.plan.nfs[0])]
    assert sides == [5, 5]
    assert (counted.refused, counted.evicted) == ((6, 0) if full == "drop" else (0, 6))


@pytest.mark.parametrize("full", ["drop", "bypass", "evict"])
def test_memory_is_constant_under_a_flood(full):
    running = CompiledEngine(Chain([Ends()], capacity=10_000, full=full).plan)
    before = running.table_memory()
    assert before[0][0] == 10_000
    for start in range(0, 60_000, 20_000):
        send(running, [(flow, flow) for flow in range(start, start + 20_000)])
        assert running.table_memory() == before
        assert table_of(running).active == 10_000 if start else True


@pytest.mark.parametrize("full", ["drop", "bypass", "evict"])
def test_a_table_that_grows_stays_below_its_limit_of_memory(full):
    limit = 18 << 20
    running = CompiledEngine(Chain([Ends(timeout="1h")], full=full).plan, memory_bytes=limit)
    for start in range(0, 60_000, 5_000):
        send(running, [(flow, flow) for flow in range(start, start + 5_000)])
        assert sum(size for _, size in running.table_memory()) <= limit
    counted = table_of(running)
    assert 768 < counted.active < 60_000
    assert counted.created - counted.evicted + (0 if full == "evict" else counted.refused) == 60_000 - counted.evicted
    assert (counted.evicted > 0) == (full == "evict")


def test_flows_of_one_family_are_not_evicted_for_the_other_that_has_no_room_itself():
    """Where memory, not a capacity, is what a table has no more of."""
    chain = Chain([Ends()], full="evict")
    running = CompiledEngine(chain.plan, memory_bytes=12 << 20)  # enough to begin with
    running.process(block_of([ipv6(flow) for flow in range(40)], range(40)))
    send(running, [(flow, 1000 + flow) for flow in range(4000)])
    assert [len(rows) for rows in running.rows(chain.plan.nfs[0])] == [768, 40]
    counted = table_of(running)
    assert (counted.evicted, counted.refused) == (4000 - 768, 0)
