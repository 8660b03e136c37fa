"""The worker's clock and the search for idle entries, as text: what goes on before the third passes of a burst.

The clock is the latest packet time so far (fajita.lifetime). What it is at each packet of a burst is noted before the
burst's NFs run. Tables are looked through for idle entries, if that is due, before a burst that begins with a packet
whose number, of all that the worker has had, is a multiple of PACKETS_PER_SWEEP: bursts are cut so that all but the
first of a block begin there.
"""

from fajita.kernel.layout import BURST, CONTEXT, Scratch
from fajita.kernel.text import Text
from fajita.plan import Plan


def has_clock(plan: Plan) -> bool:
    """Whether some table keeps times."""
    return any(table.last_seen is not None for table in plan.tables)


def sweeps(plan: Plan) -> bool:
    """Whether some table is looked through for idle entries."""
    return any(table.is_swept for table in plan.tables)


def burst_end(plan: Plan) -> str:
    """How many packets a burst that begins with `following` may have, as text."""
    if plan.tuning.batching == "packet":
        return "1"
    return f"BURST - ((before + following) & {BURST - 1})" if sweeps(plan) else "BURST"


def emit_note_clocks(text: Text, plan: Plan, scratch: Scratch) -> None:
    """`note_clocks(context, scratch, position, count)`: the clock at each packet of a burst."""
    if not has_clock(plan):
        return
    text.function("kernel_function", "note_clocks(context, scratch, position, count)")
    with text.indented():
        text.line(f"clocks = load_i64(context + {CONTEXT['clocks']})")
        text.line(f"clock = load_i64(context + {CONTEXT['clock']})")
        text.line("for j in range(count):")
        text.line("    clock = maximum(clock, load_i64(clocks + 8 * (position + j)))")
        text.line(f"    store_64(scratch + {scratch.clock} + 8 * j, clock)")
        text.line(f"store_64(context + {CONTEXT['clock']}, clock)")


def emit_clock_pass(text: Text, plan: Plan, scratch: Scratch) -> None:
    """In the loop over bursts, before the NFs of the one at `position` run."""
    if has_clock(plan):
        text.line("note_clocks(context, scratch, position, count_0)")
    if sweeps(plan):
        text.line(f"if count_0 != 0 and (before + position) & {BURST - 1} == 0:")
        with text.indented():
            text.line(f"clock = load_i64(scratch + {scratch.clock})")
            for table in (table for table in plan.tables if table.is_swept):
                text.line(f"if clock >= load_i64(table_{table.index} + DUE):")
                text.line(f"    sweep_{table.index}(context, clock)")
