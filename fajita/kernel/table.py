"""One side of a flow table: groups of 16 entries, and one tag byte per entry in an array of its own.

A lookup compares the 16 tags of a group at once and touches only the entry whose tag matches, so that a known flow
costs one cache miss: the tags, a byte per entry, mostly stay in the cache. Where a group is full, a new entry lies in
the next one that is not, and each group it went past counts one that overflowed; a search goes on only past a group
whose count is not 0 (F14, Bronson and Shi 2019). So an entry that ends leaves nothing behind.

A table grows by a second one of twice the size: each burst moves a few groups, a search looks into both, new flows go
to the new one. The memory of the second is touched before it is needed, page by page as new flows come. So no burst
waits for a whole table, or for the system to clear more than one page.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import ir

from fajita.kernel.arithmetic import divide_unsigned, maximum, minimum, shift_right_unsigned
from fajita.kernel.function import KernelFunction, kernel_function, rare_function
from fajita.kernel.hash import HASHES
from fajita.kernel.layout import BURST
from fajita.kernel.memory import clear, copy, load_128, load_u8, load_u32, load_u64, store_8, store_64
from fajita.kernel.operation import I1, I8, I16, I32, I64, Operation, llvm_intrinsic, operation
from fajita.kernel.slots import record_of

#: Places in a group, and bytes of tags.
GROUP = 16
#: The tag of a place without an entry.
FREE = 0
#: As many entries went past a group, or more: the count stays there.
MOST_OVERFLOWED = 255
#: Groups moved per burst while a table grows. 16 new flows a burst are the most that can come, so at two groups a
#: burst the old table of G groups (at most 12 G entries) is empty after G / 2 bursts, when the new one holds at most
#: 12 G + 8 G of the 24 G entries at which it would have to grow itself.
GROUPS_MOVED = 2
#: A table grows when this many of 16 places are taken.
FILL = 12

#: The memory of a table to come is touched in steps of a huge page.
PAGE = 2 << 20

#: The words (int64) of a side's descriptor, in the order they lie in memory. attention: the number of entries from
#: which on `attend` is to be called before a burst. pages_at, pages_left: of the table to come, what is not touched
#: yet. most: entries that it may have; limit: before it has to grow. table: the table's own descriptor (slots.py).
(
    TAGS,
    ENTRIES_AT,
    MASK,
    COUNT,
    LIMIT,
    MOST,
    ATTENTION,
    ATTENTION_LATER,
    OLD_TAGS,
    OLD_ENTRIES_AT,
    OLD_MASK,
    OLD_NEXT,
    PAGES_AT,
    PAGES_LEFT,
    TABLE,
    SECRET_0,
    SECRET_1,
    NOWHERE,  # the address of zeros that stand for the entry of a flow that has none: no NF has marked it
    SHARED_AT,  # of a side that workers share: the descriptor that all have in common (shared_table.py)
    WORKER,  # 1 + the number of the worker whose descriptor this is
    HELD_AT,  # which entries the worker has copies of
    COPIES_AT,
    COPIED,  # how many
) = (8 * word for word in range(23))
DESCRIPTOR_BYTES = 8 * 23

#: The marks of an entry are the top byte of the key's last word.
MARK_SHIFT = 56
KEY_MASK = (1 << MARK_SHIFT) - 1


@operation
def match_tags(builder: Any, tags: Any, group: Any, tag: Any) -> Any:
    """Bit i is set where place i of the group has this tag: 16 bytes compared at once."""
    vector, lanes = ir.VectorType(I8, GROUP), ir.VectorType(I32, GROUP)
    present = builder.bitcast(load_128.emit(builder, builder.add(tags, builder.mul(group, I64(GROUP)))), vector)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), builder.trunc(tag, I8), I32(0))
    every = builder.shuffle_vector(one, one, ir.Constant(lanes, [0] * GROUP))
    return builder.zext(builder.bitcast(builder.icmp_unsigned("==", present, every), I16), I64)


@operation
def lowest_bit(builder: Any, bits: Any) -> Any:
    """The number of the lowest bit set; `bits` is not 0."""
    return llvm_intrinsic(builder, "llvm.cttz.i64", I64, bits, I1(1))


@kernel_function
def tag_of(hashed):
    """The tag of a hash, 1 to 255: its top byte, 0 made 1."""
    return maximum(shift_right_unsigned(hashed, 56), 1)


@kernel_function
def overflowed(tags, mask, group):
    """Where a group's count of entries that went past it lies: behind all tags."""
    return tags + (mask + 1) * GROUP + group


@dataclass(frozen=True)
class SideFunctions:
    """The functions of a side of a table.

    candidate(tags, entries, mask, hashed, nowhere) is where the flow probably is, or nowhere. find(side, hashed, key)
    is the address of the entry of the key whose words lie at `key`, or 0; insert(side, hashed, key) makes one, zeros
    but for the key. remove(side, entry) ends one. attend(side) does what is due before a burst: moves some groups of
    the old table, touches a page of the one to come; it gives 1 if the engine has to (fajita.engine.tables).
    hash_entry(side, entry) is the hash of the key of an entry of any side with such keys, with the secrets of this one.
    """

    candidate: KernelFunction
    find: KernelFunction
    insert: KernelFunction
    remove: KernelFunction
    attend: KernelFunction
    hash_entry: Operation


@cache
def side_functions(words: int, entry_bytes: int, slot_at: int | None) -> SideFunctions:
    """The functions for keys of so many words and entries of so many bytes; slot_at: where an entry keeps the number
    of its slot, in bytes from the end of its key, or None."""
    hash_words = HASHES[words]
    last, key_bytes = 8 * (words - 1), 8 * words
    has_slots, slot_offset = slot_at is not None, key_bytes + (slot_at or 0)

    @kernel_function
    def same_key(entry, key):
        for word in range(words - 1):
            if load_u64(entry + 8 * word) != load_u64(key + 8 * word):
                return False
        return (load_u64(entry + last) & KEY_MASK) == load_u64(key + last)

    @kernel_function
    def candidate(tags, entries, mask, hashed, nowhere):
        group = hashed & mask
        match = match_tags(tags, group, tag_of(hashed))
        if match == 0:
            return nowhere
        return entries + (group * GROUP + lowest_bit(match)) * entry_bytes

    @kernel_function
    def search(tags, entries, mask, hashed, key):
        group, tag = hashed & mask, tag_of(hashed)
        for _ in range(mask + 1):
            match = match_tags(tags, group, tag)
            while match != 0:
                entry = entries + (group * GROUP + lowest_bit(match)) * entry_bytes
                if same_key(entry, key):
                    return entry
                match &= match - 1
            if load_u8(overflowed(tags, mask, group)) == 0:
                return 0
            group = (group + 1) & mask
        return 0

    @rare_function
    def find(side, hashed, key):
        entry = search(load_u64(side + TAGS), load_u64(side + ENTRIES_AT), load_u64(side + MASK), hashed, key)
        if entry == 0 and load_u64(side + OLD_TAGS) != 0:
            old_tags, old_entries = load_u64(side + OLD_TAGS), load_u64(side + OLD_ENTRIES_AT)
            entry = search(old_tags, old_entries, load_u64(side + OLD_MASK), hashed, key)
        return entry

    @kernel_function
    def take_place(side, hashed):
        # There is one: a side never has as many entries as places.
        tags, mask = load_u64(side + TAGS), load_u64(side + MASK)
        group = hashed & mask
        free = match_tags(tags, group, FREE)
        while free == 0:
            count = overflowed(tags, mask, group)
            store_8(count, minimum(load_u8(count) + 1, MOST_OVERFLOWED))
            group = (group + 1) & mask
            free = match_tags(tags, group, FREE)
        place = group * GROUP + lowest_bit(free)
        store_8(tags + place, tag_of(hashed))
        return load_u64(side + ENTRIES_AT) + place * entry_bytes

    @rare_function
    def insert(side, hashed, key):
        entry = take_place(side, hashed)
        for word in range(words):
            store_64(entry + 8 * word, load_u64(key + 8 * word))
        store_64(side + COUNT, load_u64(side + COUNT) + 1)
        return entry

    @operation
    def hash_entry(builder: Any, side: Any, entry: Any) -> Any:
        key = [load_u64.emit(builder, builder.add(entry, I64(8 * word))) for word in range(words)]
        key[-1] = builder.and_(key[-1], I64(KEY_MASK))
        secrets = [load_u64.emit(builder, builder.add(side, I64(word))) for word in (SECRET_0, SECRET_1)]
        return hash_words.emit(builder, *secrets, *key)

    @rare_function
    def remove(side, entry):
        store_64(side + COUNT, load_u64(side + COUNT) - 1)
        tags, mask = load_u64(side + TAGS), load_u64(side + MASK)
        offset = entry - load_u64(side + ENTRIES_AT)
        if 0 <= offset < (mask + 1) * GROUP * entry_bytes:
            place = divide_unsigned(offset, entry_bytes)
            group, went_past = place >> 4, hash_entry(side, entry) & mask
            while went_past != group:
                count = overflowed(tags, mask, went_past)
                if load_u8(count) != MOST_OVERFLOWED:
                    store_8(count, load_u8(count) - 1)
                went_past = (went_past + 1) & mask
            store_8(tags + place, FREE)
        else:
            place = divide_unsigned(entry - load_u64(side + OLD_ENTRIES_AT), entry_bytes)
            store_8(load_u64(side + OLD_TAGS) + place, FREE)
        clear(entry, entry_bytes)

    @kernel_function
    def move_entry(side, entry):
        target = take_place(side, hash_entry(side, entry))
        copy(target, entry, entry_bytes)
        if has_slots:
            record = record_of(load_u64(side + TABLE), load_u32(entry + slot_offset))
            # The lowest bit tells the side.
            store_64(record, (target + key_bytes) | (load_u64(record) & 1))

    @kernel_function
    def move(side):
        tags, entries = load_u64(side + OLD_TAGS), load_u64(side + OLD_ENTRIES_AT)
        for _ in range(GROUPS_MOVED):
            group = load_u64(side + OLD_NEXT)
            for place in range(group * GROUP, group * GROUP + GROUP):
                if load_u8(tags + place) != FREE:
                    move_entry(side, entries + place * entry_bytes)
                    store_8(tags + place, FREE)
            store_64(side + OLD_NEXT, group + 1)
            if group == load_u64(side + OLD_MASK):
                store_64(side + OLD_TAGS, 0)
                store_64(side + ATTENTION, load_u64(side + ATTENTION_LATER))
                return

    @rare_function
    def attend(side):
        if load_u64(side + OLD_TAGS) != 0:
            move(side)
            return 0
        if load_u64(side + COUNT) + BURST > load_u64(side + LIMIT):
            return 1
        left = load_u64(side + PAGES_LEFT)
        if left == 0:
            return 1
        page = load_u64(side + PAGES_AT)
        store_8(page, 0)
        store_64(side + PAGES_AT, page + PAGE)
        store_64(side + PAGES_LEFT, left - 1)
        # The next ones as new flows come, the last before there are too many.
        room = load_u64(side + LIMIT) - BURST - load_u64(side + COUNT)
        apart = room + 1 if left == 1 else divide_unsigned(room, left)
        store_64(side + ATTENTION, load_u64(side + COUNT) + apart)
        return 0

    return SideFunctions(candidate, find, insert, remove, attend, hash_entry)
