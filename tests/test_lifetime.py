"""When flows end: idle, for another, or with the run; exactly once, and in bounded time and memory."""

from functools import cache
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fajita import NF, PASS, Chain, Packet, five_tuple, hash_of, u32, u64
from fajita.engine.compiled import CompiledEngine
from fajita.engine.counters import TableCounters
from fajita.lifetime import PACKETS_PER_SWEEP, SWEPT_AT_ONCE
from fajita.nfs.source_counter import SourceCounter
from fajita.reference import ReferenceEngine
from tests.chains import random_chain
from tests.lifetime_nfs import (
    MICROSECOND,
    MILLISECOND,
    SECOND,
    Ends,
    Sent,
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
from tests.traffic import (
    ETHERNET,
    Traffic,
    traffic,
    with_link,
)

YEAR = 365 * 86_400 * SECOND


class Chooses(NF):
    """A flow to port p ends after p milliseconds, to port 0 after the usual time."""

    key = five_tuple

    class State:
        expire_in: u64

    class Core:
        ended: u64

    def packet(self, pkt: Packet, state: State) -> int:
        state.expire_in = pkt.src_port * 1_000_000
        return PASS

    def expire(self, state: State) -> None:
        self.core.ended += 1


#: What a state may last for, longer and shorter; what is past 2**63 is over at once.
LASTS = [0, MILLISECOND, 3 * MILLISECOND, 50 * MILLISECOND, YEAR, (1 << 63) - 1, -5]


class ChangesItsMind(NF):
    """What a flow lasts for is another thing at each packet; some of them go no further."""

    key = five_tuple

    class Params:
        at_once: bool = True

    class State:
        expire_in: u64
        packets: u32

    class Core:
        ended: u64
        packets: u64

    def new_flow(self, pkt: Packet, state: State) -> None:
        if self.at_once:
            state.expire_in = LASTS[hash_of(pkt.time_ns, 1) % len(LASTS)]

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        if hash_of(pkt.time_ns, 2) & 1:
            state.expire_in = LASTS[hash_of(pkt.time_ns, 3) % len(LASTS)]
        return pkt.drop("no further") if hash_of(pkt.time_ns, 4) % 3 == 0 else PASS

    def expire(self, state: State) -> None:
        self.core.ended += 1
        self.core.packets = self.core.packets * 3 + state.packets


@both_engines
def test_a_flow_ends_at_its_next_packet_if_it_was_idle_for_the_timeout(engine):
    running = new(engine, Ends(timeout="1ms"))
    send(running, [(1, 0), (1, MILLISECOND - 1), (1, 2 * MILLISECOND - 2)])
    assert core(running)["ended"] == 0
    send(running, [(1, 3 * MILLISECOND - 2)])
    assert core(running) == {"begun": 2, "ended": 1, "packets": 3, "once": 1 << 1, "again": 0}
    assert table_of(running) == TableCounters(created=2, expired=1, active=1)


def live_flows(packets: list[Sent], timeout: int, allowance: int) -> tuple[set[int], set[int]]:
    """The flows that must still be there at the end, and those that may be."""
    clock = max(time for _, time in packets)
    last = dict(packets)
    return (
        {flow for flow, time in last.items() if clock - time < timeout},
        {flow for flow, time in last.items() if clock - time < timeout + timeout // 2 + allowance},
    )


@both_engines
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), flows=st.integers(1, 40), after=st.integers(0, 250))
def test_a_flow_that_never_returns_ends_within_a_timeout_and_a_half(engine, seed, flows, after):
    """While packets go on coming, so many in half a timeout as flows have slots, whichever flow they are of.

    A timeout and a half, and the packets until the hand moves.
    """
    random, timeout = Random(seed), MILLISECOND
    gap = timeout // (2 * flows)
    some = [random.randrange(flows) for _ in range(3 * flows)] + [0] * after
    packets = [(flow, number * gap) for number, flow in enumerate(some)]
    running = new(engine, Ends(timeout="1ms"))
    send(running, packets)
    must, may = live_flows(packets, timeout, (PACKETS_PER_SWEEP + 1) * gap)
    assert must <= ports(running).keys() <= may
    counted, ended = table_of(running), core(running)
    assert ended["ended"] == counted.expired
    assert ended["begun"] == counted.created


@both_engines
def test_a_flood_of_flows_of_one_packet_is_kept_no_longer_than_a_timeout_and_a_half(engine):
    """The traffic that leaves the hand the most to do per packet."""
    running = new(engine, Ends(timeout="2ms"))
    flows = 12_000
    for start in range(0, flows, 1000):
        send(running, [(flow, flow * 2 * MICROSECOND) for flow in range(start, start + 1000)])
        assert table_of(running).active <= 1500 + 1
    assert table_of(running).active >= 1000
    assert core(running)["packets"] == core(running)["ended"]


@both_engines
def test_any_packet_moves_the_clock_that_ends_flows(engine):
    running = new(engine, Ends(timeout="1ms"))
    arp = with_link(ETHERNET, 0x0806, bytes(28))
    running.process(block_of([ipv4(1), ipv6(2)], [0, 0]))
    running.process(block_of([arp] * 20, range(0, 2 * MILLISECOND, 100_000)))
    assert table_of(running) == TableCounters(created=2, expired=2, active=0)


@both_engines
def test_the_clock_never_goes_back(engine):
    running = new(engine, Ends(timeout="1ms"))
    send(running, [(1, SECOND), (2, 0), (1, 5), (2, SECOND - 1)])
    assert ports(running) == {1: 2, 2: 2}
    # All of them count as of the latest time, so that flow 2 has not been idle for long.
    send(running, [(2, SECOND + MILLISECOND - 1)])
    assert ports(running)[2] == 3
    send(running, [(1, SECOND + MILLISECOND), (3, 0)])
    assert ports(running)[1] == 1
    assert table_of(running).expired == 1


@both_engines
@pytest.mark.parametrize("first", [0, 1_700_000_000 * SECOND, (1 << 63) - 5 * SECOND])
def test_a_jump_of_the_clock_costs_a_packet_as_little_as_any_other_and_loses_nothing(engine, first):
    running = new(engine, Ends(timeout="1ms"))
    flows = 60
    send(running, [(flow, first + flow) for flow in range(flows)])
    later = min(first + 30 * YEAR, (1 << 63) - SECOND)
    ended = 0
    for packet in range(flows):
        send(running, [(63, later + packet)])
        assert core(running)["ended"] - ended <= SWEPT_AT_ONCE
        ended = core(running)["ended"]
    assert core(running) == {
        "begun": flows + 1,
        "ended": flows,
        "packets": flows,
        "once": (1 << flows) - 1,
        "again": 0,
    }
    assert ports(running) == {63: flows}


@both_engines
def test_times_that_make_no_sense_end_no_flow_twice(engine):
    running = new(engine, Ends(timeout="1us"))
    random = Random(7)
    times = [random.choice((0, 5, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)) for _ in range(300)]
    send(running, [(random.randrange(20), time) for time in times])
    counted, ends = table_of(running), core(running)
    assert (ends["begun"], ends["ended"]) == (counted.created, counted.expired)
    assert ends["packets"] + sum(ports(running).values()) == 300


@both_engines
def test_a_state_may_say_when_it_ends(engine):
    running = new(engine, Chooses(timeout="10ms"))
    send(running, [(5, 0), (20, 0), (0, 0), (5, 5 * MILLISECOND - 1)])
    assert core(running)["ended"] == 0
    send(running, [(5, 10 * MILLISECOND - 1)])  # at its next packet
    assert core(running)["ended"] == 1
    # The usual time is one of 10 ms, of which the hand needs 5 for a round.
    send(running, [(99, time) for time in range(10 * MILLISECOND, 16 * MILLISECOND, MILLISECOND // 2)])
    assert core(running)["ended"] == 3
    assert table_of(running).active == 2  # 20 has longer
    send(running, [(99, time) for time in range(16 * MILLISECOND, 26 * MILLISECOND, MILLISECOND // 2)])
    assert core(running)["ended"] == 3 + 1
    assert table_of(running).active == 1


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    flows=st.integers(1, 40),
    timeouts=st.sampled_from([("1ms",), ("4ms",), (None, "1ms"), ("4ms", None, "2ms"), ("1ms", "1ms")]),
)
def test_flows_end_when_they_must_whatever_they_were_to_last_for_before(seed, flows, timeouts):
    """The search leaves an entry alone until its states may end: a shorter time, or an NF's first packet, counts."""
    random = Random(seed)
    nfs = [ChangesItsMind(name=f"nf{n}", timeout=each, at_once=n == 0) for n, each in enumerate(timeouts)]
    gaps = random.choices((0, 10 * MICROSECOND, 200 * MICROSECOND, 2 * MILLISECOND), k=1200)
    packets = [(random.randrange(flows), time) for time in np.cumsum(gaps).tolist()]
    engines = [ReferenceEngine(Chain(nfs).plan), CompiledEngine(Chain(nfs).plan)]
    for start in range(0, len(packets), PACKETS_PER_SWEEP):
        for running in engines:
            send(running, packets[start : start + PACKETS_PER_SWEEP])
        counts = [([core(running, nf) for nf in range(len(nfs))], table_of(running)) for running in engines]
        assert counts[0] == counts[1]


@both_engines
def test_without_a_timeout_only_those_end_that_say_so(engine):
    running = new(engine, Chooses())
    send(running, [(0, 0), (100, 0), *((99, tenth * SECOND // 10) for tenth in range(1, 12))])
    assert core(running)["ended"] == 10  # each time at the next packet of 99; flow 100 before the sixteenth packet
    send(running, [(100, YEAR), (0, YEAR)])
    assert table_of(running) == TableCounters(created=14, expired=11, active=3)


@both_engines
def test_a_timeout_of_its_own_comes_before_that_of_the_chain(engine):
    running = new(engine, Ends(timeout="1ms"), Ends(name="usual"), timeout="5ms")
    send(running, [(1, 0), (1, 2 * MILLISECOND)])
    assert [core(running, nf)["ended"] for nf in (0, 1)] == [1, 0]
    assert table_of(running) == TableCounters(created=1, active=1)
    send(running, [(1, 7 * MILLISECOND)])
    assert [core(running, nf)["ended"] for nf in (0, 1)] == [2, 1]
    assert table_of(running) == TableCounters(created=2, expired=1, active=1)


@both_engines
def test_a_drain_ends_all_that_is_left_once(engine):
    running = new(engine, Ends(timeout="1ms"), capacity=40, full="evict")
    send(running, [(flow, flow * 50 * MICROSECOND) for flow in range(60)])
    before = table_of(running)
    assert before.expired > 0
    assert before.active > 0
    running.drain()
    assert core(running) == {"begun": 60, "ended": 60, "packets": 60, "once": (1 << 60) - 1, "again": 0}
    assert table_of(running) == TableCounters(created=60, expired=60)
    assert ports(running) == {}
    running.drain()
    assert core(running)["ended"] == 60
    send(running, [(1, YEAR)])
    assert ports(running) == {1: 1}


@both_engines
def test_a_drain_ends_flows_without_a_timeout_too(engine):
    running = new(engine, Ends(), SourceCounter())
    running.process(block_of([ipv4(1), ipv6(2), ipv4(1)], [0, 0, 0]))
    running.drain()
    assert core(running) == {"begun": 2, "ended": 2, "packets": 3, "once": 0b110, "again": 0}
    assert table_of(running) == TableCounters(created=2, expired=2)
    # Where an end means nothing to any network function, counts are worth more than an empty table.
    assert table_of(running, 1) == TableCounters(created=2, active=2)


chain_of_seed = cache(random_chain)


@both_engines
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(sample=traffic(), seed=st.integers(0, 5))
def test_no_flow_gets_lost(engine, sample: Traffic, seed):
    chain = chain_of_seed(seed)
    running = engine(chain.plan)
    for block in sample.blocks():
        running.process(block)
        for table in chain.plan.tables:
            table_of(running, table.index)
    running.drain()
    for table in chain.plan.tables:
        assert table_of(running, table.index).active == 0 or not chain.plan.is_drained(table)
