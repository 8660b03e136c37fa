"""Records in both engines: what is emitted, in which order, and that none is lost where buffers are too small."""

import numpy as np
import pytest

from fajita import NF, PASS, Chain, FrameBlock, Packet, connection, five_tuple, source, u64
from fajita.engine import records
from fajita.engine.compiled import CompiledEngine
from fajita.kernel.layout import BURST
from fajita.kernel.records import EXPIRES_PER_PACKET, place_records, records_per_burst
from fajita.lifetime import SWEPT_AT_ONCE
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.source_counter import SourceCounter
from fajita.reference import ReferenceEngine
from tests.nfs.running import both_engines
from tests.nfs.test_connection import segment
from tests.traffic import many_flows


class Tells(NF):
    """Emits at every opportunity, with a number that goes up."""

    key = five_tuple
    keys = (connection, source)

    class State:
        number: u64
        by: u64

    class Core:
        emitted: u64

    def new_flow(self, pkt: Packet, state: State) -> None:
        state.number = self.core.emitted
        state.by = 1
        self.emit(state)
        self.core.emitted += 1

    def packet(self, pkt: Packet, state: State) -> int:
        state.number = self.core.emitted
        state.by = 2
        self.emit(state)
        state.number += 1
        if pkt.src_port & 1:
            self.emit(state)
            self.core.emitted += 1
        self.core.emitted += 1
        return PASS

    def expire(self, state: State) -> None:
        state.number = self.core.emitted
        state.by = 3
        self.emit(state)
        self.core.emitted += 1


class Pauses(NF):
    """Stores a field only where a parameter wants it, and reads it anyhow."""

    key = source

    class Params:
        counts: bool = False

    class State:
        packets: u64
        unused: u64
        seen: u64

    def packet(self, pkt: Packet, state: State) -> int:
        if self.counts:
            state.packets += 1
        state.seen = state.packets + state.unused + 1
        return PASS


def frames(count: int) -> list[bytes]:
    """Both families, some flows again and again."""
    pairs = [("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2"), ("10.0.0.2", "10.0.0.1")]
    return [segment(*pairs[number % 3], number % 5, 80) for number in range(count)]


def numbers(engine, nf: int = 0) -> list[int]:
    sides = engine.take_records(engine.plan.nfs[nf])
    return sorted(int(row["number"]) for side in sides for row in side)


@both_engines
def test_records_are_of_the_moment_and_in_order(engine):
    chain = Chain([Tells(timeout="1us")])
    running = engine(chain.plan)
    running.process(FrameBlock.from_frames([segment("10.0.0.1", "10.0.0.2", 1, 80)] * 3, [0, 1, 1001]))
    ipv4, ipv6 = running.take_records(chain.plan.nfs[0])
    assert len(ipv6) == 0
    told = [(int(row["by"]), int(row["number"])) for row in ipv4]
    assert told == [(1, 0), (2, 1), (2, 2), (2, 3), (2, 4), (3, 5), (1, 6), (2, 7), (2, 8)]
    assert set(ipv4["src_port"]) == {1}
    assert running.counters().nfs[0].records == 9


@both_engines
def test_each_record_is_handed_over_once(engine):
    chain = Chain([Tells(), SourceCounter()])
    running = engine(chain.plan)
    seen: list[int] = []
    for start in range(0, 60, 20):
        running.process(FrameBlock.from_frames(frames(60)[start : start + 20]))
        seen += numbers(running)
        assert numbers(running) == []
    assert seen == list(range(len(seen)))
    assert [nf.records for nf in running.counters().nfs] == [len(seen), 0]


def test_the_room_a_burst_needs_is_counted_by_what_stands_in_the_methods():
    tells, counts, silent = Chain([Tells(), FlowCounter(records=True), FlowCounter(name="silent")]).plan.nfs
    assert tells.translated.emits == {"packet": 2, "new_flow": 1, "expire": 1}
    ends = BURST * EXPIRES_PER_PACKET + SWEPT_AT_ONCE
    assert records_per_burst(tells.translated) == BURST * 3 + ends
    assert records_per_burst(counts.translated) == ends
    assert not silent.translated.may_emit


def test_there_is_a_buffer_for_each_family_and_none_for_an_nf_that_cannot_emit():
    plan = Chain([FlowCounter(), Tells(), FlowCounter(name="other", records=True), SourceCounter()]).plan
    places = [(place.nf.nf.name, place.side.packing.family) for place in place_records(plan)]
    assert places == [("tells", 4), ("other", 4), ("tells", 6), ("other", 6)]
    assert place_records(Chain([FlowCounter(), SourceCounter()]).plan) == ()


@pytest.mark.parametrize("size", [0, 20_000])
def test_buffers_that_are_too_small_are_emptied_in_the_middle_of_a_block(monkeypatch, size):
    """Of size 0 they hold one burst, so that the kernel returns before every other."""
    chain = Chain(
        [
            Tells(timeout="3us"),
            FlowCounter(timeout="2us", records=True),
            Tells(name="hosts", key="source", timeout="1us"),
            SourceCounter(),
        ]
    )
    monkeypatch.setattr(records, "BUFFER_BYTES", size)
    emptied, empty = [], records.RecordBuffers.empty

    def counted(self):
        emptied.append(self)
        empty(self)

    monkeypatch.setattr(records.RecordBuffers, "empty", counted)
    engines = [CompiledEngine(chain.plan), ReferenceEngine(chain.plan)]
    # Flows enough for the tables to grow meanwhile.
    traffic = [*frames(1000), *many_flows(2000, repeats=2).frames, *frames(3)]
    for engine in engines:
        engine.process(FrameBlock.from_frames(traffic, [500 * index for index in range(len(traffic))]))
    assert len(emptied) > (len(traffic) // (2 * BURST) if size == 0 else 10)
    compiled, reference = engines
    assert compiled.counters() == reference.counters()
    for nf in chain.plan.nfs[:3]:
        pairs = list(zip(compiled.take_records(nf), reference.take_records(nf), strict=True))
        assert len(pairs) == 2
        for ours, theirs in pairs:
            assert len(ours) > 100
            assert np.array_equal(ours, theirs)
    assert compiled.core(chain.plan.nfs[0]) == reference.core(chain.plan.nfs[0])


def test_a_table_that_cannot_grow_emits_for_those_it_took():
    engine = CompiledEngine(Chain([Tells()]).plan, memory_bytes=8 << 20)
    engine.process(FrameBlock.from_frames(many_flows(2000, repeats=1).frames))
    (table,) = engine.counters().tables
    assert 0 < table.created == 2000 - table.refused < 2000
    assert numbers(engine) == list(range(engine.counters().nfs[0].records))
    assert engine.counters().nfs[0].records == table.created * 2 + table.created // 2


@both_engines
@pytest.mark.parametrize(("counts", "seen"), [(False, 1), (True, 4)])
def test_a_field_that_nothing_stores_is_zero(engine, counts, seen):
    chain = Chain([Pauses(counts=counts)])
    running = engine(chain.plan)
    running.process(FrameBlock.from_frames([segment("10.0.0.1", "10.0.0.2", 1, 80)] * 3))
    (row,) = running.rows(chain.plan.nfs[0])[0].tolist()
    assert row[1:] == (3 if counts else 0, 0, seen)
    assert list(chain.plan.nfs[0].offsets) == (["packets", "seen"] if counts else ["seen"])
