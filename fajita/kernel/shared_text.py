"""Tables that workers share, as text: what the code for them has that the code for a worker's own has not.

It is there only where there are several workers (fajita.shared_entry.for_workers); see shared_table.py.
"""

from collections.abc import Iterable

from fajita.kernel.begin import emit_begin
from fajita.kernel.layout import CONTEXT
from fajita.kernel.prologue import emit_sides, emit_tables, emit_words
from fajita.kernel.text import Text
from fajita.plan import ForeignArea, ForeignField, Plan, TablePlan, TableSide

SHARED_IMPORTS = """\
from fajita.kernel.atomics import *
from fajita.kernel.layout import STOPPED
from fajita.kernel.shared_table import fold_all, shared_functions
from fajita.kernel.table import COPIES_AT, HELD_AT, OLD_TAGS, SHARED_AT, WORKER
"""
#: The operation by which a field's part in a copy comes to that in the foreign area, and that by which the part there
#: comes to the entry's own, as text of both.
_POURED = {"sum": "add", "max": "max", "min": "max", "or": "or"}
_FOLDED = {
    "sum": "{own} + {foreign}",
    "or": "{own} | {foreign}",
    "max": "maximum({own}, {foreign})",
    "min": "minimum({own}, {foreign})",
}
#: Exclusive-or that, times without sign are in the order of times, and 0 is before all.
_FIRST_TIME = -(1 << 63)


def shared_tables(plan: Plan) -> list[TablePlan]:
    """The tables that several workers use at once."""
    return [table for table in plan.tables if table.foreign is not None]


def _shared_sides(plan: Plan) -> list[TableSide]:
    return [side for table in shared_tables(plan) for side in table.sides]


def emit_shared(text: Text, plan: Plan) -> None:
    """The functions of such tables and of their sides."""
    for table in shared_tables(plan):
        assert table.foreign is not None
        _emit_pour(text, plan, table, table.foreign)
        _emit_fold(text, plan, table, table.foreign)
        for side in table.sides:
            s, t = side.index, table.index
            text.line()
            text.line()
            arguments = f"{side.packing.words}, {side.entry_bytes}, {side.owner}, pour_{t}"
            text.line(f"shared_{s} = shared_functions({arguments})")
            for function in ("is_due", "is_of", "find", "insert", "redirected", "adopted", "home", "pour_all"):
                text.line(f"{function}_{s} = shared_{s}.{function}")
            text.line(f"fold_all_{s} = fold_all({side.entry_bytes}, {side.key_bytes}, fold_{t})")
    if shared_tables(plan):
        _emit_stand_still(text, plan)


def _fields_of(foreign: ForeignArea, nf: int) -> list[ForeignField]:
    return [field for field in foreign.fields if field.nf.index == nf]


def _emit_pour(text: Text, plan: Plan, table: TablePlan, foreign: ForeignArea) -> None:
    """`pour_T(copy, state)`: adds what a copy holds to the foreign area of its entry."""
    text.function("kernel_function", f"pour_{table.index}(copy, state)")
    with text.indented():
        text.line("marks = load_u8(copy - 1)")
        text.line(f"or_atomic_8(state + {foreign.marks}, marks)")
        if foreign.last_seen is not None:
            last_seen = f"load_i64(copy + {table.last_seen}) ^ {_FIRST_TIME}"
            text.line(f"max_atomic_64(state + {foreign.last_seen}, {last_seen})")
        for nf in (plan.nfs[index] for index in table.nfs):
            text.line(f"if marks & {1 << nf.mark}:  # {nf.nf.name}")
            with text.indented():
                text.line("pass")
                for field in _fields_of(foreign, nf.index):
                    _emit_pour_field(text, field)


def _emit_pour_field(text: Text, field: ForeignField) -> None:
    at = _over_elements(text, field)
    with text.indented_if(field.count > 1):
        begin = f" ^ {field.begin}" if field.begin else ""
        text.line(f"value = load_u{8 * field.bytes}(copy + {field.at}{at}){begin}")
        text.line("if value != 0:")
        target = f"state + {field.foreign_at}{at}"
        text.line(f"    {_POURED[field.merge]}_atomic_{8 * field.bytes}({target}, value)")


def _over_elements(text: Text, field: ForeignField) -> str:
    """A loop over the elements of an array; what an element's place has besides that of the field."""
    if field.count == 1:
        return ""
    text.line(f"for element in range({field.count}):")
    return f" + {field.bytes} * element" if field.bytes > 1 else " + element"


def _emit_fold(text: Text, plan: Plan, table: TablePlan, foreign: ForeignArea) -> None:
    """`fold_T(state)`: makes what is foreign in an entry its own, when all workers stand still."""
    text.function("kernel_function", f"fold_{table.index}(state)")
    with text.indented():
        text.line(f"marks, others = load_u8(state - 1), load_u8(state + {foreign.marks})")
        text.line("if others == 0:")
        text.line("    return")
        if foreign.last_seen is not None:
            last_seen = f"load_i64(state + {foreign.last_seen}) ^ {_FIRST_TIME}"
            own = f"state + {table.last_seen}"
            text.line(f"store_64({own}, maximum(load_i64({own}), {last_seen}))")
        for nf in (plan.nfs[index] for index in table.nfs):
            mark = 1 << nf.mark
            text.line(f"if others & ~marks & {mark}:  # {nf.nf.name}, to which the owner's packets did not come")
            with text.indented():
                text.line("pass")
                emit_begin(text, nf, "state")
            text.line(f"if others & {mark}:")
            with text.indented():
                text.line("pass")
                for field in _fields_of(foreign, nf.index):
                    _emit_fold_field(text, field)
        text.line(f"clear(state + {foreign.start}, {foreign.bytes})")
        text.line("store_8(state - 1, marks | others)")


def _emit_fold_field(text: Text, field: ForeignField) -> None:
    at, load = _over_elements(text, field), f"load_u{8 * field.bytes}"
    with text.indented_if(field.count > 1):
        own, begin = f"state + {field.at}{at}", f" ^ {field.begin}" if field.begin else ""
        foreign = f"({load}(state + {field.foreign_at}{at}){begin})"
        text.line(
            f"store_{8 * field.bytes}({own}, {_FOLDED[field.merge].format(own=f'{load}({own})', foreign=foreign)})"
        )


def _emit_stand_still(text: Text, plan: Plan) -> None:
    """`stand_still(context)`: what is asked for when all workers do."""
    text.function("rare_function", "stand_still(context)")
    with text.indented():
        emit_words(text, ("folded", "moved"))
        for table in shared_tables(plan):
            text.line(f"if folded == {table.index + 1}:")
            with text.indented():
                emit_sides(text, table.sides)
                for side in table.sides:
                    text.line(f"fold_all_{side.index}(load_i64(side_{side.index} + SHARED_AT))")
            text.line(f"if moved == {table.index + 1}:")
            with text.indented():
                emit_sides(text, table.sides)
                emit_common(text, table.sides)
                for side in table.sides:
                    text.line(f"while load_i64(side_{side.index} + OLD_TAGS) != 0:")
                    text.line(f"    attend_{side.index}(side_{side.index})")
        text.line("return DONE")


def emit_standstill(text: Text, plan: Plan) -> None:
    """In `run_chain`: do that if it is asked for."""
    if shared_tables(plan):
        text.line(f"if load_i64(context + {CONTEXT['folded']}) | load_i64(context + {CONTEXT['moved']}) != 0:")
        text.line("    return stand_still(context)")
        emit_words(text, ("stop",))


def emit_stops(text: Text, plan: Plan) -> None:
    """Before a burst: end the loop if all workers have to stand still, because of a side of this one or another's."""
    for side in _shared_sides(plan):
        text.line(f"if is_due_{side.index}(side_{side.index}):")
        text.line(f"    full = {side.index + 1}")
        text.line("    store_release_64(stop, 1)")
        text.line("    break")
    if shared_tables(plan):
        text.line("if load_relaxed_u64(stop) != 0:")
        text.line("    full = STOPPED")
        text.line("    break")


def emit_pour_all(text: Text, plan: Plan) -> None:
    """After the last burst."""
    for side in _shared_sides(plan):
        text.line(f"pour_all_{side.index}(side_{side.index})")


def emit_common(text: Text, sides: Iterable[TableSide]) -> None:
    """Make `side_S` the descriptor that all workers have in common, for what is done while they stand still."""
    for side in sides:
        if side.owner is not None:
            text.line(f"side_{side.index} = load_i64(side_{side.index} + SHARED_AT)")


def emit_shared_resolve(text: Text, table: TablePlan, side: TableSide) -> None:
    """`resolve_S(context, hashed, key, clock)`: where the key of the flow's entry ends, or 0 if it may have none."""
    s = side.index
    text.function("rare_function", f"resolve_{s}(context, hashed, key, clock)")
    with text.indented():
        emit_tables(text, [table])
        emit_sides(text, [side])
        text.line(f"entry = find_{s}(side_{s}, hashed, key)")
        text.line("if entry == 0:")
        text.line(f"    entry = insert_{s}(side_{s}, hashed, key)")
        text.line("if entry == 0:")
        text.line(f"    add_one(table_{table.index} + REFUSED)")
        text.line("    return 0")
        text.line(f"return entry + {side.key_bytes}")


def emit_copies(text: Text, sides: Iterable[TableSide]) -> None:
    """`held_S` and `copies_S`: what is needed to find the copies that this worker has of entries."""
    for side in sides:
        if side.owner is not None:
            s = side.index
            text.line(f"held_{s}, copies_{s} = load_i64(side_{s} + HELD_AT), load_i64(side_{s} + COPIES_AT)")


def emit_redirected(text: Text, side: TableSide, entry: str) -> None:
    """Let a variable that says where an entry is say where this worker's copy of it is, if there is one."""
    if side.owner is not None:
        s = side.index
        text.line(f"{entry} = redirected_{s}({entry}, held_{s}, copies_{s})")


def emit_adopted(text: Text, side: TableSide, t: int, *, may_lack: bool) -> None:
    """Let `state_T` be where this worker may write; may_lack: there may be no entry."""
    if may_lack:
        text.line(f"if state_{t} != 0:")
    with text.indented_if(may_lack):
        text.line(f"state_{t} = adopted_{side.index}(side_{side.index}, state_{t})")


def home(side: TableSide, t: int) -> str:
    """The entry itself that `state_T` is a copy of, or is."""
    return f"home_{side.index}(side_{side.index}, state_{t})"


def emit_worker(text: Text, plan: Plan) -> None:
    """`worker`: what its entries have as their owner."""
    for side in _shared_sides(plan)[:1]:
        text.line(f"worker = load_i64(side_{side.index} + WORKER)")


def is_owners(side: TableSide) -> str:
    """Whether `entry` is this worker's, or its copy of another's."""
    assert side.owner is not None
    return f"load_u8(entry + {side.key_bytes + side.owner}) == worker"
