"""The interpreted engine: one packet after the other through the whole chain, a dict for each table of the plan."""

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fajita.engine.counters import Counters, NFCounters, TableCounters
from fajita.engine.rows import row_dtype, sort_rows
from fajita.io.frames import FrameBlock
from fajita.key import Key, Packing
from fajita.nf import PASS
from fajita.packet import OTHER_REASONS, Layer
from fajita.plan import NFPlan, Plan, TablePlan
from fajita.reference.method import NFView, load_method
from fajita.reference.packet_view import Dropped, PacketView
from fajita.reference.parse import parse
from fajita.reference.record import Record, record_class
from fajita.translation.scope import PLAIN_DROP


class KeyValues(NamedTuple):
    """The values of a key's fields, in their order; family: 4 or 6 where that makes a difference, else 0."""

    family: int
    fields: tuple[int, ...]


@dataclass
class FlowEntry:
    """What a table keeps of a flow: the time of its last packet, and by NF index the state of each that has seen it.

    first: the key's values as the flow's first packet had them.
    """

    last_seen_ns: int
    first: KeyValues
    states: dict[int, Record] = field(default_factory=dict)


class RunningNF:
    """An NF with its worker's variables and what it has counted."""

    def __init__(self, plan: NFPlan) -> None:
        kind = type(plan.nf)
        self.plan = plan
        self.core = record_class("Core", kind.core_fields, plan.nf.core_arrays)()
        self.counters = NFCounters(drops=dict.fromkeys(plan.translated.reasons, 0))
        self.new_state = record_class("State", kind.state_fields, plan.nf.state_arrays)
        self._self = NFView(plan.nf, self.core)
        self._methods = {name: load_method(plan.nf, name) for name in ("packet", "new_flow", "expire")}

    def is_about(self, key: KeyValues) -> bool:
        """Whether an NF with a key is about packets with this one: it may handle IPv4 or IPv6 alone."""
        about = self.plan.nf.about
        return about is None or key.family == {Layer.IPV4: 4, Layer.IPV6: 6}[about]

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a method if the NF has it."""
        method: Callable[..., Any] | None = self._methods[name]
        return method(self._self, *arguments) if method is not None else None


class FlowDict:
    """A table of the plan."""

    def __init__(self, plan: TablePlan, nfs: list[RunningNF]) -> None:
        self.plan = plan
        self.nfs = [nfs[index] for index in plan.nfs]
        self.entries: dict[KeyValues, FlowEntry] = {}
        self.counters = TableCounters()

    def touch(self, values: KeyValues, time_ns: int) -> FlowEntry:
        """The entry of a flow that has a packet now: made if there is none, with states idle for too long ended."""
        key = min(values, turned(values)) if self.plan.key.symmetric else values
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = FlowEntry(time_ns, values)
            self.counters.created += 1
            return entry
        self._expire(entry, time_ns - entry.last_seen_ns)
        if not entry.states:  # the flow has ended and a new one begins in its place
            self.counters.expired += 1
            self.counters.created += 1
            entry.first = values
        entry.last_seen_ns = time_ns
        return entry

    def _expire(self, entry: FlowEntry, idle_ns: int) -> None:
        for nf in self.nfs:
            index, timeout_ns = nf.plan.index, nf.plan.nf.timeout_ns
            if index in entry.states and timeout_ns is not None and idle_ns >= timeout_ns:
                nf.call("expire", entry.states.pop(index))

    def rows(self, nf: NFPlan, *, arrays: bool) -> list[NDArray[np.void]]:
        """The state of an NF by side of the table, one row per entry that has any, sorted by key."""
        return [sort_rows(self._rows_of(side.packing, nf, arrays), side.packing) for side in self.plan.sides]

    def _rows_of(self, packing: Packing, nf: NFPlan, arrays: bool) -> NDArray[np.void]:
        dtype = row_dtype(packing, nf, arrays=arrays)
        is_address = [column.kind == "ipv6" for column in packing.columns]
        rows = []
        for entry in self.entries.values():
            if nf.index in entry.states and entry.first.family == packing.family:
                key = [
                    (value >> 64, value & (1 << 64) - 1) if wide else value
                    for value, wide in zip(entry.first.fields, is_address, strict=True)
                ]
                rows.append((*key, *entry.states[nf.index].kept.values())[: len(dtype.names or ())])
        return np.array(rows, dtype)

    @property
    def bytes(self) -> int:
        """Memory of the dict, its keys, entries and states; small integers that Python shares are left out."""
        total = sys.getsizeof(self.entries)
        for key, entry in self.entries.items():
            total += sys.getsizeof(key) + sys.getsizeof(entry) + sys.getsizeof(entry.states)
            for state in entry.states.values():
                total += sys.getsizeof(state) + sys.getsizeof(state.kept)
                total += sum(sys.getsizeof(state.kept[array]) for array in type(state).arrays)
        return total


def key_values(key: Key, pkt: PacketView) -> KeyValues | None:
    """The packet's key as it stands in the headers now, ports 0 where the protocol has none; None if it has no key."""
    for packing in key.packings:
        if pkt.has(packing.layer):
            values = zip((pkt.key_field(name, packing.family) for name in key.fields), packing.masks, strict=True)
            return KeyValues(packing.family, tuple(value & mask for value, mask in values))
    return None


def turned(values: KeyValues) -> KeyValues:
    """The values of a 5-tuple for the other direction."""
    source, destination, source_port, destination_port, *rest = values.fields
    return KeyValues(values.family, (destination, source, destination_port, source_port, *rest))


class ReferenceEngine:
    """Runs a chain over blocks of frames, in place; the same interface as the compiled engine's."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.nfs = [RunningNF(nf) for nf in plan.nfs]
        self.tables = [FlowDict(table, self.nfs) for table in plan.tables]
        self._counters = Counters(
            nfs=[nf.counters for nf in self.nfs], tables=[table.counters for table in self.tables]
        )

    def process(self, block: FrameBlock) -> None:
        """Run the chain over a block: frames are rewritten in place, verdicts filled in."""
        for index in range(len(block)):
            frame, wire = block.frame(index), int(block.wire[index])
            headers = parse(frame, int(block.link[index]))
            pkt = PacketView(frame, headers, wire, int(block.time_ns[index]))
            seen, goes_on = self._run(pkt)
            if not seen:
                reason = OTHER_REASONS[headers.reason]
                self._counters.other[reason] = self._counters.other.get(reason, 0) + 1
                goes_on = self.plan.settings.other == "pass"
            self._count(wire, goes_on)
            block.verdict[index] = goes_on

    def _count(self, wire: int, goes_on: bool) -> None:
        self._counters.packets_in += 1
        self._counters.bytes_in += wire
        if goes_on:
            self._counters.packets_out += 1
            self._counters.bytes_out += wire

    def _run(self, pkt: PacketView) -> tuple[bool, bool]:
        """Take a packet through the chain: whether an NF was about it, and whether it goes on.

        Keys are read at the start of the segment that looks their table up; the entry is touched when the first NF of
        the table is reached, so that a packet dropped before leaves no trace there.
        """
        keys: dict[int, KeyValues | None] = {}
        touched: dict[int, FlowEntry] = {}
        seen = False
        for segment in self.plan.segments:
            for table in segment.tables:
                keys[table] = key_values(self.plan.tables[table].key, pkt)
            for nf in (self.nfs[index] for index in segment.nfs):
                if nf.plan.table is None:
                    if not pkt.has(nf.plan.layer):
                        continue
                    pkt.forward = True
                    arguments: tuple[Any, ...] = (pkt,)
                else:
                    key = keys[nf.plan.table]
                    if key is None or not nf.is_about(key):
                        continue
                    if nf.plan.table not in touched:
                        touched[nf.plan.table] = self.tables[nf.plan.table].touch(key, pkt.time_ns)
                    entry = touched[nf.plan.table]
                    pkt.forward = key == entry.first
                    arguments = (pkt, _state_of(nf, entry, pkt))
                seen = True
                if not _goes_on(nf, nf.call("packet", *arguments)):
                    return True, False
        return seen, True

    def counters(self) -> Counters:
        """What has been counted so far."""
        for table in self.tables:
            table.counters.active = len(table.entries)
        return copy.deepcopy(self._counters)

    def rows(self, nf: NFPlan, *, arrays: bool = True) -> list[NDArray[np.void]]:
        """The state of an NF by side of its table, one row per entry that has any, sorted by key."""
        assert nf.table is not None
        return self.tables[nf.table].rows(nf, arrays=arrays)

    def core(self, nf: NFPlan, *, arrays: bool = True) -> dict[str, Any]:
        """The variables of an NF's worker."""
        kept = self.nfs[nf.index].core.kept
        return {name: copy.copy(kept[name]) for name in kept if arrays or name not in nf.nf.core_arrays}

    def table_memory(self) -> list[tuple[int, int]]:
        """Entries and bytes of each table; a dict has no capacity of its own."""
        return [(len(table.entries), table.bytes) for table in self.tables]


def _state_of(nf: RunningNF, entry: FlowEntry, pkt: PacketView) -> Record:
    """The NF's state of a flow; a new one, filled by new_flow, for the first packet that reaches the NF."""
    state = entry.states.get(nf.plan.index)
    if state is None:
        state = entry.states[nf.plan.index] = nf.new_state()
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
