"""The interpreted engine: one packet after the other through the whole chain, a dict for each table of the plan."""

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.engine.counters import Counters
from fajita.engine.merging import merge_core
from fajita.integers import wrap
from fajita.io.frames import FrameBlock
from fajita.key import Packing
from fajita.lifetime import FIRST_CLOCK_NS, PACKETS_PER_SWEEP
from fajita.nf import PASS
from fajita.packet import OTHER_REASONS
from fajita.plan import NFPlan, Plan
from fajita.reference.flow_key import KeyValues, key_values
from fajita.reference.flow_table import FlowEntry, FlowTable
from fajita.reference.fragments import FirstFragment, Fragments
from fajita.reference.integer import Int64
from fajita.reference.packet_view import Dropped, PacketView
from fajita.reference.parse import Headers, parse
from fajita.reference.record import Record
from fajita.reference.running_nf import RunningNF
from fajita.reference.tunnels import parse_inner
from fajita.translation.scope import PLAIN_DROP


class ReferenceEngine:
    """Runs a chain over blocks of frames, in place; the same interface as the compiled engine's."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.parse = parse_inner if plan.settings.inner else parse
        self.nfs = [RunningNF(nf, _packings(plan, nf)) for nf in plan.nfs]
        self.tables = [FlowTable(table, self.nfs, plan.settings.capacity) for table in plan.tables]
        self.fragments = Fragments(plan)
        self._clock_ns = FIRST_CLOCK_NS
        self._counters = Counters(
            fragments=self.fragments.counters,
            nfs=[nf.counters for nf in self.nfs],
            tables=[table.counters for table in self.tables],
        )

    def process(self, block: FrameBlock) -> None:
        """Run the chain over a block: frames are rewritten in place, verdicts filled in."""
        for index in range(len(block)):
            frame, wire, time_ns = block.frame(index), int(block.wire[index]), int(block.time_ns[index])
            headers, first = self._parse(frame, int(block.link[index]), time_ns)
            self._clock_ns = max(self._clock_ns, wrap(time_ns))
            if self._counters.packets_in % PACKETS_PER_SWEEP == 0:
                for table in self.tables:
                    table.sweep(self._clock_ns)
            goes_on = headers is not None and self._process(PacketView(frame, headers, wire, time_ns), first)
            self._count(wire, goes_on)
            block.verdict[index] = goes_on

    def _parse(self, frame: memoryview, link: int, time_ns: int) -> tuple[Headers | None, FirstFragment | None]:
        """The headers, of a fragment with what its first tells; None for one that the chain drops."""
        headers = self.parse(frame, link)
        return self.fragments.follow(headers, Int64(time_ns)) if self.plan.datagrams else (headers, None)

    def _process(self, pkt: PacketView, first: FirstFragment | None) -> bool:
        """Whether the packet goes on."""
        seen, goes_on = self._run(pkt, first)
        if not seen:
            reason = OTHER_REASONS[pkt.reason]
            self._counters.other[reason] = self._counters.other.get(reason, 0) + 1
            goes_on = self.plan.settings.other == "pass"
        return goes_on

    def _count(self, wire: int, goes_on: bool) -> None:
        self._counters.packets_in += 1
        self._counters.bytes_in += wire
        if goes_on:
            self._counters.packets_out += 1
            self._counters.bytes_out += wire

    def _run(self, pkt: PacketView, first: FirstFragment | None) -> tuple[bool, bool]:
        """Take a packet through the chain: whether an NF was about it, and whether it goes on.

        Keys are read at the start of the segment that looks their table up; the entry is touched when the first NF of
        the table is reached, so that a packet dropped before leaves no trace there. A packet whose flow may have no
        entry, as the table is full, is dropped there or passes the NFs of the table by.
        """
        keys: dict[int, KeyValues | None] = {}
        touched: dict[int, FlowEntry | None] = {}
        seen = False
        for number, segment in enumerate(self.plan.segments):
            if first is not None:
                first.enter(number, pkt)
            for table in (index for index in segment.tables if self.plan.tables[index].link is None):
                keys[table] = key_values(self.plan.tables[table].key, pkt)
            for nf in (self.nfs[index] for index in segment.nfs):
                if nf.plan.table is None:
                    if not pkt.has(nf.plan.layer):
                        continue
                    pkt.forward = True
                    arguments: tuple[Any, ...] = (pkt,)
                else:
                    if nf.plan.table not in keys:  # a linked table, whose key is read where its first NF runs
                        keys[nf.plan.table] = key_values(self.plan.tables[nf.plan.table].key, pkt)
                    key = keys[nf.plan.table]
                    if key is None or not nf.is_about(key.family):
                        continue
                    seen = True
                    if nf.plan.table not in touched:
                        touched[nf.plan.table] = self.tables[nf.plan.table].touch(key, self._clock_ns)
                    entry = touched[nf.plan.table]
                    if entry is None:
                        if self.plan.settings.full == "drop":
                            return True, False
                        continue
                    pkt.forward = key == entry.first
                    arguments = (pkt, _state_of(nf, entry, pkt))
                seen = True
                if not _goes_on(nf, nf.call("packet", *arguments)):
                    return True, False
        return seen, True

    def drain(self) -> None:
        """End all entries of each table with an NF that has `expire`, in the order of their keys."""
        for table in self.tables:
            if self.plan.is_drained(table.plan):
                table.drain()

    def counters(self) -> Counters:
        """What has been counted so far."""
        for table in self.tables:
            table.counters.active = len(table.entries)
        for nf in self.nfs:
            nf.counters.records = nf.records.count
        return copy.deepcopy(self._counters)

    def rows(self, nf: NFPlan, *, arrays: bool = True) -> list[NDArray[np.void]]:
        """The state of an NF by side of its table, one row per entry that has any, sorted by key."""
        assert nf.table is not None
        return self.tables[nf.table].rows(nf, arrays=arrays)

    def take_records(self, nf: NFPlan) -> list[NDArray[np.void]]:
        """What an NF that may emit has emitted since the last call, by side of its table, in this order."""
        return self.nfs[nf.index].records.take()

    def core(self, nf: NFPlan, *, arrays: bool = True) -> dict[str, Any]:
        """The variables of an NF: one value of those that it declares, a list with each worker's of others."""
        return merge_core(nf, [self.variables(nf, arrays=arrays)])

    def variables(self, nf: NFPlan, *, arrays: bool = True) -> dict[str, Any]:
        """Those of the worker."""
        kept = self.nfs[nf.index].core.kept
        return {name: copy.copy(kept[name]) for name in kept if arrays or name not in nf.nf.core_arrays}

    def table_memory(self) -> list[tuple[int, int]]:
        """Entries and bytes of each table; a dict has no capacity of its own."""
        return [(len(table.entries), table.bytes) for table in self.tables]

    @property
    def memory_bytes(self) -> int | None:
        """Python's own memory has no limit here."""
        return None


def _packings(plan: Plan, nf: NFPlan) -> list[Packing]:
    return [] if nf.table is None else [side.packing for side in plan.tables[nf.table].sides]


def _state_of(nf: RunningNF, entry: FlowEntry, pkt: PacketView) -> Record:
    """The NF's state of a flow; a new one, filled by new_flow, for the first packet that reaches the NF."""
    state = entry.states.get(nf.plan.index)
    if state is None:
        state = entry.states[nf.plan.index] = nf.new_state()
        nf.records.begin(state, entry.first)
        nf.call("new_flow", pkt, state)
    return state


def _goes_on(nf: RunningNF, verdict: Any) -> bool:
    """Count what an NF decided about a packet."""
    nf.counters.received += 1
    if verdict == PASS:
        return True
    reason = verdict.reason if isinstance(verdict, Dropped) else PLAIN_DROP
    nf.counters.drops[reason] += 1
    return False
