"""The memory of a flow table: what it takes, how it grows, and its entries as rows."""

import numpy as np
import pytest

from fajita import NF, PASS, Chain, FrameBlock, five_tuple, flag, i8, i64, ipv4, u16, u64
from fajita.engine.compiled import CompiledEngine
from fajita.engine.tables import FlowTable
from fajita.kernel import table as layout
from fajita.kernel.table import FILL, GROUP
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.source_counter import SourceCounter
from tests.traffic import Traffic, many_flows


def new_table(chain: Chain) -> tuple[FlowTable, np.ndarray]:
    descriptor = np.zeros(layout.DESCRIPTOR_BYTES // 8, np.int64)
    plan = chain.plan.tables[0]
    return FlowTable(plan, plan.sides[0], descriptor), descriptor


@pytest.fixture(scope="module")
def counting():
    return Chain([FlowCounter()])


def test_a_new_table_is_empty(counting):
    table, _ = new_table(counting)
    assert (table.entries, table.created, table.expired) == (0, 0, 0)
    assert len(table.rows(counting.plan.nfs[0])) == 0
    tags, entries = table.areas()
    assert not tags.any()
    assert table.capacity % FILL == 0
    assert entries.nbytes >= table.capacity // FILL * GROUP * counting.plan.tables[0].sides[0].entry_bytes
    assert table.bytes == tags.nbytes + entries.nbytes


def test_no_two_tables_have_the_same_secrets(counting):
    words = [new_table(counting)[1] for _ in range(8)]
    secrets = {int(descriptor[at // 8]) for descriptor in words for at in (layout.SECRET_0, layout.SECRET_1)}
    assert len(secrets) == 16


def test_growing_doubles_it_and_keeps_the_old_one_until_it_has_moved(counting):
    table, descriptor = new_table(counting)
    capacity, old = table.capacity, table.areas()
    table.grow()
    assert table.capacity == 2 * capacity
    assert descriptor[layout.OLD_TAGS // 8] == old[0].ctypes.data
    assert len(table.areas()) == 4
    table.free_moved()
    assert len(table.areas()) == 4
    descriptor[layout.OLD_TAGS // 8] = 0  # as the kernel says that all has moved
    table.free_moved()
    assert len(table.areas()) == 2
    assert descriptor[layout.TAGS // 8] == table.areas()[0].ctypes.data != old[0].ctypes.data


def process(engine: CompiledEngine, traffic: Traffic) -> None:
    for block in traffic.blocks():
        engine.process(block)


def expected_rows(flows: int, packets: int) -> list[tuple[int, ...]]:
    """What a flow counter has of many_flows."""
    keys = [(0x0A000000 + flow % 4096, 0xC0000200 + flow // 7, flow & 0xFFFF, 53, 17) for flow in range(flows)]
    return [(*key, packets, 64 * packets, 0, 0, 0, 0) for key in sorted(keys)]


def test_no_growth_begins_while_another_is_under_way(counting, monkeypatch):
    """One new flow per packet, from the first table on: the most that a kernel can be asked for."""
    grown, grow = [], FlowTable.grow

    def checked_grow(table: FlowTable) -> None:
        descriptor = table._words
        assert descriptor[layout.OLD_TAGS // 8] == 0
        assert table.entries <= table.capacity
        grown.append(table.capacity)
        grow(table)

    monkeypatch.setattr(FlowTable, "grow", checked_grow)
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
