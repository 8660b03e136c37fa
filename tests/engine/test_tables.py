"""The memory of a flow table: what it takes, how it grows, and its entries as rows."""

import numpy as np
import pytest

from fajita import NF, PASS, Chain, FrameBlock, InputError, five_tuple, flag, i8, i64, ipv4, u16, u64
from fajita.engine import side as side_memory
from fajita.engine import tables
from fajita.engine.compiled import CompiledEngine
from fajita.engine.memory import Budget
from fajita.engine.side import SideMemory
from fajita.engine.tables import FlowTable
from fajita.kernel import table as layout
from fajita.kernel.slots import TABLE_BYTES
from fajita.kernel.table import FILL, GROUP
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.source_counter import SourceCounter
from tests.traffic import Traffic, many_flows

MIB = 1 << 20
ENOUGH = 1 << 40


class Made:
    """A new table of a chain's only key, its descriptors and its budget."""

    def __init__(self, chain: Chain, memory: int = ENOUGH, capacity: int | None = None) -> None:
        plan, self.budget = chain.plan, Budget(memory)
        self.sides = np.zeros((len(plan.sides), layout.DESCRIPTOR_BYTES // 8), np.int64)
        self.table = FlowTable(plan.tables[0], np.zeros(TABLE_BYTES // 8, np.int64), self.sides, self.budget, capacity)
        self.first = self.table.sides[0]

    def word(self, offset: int, side: int = 0) -> int:
        return int(self.sides[side, offset // 8])

    def say(self, offset: int, value: int) -> None:
        """As the kernel says of the first side."""
        self.sides[0, offset // 8] = value


@pytest.fixture(scope="module")
def counting():
    return Chain([FlowCounter()])


@pytest.fixture(scope="module")
def ending():
    return Chain([FlowCounter(timeout="1s")])


def test_a_new_table_is_empty(counting):
    made = Made(counting)
    table = made.table
    assert (table.entries, table.created, table.expired, table.evicted, table.refused) == (0, 0, 0, 0, 0)
    assert [len(entries.keys) for entries in table.read()] == [0, 0]
    for side in table.sides:
        tags, entries = side.areas()
        assert not tags.any()
        assert side.capacity % FILL == 0
        assert entries.nbytes >= side.capacity // FILL * GROUP * side.side.entry_bytes
        assert side.bytes == tags.nbytes + entries.nbytes
    assert table.bytes == sum(side.bytes for side in table.sides) == made.budget.taken_bytes


def test_slots_are_there_for_all_entries_and_paid_for(ending):
    made = Made(ending)
    chunk = 2 * MIB
    assert made.table.bytes == sum(side.bytes for side in made.table.sides) + chunk
    assert made.budget.taken_bytes >= made.table.bytes


def test_no_two_sides_have_the_same_secrets(counting):
    made = [Made(counting) for _ in range(4)]
    words = (layout.SECRET_0, layout.SECRET_1)
    assert len({each.word(at, side) for each in made for at in words for side in (0, 1)}) == 16


def test_growing_doubles_a_side_and_keeps_the_old_memory_until_it_has_moved(counting):
    made = Made(counting)
    side, before = made.first, made.budget.taken_bytes
    capacity, old = side.capacity, side.areas()
    made.table.attend(0)  # the memory for it is made ready
    assert side.capacity == capacity
    assert len(side.areas()) == 4
    assert made.word(layout.PAGES_LEFT) > 0
    made.say(layout.COUNT, capacity)
    made.table.attend(0)
    assert side.capacity == 2 * capacity
    assert made.word(layout.OLD_TAGS) == old[0].ctypes.data
    made.table.free_moved()
    assert len(side.areas()) == 4
    assert made.budget.taken_bytes > before
    made.say(layout.OLD_TAGS, 0)  # as the kernel says that all has moved
    made.table.free_moved()
    assert len(side.areas()) == 2
    assert made.word(layout.TAGS) == side.areas()[0].ctypes.data != old[0].ctypes.data
    assert made.budget.taken_bytes == made.table.bytes


def test_the_old_memory_is_given_back_before_more_is_taken(counting):
    """So that a budget does for the half in use and the one to come."""
    made = Made(counting)
    for _ in range(3):
        made.table.attend(0)
        made.say(layout.COUNT, made.first.capacity)
        made.table.attend(0)
        made.say(layout.OLD_TAGS, 0)
        assert len(made.first.areas()) == 4
    made.table.attend(0)
    assert made.budget.taken_bytes == made.table.bytes


def test_a_side_that_may_not_grow_takes_what_it_can_hold(counting):
    made = Made(counting, memory=Made(counting).budget.taken_bytes)
    capacity = made.first.capacity
    made.table.attend(0)
    assert made.word(layout.MOST) == made.first.capacity == capacity
    assert made.word(layout.ATTENTION) > 1 << 62
    assert made.word(layout.MOST, side=1) > 1 << 62  # the other has not asked yet
    assert made.budget.taken_bytes == made.budget.limit_bytes


def test_a_side_for_which_the_machine_has_no_memory_does_not_grow(counting, monkeypatch):
    made = Made(counting)
    before = made.budget.taken_bytes

    def nothing(nbytes):
        raise InputError("no memory")

    monkeypatch.setattr(side_memory, "huge_pages", nothing)
    made.table.attend(0)
    assert made.word(layout.MOST) == made.first.capacity
    assert made.budget.taken_bytes == before
    with pytest.raises(InputError, match="no memory"):
        Made(counting)


def test_without_memory_for_slots_a_table_takes_as_many_entries_as_it_has_slots(ending, monkeypatch):
    made = Made(ending)
    monkeypatch.setattr(tables, "_CHUNK_SLOTS", 1)  # the chunks that it has are fewer than the entries to come

    def nothing(nbytes):
        raise InputError("no memory")

    monkeypatch.setattr(tables, "huge_pages", nothing)
    made.table.attend(0)
    assert made.table.capacity == 1
    with pytest.raises(InputError, match="no memory"):
        Made(ending)


@pytest.mark.parametrize("capacity", [1, 768, 769, 10_000])
def test_a_fixed_capacity_is_that_and_both_sides_can_have_all_of_it(ending, capacity):
    made = Made(ending, capacity=capacity)
    assert made.table.capacity == capacity
    for number, side in enumerate(made.table.sides):
        assert side.capacity >= capacity
        assert side.areas()[1].nbytes >= capacity * 16 // 12 * side.side.entry_bytes
        assert made.word(layout.ATTENTION, number) > 1 << 62  # it never grows


def process(engine: CompiledEngine, traffic: Traffic) -> None:
    for block in traffic.blocks():
        engine.process(block)


def expected_rows(flows: int, packets: int) -> list[tuple[int, ...]]:
    """What a flow counter has of many_flows."""
    keys = [(0x0A000000 + flow % 4096, 0xC0000200 + flow // 7, flow & 0xFFFF, 53, 17) for flow in range(flows)]
    return [(*key, packets, 64 * packets, 0, 0, 0, 0) for key in sorted(keys)]


def test_no_growth_begins_while_another_is_under_way(counting, monkeypatch):
    """One new flow per packet, from the first table on: the most that a kernel can be asked for."""
    grown, begin = [], SideMemory._begin_to_move

    def checked(side: SideMemory) -> None:
        assert side._words[layout.OLD_TAGS // 8] == 0
        assert side.entries <= side.capacity
        grown.append(side.capacity)
        begin(side)

    monkeypatch.setattr(SideMemory, "_begin_to_move", checked)
    engine = CompiledEngine(counting.plan)
    traffic = many_flows(30_000, repeats=1)
    process(engine, traffic)
    assert grown == [grown[0] * 2**step for step in range(len(grown))]
    assert len(grown) >= 5
    assert engine.rows(counting.plan.nfs[0])[0].tolist() == expected_rows(30_000, 1)


@pytest.mark.parametrize("flows", [700, 760, 800, 1000, 1500])
def test_rows_are_whole_at_any_moment_of_a_growth(counting, flows):
    engine = CompiledEngine(counting.plan)
    process(engine, many_flows(flows, repeats=1))
    assert engine.rows(counting.plan.nfs[0])[0].tolist() == expected_rows(flows, 1)
    assert engine.counters().tables[0].active == flows


def test_blocks_of_one_packet_grow_a_table_too(counting):
    engine = CompiledEngine(counting.plan)
    block = next(many_flows(1000, repeats=1).blocks())
    for index in range(len(block)):
        columns = (block.address, block.captured, block.wire, block.time_ns, block.link, block.verdict)
        engine.process(FrameBlock(*(column[index : index + 1] for column in columns), memory=block.memory))
    assert engine.rows(counting.plan.nfs[0])[0].tolist() == expected_rows(1000, 1)


class Everything(NF):
    """Keeps a state of every type."""

    key = five_tuple

    class State:
        small: i8
        is_odd: flag
        port: u16
        address: ipv4
        signed: i64
        large: u64

    def packet(self, pkt, state):
        state.small = 0 - (pkt.src_port & 0xFF)
        state.is_odd = pkt.src_port & 1 == 1
        state.port = pkt.src_port
        state.address = pkt.dst
        state.signed = 0 - pkt.src_port
        state.large = 0 - 1
        return PASS


class DropsOdd(NF):
    """So that some flows never reach what follows."""

    def packet(self, pkt):
        return pkt.drop("odd") if pkt.src_port & 1 else PASS


def test_rows_show_each_type_of_state():
    chain = Chain([Everything()])
    engine = CompiledEngine(chain.plan)
    process(engine, many_flows(300, repeats=1))
    rows = engine.rows(chain.plan.nfs[0])[0]
    assert len(rows) == 300
    for row in rows:
        port = int(row["src_port"])
        assert row["small"] == np.array(-port).astype(np.int8)
        assert (row["is_odd"], row["port"], row["signed"]) == (port % 2, port, -port)
        assert (row["address"], row["large"]) == (row["dst"], (1 << 64) - 1)


def test_an_nf_has_rows_of_the_entries_that_it_has_state_in():
    chain = Chain([FlowCounter(name="before"), DropsOdd(), FlowCounter(name="after"), SourceCounter()])
    engine = CompiledEngine(chain.plan)
    process(engine, many_flows(200, repeats=2))
    before, after = (engine.rows(chain.plan.nfs[index])[0] for index in (0, 2))
    assert chain.plan.nfs[0].table == chain.plan.nfs[2].table
    assert before.tolist() == expected_rows(200, 2)
    assert after.tolist() == [row for row in expected_rows(200, 2) if row[2] % 2 == 0]
    assert len(engine.rows(chain.plan.nfs[3])[0]) == 100
