"""How entries begin and end, as text: functions for each table of a plan, none of them on the way of a known flow.

`resolve_S` finds the entry of a flow or begins one, if the table is not full. `expire_T` ends what has been idle too
long in an entry, `end_T` all of it. `sweep_T` looks for idle entries, some slots whenever that is due; `make_room_T`
looks for an entry to evict; `drain` ends all. The interpreted engine does the same, slot by slot
(reference/flow_table).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fajita.kernel.deadline import emit_deadline, longest_idle, timed
from fajita.kernel.layout import CONTEXT
from fajita.kernel.prologue import emit_sides, emit_tables, emit_words
from fajita.kernel.records import emit_room_check, records_of_side
from fajita.kernel.shared_text import emit_common, emit_shared_resolve
from fajita.kernel.text import Text
from fajita.lifetime import EXAMINED_PER_EVICTION, SWEPT_AT_ONCE
from fajita.nf import ENDED_BY, IDLE
from fajita.nf import EVICTED as EVICTED_BY
from fajita.plan import Plan, TablePlan, TableSide


def emit_lifetime(text: Text, plan: Plan) -> None:
    """All of these functions."""
    for table in plan.tables:
        if table.idle_ends:
            _emit_expire(text, plan, table)
        if table.notes_deadlines:
            emit_deadline(text, plan, table)
        if table.is_swept:
            _emit_sweep(text, plan, table)
        _emit_end(text, plan, table)
        if table.evicts:
            _emit_make_room(text, plan, table)
        for side in table.sides:
            if side.owner is None:
                _emit_resolve(text, table, side)
            else:
                emit_shared_resolve(text, table, side)
            if table.link is not None or table.asks:
                _emit_search(text, side)
    _emit_count_expired(text)
    _emit_end_listed(text, plan)


def _emit_head(text: Text, head: str, table: TablePlan, sides: Sequence[TableSide]) -> None:
    text.function("rare_function", f"{head}")
    with text.indented():
        emit_tables(text, [table])
        emit_sides(text, sides)
        emit_common(text, sides)


def _emit_resolve(text: Text, table: TablePlan, side: TableSide) -> None:
    """`resolve_S(context, hashed, key, clock)`: where the key of the flow's entry ends, or 0 if it may have none."""
    t, s = table.index, side.index
    _emit_head(text, f"resolve_{s}(context, hashed, key, clock)", table, [side])
    with text.indented():
        text.line(f"entry = find_{s}(side_{s}, hashed, key)")
        text.line("if entry != 0:")
        text.line(f"    return entry + {side.key_bytes}")
        full = (
            f"load_i64(table_{t} + ENTRIES) >= load_i64(table_{t} + CAPACITY) "
            f"or load_i64(side_{s} + COUNT) >= load_i64(side_{s} + MOST)"
        )
        text.line(f"full = {full}")
        if table.evicts:
            text.line("if full:")
            text.line(f"    make_room_{t}(context, {table.sides.index(side)})")
            text.line(f"    full = {full}")
        text.line("if full:")
        text.line(f"    add_one(table_{t} + REFUSED)")
        text.line("    return 0")
        text.line(f"state = insert_{s}(side_{s}, hashed, key) + {side.key_bytes}")
        text.line(f"add_one(table_{t} + ENTRIES)")
        text.line(f"add_one(table_{t} + CREATED)")
        if table.slot is not None:
            text.line(f"slot = take_slot(table_{t})")
            text.line(f"record = record_of(table_{t}, slot)")
            text.line(f"store_64(record, state | {table.sides.index(side)})")
            text.line("store_64(record + 8, clock)")
            text.line(f"store_32(state + {table.slot}, slot)")
        if table.last_seen is not None:
            text.line(f"store_64(state + {table.last_seen}, clock)")
        text.line("return state")


def _emit_search(text: Text, side: TableSide) -> None:
    """`search_S(context, key, clock)`: the same for a key that has not been hashed: a link or a guess led astray."""
    s, words = side.index, side.packing.words
    text.function("rare_function", f"search_{s}(context, key, clock)")
    with text.indented():
        emit_sides(text, [side])
        key = ", ".join(f"load_i64(key + {8 * word})" for word in range(words))
        secrets = f"load_i64(side_{s} + SECRET_0), load_i64(side_{s} + SECRET_1)"
        text.line(f"return resolve_{s}(context, hash_{words}({secrets}, {key}), key, clock)")


def _emit_expire(text: Text, plan: Plan, table: TablePlan) -> None:
    """`expire_T(context, state, idle_ns, records)`: ends the states of an entry that have been idle for too long.

    records: what hooks get for entries of that side. Gives the marks that are left.
    """
    _emit_head(text, f"expire_{table.index}(context, state, idle_ns, records)", table, [])
    with text.indented():
        emit_words(text, ("core", "constants"))
        text.line("marks = load_u8(state - 1)")
        for nf in timed(plan, table):
            text.line(f"if marks & {1 << nf.mark} and idle_ns >= {longest_idle(nf)}:  # {nf.nf.name}")
            with text.indented():
                if hook := nf.translated.hooks.get("expire"):
                    text.line(hook.call())
                text.line(f"clear(state + {nf.state_start}, {nf.state_bytes})")
                if nf.array_bytes:
                    text.line(f"clear(state + {nf.array_start}, {nf.array_bytes})")
                text.line(f"marks &= {~(1 << nf.mark)}")
        text.line("store_8(state - 1, marks)")
        text.line("return marks")


def _emit_count_expired(text: Text) -> None:
    """`count_expired(context, table)`: an entry has ended and begins anew."""
    text.function("rare_function", "count_expired(context, table)")
    with text.indented():
        text.line(f"at = load_i64(context + {CONTEXT['tables']}) + table * TABLE_BYTES")
        text.line("add_one(at + EXPIRED)")
        text.line("add_one(at + CREATED)")


def _emit_end(text: Text, plan: Plan, table: TablePlan) -> None:
    """`end_T(context, where)`: ends the entry at an address as slots have it, whatever it is."""
    _emit_head(text, f"end_{table.index}(context, where)", table, table.sides)
    with text.indented():
        emit_words(text, ("core", "constants"))
        text.line("state = where & ~1")
        _emit_records(text, plan, table)
        text.line("marks = load_u8(state - 1)")
        for nf in (plan.nfs[index] for index in table.nfs):
            if hook := nf.translated.hooks.get("expire"):
                text.line(f"if marks & {1 << nf.mark}:  # {nf.nf.name}")
                text.line(f"    {hook.call()}")
        _emit_remove(text, table)


def _emit_records(text: Text, plan: Plan, table: TablePlan) -> None:
    """`records` as hooks get it for the entry that `where` says."""
    first, *others = [records_of_side(plan, side) for side in table.sides]
    text.line(f"records = load_i64(context + {CONTEXT['records']})")
    text.line(f"records = ({others[0]}) if where & 1 else ({first})" if others else f"records = {first}")


def _emit_remove(text: Text, table: TablePlan) -> None:
    """Take the entry `where` out of its table."""
    t = table.index
    if table.slot is not None:
        text.line(f"give_back_slot(table_{t}, load_u32((where & ~1) + {table.slot}))")
    for number, side in enumerate(table.sides):
        if len(table.sides) > 1:
            text.line(f"if where & 1 == {number}:")
        with text.indented_if(len(table.sides) > 1):
            text.line(f"remove_{side.index}(side_{side.index}, (where & ~1) - {side.key_bytes})")
    text.line(f"store_64(table_{t} + ENTRIES, load_i64(table_{t} + ENTRIES) - 1)")


def _emit_look(text: Text, t: int, test: str = "") -> None:
    """What a hand does: `where` the entry in its `slot` is, by the slot's `record`; it moves on.

    test: of a record's time, whether the hand will want the entry too.
    """
    text.line("if slot >= slots:")
    text.line("    slot = 0")
    text.line(f"record = record_of(table_{t}, slot)")
    text.line("where = load_i64(record)")
    # By the time the hand is there, the entry has come.
    ahead = f"record_of(table_{t}, minimum(slot + 4, slots - 1))"
    if test:
        text.line(f"ahead = {ahead}")
        text.line(f"if {test.format('load_i64(ahead + 8)')}:")
        text.line("    prefetch(load_i64(ahead))")
    else:
        text.line(f"prefetch(load_i64({ahead}))")
    text.line("slot += 1")


def _emit_make_room(text: Text, plan: Plan, table: TablePlan) -> None:
    """`make_room_T(context, number)`: evicts a flow that had no packet since an eviction last looked at it.

    Second chance: if all that it may look at had one, the last of them goes. number: of the side that is to have room;
    unless the table as a whole is full, which any flow's end helps.
    """
    t = table.index
    _emit_head(text, f"make_room_{t}(context, number)", table, [])
    with text.indented():
        text.line(f"slot, slots, victim = load_i64(table_{t} + EVICTOR), load_i64(table_{t} + SLOTS), 0")
        text.line("if slots == 0:  # not even for one was there memory")
        text.line("    return")
        if len(table.sides) > 1:
            text.line(f"of_any_side = load_i64(table_{t} + ENTRIES) >= load_i64(table_{t} + CAPACITY)")
        text.line(f"for _ in range({EXAMINED_PER_EVICTION}):")
        with text.indented():
            _emit_look(text, t)
            of_side = " and (of_any_side or where & 1 == number)" if len(table.sides) > 1 else ""
            text.line(f"if where != 0{of_side}:")
            with text.indented():
                text.line("victim = where")
                text.line(f"last_seen = load_i64((where & ~1) + {table.last_seen})")
                text.line("if last_seen == load_i64(record + 8):")
                with text.indented():
                    text.line("break")
                text.line("store_64(record + 8, last_seen)")
        text.line(f"store_64(table_{t} + EVICTOR, slot)")
        text.line("if victim != 0:")
        with text.indented():
            _emit_why(text, plan, table, EVICTED_BY)
            text.line(f"end_{t}(context, victim)")
            _emit_why(text, plan, table, IDLE)
            text.line(f"add_one(table_{t} + EVICTED)")


def _emit_why(text: Text, plan: Plan, table: TablePlan, ended_by: int) -> None:
    """Let the NFs of a table that ask know why its states end."""
    asking = [nf for nf in (plan.nfs[index] for index in table.nfs) if ENDED_BY in nf.core_offsets]
    if asking:
        emit_words(text, ("core",))
    for nf in asking:
        text.line(f"store_8(core + {nf.core_offsets[ENDED_BY]}, {ended_by})  # {nf.nf.name}")


def _emit_sweep(text: Text, plan: Plan, table: TablePlan) -> None:
    """`sweep_T(context, clock)`: looks at the slots that it is time to look at, so many at most."""
    t = table.index
    _emit_head(text, f"sweep_{t}(context, clock)", table, table.sides)
    with text.indented():
        text.line(f"due, slot = load_i64(table_{t} + DUE), load_i64(table_{t} + HAND)")
        text.line(f"slots = load_i64(table_{t} + SLOTS)")
        text.line(f"for _ in range({SWEPT_AT_ONCE}):")
        with text.indented():
            text.line("if due > clock:")
            text.line("    break")
            text.line(f"due = next_due(due, clock, {table.round_ns}, slots)")
            text.line("if slots != 0:")
            with text.indented():
                test = "clock >= {}" if table.notes_deadlines else ""
                _emit_look(text, t, test)
                text.line(f"if where != 0{' and ' + test.format('load_i64(record + 8)') if test else ''}:")
                with text.indented():
                    _emit_end_idle(text, plan, table)
                    if test:
                        text.line("else:")
                        text.line(f"    store_64(record + 8, deadline_{t}(state))")
        text.line(f"store_64(table_{t} + DUE, due)")
        text.line(f"store_64(table_{t} + HAND, slot)")


def _emit_end_idle(text: Text, plan: Plan, table: TablePlan) -> None:
    """End what has been idle too long, by the `clock`, in the entry `where`; all of it if nothing is left."""
    t = table.index
    text.line("state = where & ~1")
    _emit_records(text, plan, table)
    text.line(f"idle_ns = clock - load_i64(state + {table.last_seen})")
    text.line(f"if expire_{t}(context, state, idle_ns, records) == 0:")
    with text.indented():
        _emit_remove(text, table)
        text.line(f"add_one(table_{t} + EXPIRED)")


def _emit_end_listed(text: Text, plan: Plan) -> None:
    """`end_listed(context)`: ends the entries that the engine lists, all of one table, or what is idle of them."""
    for table in plan.tables:
        _emit_drain(text, plan, table)
        if table.idle_ends:
            _emit_settle(text, plan, table)
    text.function("rare_function", "end_listed(context)")
    with text.indented():
        emit_words(text, ("drained", "settled"))
        for table in plan.tables:
            text.line(f"if drained == {table.index + 1}:")
            text.line(f"    return drain_{table.index}(context)")
            if table.idle_ends:
                text.line(f"if settled == {table.index + 1}:")
                text.line(f"    return settle_{table.index}(context)")
        text.line("return DONE")


def _emit_drain(text: Text, plan: Plan, table: TablePlan) -> None:
    """`drain_T(context)`: ends all that is listed."""
    _emit_head(text, f"drain_{table.index}(context)", table, [])
    with text.indented(), _over_listed(text, plan):
        text.line(f"end_{table.index}(context, where)")
        text.line(f"add_one(table_{table.index} + EXPIRED)")


def _emit_settle(text: Text, plan: Plan, table: TablePlan) -> None:
    """`settle_T(context)`: ends what is idle of it."""
    _emit_head(text, f"settle_{table.index}(context)", table, table.sides)
    with text.indented():
        emit_words(text, ("clock",))
        with _over_listed(text, plan):
            _emit_end_idle(text, plan, table)


@contextmanager
def _over_listed(text: Text, plan: Plan) -> Iterator[None]:
    """A loop over the list, `where` being each entry, that goes on as long as there is room for records."""
    emit_words(text, ("listed", "listed_end"))
    text.line("while listed < listed_end:")
    with text.indented():
        emit_words(text, ("records",))
        emit_room_check(text, plan, (f"store_64(context + {CONTEXT['listed']}, listed)", "return RECORDS_FULL"))
        text.line("where = load_i64(listed)")
        yield
        text.line("listed += 8")
    text.line("return DONE")
