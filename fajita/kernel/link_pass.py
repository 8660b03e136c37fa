"""The pass that follows auxiliary links, as text: a function between the lookups of a burst and its NFs.

The finer entries of the burst have come by now, or most of them; what they say of where coarser entries are is asked
for. Whether it is right is seen when the NFs run (entry_text).
"""

from fajita.kernel.layout import Scratch
from fajita.kernel.prologue import emit_sides
from fajita.kernel.shared_text import emit_copies, emit_redirected
from fajita.kernel.text import Text
from fajita.plan import LINE_BYTES, Plan, TablePlan, TableSide
from fajita.prefetching import lines_ahead


def linking_tables(plan: Plan, number: int) -> list[TablePlan]:
    """The tables looked up in a segment whose entries have links."""
    return [plan.tables[index] for index in plan.segments[number].tables if plan.tables[index].links]


def emit_places(text: Text, sides: list[TableSide]) -> None:
    """`entries_S` and `places_S`: where the entries of each side are, and one less than how many there may be."""
    emit_sides(text, sides)
    for side in sides:
        s = side.index
        text.line(f"entries_{s}, places_{s} = load_i64(side_{s} + ENTRIES_AT), load_i64(side_{s} + MASK) * GROUP + 15")
    emit_copies(text, sides)


def linked_entry(finer: str, at: int, side: TableSide) -> str:
    """Where a finer entry, given by the end of its key, says that the coarser one is, as text; always in the table."""
    return f"entries_{side.index} + (load_u32({finer} + {at}) & places_{side.index}) * {side.entry_bytes}"


def emit_link_pass(text: Text, plan: Plan, number: int, scratch: Scratch) -> None:
    """`follow_N(context, scratch, count)`, if the segment has tables with links."""
    finer_tables = linking_tables(plan, number)
    if not finer_tables:
        return
    text.function("burst_function", f"follow_{number}(context, scratch, count)")
    with text.indented():
        emit_places(text, [side for finer in finer_tables for t in finer.links for side in plan.tables[t].sides])
        text.line("for j in range(count):")
        with text.indented():
            for finer in finer_tables:
                _emit_follow(text, plan, finer, scratch)


def _emit_follow(text: Text, plan: Plan, finer: TablePlan, scratch: Scratch) -> None:
    place, (first, *others) = scratch.tables[finer.index], finer.sides
    text.line(f"entry = load_i64(scratch + {place.entry} + 8 * j)")
    if others:
        text.line(f"if load_i64(scratch + {place.hashed} + 8 * j) & SECOND_SIDE:")
        with text.indented():
            _emit_prefetch(text, plan, finer, others[0], scratch)
        text.line("else:")
    with text.indented_if(bool(others)):
        _emit_prefetch(text, plan, finer, first, scratch)


def _emit_prefetch(text: Text, plan: Plan, finer: TablePlan, side: TableSide, scratch: Scratch) -> None:
    text.line("pass")
    family = side.packing.family or 4
    for t, at in finer.links.items():
        coarser = plan.tables[t]
        target = coarser.side_of(family)
        if target is not None and coarser.is_linked(family):
            text.line(f"linked = {linked_entry('entry', side.key_bytes + at, target)}")
            if target.owner is not None:
                emit_redirected(text, target, "linked")
                text.line(f"store_64(scratch + {scratch.tables[t].linked} + 8 * j, linked)")
            for line in range(lines_ahead(coarser, target, plan.tuning)):
                text.line(f"prefetch(linked{f' + {line * LINE_BYTES}' if line else ''})")
