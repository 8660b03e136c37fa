"""When the search for idle entries has to look at one again, as text.

The search comes by each slot twice in the shortest timeout of its table, which may be far shorter than what most states
have left. An entry is in no cache by then; the slots lie one behind the other. So a slot has a time before which no
state of its entry can end, and until then the entry is left alone. Packets only put the end off, unless an NF chooses a
shorter time than before, or begins anew in an entry of others: then that time is brought forward.
"""

from fajita.kernel.prologue import emit_tables
from fajita.kernel.text import Text
from fajita.plan import NFPlan, Plan, TablePlan


def longest_idle(nf: NFPlan, state: str = "state") -> str:
    """The idle time at which an NF's state ends, as text; `state`: the variable that says where the entry is."""
    if nf.expire_in is None:
        return str(nf.timeout_ns)
    return f"chosen_or(load_i64({state} + {nf.expire_in}), {'NEVER' if nf.timeout_ns is None else nf.timeout_ns})"


def timed(plan: Plan, table: TablePlan) -> list[NFPlan]:
    """The NFs of a table whose states may end because their flow is idle."""
    return [nf for nf in (plan.nfs[index] for index in table.nfs) if nf.ends_idle]


def emit_deadline(text: Text, plan: Plan, table: TablePlan) -> None:
    """`deadline_T(state)`: before this no state of an entry can end, nor one that has not begun but has a fixed time.

    `look_sooner_T(context, state)`: notes it, where it is earlier than what is noted.
    """
    t = table.index
    ends = [f"end_of_idleness(last_seen, {longest_idle(nf)})" for nf in timed(plan, table)]
    text.function("kernel_function", f"deadline_{t}(state)")
    with text.indented():
        text.line(f"last_seen = load_i64(state + {table.last_seen})")
        text.line(f"deadline = {ends[0]}")
        for end in ends[1:]:
            text.line(f"deadline = minimum(deadline, {end})")
        text.line("return deadline")
    if not any(may_end_sooner(table, nf, hook) for nf in timed(plan, table) for hook in nf.translated.hooks):
        return
    text.function("rare_function", f"look_sooner_{t}(context, state)")
    with text.indented():
        emit_tables(text, [table])
        text.line(f"record = record_of(table_{t}, load_u32(state + {table.slot}))")
        text.line(f"store_64(record + 8, minimum(load_i64(record + 8), deadline_{t}(state)))")


def may_end_sooner(table: TablePlan, nf: NFPlan, hook: str) -> bool:
    """Whether a method may bring an entry's end forward. A new entry is looked at anyway."""
    return table.notes_deadlines and hook in nf.translated.chooses and (hook != "new_flow" or len(table.nfs) > 1)
