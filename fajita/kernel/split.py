"""Bursts split by flow, as text: NFs get the packets of one flow at a time, as where every batch is of one flow.

For measurements: where most packets of a burst are of different flows, that is one call of a segment for each.
"""

from fajita.kernel.layout import Scratch
from fajita.kernel.prefetch_pass import prefetch_arguments
from fajita.kernel.spread import spread_parameter
from fajita.kernel.text import Text
from fajita.plan import Plan


def is_split(plan: Plan, number: int) -> bool:
    """Whether a segment gets parts of bursts: one that has looked a table up, if that is asked for."""
    return plan.tuning.batching == "flow" and bool(plan.segments[number].tables)


def first_parameter(plan: Plan, number: int) -> str:
    """What `run_N` takes besides, as text: from which packet of the burst on."""
    return "first, " if is_split(plan, number) else ""


def emit_split(text: Text, plan: Plan, number: int, scratch: Scratch) -> None:
    """In the loop over bursts: a call of `run_N` for each run of packets with the same entry."""
    entry = f"scratch + {scratch.tables[plan.segments[number].tables[0]].entry}"
    others = f"{prefetch_arguments(plan, number)}{spread_parameter(plan, number, 'scratch_1')}"
    text.line("begun = 0")
    text.line("while begun < count_0:")
    with text.indented():
        text.line("ended = begun + 1")
        text.line(f"while ended < count_0 and load_i64({entry} + 8 * ended) == load_i64({entry} + 8 * begun):")
        text.line("    ended += 1")
        text.line(f"run_{number}(context, scratch, position, begun, ended{others})")
        text.line("begun = ended")
