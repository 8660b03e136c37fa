"""A worker of the interpreted engine: NFs with variables of their own, tables, and a packet's way through them."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
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


@dataclass
class _Way:
    """A packet on its way through the chain.

    keys, touched: by table. errors: the tables for which the packet is an ICMP error. seen: an NF was about it.
    """

    pkt: PacketView
    first: FirstFragment | None
    clock_ns: int
    keys: dict[int, KeyValues | None] = field(default_factory=dict)
    errors: set[int] = field(default_factory=set)
    touched: dict[int, FlowEntry | None] = field(default_factory=dict)
    seen: bool = False


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
        way = _Way(pkt, first, clock_ns)
        goes_on = self._run(way)
        if not way.seen:
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

    def _run(self, way: _Way) -> bool:
        """Take a packet through the chain: whether it goes on.

        Keys are read at the start of the segment that looks their table up, or after the NF's before_lookup if it has
        one; the entry is touched when the first NF of the table is reached, so that a packet dropped before leaves no
        trace there. A packet whose flow may have no entry, as the table is full, is dropped there or passes the NFs of
        the table by.
        """
        for number, segment in enumerate(self.plan.segments):
            if way.first is not None:
                way.first.enter(self.plan.moment_of(number), way.pkt)
            for table in (index for index in segment.tables if self.plan.tables[index].link is None):
                way.keys[table] = self._read_key(table, way)
            for index in segment.nfs:
                if not self._run_nf(self.nfs[index], way):
                    return False
        return True

    def _run_nf(self, nf: RunningNF, way: _Way) -> bool:
        """Whether the packet goes on; so it does if the NF is not about it."""
        pkt, table = way.pkt, nf.plan.table
        if table is None:
            if not pkt.has(nf.plan.layer):
                return True
            pkt.forward = pkt.related = True
            return _run_packet(nf, way)
        if table not in way.keys:  # a linked table, whose key is read where its first NF runs
            way.keys[table] = key_values(self.plan.tables[table].key, pkt)
        key = way.keys[table]
        if key is None or not nf.is_about(key.family):
            return True
        if nf.plan.translated.asks:
            verdict = _ask(nf, pkt)
            if verdict not in (PASS, LOOK_UP):
                way.seen = True
                return _goes_on(nf, verdict)
            if way.first is not None:
                way.first.enter(self.plan.moment_after_asking(nf.plan), pkt)
            key = self._read_key(table, way)
            if verdict == PASS or key is None:
                return True
        way.seen = True
        if table in way.errors:
            return self._run_error(nf, table, key, way)
        if table not in way.touched:
            way.touched[table] = self.tables[table].touch(key, way.clock_ns)
        entry = way.touched[table]
        if entry is None:
            return self.plan.settings.full != "drop"
        pkt.forward, pkt.related = key == entry.first, True
        return _run_packet(nf, way, _state_of(nf, entry, pkt))

    def _read_key(self, table: int, way: _Way) -> KeyValues | None:
        """The packet's key for a table, that of what it quotes if it is an ICMP error for that; `errors` says so."""
        plan = self.plan.tables[table]
        quoted = way.pkt.quoted() if plan.errors else None
        if quoted is None:
            way.errors.discard(table)
            return key_values(plan.key, way.pkt)
        way.errors.add(table)
        return key_values(plan.key, quoted)

    def _run_error(self, nf: RunningNF, table: int, key: KeyValues, way: _Way) -> bool:
        """Whether an ICMP error goes on, by the NF's `error`. key: of the flow that it is about.

        An error neither begins a state nor ends one that has been idle for too long, which counts as none.
        """
        if table not in way.touched:
            way.touched[table] = self.tables[table].find(key)
        entry, pkt = way.touched[table], way.pkt
        state = None if entry is None else self.tables[table].living_state(entry, nf, way.clock_ns)
        pkt.related = state is not None
        if self.plan.tables[table].key.symmetric:
            # The error goes the other way than what it quotes.
            pkt.forward = state is not None and entry is not None and key != entry.first
        else:
            pkt.forward = True
        return _goes_on(nf, nf.call("error", pkt, nf.new_state() if state is None else state))


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


def _run_packet(nf: RunningNF, way: _Way, *state: Record) -> bool:
    """Whether the packet goes on, by the NF's `packet`."""
    way.seen = True
    goes_on = _goes_on(nf, nf.call("packet", way.pkt, *state))
    if nf.plan.translated.reshapes:
        way.pkt.look_again()
        way.first = None
    return goes_on


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
