"""The third pass of a segment, as text: run its NFs on each packet of the burst."""

from contextlib import ExitStack
from itertools import groupby

from fajita.kernel.layout import CONTEXT, FRAMES_AHEAD, Scratch, Statistics
from fajita.kernel.table import MARK_SHIFT
from fajita.kernel.text import Text
from fajita.plan import NFPlan, Plan, TablePlan

#: What the passes need of the context.
_WORDS = ("end", "address", "captured", "wire", "time_ns", "verdict", "core", "constants", "statistics")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def emit_run_pass(text: Text, plan: Plan, number: int, scratch: Scratch, statistics: Statistics) -> None:
    """`run_N(context, scratch, position, count)`: the segment's NFs; the last segment's also gives the verdicts.

    seen: an NF was about the packet. code: 0 while it goes on, else 1 + the reason for which an NF dropped it.
    """
    segment, last = plan.segments[number], number == len(plan.segments) - 1
    counted = [index for index in segment.nfs if statistics.received[index] is not None]
    text.line()
    text.line()
    text.line("@burst_function")
    text.line(f"def run_{number}(context, scratch, position, count):")
    with text.indented():
        for name in _WORDS:
            text.line(f"{name} = load_i64(context + {CONTEXT[name]})")
        for table in plan.tables:
            t = table.index
            text.line(f"table_{t} = load_i64(context + {CONTEXT['tables']}) + {t} * DESCRIPTOR_BYTES")
        for index in counted:
            text.line(f"received_{index} = 0")
        text.line("for j in range(count):")
        with text.indented():
            _emit_packet(text, plan, number, scratch, statistics, last=last)
        for index in counted:
            place = f"statistics + {statistics.received[index]}"
            text.line(f"store_64({place}, load_i64({place}) + received_{index})")


def _emit_packet(text: Text, plan: Plan, number: int, scratch: Scratch, statistics: Statistics, *, last: bool) -> None:
    text.line("frame = load_i64(address + 8 * (position + j))")
    text.line(f"headers = load_i64(scratch + {scratch.headers} + 8 * j)")
    text.line("length = load_u32(wire + 4 * (position + j))")
    text.line("captured_bytes = load_u32(captured + 4 * (position + j))")
    text.line("time = load_i64(time_ns + 8 * (position + j))")
    if last:
        text.line(f"prefetch(load_i64(address + 8 * minimum(position + j + {FRAMES_AHEAD}, end - 1)))")
    if number == 0:
        text.line("seen = code = 0")
    else:
        text.line(f"status = load_i64(scratch + {scratch.status} + 8 * j)")
        text.line("seen, code = status & 1, status >> 1")
    resolved: set[int] = set()
    may_be_dropped = number > 0 and any(
        plan.nfs[index].translated.may_drop for before in plan.segments[:number] for index in before.nfs
    )
    nfs = (plan.nfs[index] for index in plan.segments[number].nfs)
    for table, group in groupby(nfs, key=lambda nf: nf.table):
        may_be_dropped = _emit_group(
            text, plan, table, list(group), number, scratch, statistics, resolved, may_be_dropped
        )
    if last:
        _emit_verdict(text, plan, statistics)
    else:
        text.line(f"store_64(scratch + {scratch.status} + 8 * j, seen | (code != 0) << 1)")


def _emit_group(
    text: Text,
    plan: Plan,
    table: int | None,
    group: list[NFPlan],
    number: int,
    scratch: Scratch,
    statistics: Statistics,
    resolved: set[int],
    may_be_dropped: bool,
) -> bool:
    """Consecutive NFs of one table, or without any; True if a packet may have been dropped after them."""
    alive = "code == 0 and " if may_be_dropped else ""
    if table is None:
        for nf in group:
            layer = int(nf.layer)
            text.line(f"if {alive}(headers & {layer}) == {layer}:  # {nf.nf.name}")
            with text.indented():
                text.line("seen = 1")
                _emit_nf(text, nf, statistics)
            if nf.translated.may_drop:
                alive, may_be_dropped = "code == 0 and ", True
        return may_be_dropped
    if table not in resolved:
        text.line(f"hash_{table} = load_i64(scratch + {scratch.tables[table].hashed} + 8 * j)")
    text.line(f"if {alive}hash_{table} != 0:")
    with text.indented(), ExitStack() as nested:
        text.line("seen = 1")
        text.line(f"headers |= {int(plan.tables[table].key.layer)}  # known, so that nothing asks again")
        if table not in resolved:
            later = [index for segment in plan.segments[number + 1 :] for index in segment.nfs]
            _emit_resolve(
                text,
                plan.tables[table],
                scratch,
                first=number == plan.first_segment_of(table),
                needed_later=any(plan.nfs[index].table == table for index in later),
            )
            resolved.add(table)
        early = _may_begin_early(group)
        if early:
            text.line(f"if absent_{table} != 0:")
            with text.indented():
                for nf in early:
                    _emit_new_flow(text, plan.tables[table], nf)
        for position, nf in enumerate(group):
            text.line(f"# {nf.nf.name}")
            if nf not in early:
                _emit_new_flow(text, plan.tables[table], nf)
            _emit_nf(text, nf, statistics)
            if nf.translated.may_drop:
                may_be_dropped = True
                if position + 1 < len(group):
                    text.line("if code == 0:")
                    nested.enter_context(text.indented())
    return may_be_dropped


def _emit_resolve(text: Text, table: TablePlan, scratch: Scratch, *, first: bool, needed_later: bool) -> None:
    """Find the packet's entry, by what the match pass found or by a search; `absent`: NFs without state in it yet."""
    t, place, words = table.index, scratch.tables[table.index], table.key.words
    key = f"scratch + {place.key} + {8 * words} * j"
    last = 8 * (words - 1)
    marks = f"load_u8(entry_{t} + {last + 7})"
    text.line(f"entry_{t} = load_i64(scratch + {place.entry} + 8 * j)")
    if not first:
        text.line(f"absent_{t} = {table.all_marks} & ~{marks}")
        return
    text.line(f"absent_{t} = 0")
    same = [f"load_i64(entry_{t} + {8 * w}) == load_i64({key} + {8 * w})" for w in range(words - 1)]
    with_marks = f"load_i64({key} + {last}) | {_signed(table.all_marks << MARK_SHIFT)}"
    same.append(f"load_i64(entry_{t} + {last}) == ({with_marks})")
    text.line(f"if entry_{t} == 0 or not ({' and '.join(same)}):")
    with text.indented():
        text.line(f"entry_{t} = resolve_{t}(table_{t}, hash_{t}, {key})")
        text.line(f"absent_{t} = {table.all_marks} & ~{marks}")
    if table.last_seen is not None:
        text.line(f"idle_ns = time - load_i64(entry_{t} + {table.last_seen})")
        text.line(f"if idle_ns >= {table.shortest_timeout_ns}:")
        text.line(f"    expire_{t}(table_{t}, entry_{t}, idle_ns, core, constants)")
        text.line(f"    absent_{t} = {table.all_marks} & ~{marks}")
        text.line(f"store_64(entry_{t} + {table.last_seen}, time)")
    if needed_later:
        text.line(f"store_64(scratch + {place.entry} + 8 * j, entry_{t})")


def _call(nf: NFPlan, hook: str) -> str:
    """A call in the names of this pass."""
    names = {"captured": "captured_bytes", "time_ns": "time", "state": f"entry_{nf.table}"}
    translated = nf.translated.hooks[hook]
    return f"{translated.function}({', '.join(names.get(name, name) for name in translated.arguments)})"


def _may_begin_early(group: list[NFPlan]) -> list[NFPlan]:
    """NFs whose new_flow may run before the packet meets the NFs ahead of them: none drops it or writes what it reads.

    So that a packet of a known flow pays for one test, not for one per NF.
    """
    early: list[NFPlan] = []
    written: set[str] = set()
    for nf in group:
        if nf.translated.reads & written:
            break
        early.append(nf)
        written |= nf.translated.writes
        if nf.translated.may_drop:
            break
    return early


def _emit_new_flow(text: Text, table: TablePlan, nf: NFPlan) -> None:
    t, mark = table.index, 1 << nf.mark
    last = 8 * (table.key.words - 1) + 7
    text.line(f"if absent_{t} & {mark}:  # {nf.nf.name}")
    with text.indented():
        text.line(f"store_8(entry_{t} + {last}, load_u8(entry_{t} + {last}) | {mark})")
        if "new_flow" in nf.translated.hooks:
            text.line(_call(nf, "new_flow"))


def _emit_nf(text: Text, nf: NFPlan, statistics: Statistics) -> None:
    if statistics.received[nf.index] is not None:
        text.line(f"received_{nf.index} += 1")
    if not nf.translated.may_drop:
        text.line(_call(nf, "packet"))
        return
    text.line(f"code = {_call(nf, 'packet')}")
    text.line("if code != 0:")
    with text.indented():
        first = statistics.drops[nf.index][0] - 8
        text.line(f"dropped = statistics + {first} + 8 * code")
        text.line("store_64(dropped, load_i64(dropped) + 1)")


def _emit_verdict(text: Text, plan: Plan, statistics: Statistics) -> None:
    text.line("goes_on = code == 0")
    text.line("if seen == 0:")
    with text.indented():
        text.line(f"other = statistics + {statistics.other} + 8 * ((headers >> REASON_SHIFT) & 0xFF)")
        text.line("store_64(other, load_i64(other) + 1)")
        if plan.other == "drop":
            text.line("goes_on = 0")
    text.line("store_8(verdict + position + j, goes_on)")
    if plan.other == "drop" or any(nf.translated.may_drop for nf in plan.nfs):
        text.line("if goes_on == 0:")
        with text.indented():
            for place, amount in ((statistics.dropped_packets, "1"), (statistics.dropped_bytes, "length")):
                text.line(f"store_64(statistics + {place}, load_i64(statistics + {place}) + {amount})")
