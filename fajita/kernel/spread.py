"""How entries of several lines are asked for, as text: one packet at a time, by the run pass of the burst before.

The match pass asks for the entries of a whole burst at once. With two lines each those are more than the processor has
on their way at a time, so that it stands still; spread over the NFs of the burst before, they come while those compute.
This is for IPv6 entries, which alone are so long in most chains, so that IPv4 packets pay nothing: what a packet of the
next burst needs is asked for if the packet at its place in this one is IPv6 too; otherwise the match pass has done it.
"""

from fajita.kernel.layout import Scratch
from fajita.kernel.link_pass import linking_tables
from fajita.kernel.prefetch_pass import prefetch_parameters
from fajita.kernel.text import Text
from fajita.plan import LINE_BYTES, Plan, TablePlan
from fajita.prefetching import lines_ahead


def spread_tables(plan: Plan, number: int) -> list[TablePlan]:
    """The tables whose IPv6 entries a segment's run pass asks for; not where something needs them before the NFs do."""
    if not plan.tuning.ahead or number != 0 or linking_tables(plan, number) or prefetch_parameters(plan, number):
        return []
    tables = (plan.tables[t] for t in plan.segments[number].tables)
    return [table for table in tables if table.link is None and len(table.sides) > 1 and _lines(plan, table) > 1]


def _lines(plan: Plan, table: TablePlan) -> int:
    return lines_ahead(table, table.sides[1], plan.tuning)


def spread_parameter(plan: Plan, number: int, name: str) -> str:
    """What `look_up_N` and `run_N` take besides, as text: the scratch area of the burst that runs, and of the next."""
    return f", {name}" if spread_tables(plan, number) else ""


def emit_lines(text: Text, entry: str, lines: int) -> None:
    """Ask for the first lines of an entry."""
    for line in range(lines):
        text.line(f"prefetch({entry}{f' + {line * LINE_BYTES}' if line else ''})")


def emit_unless_spread(text: Text, plan: Plan, table: TablePlan, scratch: Scratch) -> None:
    """In the match pass, for an IPv6 packet: ask at once if the run pass will not.

    Else, without a branch that nobody can predict where families mix, for what is in the cache.
    """
    t, hashed = table.index, scratch.tables[table.index].hashed
    text.line(f"asked = scratch if load_i64(run_scratch + {hashed} + 8 * j) & SECOND_SIDE else entry_{t}")
    emit_lines(text, "asked", _lines(plan, table))


def emit_spread(text: Text, plan: Plan, number: int, scratch: Scratch) -> None:
    """In the run pass, for an IPv6 packet: ask for what the one at its place in the next burst needs, if it is IPv6."""
    for table in spread_tables(plan, number):
        place = scratch.tables[table.index]
        # What lies behind the end of a short burst is another one's: asked for in vain.
        text.line(f"following = load_i64(next_scratch + {place.entry} + 8 * j)")
        text.line(f"is_ipv6 = load_i64(next_scratch + {place.hashed} + 8 * j) & SECOND_SIDE")
        text.line("following = following if is_ipv6 else scratch")
        emit_lines(text, "following", _lines(plan, table))
