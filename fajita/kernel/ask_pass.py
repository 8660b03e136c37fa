"""The keys of NFs with a before_lookup, as text: guessed ahead, and read when that has run.

The entry of a packet has to be asked for long before the NF runs, but its before_lookup has to run in its turn: it
reads of Core what the methods of the NF have left there at all packets before, and leaves something to those after. So
a pass before the match pass lets the NF's foresight rewrite the header, hashes the key that comes of it, and puts the
header back. When the packet's turn comes, before_lookup runs and the key is read; an entry that the guess has led to is
the packet's if its key is, else the flow is searched for, as where a link leads astray (entry_text).

Nothing is guessed of fragments, whose ports may be others'.
"""

from fajita.kernel.layout import Scratch
from fajita.kernel.lookup_pass import TRANSPORT, emit_hash_of_key, emit_key, emit_key_kept, emit_lookup_side
from fajita.kernel.prologue import emit_words
from fajita.kernel.text import Text
from fajita.packet import Layer, places
from fajita.plan import NFPlan, Plan, TablePlan, TableSide
from fajita.translation.scope import LOOK_UP_CODE

_FRAGMENT = int(Layer.FRAGMENT)
#: What foresight may need of a packet, by the names of arguments.
_FACTS = {
    "captured": "load_u32(captured + 4 * (position + j))",
    "length": "load_u32(wire + 4 * (position + j))",
    "time_ns": "load_i64(time_ns + 8 * (position + j))",
}
_WORDS = ("address", "captured", "wire", "time_ns", "core", "constants")


def emit_ask_pass(text: Text, plan: Plan, number: int, scratch: Scratch) -> None:
    """`ask_N(context, scratch, position, count)`, if the segment has such NFs: leaves hashes in the scratch area."""
    nfs = plan.asking(number)
    if not nfs:
        return
    if plan.tells_ipv6:
        text.function("burst_function", f"ask_{number}_ipv6(context, scratch, position, j, headers)")
        with text.indented():
            _emit_begin(text, plan, nfs, family=6)
            _emit_packet(text, plan, number, scratch, family=6)
    text.function("burst_function", f"ask_{number}(context, scratch, position, count)")
    with text.indented():
        _emit_begin(text, plan, nfs, family=4)
        text.line("for j in range(count):")
        with text.indented():
            text.line(f"headers = load_i64(scratch + {scratch.headers} + 8 * j)")
            if plan.tells_ipv6:
                text.line(f"if headers & {int(Layer.IPV6)}:")
                text.line(f"    ask_{number}_ipv6(context, scratch, position, j, headers)")
                text.line("    continue")
            _emit_packet(text, plan, number, scratch, family=4)


def _emit_begin(text: Text, plan: Plan, nfs: list[NFPlan], *, family: int) -> None:
    emit_words(text, _WORDS)
    for nf in nfs:
        if (side := table_of(plan, nf).side_of(family)) is not None:
            emit_lookup_side(text, side)


def table_of(plan: Plan, nf: NFPlan) -> TablePlan:
    """The table of an NF that has one."""
    assert nf.table is not None
    return plan.tables[nf.table]


def _emit_packet(text: Text, plan: Plan, number: int, scratch: Scratch, *, family: int) -> None:
    text.line("frame = load_i64(address + 8 * (position + j))")
    for nf in plan.asking(number):
        table = table_of(plan, nf)
        t, side = table.index, table.side_of(family)
        # The match pass sees from this which side to look in.
        text.line(f"hashed_{t} = {'SECOND_SIDE' if family == 6 and len(table.sides) > 1 else 0}")
        if side is not None:
            alive = f"load_i64(scratch + {scratch.status} + 8 * j) < 2 and " if number else ""
            layer = int(side.packing.layer)
            text.line(f"if {alive}(headers & {layer | _FRAGMENT}) == {layer}:  # {nf.nf.name}")
            with text.indented():
                _emit_guess(text, plan, nf, side, scratch, family=family)
        text.line(f"store_64(scratch + {scratch.tables[t].hashed} + 8 * j, hashed_{t})")


def _emit_guess(text: Text, plan: Plan, nf: NFPlan, side: TableSide, scratch: Scratch, *, family: int) -> None:
    """The hash of the key that a packet will probably have."""
    table, foresight = table_of(plan, nf), nf.translated.foresight
    written = [name for name in nf.translated.foreseen if _is_in(name, family)]
    if foresight is not None:
        for name in written:
            text.line(f"kept_{name} = read_{name}(frame, headers)")
        arguments = ", ".join(_FACTS.get(name, name) for name in foresight.arguments)
        text.line(f"if {foresight.function}({arguments}) == {LOOK_UP_CODE}:")
    with text.indented_if(foresight is not None):
        emit_key(text, table, side.packing)
        if table.key.symmetric:
            text.line(f"store_64(scratch + {scratch.tables[table.index].direction} + 8 * j, direction)")
        emit_hash_of_key(text, table, side, family)
    for name in written:
        text.line(f"if read_{name}(frame, headers) != kept_{name}:")
        text.line(f"    poke_{name}(frame, headers, kept_{name})")


def _is_in(name: str, family: int) -> bool:
    """Whether packets of a family, 6, or 4 and all others, may have a field."""
    other = Layer.IPV4 if family == 6 else Layer.IPV6
    return any(not place.layer & other for place in places(name))


def emit_asked(text: Text, plan: Plan, nf: NFPlan, side: TableSide, scratch: Scratch, *, call: str, test: str) -> None:
    """In the run pass: `asked`, what before_lookup says of a packet, and `hashed_T`, whether that is LOOK_UP.

    `asked` is 0 for packets that have no such key. call: of before_lookup. test: what else has to hold.
    """
    table, layer = table_of(plan, nf), int(side.packing.layer)
    t = table.index
    text.line(f"hashed_{t} = asked = 0")
    if plan.datagrams:
        text.line(f"key_headers, transport = headers, {TRANSPORT}")
        text.line(f"if headers & {_FRAGMENT}:")
        text.line(f"    datagram = load_i64(scratch + {scratch.datagram} + 8 * j)")
        text.line("    key_headers = with_ports_of_first(headers, datagram)")
    not_dropped = "headers != DROPPED and " if plan.drops_fragments else ""
    headers = "key_headers" if plan.datagrams else "headers"
    if table.errors:
        text.line("quoted = 0")
        headers = _emit_quoted(text, headers)
    text.line(f"if {test}{not_dropped}({headers} & {layer}) == {layer}:  # {nf.nf.name}")
    with text.indented():
        text.line(f"asked = {call}")
        text.line(f"hashed_{t} = asked == {LOOK_UP_CODE}")
        if table.errors:
            # It may have made an error of the packet, or another one.
            _emit_quoted(text, "key_headers" if plan.datagrams else "headers")
            text.line(f"if hashed_{t} != 0 and (keyed & {layer}) != {layer}:")
            text.line(f"    hashed_{t} = asked = 0")
        if plan.datagrams:
            text.line(f"if headers & {_FRAGMENT} and asked <= 0:")
            text.line(f"    transport = ports_of_fragment({plan.moment_after_asking(nf)}, frame, headers, datagram)")


def _emit_quoted(text: Text, headers: str) -> str:
    """`quoted`, of an ICMP error the headers of what it quotes, else 0; and the name of those that its key is in."""
    text.line(f"if headers & {int(Layer.ICMP)}:")
    text.line("    quoted = quoted_headers(frame, headers, captured_bytes)")
    text.line(f"keyed = quoted if quoted != 0 else {headers}")
    return "keyed"


def emit_quoted_key(text: Text, table: TablePlan, side: TableSide, scratch: Scratch) -> None:
    """The key and hash of what an ICMP error quotes, in the scratch area, where a table's key is read only then."""
    place = scratch.tables[table.index]
    emit_lookup_side(text, side)
    text.line("own, headers = headers, quoted_headers(frame, headers, captured_bytes)")
    emit_key(text, table, side.packing)
    emit_key_kept(text, table, side.packing, place)
    emit_hash_of_key(text, table, side, side.packing.family or 4)
    text.line(f"store_64(scratch + {place.hashed} + 8 * j, hashed_{table.index})")
    text.line("headers = own")


def emit_asked_key(text: Text, plan: Plan, table: TablePlan, side: TableSide, scratch: Scratch) -> None:
    """After that, of a packet that is looked up: the words of its key in variables."""
    if plan.datagrams:
        text.line("own_headers, headers = headers, key_headers")
    emit_key(text, table, side.packing, "transport" if plan.datagrams else TRANSPORT)
    if plan.datagrams:
        text.line("headers = own_headers")
    if table.key.symmetric:
        text.line(f"store_64(scratch + {scratch.tables[table.index].direction} + 8 * j, direction)")
