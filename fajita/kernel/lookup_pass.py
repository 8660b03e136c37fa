"""The lookups of a segment, as text: a function that runs ahead of the segment's NFs for a whole burst.

Two short passes over the packets: parse, hash and prefetch tags; match tags and prefetch entries.
"""

from fajita.kernel.layout import CONTEXT, Scratch
from fajita.kernel.text import Text
from fajita.key import Key, KeyPart
from fajita.plan import LINE_BYTES, Plan, Segment, TablePlan

#: What the passes need of the context.
_WORDS = ("address", "captured", "link")


def emit_lookup(text: Text, plan: Plan, number: int, scratch: Scratch) -> None:
    """`look_up_N(context, scratch, position, count)`: leaves headers, keys, hashes and entries in the scratch area."""
    segment = plan.segments[number]
    text.line()
    text.line()
    text.line("@burst_function")
    text.line(f"def look_up_{number}(context, scratch, position, count):")
    with text.indented():
        for name in _WORDS:
            text.line(f"{name} = load_i64(context + {CONTEXT[name]})")
        for t in segment.tables:
            text.line(f"table_{t} = load_i64(context + {CONTEXT['tables']}) + {t} * DESCRIPTOR_BYTES")
            text.line(f"tags_{t}, mask_{t} = load_i64(table_{t} + TAGS), load_i64(table_{t} + MASK)")
            text.line(f"entries_{t} = load_i64(table_{t} + ENTRIES_AT)")
            text.line(f"secret_0_{t}, secret_1_{t} = load_i64(table_{t} + SECRET_0), load_i64(table_{t} + SECRET_1)")
        _emit_hash_pass(text, plan, segment, scratch, first=number == 0)
        _emit_match_pass(text, plan, segment, scratch)


def _emit_hash_pass(text: Text, plan: Plan, segment: Segment, scratch: Scratch, *, first: bool) -> None:
    text.line("for j in range(count):")
    with text.indented():
        text.line("frame = load_i64(address + 8 * (position + j))")
        if first:
            text.line("headers = parse(frame, load_u32(captured + 4 * (position + j)), load_u8(link + position + j))")
            text.line(f"store_64(scratch + {scratch.headers} + 8 * j, headers)")
        else:
            text.line(f"headers = load_i64(scratch + {scratch.headers} + 8 * j)")
        for t in segment.tables:
            _emit_hash(text, plan.tables[t], scratch, check_status=not first)


def _emit_hash(text: Text, table: TablePlan, scratch: Scratch, *, check_status: bool) -> None:
    t, key, place = table.index, table.key, scratch.tables[table.index]
    layer = int(key.layer)
    alive = f"load_i64(scratch + {scratch.status} + 8 * j) < 2 and " if check_status else ""
    text.line(f"hash_{t} = 0")
    text.line(f"if {alive}(headers & {layer}) == {layer}:  # {key.name}")
    with text.indented():
        for word in range(key.words):
            parts = [_key_part(part, key) for part in key.parts if part.word == word]
            text.line(f"key_{word} = {' | '.join(parts) or '0'}")
        if key.symmetric:
            text.line("direction = is_turned(key_0, key_1)")
            text.line("key_0, key_1 = turned_addresses(key_0, direction), turned_ports(key_1, direction)")
            text.line(f"store_64(scratch + {place.direction} + 8 * j, direction)")
        for word in range(key.words):
            text.line(f"store_64(scratch + {place.key + 8 * word} + {8 * key.words} * j, key_{word})")
        words = ", ".join(f"key_{word}" for word in range(key.words))
        text.line(f"hash_{t} = hash_{key.words}(secret_0_{t}, secret_1_{t}, {words})")
        text.line(f"prefetch(tags_{t} + (hash_{t} & mask_{t}) * GROUP)")
    text.line(f"store_64(scratch + {place.hashed} + 8 * j, hash_{t})")


def _key_part(part: KeyPart, key: Key) -> str:
    load = f"load_u{part.bits}(start_of_{part.start}(frame, headers) + {part.offset})"
    if part.mask != -1:
        load = f"({load} & {part.mask})"
    if part.layer & ~key.layer:
        load = f"({load} if headers & {int(part.layer)} else 0)"
    return f"({load} << {part.shift})" if part.shift else load


def _emit_match_pass(text: Text, plan: Plan, segment: Segment, scratch: Scratch) -> None:
    if not segment.tables:
        return
    text.line("for j in range(count):")
    with text.indented():
        for t in segment.tables:
            place = scratch.tables[t]
            text.line(f"hash_{t} = load_i64(scratch + {place.hashed} + 8 * j)")
            text.line(f"entry_{t} = candidate_{t}(tags_{t}, entries_{t}, mask_{t}, hash_{t}, table_{t} + NOWHERE)")
            for line in range(plan.tables[t].lines):
                text.line(f"prefetch(entry_{t}{f' + {line * LINE_BYTES}' if line else ''})")
            text.line(f"store_64(scratch + {place.entry} + 8 * j, entry_{t})")
