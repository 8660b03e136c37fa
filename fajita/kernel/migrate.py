"""Entries of some buckets move from a worker's table to another worker's, with all states, times and marks.

The other table finds them by its own secrets and gives them slots of its own; it may have to grow meanwhile, for which
the engine is asked as before a burst. What a moved entry remembers of the places of coarser entries is wrong from then
on, which does no harm (fajita.plan.Link).
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any

from fajita.kernel.arithmetic import minimum
from fajita.kernel.function import KernelFunction, kernel_function
from fajita.kernel.memory import copy, load_i64, load_u8, load_u16, load_u32, load_u64, prefetch, store_32, store_64
from fajita.kernel.operation import I64, Operation
from fajita.kernel.shard import HASH_BYTES
from fajita.kernel.slots import CAPACITY, ENTRIES, SLOTS, give_back_slot, record_of, take_slot
from fajita.kernel.table import (
    ATTENTION,
    COUNT,
    ENTRIES_AT,
    FREE,
    GROUP,
    MASK,
    MOST,
    OLD_ENTRIES_AT,
    OLD_MASK,
    OLD_TAGS,
    TAGS,
    side_functions,
)

#: What a move ends with: all are moved, or the other table is full; any other number is 1 + the side of it that is to
#: be attended to before the move goes on.
MOVED, TABLE_FULL = 0, -1
#: Entries are asked for so many slots or places ahead.
_AHEAD = 16
_LOADS = {2: load_u16, 4: load_u32, 8: load_u64}


@dataclass(frozen=True)
class SideToMove:
    """A side of a table. hashed: of each piece of the key that is hashed its number among the bytes hashed, where it is
    in the entry, and its bytes: 2, 4 or 8."""

    words: int
    entry_bytes: int
    hashed: tuple[tuple[int, int, int], ...]


def _bucket_of(pieces: tuple[tuple[int, int, int], ...]) -> Operation:
    """The operation `bucket_of(tables, entry)`: the bucket that the sharder gave the packets of an entry."""

    def emit(builder: Any, tables: Any, entry: Any) -> Any:
        hashed = [
            HASH_BYTES[size].emit(builder, tables, I64(place), _LOADS[size].emit(builder, builder.add(entry, I64(at))))
            for place, at, size in pieces
        ]
        return reduce(builder.xor, hashed)

    return Operation("bucket_of", emit)


def _move_entry_function(number: int, side: SideToMove, slot_at: int | None) -> KernelFunction:
    """`move_entry(source, target, source_side, target_side, tables, moved, entry)`, of side `number` of a table."""
    functions = side_functions(side.words, side.entry_bytes, slot_at)
    attend, insert, remove, hash_entry = functions.attend, functions.insert, functions.remove, functions.hash_entry
    bucket_of, entry_bytes, key_bytes = _bucket_of(side.hashed), side.entry_bytes, 8 * side.words
    has_slots, slot_offset = slot_at is not None, key_bytes + (slot_at or 0)

    @kernel_function
    def give_slot(source, target, entry, copied):
        """A slot of the other table for an entry; what an eviction noted in the old one stays known."""
        old = load_u32(entry + slot_offset)
        slot = take_slot(target)
        record = record_of(target, slot)
        store_64(record, (copied + key_bytes) | number)
        store_64(record + 8, load_i64(record_of(source, old) + 8))
        store_32(copied + slot_offset, slot)
        give_back_slot(source, old)

    @kernel_function
    def move_entry(source, target, source_side, target_side, tables, moved, entry):
        if load_u8(moved + bucket_of(tables, entry)) == 0:
            return MOVED
        if load_i64(target_side + COUNT) >= load_i64(target_side + ATTENTION) and attend(target_side) != 0:
            return 1 + number
        is_full = load_i64(target + ENTRIES) >= load_i64(target + CAPACITY)
        if is_full or load_i64(target_side + COUNT) >= load_i64(target_side + MOST):
            return TABLE_FULL
        copied = insert(target_side, hash_entry(target_side, entry), entry)
        copy(copied, entry, entry_bytes)
        if has_slots:
            give_slot(source, target, entry, copied)
        remove(source_side, entry)
        store_64(source + ENTRIES, load_i64(source + ENTRIES) - 1)
        store_64(target + ENTRIES, load_i64(target + ENTRIES) + 1)
        return MOVED

    return move_entry


@kernel_function
def slots_of(source, source_sides):
    """How many slots a table has; of each, `where_of_slot`."""
    return load_i64(source + SLOTS)


@kernel_function
def where_of_slot(source, source_sides, slot):
    """Where the entry of a slot is: the address of its state, its side in the lowest bit; 0 if there is none."""
    return load_i64(record_of(source, slot))


@kernel_function
def places_in(side):
    """The places of a side, those of its old table behind the others."""
    old = (load_i64(side + OLD_MASK) + 1) * GROUP if load_i64(side + OLD_TAGS) != 0 else 0
    return (load_i64(side + MASK) + 1) * GROUP + old


@kernel_function
def entry_in(side, place, entry_bytes):
    """The entry in a place, or 0."""
    tags, entries, places = load_i64(side + TAGS), load_i64(side + ENTRIES_AT), (load_i64(side + MASK) + 1) * GROUP
    if place >= places:
        tags, entries, place = load_i64(side + OLD_TAGS), load_i64(side + OLD_ENTRIES_AT), place - places
    return entries + place * entry_bytes if load_u8(tags + place) != FREE else 0


def _places(sides: tuple[SideToMove, ...]) -> tuple[KernelFunction, KernelFunction]:
    """The same as slots_of and where_of_slot for a table without slots: its places, those of the second side last."""
    has_two_sides, first_bytes, second_bytes = len(sides) > 1, sides[0].entry_bytes, sides[-1].entry_bytes
    first_key_bytes, second_key_bytes = 8 * sides[0].words, 8 * sides[-1].words

    @kernel_function
    def places_of(source, source_sides):
        places = places_in(load_i64(source_sides))
        if has_two_sides:
            places += places_in(load_i64(source_sides + 8))
        return places

    @kernel_function
    def where_of_place(source, source_sides, place):
        of_first = places_in(load_i64(source_sides))
        if has_two_sides and place >= of_first:
            entry = entry_in(load_i64(source_sides + 8), place - of_first, second_bytes)
            return (entry + second_key_bytes) | 1 if entry != 0 else 0
        entry = entry_in(load_i64(source_sides), place, first_bytes)
        return entry + first_key_bytes if entry != 0 else 0

    return places_of, where_of_place


def migrate_function(sides: tuple[SideToMove, ...], slot_at: int | None) -> KernelFunction:
    """The function `migrate(source, target, source_sides, target_sides, tables, moved, progress)` of a kind of table.

    source, target: descriptors of a worker's table and of another's. source_sides, target_sides: where the addresses of
    those of their sides lie. tables: what bytes add to a hash (fajita.kernel.shard). moved: a byte for each bucket, 1
    if it moves. progress: a word, 0 at first, from which it goes on when it is called again.

    Entries with slots move in the order of these, so that nothing that depends on their order depends on hashes.
    """
    has_two_sides, first_key_bytes, second_key_bytes = len(sides) > 1, 8 * sides[0].words, 8 * sides[-1].words
    movers = [_move_entry_function(number, side, slot_at) for number, side in enumerate(sides)]
    move_first, move_second = movers[0], movers[-1]
    count, where_of = _places(sides) if slot_at is None else (slots_of, where_of_slot)

    @kernel_function
    def move(source, target, source_sides, target_sides, tables, moved, where):
        if has_two_sides and where & 1:
            source_side, target_side = load_i64(source_sides + 8), load_i64(target_sides + 8)
            entry = (where & ~1) - second_key_bytes
            return move_second(source, target, source_side, target_side, tables, moved, entry)
        source_side, target_side = load_i64(source_sides), load_i64(target_sides)
        return move_first(source, target, source_side, target_side, tables, moved, where - first_key_bytes)

    @kernel_function
    def migrate(source, target, source_sides, target_sides, tables, moved, progress):
        end = count(source, source_sides)
        for index in range(load_i64(progress), end):
            where = where_of(source, source_sides, index)
            prefetch(where_of(source, source_sides, minimum(index + _AHEAD, end - 1)))
            asks = move(source, target, source_sides, target_sides, tables, moved, where) if where != 0 else MOVED
            if asks != MOVED:
                store_64(progress, index)
                return asks
        return MOVED

    return migrate
