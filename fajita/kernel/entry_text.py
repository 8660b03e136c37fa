"""How the third pass of a segment comes to the entries of a packet, as text.

An entry that the match pass found, or that a link leads to, is the packet's if its key is; else it is searched for.
"""

from collections.abc import Callable

from fajita.integers import wrap
from fajita.kernel.ask_pass import emit_asked_key
from fajita.kernel.deadline import longest_idle
from fajita.kernel.key_text import emit_key, emit_key_kept
from fajita.kernel.layout import Scratch
from fajita.kernel.link_pass import linked_entry
from fajita.kernel.records import records_of_side
from fajita.kernel.shared_text import emit_adopted, home, is_owners
from fajita.kernel.table import MARK_SHIFT
from fajita.kernel.text import Text
from fajita.plan import Plan, TablePlan, TableSide


class EntryText:
    """Writes it for the packets of a family in a segment."""

    def __init__(self, text: Text, plan: Plan, number: int, scratch: Scratch, *, family: int) -> None:
        self.text, self.plan, self.number, self.scratch, self.family = text, plan, number, scratch, family

    def resolves(self, table: TablePlan, side: TableSide) -> bool:
        """Whether this segment is the first that comes to an entry of that side."""
        return self.number == self.plan.first_segment_of(table, side)

    def emit_has_key(self, table: TablePlan, side: TableSide) -> None:
        """`hashed_T`: not 0 if the packet has the table's key."""
        text, t = self.text, table.index
        hashed = f"scratch + {self.scratch.tables[t].hashed} + 8 * j"
        if self.family_has_links(table):
            text.line(f"state_{t} = 0")
        if table.is_linked(self.family) and self.resolves(table, side):
            layer = int(side.packing.layer)
            text.line(f"hashed_{t} = (headers & {layer}) == {layer}")
            if self._is_used_later(table):
                text.line(f"store_64({hashed}, hashed_{t})")
        else:
            text.line(f"hashed_{t} = load_i64({hashed})")

    def family_has_links(self, table: TablePlan) -> bool:
        """Whether entries for packets of the family have links to others."""
        return any(self.plan.tables[other].is_linked(self.family) for other in table.links)

    def _is_used_later(self, table: TablePlan) -> bool:
        return any(index not in self.plan.segments[self.number].nfs for index in table.nfs)

    def emit_resolve(self, table: TablePlan, side: TableSide, emit_refused: Callable[[], None] | None) -> None:
        """`state_T`: where the key of the packet's entry ends; `absent_T`: NFs new to it.

        emit_refused: writes what becomes of a packet whose flow may have no entry; None: it has `state_T` 0.
        """
        text, t = self.text, table.index
        place = self.scratch.tables[t]
        text.line(f"absent_{t} = 0")
        if not self.resolves(table, side):
            text.line(f"state_{t} = load_i64(scratch + {place.entry} + 8 * j)")
            if side.owner is not None:
                emit_adopted(text, side, t, may_lack=emit_refused is None)
            self._emit_absent(table, side, may_lack=emit_refused is None)
            return
        key = f"scratch + {place.key} + {place.key_bytes} * j"
        if table.asks:
            emit_asked_key(text, self.plan, table, side)
            text.line(f"entry = load_i64(scratch + {place.entry} + 8 * j)")
            self._emit_searchable(table, side, key, emit_refused)
        elif table.is_linked(self.family):
            self._emit_linked(table, side, key, emit_refused)
        else:
            text.line(f"entry = load_i64(scratch + {place.entry} + 8 * j)")
            words = [f"load_i64({key} + {8 * word})" for word in range(side.packing.words)]
            clock = self._clock(table)
            search = f"resolve_{side.index}(context, hashed_{t}, {key}, {clock})"
            self._emit_compared(table, side, words, search, emit_refused)
        if self._is_used_later(table):
            kept = f"state_{t}" if side.owner is None else home(side, t)
            text.line(f"store_64(scratch + {place.entry} + 8 * j, {kept})")

    def _emit_linked(
        self, table: TablePlan, side: TableSide, key: str, emit_refused: Callable[[], None] | None
    ) -> None:
        """Follow the link of the finer entry, if the packet has one; write it anew where it was wrong."""
        assert table.link is not None
        text, s, finer = self.text, side.index, self.plan.tables[table.link.table]
        at, finer_state = finer.links[table.index], f"state_{finer.index}"
        emit_key(text, table, side.packing)
        if table.key.symmetric:
            text.line(f"store_64(scratch + {self.scratch.tables[table.index].direction} + 8 * j, direction)")
        text.line(f"if {finer_state} != 0:")
        linked = self.scratch.tables[table.index].linked
        is_known = linked_entry(finer_state, at, side) if linked is None else f"load_i64(scratch + {linked} + 8 * j)"
        text.line(f"    entry = {is_known}")
        text.line("else:")
        text.line(f"    entry = load_i64(side_{s} + NOWHERE)")
        self._emit_searchable(table, side, key, emit_refused)

    def _emit_searchable(
        self, table: TablePlan, side: TableSide, key: str, emit_refused: Callable[[], None] | None
    ) -> None:
        """Take `entry` if its key is the one in variables, else search for that."""
        clock = self._clock(table)
        search = f"search_{side.index}(context, {key}, {clock})"
        words = [f"key_{word}" for word in range(side.packing.words)]
        self._emit_compared(table, side, words, search, emit_refused)

    def _emit_compared(
        self,
        table: TablePlan,
        side: TableSide,
        words: list[str],
        search: str,
        emit_refused: Callable[[], None] | None,
    ) -> None:
        """Take `entry` if its key is `words` and all NFs have state in it, else see what lacks, or search."""
        text, t, last = self.text, table.index, 8 * (side.packing.words - 1)
        same = [f"load_i64(entry + {8 * number}) == {word}" for number, word in enumerate(words[:-1])]
        marks = wrap(self._marks_of(table, side) << MARK_SHIFT)
        text.line(f"state_{t} = entry + {side.key_bytes}")
        known = [*same, f"load_i64(entry + {last}) == ({words[-1]} | {marks})"]
        if side.owner is not None:
            known.append(is_owners(side))
        text.line(f"if not ({' and '.join(known)}):")
        with text.indented():
            if side.owner is not None:
                self._emit_come_to(table, side, search, emit_refused)
                return
            # Or the flow is known, but not to all of its NFs: some of its packets are dropped on the way to them.
            text.line(f"differs = load_i64(entry + {last}) ^ {words[-1]}")
            text.line(f"if not ({' and '.join([*same, 'differs & KEY_MASK == 0', 'differs != 0'])}):")
            with text.indented():
                self._emit_searched(table, side, search, emit_refused)
            self._emit_absent(table, side, may_lack=emit_refused is None)

    def _emit_searched(
        self, table: TablePlan, side: TableSide, search: str, emit_refused: Callable[[], None] | None
    ) -> None:
        self._emit_search(table, side, search)
        if emit_refused is not None:
            self.text.line(f"if state_{table.index} == 0:  # the table is full")
            with self.text.indented():
                emit_refused()

    def _emit_come_to(
        self, table: TablePlan, side: TableSide, search: str, emit_refused: Callable[[], None] | None
    ) -> None:
        """The same in a table that workers share: `entry` is another worker's, or not the packet's, or lacks states."""
        place = self.scratch.tables[table.index]
        if table.asks:
            emit_key_kept(self.text, table, side.packing, place)
        if table.is_linked(self.family):
            assert table.link is not None
            emit_key_kept(self.text, table, side.packing, place)
            finer = self.plan.tables[table.link.table]
            # Where the link leads by now.
            self.text.line(f"if state_{finer.index} != 0:")
            at = finer.links[table.index]
            self.text.line(f"    entry = {linked_entry(f'state_{finer.index}', at, side)}")
            self.text.line(f"    state_{table.index} = entry + {side.key_bytes}")
        self.text.line(f"if is_of_{side.index}(entry, scratch + {place.key} + {place.key_bytes} * j) == 0:")
        with self.text.indented():
            self._emit_searched(table, side, search, emit_refused)
        emit_adopted(self.text, side, table.index, may_lack=emit_refused is None)
        self._emit_absent(table, side, may_lack=emit_refused is None)

    def _emit_search(self, table: TablePlan, side: TableSide, search: str) -> None:
        text, t = self.text, table.index
        if (table.is_linked(self.family) or table.asks) and side.owner is None:
            emit_key_kept(text, table, side.packing, self.scratch.tables[t])
        text.line(f"state_{t} = {search}")
        if not table.is_linked(self.family):
            return
        assert table.link is not None
        finer = self.plan.tables[table.link.table]
        # A place in the old table of one that grows, or of a flow without an entry, is wrong when it is used, no worse.
        place = f"divide_unsigned(state_{t} - {side.key_bytes} - entries_{side.index}, {side.entry_bytes})"
        text.line(f"if state_{finer.index} != 0:")
        text.line(f"    store_32(state_{finer.index} + {finer.links[t]}, {place})")

    def _emit_absent(self, table: TablePlan, side: TableSide, *, may_lack: bool) -> None:
        t = table.index
        if may_lack:
            self.text.line(f"if state_{t} != 0:")
        with self.text.indented_if(may_lack):
            self.text.line(f"absent_{t} = {self._marks_of(table, side)} & ~load_u8(state_{t} - 1)")

    def _clock(self, table: TablePlan) -> str:
        """The clock at the packet, for a table that keeps times; loaded where it is needed, as registers are scarce."""
        return "0" if table.last_seen is None else f"load_i64(scratch + {self.scratch.clock} + 8 * j)"

    def emit_last_seen(self, table: TablePlan, side: TableSide) -> None:
        """Note the time of the flow's packet; end what has been idle too long before."""
        text, t = self.text, table.index
        text.line(f"clock = {self._clock(table)}")
        if table.is_swept:
            text.line(f"idle_ns = clock - load_i64(state_{t} + {table.last_seen})")
            text.line(f"if {self._is_idle(table)}:")
            records = records_of_side(self.plan, side)
            with text.indented():
                text.line(
                    f"if expire_{t}(context, state_{t}, idle_ns, {records}) == 0:  # a new flow begins in its place"
                )
                text.line(f"    count_expired(context, {t})")
                text.line(f"absent_{t} = {self._marks_of(table, side)} & ~load_u8(state_{t} - 1)")
        text.line(f"store_64(state_{t} + {table.last_seen}, clock)")

    def _is_idle(self, table: TablePlan) -> str:
        """Whether some state of the flow has ended by now."""
        tests = [] if table.shortest_timeout_ns is None else [f"idle_ns >= {table.shortest_timeout_ns}"]
        for nf in (self.plan.nfs[index] for index in table.nfs):
            if nf.expire_in is not None:
                tests.append(f"idle_ns >= {longest_idle(nf, state=f'state_{table.index}')}")
        return " or ".join(tests)

    def _marks_of(self, table: TablePlan, side: TableSide) -> int:
        """The marks of an entry of the side in which every NF that handles its packets has state."""
        nfs = (self.plan.nfs[index] for index in table.nfs)
        return sum(1 << nf.mark for nf in nfs if nf.handles(side.packing))
