"""A worker of the interpreted engine: NFs with variables of their own, tables, and a packet's way through them."""

import copy
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from fajita.engine.counters import Counters
from fajita.key import Packing
from fajita.lifetime import PACKETS_PER_SWEEP
from fajita.nf import BEFORE_LOOKUP, LOOK_UP, PASS
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


class Worker:
    """Takes packets through a chain. tables: one for each of the plan, filled in by the engine, as workers share some.

    flows: the flow that each state of an NF is of. lands_here: whether a packet with these addresses and ports would
    be one of this worker's.
    """

    def __init__(
        self,
        plan: Plan,
        flows: WeakKeyDictionary[Record, KeyValues],
        lands_here: Callable[[int, int, int, int], bool],
    ) -> None:
        self.plan = plan
        self.parse = parse_inner if plan.settings.inner else parse
        self.nfs = [RunningNF(nf, _packings(plan, nf), flows, lands_here) for nf in plan.nfs]
        self.tables: list[FlowTable] = []
        self.fragments = Fragments(plan)
        self.busy_seconds = 0.0
        #: The last frame as it is now, and the bytes that it has on the wire.
        self.made: tuple[memoryview, int] = memoryview(b""), 0
        self.counters = Counters(fragments=self.fragments.counters, nfs=[nf.counters for nf in self.nfs])

    def process(self, frame: memoryview, link: int, wire: int, time_ns: int, clock_ns: int) -> bool:
        """Take a frame through the chain, rewriting it; whether it goes on."""
        start = time.perf_counter()
        headers, first = self._parse(frame, link, time_ns)
        if self.counters.packets_in % PACKETS_PER_SWEEP == 0:
            for table in self.tables:
                table.sweep(clock_ns)
        self.made = frame, wire
        goes_on = False
        if headers is not None:
            pkt = PacketView(frame, headers, wire, time_ns, lambda changed: self.parse(changed, link))
            goes_on = self._process(pkt, first, clock_ns)
            self.made = pkt.made
        self._count(wire, goes_on)
        self.busy_seconds += time.perf_counter() - start
        return goes_on

    def variables(self, nf: NFPlan, *, arrays: bool = True) -> dict[str, Any]:
        """The variables of an NF; copies of its arrays and maps, where asked for."""
        kept, large = self.nfs[nf.index].core.kept, nf.nf.core_arrays.keys() | nf.nf.core_maps.keys()
        return {name: copy.copy(kept[name]) for name in kept if arrays or name not in large}

    def _parse(self, frame: memoryview, link: int, time_ns: int) -> tuple[Headers | None, FirstFragment | None]:
        """The headers, of a fragment with what its first tells; None for one that the chain drops."""
        headers = self.parse(frame, link)
        return self.fragments.follow(headers, Int64(time_ns)) if self.plan.datagrams else (headers, None)

    def _process(self, pkt: PacketView, first: FirstFragment | None, clock_ns: int) -> bool:
        """Whether the packet goes on."""
        seen, goes_on = self._run(pkt, first, clock_ns)
        if not seen:
            reason = OTHER_REASONS[pkt.reason]
            self.counters.other[reason] = self.counters.other.get(reason, 0) + 1
            goes_on = self.plan.settings.other == "pass"
        return goes_on

    def _count(self, wire: int, goes_on: bool) -> None:
        self.counters.packets_in += 1
        self.counters.bytes_in += wire
        if goes_on:
            self.counters.packets_out += 1
            self.counters.bytes_out += self.made[1]

    def _run(self, pkt: PacketView, first: FirstFragment | None, clock_ns: int) -> tuple[bool, bool]:
        """Take a packet through the chain: whether an NF was about it, and whether it goes on.

        Keys are read at the start of the segment that looks their table up, or after the NF's before_lookup if it has
        one; the entry is touched when the first NF of the table is reached, so that a packet dropped before leaves no
        trace there. A packet whose flow may have no entry, as the table is full, is dropped there or passes the NFs of
        the table by.
        """
        keys: dict[int, KeyValues | None] = {}
        errors: set[int] = set()
        touched: dict[int, FlowEntry | None] = {}
        seen = False
        for number, segment in enumerate(self.plan.segments):
            if first is not None:
                first.enter(self.plan.moment_of(number), pkt)
            for table in (index for index in segment.tables if self.plan.tables[index].link is None):
                keys[table] = self._read_key(table, pkt, errors)
            for nf in (self.nfs[index] for index in segment.nfs):
                if nf.plan.table is None:
                    if not pkt.has(nf.plan.layer):
                        continue
                    pkt.forward = pkt.related = True
                    arguments: tuple[Any, ...] = (pkt,)
                else:
                    if nf.plan.table not in keys:  # a linked table, whose key is read where its first NF runs
                        keys[nf.plan.table] = key_values(self.plan.tables[nf.plan.table].key, pkt)
                    key = keys[nf.plan.table]
                    if key is None or not nf.is_about(key.family):
                        continue
                    if nf.plan.translated.asks:
                        verdict = _ask(nf, pkt)
                        if verdict not in (PASS, LOOK_UP):
                            return True, _goes_on(nf, verdict)
                        if first is not None:
                            first.enter(self.plan.moment_after_asking(nf.plan), pkt)
                        key = self._read_key(nf.plan.table, pkt, errors)
                        if verdict == PASS or key is None:
                            continue
                    seen = True
                    if nf.plan.table in errors:
                        if nf.plan.table not in touched:
                            touched[nf.plan.table] = self.tables[nf.plan.table].find(key)
                        about = touched[nf.plan.table]
                        if not _goes_on(nf, self._run_error(nf, nf.plan.table, about, key, pkt, clock_ns)):
                            return True, False
                        continue
                    if nf.plan.table not in touched:
                        touched[nf.plan.table] = self.tables[nf.plan.table].touch(key, clock_ns)
                    entry = touched[nf.plan.table]
                    if entry is None:
                        if self.plan.settings.full == "drop":
                            return True, False
                        continue
                    pkt.forward, pkt.related = key == entry.first, True
                    arguments = (pkt, _state_of(nf, entry, pkt))
                seen = True
                goes_on = _goes_on(nf, nf.call("packet", *arguments))
                if nf.plan.translated.reshapes:
                    pkt.look_again()
                    first = None
                if not goes_on:
                    return True, False
        return seen, True

    def _read_key(self, table: int, pkt: PacketView, errors: set[int]) -> KeyValues | None:
        """The packet's key for a table, that of what it quotes if it is an ICMP error for that; `errors` says so."""
        plan = self.plan.tables[table]
        quoted = pkt.quoted() if plan.errors else None
        if quoted is None:
            errors.discard(table)
            return key_values(plan.key, pkt)
        errors.add(table)
        return key_values(plan.key, quoted)

    def _run_error(
        self, nf: RunningNF, table: int, entry: FlowEntry | None, key: KeyValues, pkt: PacketView, clock_ns: int
    ) -> Any:
        """The verdict of an NF's `error`. entry: of the flow that the error is about, whose key is `key`.

        An error neither begins a state nor ends one that has been idle for too long, which counts as none.
        """
        state = None if entry is None else self.tables[table].living_state(entry, nf, clock_ns)
        pkt.related = state is not None
        if self.plan.tables[table].key.symmetric:
            # The error goes the other way than what it quotes.
            pkt.forward = state is not None and entry is not None and key != entry.first
        else:
            pkt.forward = True
        return nf.call("error", pkt, nf.new_state() if state is None else state)


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


def _ask(nf: RunningNF, pkt: PacketView) -> Any:
    """What the NF's before_lookup makes of a packet that has its key."""
    pkt.forward = pkt.related = True
    return nf.call(BEFORE_LOOKUP, pkt)


def _goes_on(nf: RunningNF, verdict: Any) -> bool:
    """Count what an NF decided about a packet."""
    nf.counters.received += 1
    if verdict == PASS:
        return True
    reason = verdict.reason if isinstance(verdict, Dropped) else PLAIN_DROP
    nf.counters.drops[reason] += 1
    return False
