"""The lookups of a segment, as text: a function that runs ahead of the segment's NFs for a whole burst.

Two short passes over the packets: parse, hash and prefetch tags; match tags and prefetch entries. Where a table has a
side for IPv4 and one for IPv6, SECOND_SIDE in the hash says which of them a packet's flow belongs to; IPv6 packets are
hashed by a function of their own, so that the loop has all registers for the others.
"""

from fajita.kernel.layout import Scratch, TableScratch
from fajita.kernel.prologue import emit_sides, emit_words
from fajita.kernel.text import Text
from fajita.key import KeyPart, Packing
from fajita.packet import Layer
from fajita.plan import LINE_BYTES, Plan, Segment, TablePlan, TableSide
from fajita.prefetching import lines_ahead

#: What the passes need of the context.
_WORDS = ("address", "captured", "link")


def emit_lookup(text: Text, plan: Plan, number: int, scratch: Scratch) -> None:
    """`look_up_N(context, scratch, position, count)`: leaves headers, keys, hashes and entries in the scratch area."""
    segment = plan.segments[number]
    if plan.tells_ipv6 and segment.tables:
        _emit_hash_ipv6(text, plan, number, scratch)
    text.line()
    text.line()
    text.line("@burst_function")
    text.line(f"def look_up_{number}(context, scratch, position, count):")
    with text.indented():
        emit_words(text, _WORDS)
        for t in segment.tables:
            for side in plan.tables[t].sides:
                _emit_side(text, side)
        _emit_hash_pass(text, plan, segment, scratch, number=number)
        _emit_match_pass(text, plan, segment, scratch)


def _emit_hash_pass(text: Text, plan: Plan, segment: Segment, scratch: Scratch, *, number: int) -> None:
    text.line("for j in range(count):")
    with text.indented():
        text.line("frame = load_i64(address + 8 * (position + j))")
        if number == 0:
            text.line("headers = parse(frame, load_u32(captured + 4 * (position + j)), load_u8(link + position + j))")
            text.line(f"store_64(scratch + {scratch.headers} + 8 * j, headers)")
        else:
            text.line(f"headers = load_i64(scratch + {scratch.headers} + 8 * j)")
        if plan.tells_ipv6 and segment.tables:
            text.line(f"if headers & {int(Layer.IPV6)}:")
            text.line(f"    hash_{number}_ipv6(context, scratch, j, frame, headers)")
            text.line("    continue")
        for t in segment.tables:
            _emit_hash(text, plan.tables[t], scratch, family=4, check_status=number > 0)


def _emit_hash(text: Text, table: TablePlan, scratch: Scratch, *, family: int, check_status: bool) -> None:
    t, place, side = table.index, scratch.tables[table.index], table.side_of(family)
    text.line(f"hashed_{t} = 0")
    if side is not None:
        alive = f"load_i64(scratch + {scratch.status} + 8 * j) < 2 and " if check_status else ""
        layer, s = int(side.packing.layer), side.index
        text.line(f"if {alive}(headers & {layer}) == {layer}:  # {table.key.name}")
        with text.indented():
            _emit_key(text, table, side.packing, place)
            words = ", ".join(f"key_{word}" for word in range(side.packing.words))
            text.line(f"hashed_{t} = hash_{side.packing.words}(secret_0_{s}, secret_1_{s}, {words})")
            if len(table.sides) > 1:
                text.line(f"hashed_{t} = (hashed_{t} & ~SECOND_SIDE){' | SECOND_SIDE' if family == 6 else ''}")
            text.line(f"prefetch(tags_{s} + (hashed_{t} & mask_{s}) * GROUP)")
    text.line(f"store_64(scratch + {place.hashed} + 8 * j, hashed_{t})")


def _emit_hash_ipv6(text: Text, plan: Plan, number: int, scratch: Scratch) -> None:
    """`hash_N_ipv6(context, scratch, j, frame, headers)`: the first pass for one IPv6 packet."""
    segment = plan.segments[number]
    text.line()
    text.line()
    text.line("@burst_function")
    text.line(f"def hash_{number}_ipv6(context, scratch, j, frame, headers):")
    with text.indented():
        for t in segment.tables:
            side = plan.tables[t].side_of(6)
            if side is not None:
                _emit_side(text, side)
            _emit_hash(text, plan.tables[t], scratch, family=6, check_status=number > 0)


def _emit_side(text: Text, side: TableSide) -> None:
    s = side.index
    emit_sides(text, [side])
    text.line(f"tags_{s}, mask_{s} = load_i64(side_{s} + TAGS), load_i64(side_{s} + MASK)")
    text.line(f"entries_{s} = load_i64(side_{s} + ENTRIES_AT)")
    text.line(f"nowhere_{s} = load_i64(side_{s} + NOWHERE)")
    text.line(f"secret_0_{s}, secret_1_{s} = load_i64(side_{s} + SECRET_0), load_i64(side_{s} + SECRET_1)")


def _emit_key(text: Text, table: TablePlan, packing: Packing, place: TableScratch) -> None:
    """The words of the key, in variables and in the scratch area."""
    words = range(packing.words)
    for word in words:
        parts = [_key_part(part, packing) for part in packing.parts if part.word == word]
        text.line(f"key_{word} = {' | '.join(parts) or '0'}")
    if table.key.symmetric:
        text.line(f"direction = is_turned_{packing.family}({', '.join(f'key_{word}' for word in words)})")
        text.line("if direction:")
        if packing.family == 4:
            text.line("    key_0, key_1 = turned_addresses(key_0), turned_ports(key_1)")
        else:
            text.line("    key_0, key_1, key_2, key_3, key_4 = key_2, key_3, key_0, key_1, turned_ports(key_4)")
        text.line(f"store_64(scratch + {place.direction} + 8 * j, direction)")
    for word in words:
        text.line(f"store_64(scratch + {place.key + 8 * word} + {place.key_bytes} * j, key_{word})")


def _key_part(part: KeyPart, packing: Packing) -> str:
    if part.start == "protocol":
        load = "read_protocol(frame, headers)"
    else:
        load = f"load_u{part.bits}(start_of_{part.start}(frame, headers) + {part.offset})"
    if part.mask != -1:
        load = f"({load} & {part.mask})"
    if part.layer & ~packing.layer and part.start != "protocol":
        load = f"({load} if headers & {int(part.layer)} else 0)"
    return f"({load} << {part.shift})" if part.shift else load


def _emit_match_pass(text: Text, plan: Plan, segment: Segment, scratch: Scratch) -> None:
    if not segment.tables:
        return
    text.line("for j in range(count):")
    with text.indented():
        for t in segment.tables:
            place, (first, *others) = scratch.tables[t], plan.tables[t].sides
            text.line(f"hashed_{t} = load_i64(scratch + {place.hashed} + 8 * j)")
            if others:
                text.line(f"if hashed_{t} & SECOND_SIDE:")
                with text.indented():
                    _emit_match(text, plan, t, others[0])
                text.line("else:")
                with text.indented():
                    _emit_match(text, plan, t, first)
            else:
                _emit_match(text, plan, t, first)
            text.line(f"store_64(scratch + {place.entry} + 8 * j, entry_{t})")


def _emit_match(text: Text, plan: Plan, t: int, side: TableSide) -> None:
    s = side.index
    text.line(f"entry_{t} = candidate_{s}(tags_{s}, entries_{s}, mask_{s}, hashed_{t}, nowhere_{s})")
    for line in range(lines_ahead(plan.tables[t], side, plan.tuning)):
        text.line(f"prefetch(entry_{t}{f' + {line * LINE_BYTES}' if line else ''})")
