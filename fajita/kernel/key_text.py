"""The key of a packet, read, hashed and kept, as text."""

from fajita.kernel.layout import TableScratch
from fajita.kernel.prologue import emit_sides
from fajita.kernel.shared_text import emit_copies
from fajita.kernel.text import Text
from fajita.key import KeyPart, Packing
from fajita.plan import TablePlan, TableSide

#: Where the transport header of most packets is.
TRANSPORT = "start_of_transport(frame, headers)"


def emit_lookup_side(text: Text, side: TableSide) -> None:
    """What hashing and matching in a side need."""
    s = side.index
    emit_sides(text, [side])
    text.line(f"tags_{s}, mask_{s} = load_i64(side_{s} + TAGS), load_i64(side_{s} + MASK)")
    text.line(f"entries_{s} = load_i64(side_{s} + ENTRIES_AT)")
    text.line(f"nowhere_{s} = load_i64(side_{s} + NOWHERE)")
    text.line(f"secret_0_{s}, secret_1_{s} = load_i64(side_{s} + SECRET_0), load_i64(side_{s} + SECRET_1)")
    emit_copies(text, [side])


def emit_key(text: Text, table: TablePlan, packing: Packing, transport: str = TRANSPORT) -> None:
    """The words of the packet's key, in variables, and of a key of both directions which of them it is.

    transport: where its transport header is, or what stands for it.
    """
    words, among = range(packing.words), packing.parts_by_field() if table.asks else packing.parts
    for word in words:
        parts = [_key_part(part, packing, transport) for part in among if part.word == word]
        text.line(f"key_{word} = {' | '.join(parts) or '0'}")
    if table.key.symmetric:
        text.line(f"direction = is_turned_{packing.family}({', '.join(f'key_{word}' for word in words)})")
        turned_ports = f"turned_ports(direction, key_{packing.words - 1})"
        if packing.family == 4:
            text.line(f"key_0, key_1 = turned_addresses(direction, key_0), {turned_ports}")
        else:
            turned = ", ".join(f"either(direction, key_{word}, key_{word ^ 2})" for word in range(4))
            text.line(f"key_0, key_1, key_2, key_3, key_4 = {turned}, {turned_ports}")


def emit_key_kept(text: Text, table: TablePlan, packing: Packing, place: TableScratch) -> None:
    """The same in the scratch area."""
    if table.key.symmetric:
        text.line(f"store_64(scratch + {place.direction} + 8 * j, direction)")
    for word in range(packing.words):
        text.line(f"store_64(scratch + {place.key + 8 * word} + {place.key_bytes} * j, key_{word})")


def _key_part(part: KeyPart, packing: Packing, transport: str) -> str:
    if part.start == "protocol":
        load = "read_protocol(frame, headers)"
    else:
        start = transport if part.start == "transport" else f"start_of_{part.start}(frame, headers)"
        load = f"load_u{part.bits}({start} + {part.offset})"
    if part.mask != -1:
        load = f"({load} & {part.mask})"
    if part.layer & ~packing.layer and part.start != "protocol":
        load = f"({load} if headers & {int(part.layer)} else 0)"
    return f"({load} << {part.shift})" if part.shift else load


def emit_hash_of_key(text: Text, table: TablePlan, side: TableSide, family: int) -> None:
    """`hashed_T` of a key in variables; its tags are asked for."""
    t, s = table.index, side.index
    words = ", ".join(f"key_{word}" for word in range(side.packing.words))
    text.line(f"hashed_{t} = hash_{side.packing.words}(secret_0_{s}, secret_1_{s}, {words})")
    if len(table.sides) > 1:
        text.line(f"hashed_{t} = (hashed_{t} & ~SECOND_SIDE){' | SECOND_SIDE' if family == 6 else ''}")
    text.line(f"prefetch(tags_{s} + (hashed_{t} & mask_{s}) * GROUP)")
