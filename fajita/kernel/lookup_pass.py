"""The lookups of a segment, as text: a function that runs ahead of the segment's NFs for a whole burst.

Two short passes over the packets: parse, hash and prefetch tags; match tags and prefetch entries. Where a table has a
side for IPv4 and one for IPv6, SECOND_SIDE in the hash says which of them a packet's flow belongs to; IPv6 packets are
hashed by a function of their own, so that the loop has all registers for the others, and so are fragments.
"""

from fajita.kernel.ask_pass import emit_awaited, emit_first_guess, emit_first_words
from fajita.kernel.fragment_pass import emit_hash_fragment
from fajita.kernel.key_text import TRANSPORT, emit_hash_of_key, emit_key, emit_key_kept, emit_lookup_side
from fajita.kernel.layout import Scratch
from fajita.kernel.link_pass import linking_tables
from fajita.kernel.prologue import emit_words
from fajita.kernel.shared_text import emit_redirected
from fajita.kernel.spread import emit_lines, emit_unless_spread, spread_parameter, spread_tables
from fajita.kernel.text import Text
from fajita.packet import Layer
from fajita.plan import Plan, Segment, TablePlan, TableSide
from fajita.prefetching import lines_ahead

#: What the passes need of the context.
_WORDS = ("address", "captured", "link")
#: What the parser needs to know of a packet.
_FRAME = "frame, load_u32(captured + 4 * (position + j)), load_u8(link + position + j)"


def emit_lookup(text: Text, plan: Plan, number: int, scratch: Scratch) -> None:
    """`look_up_N(context, scratch, position, count)`: leaves headers, keys, hashes and entries in the scratch area."""
    segment = plan.segments[number]
    if plan.tells_ipv6 and segment.tables:
        _emit_hash_apart(text, plan, number, scratch, family=6)
    if segment.tables and (plan.datagrams or _takes_plain_apart(plan, number)):
        _emit_hash_apart(text, plan, number, scratch, family=4)
    if plan.hashes_errors(number):
        _emit_hash_icmp(text, plan, number, scratch)
    if plan.datagrams:
        emit_hash_fragment(text, plan, number, scratch)
    if _takes_plain_apart(plan, number):
        _emit_hash_other(text, plan, number, scratch)
    parameters = f"context, scratch, position, count{spread_parameter(plan, number, 'run_scratch')}"
    text.function("burst_function", f"look_up_{number}({parameters})")
    with text.indented():
        emit_words(text, _WORDS)
        emit_first_words(text, plan, number)
        for t in segment.tables:
            for side in plan.tables[t].sides:
                emit_lookup_side(text, side)
        start = "0"
        one_by_one = not plan.tuning.pipelined and not plan.asking(number)
        if one_by_one:
            text.line("every = count")
            text.line("for start in range(every):")
            start = "start"
        with text.indented_if(one_by_one):
            if one_by_one:
                text.line("count = start + 1")
            if plan.asking(number):
                text.line(f"store_64(scratch + {scratch.awaiting}, 0)")
            _emit_hash_pass(text, plan, segment, scratch, number=number, start=start)
            if not is_match_apart(plan, number):
                _emit_match_pass(text, plan, segment, scratch, number=number, start=start)
    if is_match_apart(plan, number):
        text.function("burst_function", f"match_{number}({parameters})")
        with text.indented():
            for t in segment.tables:
                for side in plan.tables[t].sides:
                    emit_lookup_side(text, side)
            _emit_match_pass(text, plan, segment, scratch, number=number, start="0")


def is_match_apart(plan: Plan, number: int) -> bool:
    """Whether the second pass comes a burst later, as keys await what the first one asks for."""
    return number == 0 and plan.awaits(number) and plan.tuning.ahead and not linking_tables(plan, number)


def _emit_hash_pass(text: Text, plan: Plan, segment: Segment, scratch: Scratch, *, number: int, start: str) -> None:
    if _takes_plain_apart(plan, number):
        _emit_plain_hash_pass(text, plan, segment, scratch, number=number, start=start)
        return
    headers = f"scratch + {scratch.headers} + 8 * j"
    text.line(f"for j in {_packets(start)}:")
    with text.indented():
        text.line("frame = load_i64(address + 8 * (position + j))")
        text.line(f"headers = {f'load_i64({headers})' if number else f'parse({_FRAME})'}")
        if number == 0:
            text.line(f"store_64({headers}, headers)")
        _emit_apart(text, plan, segment, number=number)
        _emit_ipv4_hashes(text, plan, segment, scratch, number=number)


def _emit_plain_hash_pass(
    text: Text, plan: Plan, segment: Segment, scratch: Scratch, *, number: int, start: str
) -> None:
    """All plain frames are parsed first; what is not plain has 0 for its headers until `hash_N_other` comes to it."""
    first = "position" if start == "0" else f"(position + {start})"
    columns = f"address + 8 * {first}, captured + 4 * {first}, link + {first}"
    text.line(f"parse_plain_burst({columns}, count - {start}, scratch + {scratch.headers} + 8 * {start})")
    text.line(f"j = {start}")
    text.line("while j < count:")
    with text.indented():
        text.line("frame = load_i64(address + 8 * (position + j))")
        text.line(f"headers = load_i64(scratch + {scratch.headers} + 8 * j)")
        text.line(f"if headers & {int(Layer.IPV4)} == 0:")
        text.line(f"    j = hash_{number}_other(context, scratch, position, j, count, frame)")
        text.line("    continue")
        text.line("headers = known_plain_ipv4(headers)")
        _emit_ipv4_hashes(text, plan, segment, scratch, number=number)
        text.line("j += 1")


def _emit_ipv4_hashes(text: Text, plan: Plan, segment: Segment, scratch: Scratch, *, number: int) -> None:
    """The keys and hashes of a packet in the loop, where everything but IPv6 is."""
    for t in segment.tables:
        if plan.tables[t].asks:
            emit_first_guess(text, plan, plan.tables[t], scratch, check_status=number > 0)
        elif not plan.tables[t].is_linked(4):
            _emit_hash(text, plan.tables[t], scratch, family=4, check_status=number > 0)


def _takes_plain_apart(plan: Plan, number: int) -> bool:
    """Whether the loop is for plain IPv4 alone, of which it knows all offsets; all else goes to `hash_N_other`."""
    segment = plan.segments[number]
    return number == 0 and bool(segment.tables) and plan.tells_ipv6 and not plan.settings.inner


def _emit_hash_other(text: Text, plan: Plan, number: int, scratch: Scratch) -> None:
    """`hash_N_other(context, scratch, position, j, count, frame)`: the first pass from a packet on that is not plain
    IPv4: for it alone, or for all plain IPv6 packets up to the next other one. Gives the number of the packet after.
    """
    text.function("burst_function", f"hash_{number}_other(context, scratch, position, j, count, frame)")
    parsed = f"load_i64(scratch + {scratch.headers} + 8 * j)"
    with text.indented():
        emit_words(text, _WORDS)
        _emit_sides_of(text, plan, number, family=6)
        text.line(f"headers = {parsed}")
        text.line("if headers == 0:")
        with text.indented():
            text.line(f"headers = parse_any({_FRAME})")
            text.line(f"store_64(scratch + {scratch.headers} + 8 * j, headers)")
            _emit_any(text, plan, number)
            text.line("return j + 1")
        text.line(f"while headers & {int(Layer.IPV6)}:")
        with text.indented():
            text.line("headers = known_plain_ipv6(headers)")
            _emit_hashes(text, plan, number, scratch, family=6)
            text.line("j += 1")
            text.line("if j == count:")
            text.line("    break")
            text.line("frame = load_i64(address + 8 * (position + j))")
            text.line(f"headers = {parsed}")
        text.line("return j")


def _emit_any(text: Text, plan: Plan, number: int) -> None:
    """Hash a packet whatever it is."""
    if plan.hashes_errors(number):
        apart = f" and headers & {int(Layer.FRAGMENT)} == 0" if plan.datagrams else ""
        text.line(f"if headers & {int(Layer.ICMP)} != 0{apart}:")
        text.line(f"    hash_{number}_icmp(context, scratch, position, j, frame, headers)")
        text.line("    return j + 1")
    arguments = f"context, scratch, j, frame, headers, {TRANSPORT}"
    if plan.datagrams:
        text.line(f"if headers & {int(Layer.FRAGMENT)}:")
        text.line(f"    hash_{number}_fragment(context, scratch, position, j, frame)")
    text.line(f"{'elif' if plan.datagrams else 'if'} headers & {int(Layer.IPV6)}:")
    text.line(f"    hash_{number}_ipv6({arguments})")
    text.line("else:")
    text.line(f"    hash_{number}_ipv4({arguments})")


def _emit_apart(text: Text, plan: Plan, segment: Segment, *, number: int) -> None:
    """The packets that functions of their own take care of."""
    apart = Layer.IPV6 if plan.tells_ipv6 and segment.tables else Layer(0)
    hash_ipv6 = f"hash_{number}_ipv6(context, scratch, j, frame, headers, {TRANSPORT})"
    hash_fragment = f"hash_{number}_fragment(context, scratch, position, j, frame)"
    if plan.hashes_errors(number):
        text.line(f"if headers & {int(Layer.ICMP)}:")
        with text.indented():
            if plan.datagrams:
                text.line(f"if headers & {int(Layer.FRAGMENT)}:")
                text.line(f"    {hash_fragment}")
                text.line("else:")
            with text.indented_if(bool(plan.datagrams)):
                text.line(f"hash_{number}_icmp(context, scratch, position, j, frame, headers)")
            text.line("continue")
    if not apart and not plan.datagrams:
        return
    text.line(f"if headers & {int(apart | Layer.FRAGMENT if plan.datagrams else apart)}:")
    with text.indented():
        if apart and plan.datagrams:
            text.line(f"if headers & {int(Layer.FRAGMENT)}:")
            text.line(f"    {hash_fragment}")
            text.line("else:")
            text.line(f"    {hash_ipv6}")
        else:
            text.line(hash_ipv6 if apart else hash_fragment)
        text.line("continue")


def _emit_hash(
    text: Text,
    table: TablePlan,
    scratch: Scratch,
    *,
    family: int,
    check_status: bool,
    transport: str = TRANSPORT,
) -> None:
    """The key and hash of a packet of a family. transport: where its transport header is, or what stands for it."""
    t, place, side = table.index, scratch.tables[table.index], table.side_of(family)
    text.line(f"hashed_{t} = 0")
    if side is not None:
        alive = f"load_i64(scratch + {scratch.status} + 8 * j) < 2 and " if check_status else ""
        layer = int(side.packing.layer)
        text.line(f"if {alive}(headers & {layer}) == {layer}:  # {table.key.name}")
        with text.indented():
            emit_key(text, table, side.packing, transport)
            emit_key_kept(text, table, side.packing, place)
            emit_hash_of_key(text, table, side, family)
    text.line(f"store_64(scratch + {place.hashed} + 8 * j, hashed_{t})")


def _emit_hash_apart(text: Text, plan: Plan, number: int, scratch: Scratch, *, family: int) -> None:
    """`hash_N_ipv6(context, scratch, j, frame, headers, transport)`, or ipv4: the first pass for one packet."""
    text.function("burst_function", f"hash_{number}_ipv{family}(context, scratch, j, frame, headers, transport)")
    with text.indented():
        _emit_sides_of(text, plan, number, family)
        _emit_hashes(text, plan, number, scratch, family=family, transport="transport")


def _emit_hash_icmp(text: Text, plan: Plan, number: int, scratch: Scratch) -> None:
    """`hash_N_icmp(context, scratch, position, j, frame, headers)`: the first pass for one ICMP packet.

    An error has, for the tables whose NFs have `error`, the headers of what it quotes.
    """
    text.function("rare_function", f"hash_{number}_icmp(context, scratch, position, j, frame, headers)")
    with text.indented():
        emit_words(text, ("captured",))
        text.line("own, quoted = headers, quoted_headers(frame, headers, load_u32(captured + 4 * (position + j)))")
        if not plan.tells_ipv6:
            _emit_icmp_hashes(text, plan, number, scratch, family=4)
            return
        for family, test in ((6, f"if headers & {int(Layer.IPV6)}:"), (4, "else:")):
            text.line(test)
            with text.indented():
                text.line("pass")
                _emit_icmp_hashes(text, plan, number, scratch, family=family)


def _emit_icmp_hashes(text: Text, plan: Plan, number: int, scratch: Scratch, *, family: int) -> None:
    _emit_sides_of(text, plan, number, family)
    for t in plan.segments[number].tables:
        table, place = plan.tables[t], scratch.tables[t]
        if table.errors and not table.asks:
            text.line("headers = quoted if quoted != 0 else own")
        _emit_table_hash(text, plan, t, scratch, family=family, check_status=number > 0, transport=TRANSPORT)
        if table.errors and not table.asks:
            text.line(f"store_64(scratch + {place.error} + 8 * j, quoted if hashed_{t} != 0 else 0)")
            text.line("headers = own")


def _emit_sides_of(text: Text, plan: Plan, number: int, family: int) -> None:
    """What hashing packets of a family needs of the tables."""
    for table in (plan.tables[t] for t in plan.segments[number].tables):
        side = table.side_of(family)
        if side is not None and not table.is_linked(family):
            emit_lookup_side(text, side)


def _emit_hashes(
    text: Text, plan: Plan, number: int, scratch: Scratch, *, family: int, transport: str = TRANSPORT
) -> None:
    """The keys and hashes of a packet of a family, for the functions apart from the loop."""
    for t in plan.segments[number].tables:
        _emit_table_hash(text, plan, t, scratch, family=family, check_status=number > 0, transport=transport)


def _emit_table_hash(
    text: Text, plan: Plan, t: int, scratch: Scratch, *, family: int, check_status: bool, transport: str
) -> None:
    table = plan.tables[t]
    side = table.side_of(family)
    if table.asks:
        emit_awaited(text, table, scratch)
    if table.is_linked(family) or table.asks:
        return
    _emit_hash(text, table, scratch, family=family, check_status=check_status, transport=transport)
    if side is not None and table.link is not None:
        # The match pass leaves the table out, for the sake of all other packets.
        _emit_match(text, plan, t, side)
        text.line(f"store_64(scratch + {scratch.tables[t].entry} + 8 * j, entry_{t})")


def _packets(start: str) -> str:
    """The numbers of the packets of a pass."""
    return "range(count)" if start == "0" else f"range({start}, count)"


def _emit_match_pass(text: Text, plan: Plan, segment: Segment, scratch: Scratch, *, number: int, start: str) -> None:
    tables = [t for t in segment.tables if plan.tables[t].link is None]
    if not tables:
        return
    if plan.asking(number):
        text.line(f"if load_i64(scratch + {scratch.awaiting}) != 0:")
        text.line(f"    ask_{number}(context, scratch, position, count)")
    text.line(f"for j in {_packets(start)}:")
    with text.indented():
        for t in tables:
            table, place, (first, *others) = plan.tables[t], scratch.tables[t], plan.tables[t].sides
            text.line(f"hashed_{t} = load_i64(scratch + {place.hashed} + 8 * j)")
            if others:
                text.line(f"if hashed_{t} & SECOND_SIDE:")
                with text.indented():
                    _emit_match_unless_spread(text, plan, number, table, others[0], scratch, family=6)
                text.line("else:")
            with text.indented_if(bool(others)):
                _emit_match_unless_spread(text, plan, number, table, first, scratch, family=4)
            text.line(f"store_64(scratch + {place.entry} + 8 * j, entry_{t})")


def _emit_match_unless_spread(
    text: Text, plan: Plan, number: int, table: TablePlan, side: TableSide, scratch: Scratch, *, family: int
) -> None:
    if table not in spread_tables(plan, number, family):
        _emit_match(text, plan, table.index, side)
        return
    _emit_candidate(text, table.index, side)
    emit_unless_spread(text, plan, table, scratch, family)


def _emit_match(text: Text, plan: Plan, t: int, side: TableSide) -> None:
    _emit_candidate(text, t, side)
    emit_lines(text, f"entry_{t}", lines_ahead(plan.tables[t], side, plan.tuning))


def _emit_candidate(text: Text, t: int, side: TableSide) -> None:
    s = side.index
    text.line(f"entry_{t} = candidate_{s}(tags_{s}, entries_{s}, mask_{s}, hashed_{t}, nowhere_{s})")
    emit_redirected(text, side, f"entry_{t}")
