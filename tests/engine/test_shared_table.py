"""A table that workers share: whoever is first, nothing is lost and no key is there twice.

Kernels run without Python's lock, so these threads race.
"""

from itertools import chain as joined

import numpy as np
import pytest

from fajita import (
    NF,
    PASS,
    Array,
    Bits,
    Chain,
    FrameBlock,
    Max,
    Min,
    Or,
    Sum,
    destination,
    flag,
    table_size,
    u8,
    u16,
    u32,
    u64,
)
from fajita.kernel.bounds import CHECKED
from fajita.kernel.layout import BURST
from tests.engine.shared_workers import Workers
from tests.traffic import ETHERNET, IPV4_TYPE, UDP_PROTOCOL, ipv4_packet, udp_datagram, with_link

SECOND = 10**9


class Everything(NF):
    """Keeps a state of everything that can be merged, per destination."""

    key = destination

    class State:
        packets: Sum[u64]
        bytes: Sum[u32]
        shortest: Min[u16]
        longest: Max[u16]
        smallest: Min[u64]
        largest: Max[u64]
        least: Min[u8]
        ports: Or[u16]
        odd: Or[flag]
        by_length: Array[Sum[u16], 8]
        first_port: Array[Min[u32], 4]
        seen: Or[Bits[70]]

    def packet(self, pkt, state):
        state.packets += 1
        state.bytes += pkt.length
        state.shortest = min(state.shortest, pkt.length & 0xFFFF)
        state.longest = max(state.longest, pkt.length & 0xFFFF)
        state.smallest = min(state.smallest, pkt.src_port)
        state.largest = max(state.largest, pkt.src_port)
        state.least = min(state.least, pkt.src_port & 0xFF)
        state.ports |= pkt.src_port
        if pkt.src_port & 1:
            state.odd = True
        state.by_length[pkt.length & 7] += 1
        state.first_port[pkt.src_port & 3] = min(state.first_port[pkt.src_port & 3], pkt.src_port)
        state.seen[pkt.src_port & 63] = True
        return PASS


class Count(NF):
    """Counts packets per destination."""

    key = destination

    class State:
        packets: Sum[u64]

    def packet(self, pkt, state):
        state.packets += 1
        return PASS


def block_of(packets: list[tuple[int, int]], start_ns: int = 0) -> FrameBlock:
    """UDP to these destinations, with these source ports; the port gives the length, too."""
    frames = [
        with_link(
            ETHERNET,
            IPV4_TYPE,
            ipv4_packet(0x0A000001, to, UDP_PROTOCOL, udp_datagram(0x0A000001, to, port, 53, bytes(port % 7))),
        )
        for to, port in packets
    ]
    return FrameBlock.from_frames(frames, [start_ns + index for index in range(len(frames))])


def totals(workers: Workers, nf: int = 0) -> dict[int, int]:
    (rows, *_) = workers.engines[0].rows(workers.plan.nfs[nf])
    return {int(row["dst"]): int(row["packets"]) for row in rows}


def few(generator: np.random.Generator, keys: int, count: int) -> list[tuple[int, int]]:
    return [
        (int(to), int(port))
        for to, port in zip(generator.integers(1, keys + 1, count), generator.integers(0, 1 << 16, count), strict=True)
    ]


def expected(blocks: list[list[tuple[int, int]]]) -> dict[int, int]:
    counted: dict[int, int] = {}
    for to, _ in joined(*blocks):
        counted[to] = counted.get(to, 0) + 1
    return counted


@pytest.mark.parametrize("keys", [1, 8, 3000])
def test_eight_workers_lose_nothing_while_the_table_grows(keys, monkeypatch):
    monkeypatch.setattr(table_size, "FIRST_GROUPS", 1)
    workers = Workers(Chain([Count()]), 8)
    generator, sent = np.random.default_rng(keys), []
    for _ in range(12):
        packets = [few(generator, keys, 400) for _ in workers.engines]
        workers.process([block_of(each) for each in packets])
        sent += packets
        workers.check()
        assert totals(workers) == expected(sent)
    (table,) = workers.tables.values()
    assert table.created == table.entries == len(expected(sent))
    assert table.refused == 0


def test_what_workers_have_of_every_type_is_merged():
    workers, alone = Workers(Chain([Everything()]), 4), Workers(Chain([Everything()]), 1)
    generator = np.random.default_rng(1)
    for _ in range(5):
        packets = [few(generator, 300, 200) for _ in workers.engines]
        workers.process([block_of(each) for each in packets])
        for each in packets:
            alone.process([block_of(each)])
        workers.check()
    nf = workers.plan.nfs[0]
    merged, whole = workers.engines[0].rows(nf)[0], alone.engines[0].rows(alone.plan.nfs[0])[0]
    for name in merged.dtype.names:
        assert np.array_equal(merged[name], whole[name]), name
    assert len(merged) == 300


def test_an_entry_of_another_worker_is_written_by_none_but_that():
    """The second worker's packets come to a copy, and from there to the foreign area."""
    workers = Workers(Chain([Count()]), 2)
    first, second = workers.engines
    first.process(block_of([(7, 1)] * 3))
    second.process(block_of([(7, 1)] * 5))
    (areas,) = workers.tables[0].sides[0]._areas
    side = workers.tables[0].sides[0].side
    place = int(np.flatnonzero(areas.tags[: areas.groups * 16])[0])
    words = areas.entries[place * side.entry_bytes :][: side.entry_bytes].view(np.int64)
    foreign = workers.plan.tables[0].foreign.fields[0].foreign_at
    assert words[1] == 3
    assert words[1 + foreign // 8] == 5
    workers.check()
    assert totals(workers) == {7: 8}


def test_without_memory_for_more_new_flows_are_refused(monkeypatch):
    monkeypatch.setattr(table_size, "FIRST_GROUPS", 1)
    workers = Workers(Chain([Count()]), 4, memory=0)
    side = workers.tables[0].sides[0]
    capacity = side.capacity
    packets = [[(number * 1000 + to + 1, 1) for to in range(1000)] for number in range(4)]
    workers.process([block_of(each) for each in packets])
    workers.check()
    table = workers.tables[0]
    assert table.entries == side.capacity == capacity + 3 * BURST
    assert table.entries + table.refused == 4000
    assert sum(totals(workers).values()) == table.entries


def test_a_hundred_times_eight_workers_race_for_the_same_keys(monkeypatch):
    """All come to the same new keys in the same order: who finds is faster than who begins, so they stay together.

    Every time all keys end and begin again; the first time the table grows on the way.
    """
    monkeypatch.setattr(table_size, "FIRST_GROUPS", 1)
    workers = Workers(Chain([Count(timeout="1ms")]), 8)
    packets = [[(to, 1) for to in np.random.default_rng(8).permutation(4000).tolist()]] * len(workers.engines)
    blocks, sent = [block_of(each) for each in packets], expected(packets)
    for number in range(100):
        workers.process(blocks)
        if number % 10 == 0:
            workers.check()
        assert totals(workers) == sent
        workers.settle((number + 1) * SECOND)  # the clock never goes back
        assert workers.tables[0].entries == 0
    workers.check()


@pytest.mark.skipif(not CHECKED, reason="a build with bounds checks stops at each access")
@pytest.mark.parametrize("seed", range(6))
def test_another_worker_may_come_between_any_two_accesses(seed, monkeypatch):
    """In a third of the runs the table grows on the way."""
    monkeypatch.setattr(table_size, "FIRST_GROUPS", 1)
    workers = Workers(Chain([Count(timeout="1ms")]), 4)
    keys = (4, 140, 500)[seed % 3]
    order = np.random.default_rng(seed).permutation(600) % keys + 1
    packets = [[(int(to), 1) for to in order]] * len(workers.engines)
    blocks, sent = [block_of(each) for each in packets], expected(packets)
    for number in range(8):
        workers.interleave(blocks)
        workers.check()
        assert totals(workers) == sent
        workers.settle((number + 1) * SECOND)
        assert workers.tables[0].entries == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_between_ticks_nothing_ends(workers):
    """Not even where a packet comes after the timeout; at a tick the latest packet of any worker counts."""
    several = Workers(Chain([Count(timeout="2s")]), workers)
    first, last = several.engines[0], several.engines[-1]
    first.process(block_of([(1, 1), (2, 1)]))
    first.process(block_of([(1, 1)], 5 * SECOND))
    last.process(block_of([(1, 1)], 6 * SECOND))
    nf = several.plan.nfs[0]
    assert [(row["dst"], row["packets"]) for row in first.rows(nf)[0]] == [(1, 3), (2, 1)]
    several.settle(6 * SECOND)
    assert [(row["dst"], row["packets"]) for row in first.rows(nf)[0]] == [(1, 3)]
    first.process(block_of([(2, 1)], 7 * SECOND))
    several.settle(8 * SECOND)
    assert [(row["dst"], row["packets"]) for row in first.rows(nf)[0]] == [(2, 1)]
    counts = [engine.counters().tables[0] for engine in several.engines]
    assert sum(each.created for each in counts) == 3
    assert sum(each.expired for each in counts) == 2
    assert sum(each.active for each in counts) == 1


class Brief(NF):
    """Its states end before those of Count, for the same destinations."""

    key = destination

    class State:
        packets: Sum[u64]
        shortest: Min[u16]

    def packet(self, pkt, state):
        state.packets += 1
        state.shortest = min(state.shortest, pkt.length & 0xFFFF)
        return PASS


def test_states_of_one_entry_end_each_in_its_time():
    workers = Workers(Chain([Count(timeout="9s"), Brief(timeout="2s")]), 2)
    first, second = workers.engines
    brief = workers.plan.nfs[1]
    first.process(block_of([(1, 1)]))
    second.process(block_of([(1, 6)], SECOND))
    workers.settle(3 * SECOND)
    assert totals(workers) == {1: 2}
    assert len(first.rows(brief)[0]) == 0
    second.process(block_of([(1, 3)] * 2, 4 * SECOND))
    assert totals(workers) == {1: 4}
    assert first.rows(brief)[0][["packets", "shortest"]].tolist() == [(2, 45)]
    assert first.counters().tables[0].created == 1
    workers.settle(14 * SECOND)
    assert workers.tables[0].entries == 0


def test_idle_flows_end_when_all_stand_still(monkeypatch):
    monkeypatch.setattr(table_size, "FIRST_GROUPS", 1)
    workers = Workers(Chain([Count(timeout="2s")]), 4)
    generator = np.random.default_rng(5)
    kept: dict[int, int] = {}
    last: dict[int, int] = {}
    created = 0
    for second in range(10):
        packets = [few(generator, 900, 300) for _ in workers.engines]
        workers.process([block_of(each, second * SECOND) for each in packets])
        for each in packets:
            for index, (to, _) in enumerate(each):
                created += to not in kept
                kept[to] = kept.get(to, 0) + 1
                last[to] = max(last.get(to, 0), second * SECOND + index)
        workers.check()
        clock = second * SECOND + 500
        workers.settle(clock)
        ended = [to for to in kept if clock - last[to] >= 2 * SECOND]
        for to in ended:
            del kept[to], last[to]
        workers.check()
        assert totals(workers) == kept
    (table,) = workers.tables.values()
    assert table.created == created
    assert table.created - table.expired == table.entries == len(kept)
