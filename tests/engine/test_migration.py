"""State moves from worker to worker with its buckets: nothing is lost, doubled or changed, and all goes on."""

import ctypes
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fajita import NF, PASS, Array, Chain, Packet, address_pair, u32
from fajita.engine.compiled import CompiledEngine
from fajita.engine.migration import Migration
from fajita.engine.sharder import Sharder
from fajita.engine.shards import Shard
from fajita.engine.tables import FlowTable
from fajita.io.frames import ETHERNET
from fajita.kernel import slots
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.packet import IPV6_TYPE, UDP_PROTOCOL
from fajita.reference.parse import parse
from fajita.reference.tunnels import parse_inner
from fajita.rss import INDIRECTION_ENTRIES, SHARD_KEYS, HashFields, usual_indirection
from tests.traffic import IPV6_ADDRESSES, Traffic, ipv6_packet, many_flows, traffic, with_link


class Histogram(NF):
    """Counts the lengths of a pair's packets in an array that takes a few lines."""

    key = address_pair

    class State:
        lengths: Array[u32, 64]

    def packet(self, pkt: Packet, state: Any) -> int:
        state.lengths[pkt.length % 64] += 1
        return PASS


class Workers:
    """So many engines that share traffic by its buckets, and one that gets all of it."""

    def __init__(self, chain: Chain, fields: HashFields, count: int = 2, memory_bytes: int | None = None) -> None:
        self.plan = chain.plan
        self.engines = [CompiledEngine(self.plan, memory_bytes=memory_bytes) for _ in range(count)]
        self.alone = CompiledEngine(self.plan)
        self.sharder, self.table = Sharder(self.plan, fields), usual_indirection(count)
        self.shards = [Shard(worker) for worker in range(count)]
        self.migration = Migration(self.plan, fields, range(len(self.plan.tables)))

    def process(self, packets: Traffic) -> None:
        for block, other in zip(packets.blocks(), packets.blocks(), strict=True):
            buckets = self.sharder.buckets(block)
            for shard, engine in zip(self.shards, self.engines, strict=True):
                engine.process(shard.take(block, buckets, self.table))
            self.alone.process(other)

    def move(self, buckets: list[int], source: int, target: int) -> bool:
        moving = [bucket for bucket in buckets if self.table[bucket] == source]
        if not self.migration.move(moving, *(dict(enumerate(self.engines[n].tables)) for n in (source, target))):
            return False
        self.table[moving] = target
        return True

    def rows(self) -> list[list[bytes]]:
        """The states of all workers by NF and side, in the order of keys."""
        return [
            sorted(row.tobytes() for engine in self.engines for row in engine.rows(nf)[side])
            for nf in self.plan.nfs
            for side in range(len(self.plan.tables[nf.table].sides))
        ]

    def expected_rows(self) -> list[list[bytes]]:
        return [sorted(row.tobytes() for row in rows) for nf in self.plan.nfs for rows in self.alone.rows(nf)]

    def check(self) -> None:
        for engine in self.engines:
            for table in engine.tables:
                check(table)


def check(table: FlowTable) -> None:
    """What holds of every table between two blocks: entries are counted, and each has a slot of its own."""
    listed = set(table.entries_by_key().tolist())
    assert len(listed) == table.entries == sum(side.entries for side in table.sides)
    assert all(side.entries <= side.capacity for side in table.sides)
    if table.plan.slot is None:
        return
    records = np.concatenate([chunk.view(np.int64).reshape(-1, 2) for chunk in table._chunks])
    records = records[: int(table.descriptor[slots.SLOTS // 8])]
    live = np.flatnonzero(records[:, 0])
    assert set(records[live, 0].tolist()) == listed
    for slot in live.tolist():
        state = int(records[slot, 0]) & ~1
        assert ctypes.c_uint32.from_address(state + table.plan.slot).value == slot
    given_back, free = [], int(table.descriptor[slots.FREE_SLOT // 8])
    while free:
        given_back.append(free - 1)
        free = int(records[free - 1, 1])
    assert sorted([*given_back, *live.tolist()]) == list(range(len(records)))


def counting(**options: Any) -> Chain:
    return Chain([FlowCounter(**options)])


CHAINS = {
    "five_tuple": (lambda: counting(), "five_tuple"),
    "five_tuple by its source": (lambda: counting(), "source"),
    "connection": (lambda: counting(key="connection"), "connection"),
    "with slots": (lambda: counting(timeout="1h"), "address_pair"),
    "with slots and directions": (lambda: counting(timeout="1h", key="connection"), "connection"),
    "with links": (lambda: Chain([FlowCounter(timeout="1h"), SourceCounter()]), "source"),
    "with arrays": (lambda: Chain([Histogram()]), "destination"),
    "inside tunnels": (lambda: Chain([FlowCounter()], inner=True, fragments="flow"), "five_tuple"),
}


def whole_packets(packets: Traffic) -> Traffic:
    """Without fragments, as what is remembered of first ones does not move; in a time in which no flow ends."""
    kept = [
        index
        for index, (frame, link) in enumerate(zip(packets.frames, packets.links, strict=True))
        if parse(frame, link).datagram is None and parse_inner(frame, link).datagram is None
    ]
    frames, wire, links = (
        [column[index] for index in kept] for column in (packets.frames, packets.wire, packets.links)
    )
    return Traffic(frames, list(range(0, 1000 * len(kept), 1000)), wire, links, packets.cuts)


@pytest.mark.parametrize("name", CHAINS)
@settings(deadline=None, max_examples=10)
@given(packets=traffic(), seed=st.integers(0, 99))
def test_workers_that_exchange_buckets_do_what_one_does(name, packets, seed):
    make, key = CHAINS[name]
    workers, random = Workers(make(), SHARD_KEYS[key], count=3), Random(seed)
    for _ in range(4):
        workers.process(whole_packets(packets))
        assert workers.move(random.sample(range(INDIRECTION_ENTRIES), 40), *random.sample(range(3), 2))
        workers.check()
        assert workers.rows() == workers.expected_rows()


def many_ipv6_flows(flows: int) -> Traffic:
    body = bytes.fromhex("0035003500080000")
    frames = [
        with_link(ETHERNET, IPV6_TYPE, ipv6_packet(flow.to_bytes(16, "big"), IPV6_ADDRESSES[1], UDP_PROTOCOL, body))
        for flow in range(flows)
    ]
    return Traffic(frames, list(range(0, 1000 * flows, 1000)), [62] * flows, [ETHERNET] * flows, [])


@pytest.mark.parametrize("name", ["five_tuple", "with slots", "with links"])
@pytest.mark.parametrize("flows", [700, 800, 1000, 1500, 20_000])
def test_tables_grow_for_what_comes_and_move_what_is_growing(name, flows):
    make, key = CHAINS[name]
    workers = Workers(make(), SHARD_KEYS[key])
    for packets in (many_flows(flows, repeats=1), many_ipv6_flows(flows)):
        workers.process(packets)
    everything = list(range(INDIRECTION_ENTRIES))
    for source, target in ((0, 1), (1, 0), (0, 1)):
        before = workers.rows()
        assert workers.move(everything, source, target)
        workers.check()
        assert workers.rows() == before
        assert [table.entries for table in workers.engines[source].tables] == [0] * len(workers.plan.tables)
        workers.process(many_flows(flows, repeats=1))
        workers.check()
        assert workers.rows() == workers.expected_rows()


def test_only_what_is_in_the_buckets_moves():
    workers = Workers(counting(), SHARD_KEYS["five_tuple"])
    workers.process(many_flows(1000, repeats=1))
    moving = [0, 2, 64]
    before = len(workers.engines[1].rows(workers.plan.nfs[0])[0])
    assert workers.move(moving, 0, 1)
    packets = next(many_flows(1000, repeats=1).blocks())
    in_moved = int(np.isin(workers.sharder.buckets(packets), moving).sum())
    assert in_moved > 0
    assert len(workers.engines[1].rows(workers.plan.nfs[0])[0]) == before + in_moved
    assert workers.migration.move([], *(dict(enumerate(engine.tables)) for engine in workers.engines))


def test_entries_end_once_wherever_they_are():
    workers = Workers(counting(timeout="2ms", records=True), SHARD_KEYS["five_tuple"])
    nf = workers.plan.nfs[0]
    for number in range(6):
        workers.process(many_flows(3000, repeats=1))
        assert workers.move(list(range(number, INDIRECTION_ENTRIES, 3)), number % 2, 1 - number % 2)
        workers.check()
    for engine in workers.engines:
        engine.drain()
        assert all(table.entries == 0 for table in engine.tables)
    records = np.concatenate([engine.take_records(nf)[0] for engine in workers.engines])
    assert records["packets"].sum() == 6 * 3000
    created, expired = (
        sum(getattr(table, name) for engine in workers.engines for table in engine.tables)
        for name in ("created", "expired")
    )
    assert created == expired == len(records)


@pytest.mark.parametrize("options", [{"capacity": 600}, {"capacity": 600, "full": "evict"}])
def test_what_has_no_room_stays_where_it_was(options):
    chain = Chain([SourceCounter(), FlowCounter()], **options)
    workers = Workers(chain, SHARD_KEYS["source"])
    workers.process(many_flows(900, repeats=1))
    before = workers.rows()
    assert not workers.move(list(range(INDIRECTION_ENTRIES)), 0, 1)
    workers.check()
    assert workers.rows() == before
    assert workers.move([0, 2, 4], 0, 1)
    workers.check()
    assert workers.rows() == before


def test_without_memory_to_grow_nothing_moves():
    workers = Workers(counting(), SHARD_KEYS["five_tuple"], memory_bytes=12 << 20)
    workers.process(many_flows(60_000, repeats=1))
    before = workers.rows()
    assert len(before[0]) == 60_000
    assert not workers.move(list(range(INDIRECTION_ENTRIES)), 0, 1)
    workers.check()
    assert workers.rows() == before
    assert workers.move([0, 2, 4], 0, 1)


def test_an_eviction_remembers_who_had_a_packet_since():
    """With full: evict, flows that had a packet after an eviction looked at them survive the next, moved or not."""
    chain = Chain([FlowCounter()], capacity=100, full="evict")
    workers = Workers(chain, SHARD_KEYS["five_tuple"])
    workers.process(many_flows(60, repeats=2))
    assert workers.move(list(range(INDIRECTION_ENTRIES)), 0, 1)
    workers.process(many_flows(400, repeats=1))
    workers.check()
    assert workers.engines[1].tables[0].entries == 100


def test_a_worker_cannot_be_given_what_it_has():
    workers = Workers(counting(), SHARD_KEYS["five_tuple"])
    with pytest.raises(ValueError, match="to where they are"):
        workers.move([0], 0, 0)


@pytest.mark.parametrize(
    ("chain", "fields"),
    [
        (Chain([SourceCounter()]), SHARD_KEYS["five_tuple"]),
        (Chain([FlowCounter(key="connection")]), SHARD_KEYS["five_tuple"]),
        (Chain([FlowCounter(key="connection")]), SHARD_KEYS["source"]),
        (Chain([RateLimiter(key="source_prefix(24)", rate="1Gbps", burst="1kB")]), SHARD_KEYS["source"]),
        (Chain([RateLimiter(key="destination_port", rate="1Gbps", burst="1kB")]), HashFields(destination=True)),
    ],
)
def test_a_table_whose_entries_are_of_several_buckets_cannot_move(chain, fields):
    with pytest.raises(ValueError, match="is not of one bucket"):
        Migration(chain.plan, fields, [0])
    assert Migration(chain.plan, fields, []).move([1], {}, {})
