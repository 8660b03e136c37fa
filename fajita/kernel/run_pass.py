"""The third pass of a segment, as text: a function that runs its NFs on each packet of the burst."""

from contextlib import ExitStack, nullcontext
from itertools import groupby

from fajita.kernel.layout import CONTEXT, FRAMES_AHEAD, Scratch, Statistics
from fajita.kernel.table import MARK_SHIFT
from fajita.kernel.text import Text
from fajita.plan import NFPlan, Plan, TablePlan, TableSide

#: What the pass needs of the context.
_WORDS = ("end", "address", "captured", "wire", "time_ns", "verdict", "core", "constants", "statistics")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


class RunPass:
    """Writes `run_N(context, scratch, position, count)`; the last segment's function also gives the verdicts.

    In it, `seen` says that an NF was about the packet; `code` is 0 while the packet goes on, else 1 + the reason for
    which an NF dropped it.
    """

    def __init__(self, text: Text, plan: Plan, number: int, scratch: Scratch, statistics: Statistics) -> None:
        self.text, self.plan, self.number = text, plan, number
        self.scratch, self.statistics = scratch, statistics
        self.is_last = number == len(plan.segments) - 1
        self.nfs = [plan.nfs[index] for index in plan.segments[number].nfs]
        earlier = [plan.nfs[index] for segment in plan.segments[:number] for index in segment.nfs]
        #: Whether a packet may have been dropped at the point that is being written.
        self.may_be_dropped = any(nf.translated.may_drop for nf in earlier)
        #: Tables whose hash, and sides whose entry, the variables of this pass hold by now.
        self.hashed: set[int] = set()
        self.resolved: set[int] = set()

    def emit(self) -> None:
        """The function."""
        text, counters = self.text, [self._counter(nf) for nf in self.nfs]
        text.line()
        text.line()
        text.line("@burst_function")
        text.line(f"def run_{self.number}(context, scratch, position, count):")
        with text.indented():
            for word in _WORDS:
                text.line(f"{word} = load_i64(context + {CONTEXT[word]})")
            for side in self.plan.sides:
                text.line(
                    f"side_{side.index} = load_i64(context + {CONTEXT['tables']}) + {side.index} * DESCRIPTOR_BYTES"
                )
            for counter in filter(None, counters):
                text.line(f"{counter} = 0")
            text.line("for j in range(count):")
            with text.indented():
                self._emit_packet()
            for nf, name in zip(self.nfs, counters, strict=True):
                if name is not None:
                    place = f"statistics + {self.statistics.received[nf.index]}"
                    amount = f"count - {name}" if name.startswith("missed") else name
                    text.line(f"store_64({place}, load_i64({place}) + {amount})")

    def _counter(self, nf: NFPlan) -> str | None:
        """The variable that counts what an NF receives, or, where it is first in line, the few that it does not."""
        if self.statistics.received[nf.index] is None:
            return None
        return f"missed_{nf.index}" if self._is_met_by_all(nf) else f"received_{nf.index}"

    def _is_met_by_all(self, nf: NFPlan) -> bool:
        """Whether every packet with its key meets it: nothing before can have dropped one."""
        before = [self.plan.nfs[index] for index in range(nf.index)]
        return nf.table is not None and not any(other.translated.may_drop for other in before)

    def _emit_packet(self) -> None:
        text = self.text
        text.line("frame = load_i64(address + 8 * (position + j))")
        text.line(f"headers = load_i64(scratch + {self.scratch.headers} + 8 * j)")
        text.line("length = load_u32(wire + 4 * (position + j))")
        text.line("captured_bytes = load_u32(captured + 4 * (position + j))")
        text.line("time = load_i64(time_ns + 8 * (position + j))")
        if self.is_last:
            text.line(f"prefetch(load_i64(address + 8 * minimum(position + j + {FRAMES_AHEAD}, end - 1)))")
        if self.number == 0:
            text.line("seen = code = 0")
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

    def _alive(self) -> str:
        return "code == 0 and " if self.may_be_dropped else ""

    def _emit_stateless(self, nf: NFPlan) -> None:
        layer = int(nf.layer)
        self.text.line(f"if {self._alive()}(headers & {layer}) == {layer}:  # {nf.nf.name}")
        with self.text.indented():
            self.text.line("seen = 1")
            self._emit_nf(nf)

    def _emit_group(self, table: TablePlan, group: list[NFPlan]) -> None:
        """Consecutive NFs of one table, once for each side of it, so that each is code for IPv4 or for IPv6 alone."""
        text, t = self.text, table.index
        if t not in self.hashed:
            text.line(f"hash_{t} = load_i64(scratch + {self.scratch.tables[t].hashed} + 8 * j)")
        text.line(f"if {self._alive()}hash_{t} != 0:")
        could_be_dropped = self.may_be_dropped
        with text.indented():
            for number, side in enumerate(table.sides):
                if len(table.sides) > 1:
                    text.line("else:" if number else f"if not hash_{t} & SECOND_SIDE:")
                self.may_be_dropped = could_be_dropped
                with text.indented() if len(table.sides) > 1 else nullcontext():
                    self._emit_side(table, side, group)
        self.may_be_dropped = could_be_dropped or any(nf.translated.may_drop for nf in group)
        self.hashed.add(t)
        missed = [name for nf in group if (name := self._counter(nf)) == f"missed_{nf.index}"]
        if missed:
            text.line("else:")
            for name in missed:
                text.line(f"    {name} += 1")

    def _emit_side(self, table: TablePlan, side: TableSide, group: list[NFPlan]) -> None:
        text, t = self.text, table.index
        handling = [nf for nf in group if nf.handles(side.packing)]
        for nf in group:
            if nf not in handling and self._counter(nf) == f"missed_{nf.index}":
                text.line(f"missed_{nf.index} += 1")
        if not handling:
            text.line("pass")
            return
        with ExitStack() as nested:
            text.line("seen = 1")
            text.line(f"headers |= {int(side.packing.layer)}  # known, so that nothing asks again")
            if side.index not in self.resolved:
                self._emit_resolve(table, side)
                self.resolved.add(side.index)
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

    def _emit_resolve(self, table: TablePlan, side: TableSide) -> None:
        """Find the packet's entry, by what the match pass found or by a search; `absent`: NFs without state in it.

        `state` is where the entry's key ends.
        """
        text, t, s, words = self.text, table.index, side.index, side.packing.words
        place = self.scratch.tables[t]
        key = f"scratch + {place.key} + {place.key_bytes} * j"
        last = 8 * (words - 1)
        absent = f"absent_{t} = {self._marks_of(table, side)} & ~load_u8(state_{t} - 1)"
        if not self._resolves(table, side):
            text.line(f"state_{t} = load_i64(scratch + {place.entry} + 8 * j)")
            text.line(absent)
            return
        text.line(f"entry = load_i64(scratch + {place.entry} + 8 * j)")
        text.line(f"absent_{t} = 0")
        same = [f"load_i64(entry + {8 * w}) == load_i64({key} + {8 * w})" for w in range(words - 1)]
        with_marks = f"load_i64({key} + {last}) | {_signed(self._marks_of(table, side) << MARK_SHIFT)}"
        same.append(f"load_i64(entry + {last}) == ({with_marks})")
        text.line(f"state_{t} = entry + {side.key_bytes}")
        text.line(f"if not ({' and '.join(same)}):")
        with text.indented():
            text.line(f"state_{t} = resolve_{s}(side_{s}, hash_{t}, {key}) + {side.key_bytes}")
            text.line(absent)
        if table.last_seen is not None:
            text.line(f"idle_ns = time - load_i64(state_{t} + {table.last_seen})")
            text.line(f"if idle_ns >= {table.shortest_timeout_ns}:")
            text.line(f"    expire_{t}(side_{s}, state_{t}, idle_ns, core, constants)")
            text.line(f"    {absent}")
            text.line(f"store_64(state_{t} + {table.last_seen}, time)")
        if any(index not in self.plan.segments[self.number].nfs for index in table.nfs):
            text.line(f"store_64(scratch + {place.entry} + 8 * j, state_{t})")

    def _resolves(self, table: TablePlan, side: TableSide) -> bool:
        return self.number == self.plan.first_segment_of(table, side)

    def _marks_of(self, table: TablePlan, side: TableSide) -> int:
        """The marks of an entry of the side in which every NF that handles its packets has state."""
        nfs = (self.plan.nfs[index] for index in table.nfs)
        return sum(1 << nf.mark for nf in nfs if nf.handles(side.packing))

    def _emit_direction(self, table: TablePlan, side: TableSide) -> None:
        """`forward`: whether the packet goes the way of its connection's first one, which is noted in the entry."""
        text, t = self.text, table.index
        text.line(f"direction = load_i64(scratch + {self.scratch.tables[t].direction} + 8 * j)")
        if self._resolves(table, side):
            text.line(f"if load_u8(state_{t} - 1) == 0:  # a new one")
            text.line(f"    store_8(state_{t} + {table.direction}, direction)")
        text.line(f"forward_{t} = direction == load_u8(state_{t} + {table.direction})")

    def _emit_new_flow(self, table: TablePlan, nf: NFPlan) -> None:
        t, mark = table.index, 1 << nf.mark
        self.text.line(f"if absent_{t} & {mark}:  # {nf.nf.name}")
        with self.text.indented():
            self.text.line(f"store_8(state_{t} - 1, load_u8(state_{t} - 1) | {mark})")
            if "new_flow" in nf.translated.hooks:
                self.text.line(_call(nf, "new_flow"))

    def _emit_nf(self, nf: NFPlan) -> None:
        text = self.text
        if self._counter(nf) == f"received_{nf.index}":
            text.line(f"received_{nf.index} += 1")
        if not nf.translated.may_drop:
            text.line(_call(nf, "packet"))
            return
        self.may_be_dropped = True
        text.line(f"code = {_call(nf, 'packet')}")
        text.line("if code != 0:")
        with text.indented():
            first = self.statistics.drops[nf.index][0] - 8
            text.line(f"dropped = statistics + {first} + 8 * code")
            text.line("store_64(dropped, load_i64(dropped) + 1)")

    def _emit_verdict(self) -> None:
        text, plan, statistics = self.text, self.plan, self.statistics
        text.line("goes_on = code == 0")
        text.line("if seen == 0:")
        with text.indented():
            text.line(f"other = statistics + {statistics.other} + 8 * ((headers >> REASON_SHIFT) & 0xFF)")
            text.line("store_64(other, load_i64(other) + 1)")
            if plan.other == "drop":
                text.line("goes_on = 0")
        text.line("store_8(verdict + position + j, goes_on)")
        if plan.other == "drop" or any(nf.translated.may_drop for nf in plan.nfs):
            text.line("if goes_on == 0:")
            with text.indented():
                for place, amount in ((statistics.dropped_packets, "1"), (statistics.dropped_bytes, "length")):
                    text.line(f"store_64(statistics + {place}, load_i64(statistics + {place}) + {amount})")


def _may_begin_early(group: list[NFPlan]) -> list[NFPlan]:
    """NFs whose new_flow may run before the packet meets the NFs ahead of them: none drops it or writes what it reads.

    So that a packet of a known flow pays for one test, not for one per NF. The first of the group always may.
    """
    early: list[NFPlan] = []
    written: set[str] = set()
    for nf in group:
        if nf.translated.reads & written:
            break
        early.append(nf)
        written |= nf.translated.writes
        if nf.translated.may_drop:
            break
    return early


def _call(nf: NFPlan, hook: str) -> str:
    """A call in the names of this pass."""
    names = {
        "captured": "captured_bytes",
        "time_ns": "time",
        "state": f"state_{nf.table}",
        "forward": f"forward_{nf.table}",
    }
    translated = nf.translated.hooks[hook]
    return f"{translated.function}({', '.join(names.get(name, name) for name in translated.arguments)})"
