"""The keys of NFs with a before_lookup, as text: guessed ahead, and read when that has run.

The entry of a packet has to be asked for long before the NF runs, but its before_lookup has to run in its turn: it
reads of Core what the methods of the NF have left there at all packets before, and leaves something to those after. So
the first pass lets the NF's foresight rewrite the header, hashes the key that comes of it, and puts the header back.
When the packet's turn comes, before_lookup runs and the key is read; an entry that the guess has led to is the packet's
if its key is, else the flow is searched for, as where a link leads astray (entry_text).

Where that may take elements of large arrays, the first pass guesses the keys for which it does not, asks for the
elements, and marks other keys as awaited. These, and all keys of other NFs, are guessed by a pass of its own between it
and the match pass. In the first segment the NFs of a burst run before, so that the elements have come.

Nothing is guessed of fragments, whose ports may be others'.
"""

from collections.abc import Iterable

from fajita.kernel.key_text import TRANSPORT, emit_hash_of_key, emit_key, emit_key_kept, emit_lookup_side
from fajita.kernel.layout import Scratch
from fajita.kernel.prologue import emit_words
from fajita.kernel.text import Text
from fajita.packet import Layer, places
from fajita.plan import NFPlan, Plan, TablePlan, TableSide
from fajita.translation import Hook
from fajita.translation.scope import AWAITS_CODE, LOOK_UP_CODE

_FRAGMENT = int(Layer.FRAGMENT)
#: What foresight may need of a packet, by the names of arguments.
_FACTS = {
    "captured": "load_u32(captured + 4 * (position + j))",
    "length": "load_u32(wire + 4 * (position + j))",
    "time_ns": "load_i64(time_ns + 8 * (position + j))",
}
#: Words of the context, by the argument that they are needed for.
_WORDS = {"captured": "captured", "length": "wire", "time_ns": "time_ns", "core": "core", "constants": "constants"}


def emit_ask_pass(text: Text, plan: Plan, number: int, scratch: Scratch) -> None:
    """`ask_N(context, scratch, position, count)`, if the segment has such NFs: guesses the keys that are awaited."""
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
    hooks = [nf.translated.foresight for nf in nfs]
    emit_words(text, ("address", *_words_for(hooks)))
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
        hashed = f"scratch + {scratch.tables[table.index].hashed} + 8 * j"
        text.line(f"if load_i64({hashed}) == AWAITED:  # {nf.nf.name}")
        with text.indented():
            hook, written = nf.translated.foresight, nf.translated.foreseen
            _emit_hashed(text, plan, nf, scratch, hook, written, family=family, check_status=number > 0)


def emit_first_guess(text: Text, plan: Plan, table: TablePlan, scratch: Scratch, *, check_status: bool) -> None:
    """In the loop of the first pass, for a packet that is no IPv6 one."""
    nf = plan.nfs[table.nfs[0]]
    hook, written = nf.translated.first_foresight, nf.translated.first_foreseen
    if hook is None:
        emit_awaited(text, table, scratch)
    else:
        _emit_hashed(text, plan, nf, scratch, hook, written, family=4, check_status=check_status)


def emit_awaited(text: Text, table: TablePlan, scratch: Scratch) -> None:
    """In the first pass, for any other packet: the key is guessed in the next one."""
    text.line(f"store_64(scratch + {scratch.tables[table.index].hashed} + 8 * j, AWAITED)")
    text.line(f"store_64(scratch + {scratch.awaiting}, 1)")


def emit_first_words(text: Text, plan: Plan, number: int) -> None:
    """What the loop of the first pass needs for `emit_first_guess`."""
    words = _words_for(nf.translated.first_foresight for nf in plan.asking(number))
    emit_words(text, [word for word in words if word != "captured"])  # which the parser needs, too


def _words_for(hooks: Iterable[Hook | None]) -> list[str]:
    needed = {argument for hook in hooks if hook is not None for argument in hook.arguments}
    return [word for argument, word in _WORDS.items() if argument in needed]


def _emit_hashed(
    text: Text,
    plan: Plan,
    nf: NFPlan,
    scratch: Scratch,
    hook: Hook | None,
    written: tuple[str, ...],
    *,
    family: int,
    check_status: bool,
) -> None:
    """The hash of the key that a packet will probably have, in the scratch area; 0 if it will not be looked up."""
    table = table_of(plan, nf)
    t, side = table.index, table.side_of(family)
    # The match pass sees from this which side to look in.
    text.line(f"hashed_{t} = {'SECOND_SIDE' if family == 6 and len(table.sides) > 1 else 0}")
    if side is not None:
        alive = f"load_i64(scratch + {scratch.status} + 8 * j) < 2 and " if check_status else ""
        layer = int(side.packing.layer)
        text.line(f"if {alive}(headers & {layer | _FRAGMENT}) == {layer}:  # {nf.nf.name}")
        with text.indented():
            _emit_guess(text, table, side, scratch, hook, [name for name in written if _is_in(name, family)], family)
    text.line(f"store_64(scratch + {scratch.tables[t].hashed} + 8 * j, hashed_{t})")


def _emit_guess(
    text: Text, table: TablePlan, side: TableSide, scratch: Scratch, hook: Hook | None, written: list[str], family: int
) -> None:
    """The same of a packet that has what the key is made of."""
    t = table.index
    if hook is not None:
        for name in written:
            text.line(f"kept_{name} = read_{name}(frame, headers)")
        text.line(f"foreseen = {hook.function}({', '.join(_FACTS.get(name, name) for name in hook.arguments)})")
        text.line(f"if foreseen == {LOOK_UP_CODE}:")
    with text.indented_if(hook is not None):
        emit_key(text, table, side.packing)
        if table.key.symmetric:
            text.line(f"store_64(scratch + {scratch.tables[t].direction} + 8 * j, direction)")
        emit_hash_of_key(text, table, side, family)
    if hook is not None and hook.name == "first_foresight":
        text.line(f"elif foreseen == {AWAITS_CODE}:")
        text.line(f"    hashed_{t} = AWAITED")
        text.line(f"    store_64(scratch + {scratch.awaiting}, 1)")
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


def emit_asked_key(text: Text, plan: Plan, table: TablePlan, side: TableSide) -> None:
    """After that, of a packet that is looked up: the words of its key in variables, and its `direction`."""
    if plan.datagrams:
        text.line("own_headers, headers = headers, key_headers")
    emit_key(text, table, side.packing, "transport" if plan.datagrams else TRANSPORT)
    if plan.datagrams:
        text.line("headers = own_headers")
