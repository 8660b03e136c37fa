"""What the third pass of a segment does with one packet, as text: resolve its entries, run the NFs, give the verdict.

Written once for the packets of each family, so that it is code for IPv4 or for IPv6 alone.
"""

from contextlib import ExitStack
from itertools import groupby

from fajita.kernel.ask_pass import emit_asked
from fajita.kernel.begin import emit_begin
from fajita.kernel.deadline import longest_idle, may_end_sooner
from fajita.kernel.entry_text import EntryText
from fajita.kernel.error_pass import error_groups, is_error_of
from fajita.kernel.layout import Scratch, Statistics, counts_missed
from fajita.kernel.records import records_of_side
from fajita.kernel.text import Text
from fajita.nf import BEFORE_LOOKUP
from fajita.packet import Layer
from fajita.plan import NFPlan, Plan, TablePlan, TableSide
from fajita.spraying import left_to_owner
from fajita.translation.reshaping import seen_anew


def counter(plan: Plan, statistics: Statistics, nf: NFPlan) -> str | None:
    """The variable that counts what an NF receives, or, where nothing before it can drop a packet, the few it misses.

    None: it receives what the NF before it lets go on.
    """
    if statistics.received[nf.index] is None:
        return None
    return f"missed_{nf.index}" if counts_missed(plan, nf) else f"received_{nf.index}"


class PacketBody:
    """Writes what happens to a packet of a family, 4 (or anything but IPv6) or 6.

    In it, `seen` says that an NF was about the packet; `code` is 0 while the packet goes on, else 1 + the reason for
    which an NF dropped it.
    """

    def __init__(
        self, text: Text, plan: Plan, number: int, scratch: Scratch, statistics: Statistics, *, family: int
    ) -> None:
        self.text, self.plan, self.number = text, plan, number
        self.scratch, self.statistics, self.family = scratch, statistics, family
        self.is_last = number == len(plan.segments) - 1
        self.nfs = [plan.nfs[index] for index in plan.segments[number].nfs]
        earlier = [plan.nfs[index] for segment in plan.segments[:number] for index in segment.nfs]
        #: Whether a packet may have been dropped at the point that is being written.
        self.may_be_dropped = any(nf.translated.may_drop or self._may_be_full(nf) for nf in earlier)
        self.entries = EntryText(text, plan, number, scratch, family=family)
        self.left_to_owner = left_to_owner(plan) if plan.tuning.sprays else frozenset()
        #: Tables whose hash and entry the variables hold by now.
        self.resolved: set[int] = set()

    def _may_be_full(self, nf: NFPlan) -> bool:
        """Whether a packet may be dropped on its way to an NF because the NF's table is full."""
        return nf.table is not None and self.plan.settings.full == "drop"

    def emit(self) -> None:
        """The lines for one packet; `frame`, `headers`, `length` and `captured_bytes` are there."""
        text = self.text
        if self.number == 0:
            text.line("seen = code = 0")
            if self.scratch.metadata is not None:
                text.line("store_64(metadata, 0)")
        else:
            text.line(f"status = load_i64(scratch + {self.scratch.status} + 8 * j)")
            text.line("seen, code = status & 1, status >> 1")
        for table, group in groupby(self.nfs, key=lambda nf: nf.table):
            if table is None:
                for nf in group:
                    self._emit_stateless(nf)
            else:
                self._emit_group(self.plan.tables[table], list(group))
        if self.is_last:
            self._emit_verdict()
        else:
            text.line(f"store_64(scratch + {self.scratch.status} + 8 * j, seen | (code != 0) << 1)")

    def _count(self, nf: NFPlan, event: str) -> None:
        """Count that an NF received or missed the packet, if that is what is counted of it."""
        if counter(self.plan, self.statistics, nf) != f"{event}_{nf.index}":
            return
        if self.family == 6:
            # Not in a variable of the loop: what is missed is there by now, as one of all packets.
            place = f"statistics + {self.statistics.received[nf.index]}"
            self.text.line(f"store_64({place}, load_i64({place}) {'+' if event == 'received' else '-'} 1)")
        else:
            self.text.line(f"{event}_{nf.index} += 1")

    def _alive(self) -> str:
        return "code == 0 and " if self.may_be_dropped else ""

    def _emit_stateless(self, nf: NFPlan) -> None:
        layer = int(nf.layer)
        # What is dropped before the NFs has no other layer.
        is_met = self.plan.drops_fragments and not nf.layer & ~Layer.FRAGMENT
        not_dropped = "headers != DROPPED and " if is_met else ""
        self.text.line(f"if {self._alive()}{not_dropped}(headers & {layer}) == {layer}:  # {nf.nf.name}")
        with self.text.indented():
            self.text.line("seen = 1")
            self._emit_nf(nf)

    def _emit_group(self, table: TablePlan, group: list[NFPlan]) -> None:
        """Consecutive NFs of one table."""
        text, t = self.text, table.index
        side = table.side_of(self.family)
        handling = [nf for nf in group if side is not None and nf.handles(side.packing)]
        for nf in group:
            if nf not in handling:
                self._count(nf, "missed")
        if side is None or not handling:
            return
        resolves = t not in self.resolved
        if table.asks:
            self._emit_ask(handling[0], side)
        elif resolves:
            self.entries.emit_has_key(table, side)
        if table.errors:
            self._emit_error(table, handling)
        text.line(f"{'elif' if table.errors else 'if'} {'' if table.asks else self._alive()}hashed_{t} != 0:")
        with text.indented(), ExitStack() as nested:
            text.line("seen = 1")
            # Not ports: a later fragment has a key with them, but no transport header.
            text.line(f"headers |= {int(side.packing.layer & ~Layer.PORTS)}  # known, so that nothing asks again")
            if resolves:
                drops = self.plan.settings.full == "drop"
                self.entries.emit_resolve(table, side, (lambda: self._emit_refused(group, handling)) if drops else None)
                self.resolved.add(t)
            if self.plan.settings.full != "drop":
                text.line(f"if state_{t} == 0:  # the table is full")
                with text.indented():
                    text.line("pass")
                    for nf in handling:
                        self._count(nf, "missed")
                text.line("else:")
                nested.enter_context(text.indented())
            if resolves and table.last_seen is not None and self.entries.resolves(table, side):
                self.entries.emit_last_seen(table, side)
            if table.direction is not None:
                self._emit_direction(table, side)
            early = _may_begin_early(handling)
            text.line(f"if absent_{t} != 0:")
            with text.indented():
                for nf in early:
                    self._emit_new_flow(table, nf)
            for position, nf in enumerate(handling):
                text.line(f"# {nf.nf.name}")
                if nf not in early:
                    self._emit_new_flow(table, nf)
                self._emit_nf(nf)
                if nf.translated.may_drop and position + 1 < len(handling):
                    text.line("if code == 0:")
                    nested.enter_context(text.indented())
        text.line("elif asked == 0:" if table.asks else "else:")
        with text.indented():
            text.line("pass")
            for nf in handling:
                self._count(nf, "missed")

    def _emit_ask(self, nf: NFPlan, side: TableSide) -> None:
        """Whether the packet is one for an NF with a before_lookup."""
        call = self._call(nf, BEFORE_LOOKUP)
        emit_asked(self.text, self.plan, nf, side, self.scratch, call=call, test=self._alive())
        if nf.translated.may_drop:
            self.text.line("if asked > 0:")
            with self.text.indented():
                self.text.line("seen, code = 1, asked")
                self._count(nf, "received")
                self._emit_count_drop(nf)

    def _emit_error(self, table: TablePlan, handling: list[NFPlan]) -> None:
        """What becomes of an ICMP error about a flow of the table, before the case of other packets."""
        groups = error_groups(self.plan, self.number, self.family)
        function = next(group.function for group in groups if group.nfs[0] is handling[0])
        self.text.line(f"if {self._alive()}{is_error_of(table, self.scratch)}:")
        with self.text.indented():
            self.text.line("seen = 1")
            may_drop = any(nf.translated.may_drop for nf in handling)
            self.text.line(f"{'code = ' if may_drop else ''}{function}(context, scratch, position, j, headers)")

    def _emit_direction(self, table: TablePlan, side: TableSide) -> None:
        """`forward`: whether the packet goes the way of its connection's first one, which is noted in the entry."""
        text, t = self.text, table.index
        if not table.asks:  # else it is there
            text.line(f"direction = load_i64(scratch + {self.scratch.tables[t].direction} + 8 * j)")
        if self.entries.resolves(table, side):
            text.line(f"if load_u8(state_{t} - 1) == 0:  # a new one")
            text.line(f"    store_8(state_{t} + {table.direction}, direction)")
        text.line(f"forward_{t} = direction == load_u8(state_{t} + {table.direction})")

    def _emit_new_flow(self, table: TablePlan, nf: NFPlan) -> None:
        t, mark = table.index, 1 << nf.mark
        self.text.line(f"if absent_{t} & {mark}:  # {nf.nf.name}")
        with self.text.indented():
            self.text.line(f"store_8(state_{t} - 1, load_u8(state_{t} - 1) | {mark})")
            emit_begin(self.text, nf, f"state_{t}")
            if "new_flow" in nf.translated.hooks:
                self.text.line(self._call(nf, "new_flow"))
                if may_end_sooner(table, nf, "new_flow"):
                    self.text.line(f"look_sooner_{t}(context, state_{t})")

    def _emit_nf(self, nf: NFPlan) -> None:
        text = self.text
        self._count(nf, "received")
        if nf.index in self.left_to_owner:
            text.line("if is_own:")
            text.line(f"    {self._call(nf, 'packet')}")
            return
        table = None if nf.table is None else self.plan.tables[nf.table]
        may_end_sooner_now = table is not None and may_end_sooner(table, nf, "packet")
        state = f"state_{nf.table}"
        if may_end_sooner_now:
            text.line(f"longest = {longest_idle(nf, state)}")
        text.line(f"{'code = ' if nf.translated.may_drop else ''}{self._call(nf, 'packet')}")
        if may_end_sooner_now:
            text.line(f"if {longest_idle(nf, state)} < longest:")
            text.line(f"    look_sooner_{nf.table}(context, {state})")
        if not nf.translated.may_drop:
            self._emit_seen_anew(nf)
            return
        self.may_be_dropped = True
        self._emit_seen_anew(nf)
        text.line("if code != 0:")
        with text.indented():
            self._emit_count_drop(nf)

    def _emit_seen_anew(self, nf: NFPlan) -> None:
        """After an NF that may have made a frame another one: it is parsed again, and no longer of a known datagram."""
        if not nf.translated.reshapes:
            return
        for line in seen_anew("context", "captured_bytes", "position + j"):
            self.text.line(line)
        self.text.line(f"store_64(scratch + {self.scratch.headers} + 8 * j, headers)")
        if self.plan.datagrams:
            self.text.line(f"store_64(scratch + {self.scratch.datagram} + 8 * j, 0)")

    def _emit_count_drop(self, nf: NFPlan) -> None:
        first = self.statistics.drops[nf.index][0] - 8
        self.text.line(f"dropped = statistics + {first} + 8 * code")
        self.text.line("store_64(dropped, load_i64(dropped) + 1)")

    def _emit_refused(self, group: list[NFPlan], handling: list[NFPlan]) -> None:
        """Drop a packet whose flow may have no entry, as the table is full, before it meets the NFs of a group."""
        text = self.text
        for nf in [*handling, *self.nfs[self.nfs.index(group[-1]) + 1 :]]:
            self._count(nf, "missed")
        if self.is_last:
            text.line("store_8(verdict + position + j, 0)")
            self._emit_count_dropped()
        else:
            text.line(f"store_64(scratch + {self.scratch.status} + 8 * j, 3)")
        text.line("continue")

    def _emit_count_dropped(self) -> None:
        places = ((self.statistics.dropped_packets, "1"), (self.statistics.dropped_bytes, "length"))
        for place, amount in places:
            self.text.line(f"store_64(statistics + {place}, load_i64(statistics + {place}) + {amount})")

    def _emit_verdict(self) -> None:
        text, plan, statistics = self.text, self.plan, self.statistics
        text.line("goes_on = code == 0")
        if plan.drops_fragments:
            text.line("if headers == DROPPED:")
            text.line("    goes_on = 0")
        text.line(f"{'elif' if plan.drops_fragments else 'if'} seen == 0:")
        with text.indented():
            text.line(f"other = statistics + {statistics.other} + 8 * ((headers >> REASON_SHIFT) & 0xFF)")
            text.line("store_64(other, load_i64(other) + 1)")
            if plan.settings.other == "drop":
                text.line("goes_on = 0")
        text.line("store_8(verdict + position + j, goes_on)")
        may_drop = plan.settings.other == "drop" or plan.drops_fragments
        if may_drop or any(nf.translated.may_drop or self._may_be_full(nf) for nf in plan.nfs):
            text.line("if goes_on == 0:")
            with text.indented():
                self._emit_count_dropped()

    def _call(self, nf: NFPlan, hook: str) -> str:
        """A call in the names of this pass."""
        names = {
            "captured": "captured_bytes",
            "block": "context",
            "packet": "position + j",
            # Not kept in a variable from the packet's beginning on: registers are scarce.
            "time_ns": "load_i64(time_ns + 8 * (position + j))",
            "state": f"state_{nf.table}",
            "forward": f"forward_{nf.table}",
            "flow_ports": self._flow_ports(nf, hook),
        }
        if nf.table is not None and (side := self.plan.tables[nf.table].side_of(self.family)) is not None:
            names["records"] = records_of_side(self.plan, side)
        translated = nf.translated.hooks[hook]
        return f"{translated.function}({', '.join(names.get(name, name) for name in translated.arguments)})"

    def _flow_ports(self, nf: NFPlan, hook: str) -> str:
        """Where the ports of the packet's flow lie, as one of the NF's methods sees them."""
        datagram = f"load_i64(scratch + {self.scratch.datagram} + 8 * j)"
        return f"place_of_flow_ports({self.plan.moment_in(nf, hook)}, frame, headers, {datagram})"


def _may_begin_early(group: list[NFPlan]) -> list[NFPlan]:
    """NFs whose new_flow may run before the packet meets the NFs ahead of them: none of those drops the packet, writes
    what it reads, or reads or writes what it writes.

    So that a packet of a known flow pays for one test, not for one per NF. The first of the group always may.
    """
    early: list[NFPlan] = []
    read: set[str] = set()
    written: set[str] = set()
    for nf in group:
        if early and (nf.translated.reads & written or nf.translated.new_flow_writes & (read | written)):
            break
        early.append(nf)
        read |= nf.translated.reads
        written |= nf.translated.writes
        if nf.translated.may_drop:
            break
    return early
