"""What asks for elements of arrays, as text: a function that calls the NFs' hooks for some packets of a burst.

The run pass calls it between packets, a few at a time, so that memory is busy while NFs compute: asked for all at once,
before the first NF runs, elements come no earlier than without (docs/decisions). In the first segment it is for the
packets of the burst that is run next, in others for those a few packets on.

It works with the entry where a flow probably is, which may be another flow's, or zeros: what comes of it is asked for
but not believed.
"""

from fajita import prefetching
from fajita.assignment import FAMILIES
from fajita.kernel.layout import Scratch
from fajita.kernel.link_pass import emit_places, linked_entry
from fajita.kernel.prologue import emit_words
from fajita.kernel.text import Text
from fajita.packet import Layer
from fajita.plan import LINE_BYTES, NFPlan, Plan, TablePlan, TableSide

#: Packets for which elements are asked for at a time; and, after the first segment, how many packets ahead.
STRIDE = 4
#: What hooks may need of the context.
_WORDS = ("address", "captured", "wire", "time_ns", "core", "constants")


def _prefetching(plan: Plan, number: int) -> list[NFPlan]:
    nfs = (plan.nfs[index] for index in plan.segments[number].nfs)
    return [nf for nf in nfs if nf.translated.prefetch is not None]


def prefetch_parameters(plan: Plan, number: int) -> str:
    """What `run_N` takes besides, as text: for which packets to ask, `next`, and for how many of them."""
    return ", next_scratch, next_position, asked_for" if _prefetching(plan, number) else ""


def prefetch_arguments(plan: Plan, number: int) -> str:
    """What it gets for them in the burst loop."""
    if not _prefetching(plan, number):
        return ""
    packets = "scratch_1, position + count_0, count_1" if number == 0 else "scratch, position, count_0"
    worth = _worth(plan, number)
    return f", {packets}" + (f" if {worth} else 0" if worth else "")


def _worth(plan: Plan, number: int) -> str:
    """A test whether the elements that are asked for may not be in the cache; empty if nothing tells."""
    bytes_per_flow: dict[int, int] = {}
    for nf in _prefetching(plan, number):
        asked, table = nf.translated.asked, prefetching.bounding_table(plan, nf)
        assert asked is not None
        if asked.core and table is None:
            return ""
        if asked.core and table is not None:
            for side in table.sides:
                bytes_per_flow[side.index] = bytes_per_flow.get(side.index, LINE_BYTES) + asked.core * LINE_BYTES
        for side in plan.tables[nf.table].sides if asked.state and nf.table is not None else ():
            bytes_per_flow[side.index] = bytes_per_flow.get(side.index, 0) + side.entry_bytes
    parts = (f"load_i64(side_{side} + COUNT) * {size}" for side, size in bytes_per_flow.items())
    return f"{' + '.join(parts)} > {prefetching.SMALLEST_TOTAL}"


def emit_first_prefetch(text: Text, plan: Plan, number: int) -> None:
    """Before the loop of `run_N`: after the first segment nobody has asked for its first packets' elements."""
    if number and _prefetching(plan, number):
        text.line(f"prefetch_{number}(context, scratch, position, 0, minimum({STRIDE}, asked_for))")


def emit_next_prefetch(text: Text, plan: Plan, number: int) -> None:
    """In the loop of `run_N`: ask for elements of packets to come."""
    if not _prefetching(plan, number):
        return
    first = f"j + {STRIDE}" if number else "j"
    text.line(f"if j & {STRIDE - 1} == 0 and {first} < asked_for:")
    text.line(f"    last = minimum({first} + {STRIDE}, asked_for)")
    text.line(f"    prefetch_{number}(context, next_scratch, next_position, {first}, last)")


def emit_prefetch(text: Text, plan: Plan, number: int, scratch: Scratch) -> None:
    """`prefetch_N(context, scratch, position, start, stop)`, if the segment needs it."""
    nfs = _prefetching(plan, number)
    if not nfs:
        return
    text.function("burst_function", f"prefetch_{number}(context, scratch, position, start, stop)")
    with text.indented():
        emit_words(text, _WORDS)
        emit_places(text, _linked_sides(plan, number, nfs))
        text.line("for j in range(start, stop):")
        with text.indented():
            if number:
                text.line(f"if load_i64(scratch + {scratch.status} + 8 * j) >= 2:  # dropped")
                text.line("    continue")
            _emit_facts(text, nfs, scratch)
            if plan.tells_ipv6:
                text.line(f"if headers & {int(Layer.IPV6)}:")
                with text.indented():
                    _emit_family(text, plan, number, scratch, nfs, family=6)
                    text.line("continue")
            _emit_family(text, plan, number, scratch, nfs, family=4)


def _emit_facts(text: Text, nfs: list[NFPlan], scratch: Scratch) -> None:
    """The facts about a packet that the hooks need."""
    hooks = [nf.translated.prefetch for nf in nfs]
    needed = {argument for hook in hooks if hook is not None for argument in hook.arguments}
    facts = {
        "frame": "load_i64(address + 8 * (position + j))",
        "length": "load_u32(wire + 4 * (position + j))",
        "captured": "load_u32(captured + 4 * (position + j))",
        "time_ns": "load_i64(time_ns + 8 * (position + j))",
    }
    text.line(f"headers = load_i64(scratch + {scratch.headers} + 8 * j)")
    for name, load in facts.items():
        if name in needed:
            text.line(f"{name}_of_it = {load}")


def _emit_family(text: Text, plan: Plan, number: int, scratch: Scratch, nfs: list[NFPlan], *, family: int) -> None:
    """The hooks for a packet of a family, those of one table together."""
    text.line("pass")
    for table in dict.fromkeys(nf.table for nf in nfs):
        together = [nf for nf in nfs if nf.table == table]
        if table is None:
            for nf in together:
                layer = int(nf.layer)
                text.line(f"if (headers & {layer}) == {layer}:  # {nf.nf.name}")
                text.line(f"    {_call(nf)}")
            continue
        side = plan.tables[table].side_of(family)
        if side is not None and any(nf.handles(side.packing) for nf in together):
            if number != plan.first_segment_of(plan.tables[table], side):
                test, state = _resolved(scratch, table)
            elif plan.tables[table].is_linked(family):
                test, state = _linked(plan, scratch, plan.tables[table], side, family)
            else:
                test, state = _candidate(scratch, table, side)
            text.line(f"if {test}:")
            with text.indented():
                text.line(f"state_{table} = {state}")
                _emit_calls(text, plan, scratch, side, [nf for nf in together if nf.handles(side.packing)])


def _resolved(scratch: Scratch, table: int) -> tuple[str, str]:
    """Whether an earlier segment has come to an entry of the packet, and where its key ends."""
    place = scratch.tables[table]
    entry = f"load_i64(scratch + {place.entry} + 8 * j)"
    return f"load_i64(scratch + {place.hashed} + 8 * j) != 0 and {entry} != 0", entry


def _candidate(scratch: Scratch, table: int, side: TableSide) -> tuple[str, str]:
    """Whether the packet has the key of a table, and where that of its entry probably ends."""
    place = scratch.tables[table]
    entry = f"load_i64(scratch + {place.entry} + 8 * j) + {side.key_bytes}"
    return f"load_i64(scratch + {place.hashed} + 8 * j) != 0", entry


def _linked(plan: Plan, scratch: Scratch, table: TablePlan, side: TableSide, family: int) -> tuple[str, str]:
    """The same where a finer entry tells."""
    assert table.link is not None
    finer, layer = plan.tables[table.link.table], int(side.packing.layer)
    finer_side = finer.side_of(family)
    assert finer_side is not None
    has_finer, finer_state = _candidate(scratch, finer.index, finer_side)
    entry = linked_entry(finer_state, finer.links[table.index], side)
    return f"{has_finer} and (headers & {layer}) == {layer}", f"{entry} + {side.key_bytes}"


def _linked_sides(plan: Plan, number: int, nfs: list[NFPlan]) -> list[TableSide]:
    """The sides whose entries the segment finds by links."""
    tables = [plan.tables[t] for t in dict.fromkeys(nf.table for nf in nfs) if t is not None]
    pairs = [(table, table.side_of(family)) for table in tables for family in FAMILIES if table.is_linked(family)]
    sides = [side for table, side in pairs if side is not None and number == plan.first_segment_of(table, side)]
    return list({side.index: side for side in sides}.values())


def _emit_calls(text: Text, plan: Plan, scratch: Scratch, side: TableSide, nfs: list[NFPlan]) -> None:
    """The hooks of NFs of one table."""
    t = nfs[0].table
    assert t is not None
    # Not ports: a later fragment has a key with them, but no transport header.
    text.line(f"headers |= {int(side.packing.layer & ~Layer.PORTS)}  # known, so that nothing asks again")
    if any(_needs_forward(nf) for nf in nfs):
        text.line(f"direction = load_i64(scratch + {scratch.tables[t].direction} + 8 * j)")
        text.line(f"forward_{t} = direction == load_u8(state_{t} + {plan.tables[t].direction})")
    for nf in nfs:
        text.line(_call(nf))


def _needs_forward(nf: NFPlan) -> bool:
    return nf.translated.prefetch is not None and "forward" in nf.translated.prefetch.arguments


def _call(nf: NFPlan) -> str:
    """A call of an NF's hook in the names of this pass."""
    hook = nf.translated.prefetch
    assert hook is not None
    names = {name: f"{name}_of_it" for name in ("frame", "length", "captured", "time_ns")}
    names |= {"state": f"state_{nf.table}", "forward": f"forward_{nf.table}"}
    return f"{hook.function}({', '.join(names.get(name, name) for name in hook.arguments)})"
