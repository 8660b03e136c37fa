"""A flow table of the interpreted engine: a dict from keys to entries, and the slots that entries have.

When entries end, and which, is fajita.lifetime's; in which order, what the slots say: an entry gets the slot that was
given back last, or else a new one behind all others.
"""

import sys
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fajita.engine.counters import TableCounters
from fajita.engine.rows import row_dtype, sort_rows
from fajita.integers import wrap
from fajita.key import Packing
from fajita.lifetime import EXAMINED_PER_EVICTION, FIRST_CLOCK_NS, SWEPT_AT_ONCE, next_due
from fajita.nf import DRAINED, EVICTED, EXPIRE_IN, IDLE
from fajita.plan import NFPlan, TablePlan
from fajita.reference.flow_key import KeyValues, turned
from fajita.reference.record import Record
from fajita.reference.records import make_row
from fajita.reference.running_nf import RunningNF


@dataclass
class FlowEntry:
    """What a table keeps of a flow: the clock at its last packet, and by NF index the state of each that has seen it.

    key: what the table finds it by. first: the key's values as the flow's first packet had them. examined_ns: the time
    of its last packet when an eviction last looked at it.
    """

    key: KeyValues
    first: KeyValues
    slot: int
    last_seen_ns: int
    examined_ns: int
    states: dict[int, Record] = field(default_factory=dict)


class FlowTable:
    """A table of the plan. capacity: entries at most."""

    def __init__(self, plan: TablePlan, nfs: list[RunningNF], capacity: int | None) -> None:
        self.plan, self.capacity = plan, capacity
        self.nfs = [nfs[index] for index in plan.nfs]
        self.entries: dict[KeyValues, FlowEntry] = {}
        self.counters = TableCounters()
        self._slots: list[FlowEntry | None] = []
        self._free_slots: list[int] = []
        self._hand = self._evictor = 0
        self._due_ns = FIRST_CLOCK_NS

    def touch(self, values: KeyValues, clock_ns: int) -> FlowEntry | None:
        """The entry of a flow that has a packet now; None if it may have none.

        States idle for too long end before that, unless they do so at ticks alone.
        """
        key = min(values, turned(values)) if self.plan.key.symmetric else values
        entry = self.entries.get(key)
        if entry is None:
            return self._begin(key, values, clock_ns)
        if not self.plan.ends_at_ticks:
            self._expire(entry, clock_ns)
        if not entry.states:  # the flow has ended and a new one begins in its place
            self.counters.expired += 1
            self.counters.created += 1
            entry.first = values
        entry.last_seen_ns = clock_ns
        return entry

    def find(self, values: KeyValues) -> FlowEntry | None:
        """The entry of a flow that an ICMP error is about, as it is; None if there is none."""
        return self.entries.get(min(values, turned(values)) if self.plan.key.symmetric else values)

    def living_state(self, entry: FlowEntry, nf: RunningNF, clock_ns: int) -> Record | None:
        """The state that an NF has in an entry and that has not been idle for too long."""
        state = entry.states.get(nf.plan.index)
        return None if state is None or self._is_idle(entry, nf, state, clock_ns) else state

    def _begin(self, key: KeyValues, values: KeyValues, clock_ns: int) -> FlowEntry | None:
        if self._is_full() and self.plan.evicts:
            self._make_room()
        if self._is_full():
            self.counters.refused += 1
            return None
        if not self._free_slots:
            self._free_slots.append(len(self._slots))
            self._slots.append(None)
        entry = FlowEntry(key, values, self._free_slots.pop(), clock_ns, clock_ns)
        self._slots[entry.slot] = self.entries[key] = entry
        self.counters.created += 1
        return entry

    def _is_full(self) -> bool:
        return self.capacity is not None and len(self.entries) >= self.capacity

    def _remove(self, entry: FlowEntry) -> None:
        del self.entries[entry.key]
        self._slots[entry.slot] = None
        self._free_slots.append(entry.slot)

    def _expire(self, entry: FlowEntry, clock_ns: int) -> None:
        """End the states that have been idle for too long."""
        for nf in self.nfs:
            state = entry.states.get(nf.plan.index)
            if state is not None and self._is_idle(entry, nf, state, clock_ns):
                nf.call("expire", entry.states.pop(nf.plan.index))

    @staticmethod
    def _is_idle(entry: FlowEntry, nf: RunningNF, state: Record, clock_ns: int) -> bool:
        if not nf.plan.ends_idle:
            return False
        longest_ns = state.kept.get(EXPIRE_IN, 0) or nf.plan.timeout_ns
        return longest_ns is not None and wrap(clock_ns - entry.last_seen_ns) >= wrap(longest_ns)

    def _end(self, entry: FlowEntry, ended_by: int) -> None:
        """End all states of an entry, and it."""
        for nf in self.nfs:
            if nf.plan.index in entry.states:
                nf.say_why(ended_by)
                nf.call("expire", entry.states.pop(nf.plan.index))
                nf.say_why(IDLE)
        self._remove(entry)

    def sweep(self, clock_ns: int) -> None:
        """Look at the slots that it is time to look at, so many at most, for entries that are idle for too long."""
        if not self.plan.is_swept:
            return
        for _ in range(SWEPT_AT_ONCE):
            if self._due_ns > clock_ns:
                return
            self._due_ns = next_due(self._due_ns, clock_ns, self.plan.round_ns, len(self._slots))
            if self._slots:
                self._look_at_next(clock_ns)

    def _look_at_next(self, clock_ns: int) -> None:
        slot = self._hand if self._hand < len(self._slots) else 0
        self._hand = slot + 1
        entry = self._slots[slot]
        if entry is not None:
            self._end_idle(entry, clock_ns)

    def _make_room(self) -> None:
        """Evict a flow that had no packet since an eviction last looked at it."""
        slot, victim = self._evictor, None
        for _ in range(EXAMINED_PER_EVICTION):
            if slot >= len(self._slots):
                slot = 0
            entry = self._slots[slot]
            slot += 1
            if entry is not None:
                victim = entry
                if entry.last_seen_ns == entry.examined_ns:
                    break
                entry.examined_ns = entry.last_seen_ns
        self._evictor = slot
        if victim is not None:
            self._end(victim, EVICTED)
            self.counters.evicted += 1

    def _end_idle(self, entry: FlowEntry, clock_ns: int) -> None:
        self._expire(entry, clock_ns)
        if not entry.states:
            self._remove(entry)
            self.counters.expired += 1

    def settle(self, clock_ns: int) -> None:
        """End all states that have been idle for too long, in the order of their keys."""
        for entry in self._by_key():
            self._end_idle(entry, clock_ns)

    def drain(self) -> None:
        """End all entries, in the order of their keys."""
        for entry in self._by_key():
            self._end(entry, DRAINED)
            self.counters.expired += 1

    def _by_key(self) -> list[FlowEntry]:
        return sorted(self.entries.values(), key=lambda entry: entry.first)

    def rows(self, nf: NFPlan, *, arrays: bool = True) -> list[NDArray[np.void]]:
        """The state of an NF by side of the table, one row per entry that has any, sorted by key."""
        packings = [side.packing for side in self.plan.sides]
        return [sort_rows(self._rows_of(packing, nf, arrays=arrays), packing) for packing in packings]

    def _rows_of(self, packing: Packing, nf: NFPlan, *, arrays: bool) -> NDArray[np.void]:
        rows = [
            make_row(entry.first, entry.states[nf.index], packing, arrays=arrays)
            for entry in self.entries.values()
            if nf.index in entry.states and entry.first.family == packing.family
        ]
        return np.array(rows, row_dtype(packing, nf, arrays=arrays))

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
