"""How entries of several lines are asked for, as text: one packet at a time, by the run pass of the burst before.

The match pass asks for the entries of a whole burst at once. With two lines each those are more than the processor has
on their way at a time, so that it stands still; spread over the NFs of the burst before, they come while those compute.
Where packets of both families run, what one of the next burst needs is asked for if the packet at its place in this one
is of its family; otherwise the match pass has done it.
"""

from fajita.kernel.layout import Scratch
from fajita.kernel.link_pass import linking_tables
from fajita.kernel.prefetch_pass import prefetch_parameters
from fajita.kernel.text import Text
from fajita.plan import LINE_BYTES, Plan, TablePlan
from fajita.prefetching import lines_ahead


def spread_tables(plan: Plan, number: int, family: int) -> list[TablePlan]:
    """The tables whose entries for packets of a family, 4 (or anything but IPv6) or 6, a segment's run pass asks for.

    Not where something needs them before the NFs do, nor where one side is for packets of both families.
    """
    if not plan.tuning.ahead or number != 0 or linking_tables(plan, number) or prefetch_parameters(plan, number):
        return []
    tables = (plan.tables[t] for t in plan.segments[number].tables)
    tables = (table for table in tables if len(table.sides) > 1 or (family == 4 and not plan.tells_ipv6))
    return [table for table in tables if table.link is None and _lines(plan, table, family) > 1]


def _lines(plan: Plan, table: TablePlan, family: int) -> int:
    side = table.side_of(family)
    return 0 if side is None else lines_ahead(table, side, plan.tuning)


def spread_parameter(plan: Plan, number: int, name: str) -> str:
    """What `look_up_N` and `run_N` take besides, as text: the scratch area of the burst that runs, and of the next."""
    return f", {name}" if spread_tables(plan, number, 4) or spread_tables(plan, number, 6) else ""


def emit_lines(text: Text, entry: str, lines: int) -> None:
    """Ask for the first lines of an entry."""
    for line in range(lines):
        text.line(f"prefetch({entry}{f' + {line * LINE_BYTES}' if line else ''})")


def emit_unless_spread(text: Text, plan: Plan, table: TablePlan, scratch: Scratch, family: int) -> None:
    """In the match pass, for a packet of a family: ask at once if the run pass will not.

    Else, without a branch that nobody can predict where families mix, for what is in the cache.
    """
    if len(table.sides) == 1:
        return
    t, hashed = table.index, scratch.tables[table.index].hashed
    spread, at_once = ("scratch", f"entry_{t}") if family == 6 else (f"entry_{t}", "scratch")
    text.line(f"asked = {spread} if load_i64(run_scratch + {hashed} + 8 * j) & SECOND_SIDE else {at_once}")
    emit_lines(text, "asked", _lines(plan, table, family))


def emit_spread(text: Text, plan: Plan, number: int, scratch: Scratch, family: int) -> None:
    """In the run pass, for a packet of a family: ask for what the one at its place in the next burst needs, if that is
    of the same."""
    for table in spread_tables(plan, number, family):
        place = scratch.tables[table.index]
        # What lies behind the end of a short burst is another one's: asked for in vain.
        text.line(f"following = load_i64(next_scratch + {place.entry} + 8 * j)")
        if len(table.sides) > 1:
            own, other = ("following", "scratch") if family == 6 else ("scratch", "following")
            text.line(f"is_ipv6 = load_i64(next_scratch + {place.hashed} + 8 * j) & SECOND_SIDE")
            text.line(f"following = {own} if is_ipv6 else {other}")
        emit_lines(text, "following", _lines(plan, table, family))
