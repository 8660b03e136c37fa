"""The worker's clock and the search for idle entries, as text: what goes on around the third passes of a burst.

The clock is the latest packet time so far (fajita.lifetime). What it is at each packet of a burst is noted before the
burst's NFs run; seldom is one of the packets late enough for a slot of a table to be looked at. Only then is the
burst run in parts, with `sweep_N` in between, so that the passes themselves need not ask.
"""

from fajita.kernel.layout import CONTEXT, Scratch
from fajita.kernel.lifetime import NEVER
from fajita.kernel.prefetch_pass import prefetch_arguments, prefetch_parameters
from fajita.kernel.prologue import emit_tables
from fajita.kernel.text import Text
from fajita.plan import Plan, TablePlan


def has_clock(plan: Plan) -> bool:
    """Whether some table keeps times."""
    return any(table.last_seen is not None for table in plan.tables)


def swept_tables(plan: Plan, number: int) -> list[TablePlan]:
    """The tables of a segment's NFs that have entries which end when they are idle."""
    return [table for table in plan.tables_run_in(number) if table.idle_ends]


def emit_note_clocks(text: Text, plan: Plan, scratch: Scratch) -> None:
    """`note_clocks(context, scratch, position, count)`: the clock at each packet of a burst; gives the last."""
    if not has_clock(plan):
        return
    text.line()
    text.line()
    text.line("@kernel_function")
    text.line("def note_clocks(context, scratch, position, count):")
    with text.indented():
        text.line(f"time_ns = load_i64(context + {CONTEXT['time_ns']})")
        text.line(f"clock = load_i64(context + {CONTEXT['clock']})")
        text.line("for j in range(count):")
        text.line("    clock = maximum(clock, load_i64(time_ns + 8 * (position + j)))")
        text.line(f"    store_64(scratch + {scratch.clock} + 8 * j, clock)")
        text.line(f"store_64(context + {CONTEXT['clock']}, clock)")
        text.line("return clock")


def emit_swept_run(text: Text, plan: Plan, number: int, scratch: Scratch) -> None:
    """`run_swept_N(context, scratch, position, count)`: the third pass, with a look at slots before some packets."""
    tables, parameters = swept_tables(plan, number), prefetch_parameters(plan, number)
    if not tables:
        return
    text.line()
    text.line()
    text.line("@rare_function")
    text.line(f"def run_swept_{number}(context, scratch, position, count{prefetch_parameters(plan, number)}):")
    with text.indented():
        emit_tables(text, tables)
        _emit_due(text, tables)
        text.line("start = 0")
        text.line("for j in range(count):")
        with text.indented():
            text.line(f"clock = load_i64(scratch + {scratch.clock} + 8 * j)")
            text.line("if clock >= due:")
            text.line(f"    run_{number}(context, scratch, position, start, j{parameters})")
            text.line("    start = j")
            text.line(f"    due = sweep_{number}(context, clock)")
        text.line(f"run_{number}(context, scratch, position, start, count{parameters})")


def emit_run(text: Text, plan: Plan, number: int) -> None:
    """Run the third pass of a segment for the burst at `position`; `clock`: at its last packet."""
    tables, arguments = swept_tables(plan, number), prefetch_arguments(plan, number)
    run = f"run_{number}(context, scratch, position, 0, count_0{arguments})"
    if not tables:
        text.line(run)
        return
    _emit_due(text, tables)
    text.line("if clock >= due:")
    text.line(f"    run_swept_{number}(context, scratch, position, count_0{arguments})")
    text.line("else:")
    text.line(f"    {run}")


def _emit_due(text: Text, tables: list[TablePlan]) -> None:
    text.line(f"due = {NEVER}")
    for table in tables:
        text.line(f"due = minimum(due, load_i64(table_{table.index} + DUE))")
