"""The flow table: groups of 16 entries, and one tag byte per entry in an array of its own.

A lookup compares the 16 tags of a group at once and touches only the entry whose tag matches, so that a known flow
costs one cache miss: the tags, a byte per entry, mostly stay in the cache. Where a group is full, the search goes on in
the next one. Tag 0 is a free place, which ends a search; tag 1 is a place that was taken once, which does not.

A table grows by a second one of twice the size: each burst moves a few groups, a search looks into both, new flows go
to the new one. So no burst waits for a whole table.
"""

from functools import cache
from typing import Any

from llvmlite import ir

from fajita.kernel.arithmetic import maximum, shift_right_unsigned
from fajita.kernel.function import KernelFunction, kernel_function, rare_function
from fajita.kernel.hash import HASHES
from fajita.kernel.memory import copy, load_128, load_u8, load_u64, store_8, store_64
from fajita.kernel.operation import I1, I8, I16, I32, I64, llvm_intrinsic, operation

#: Places in a group, and bytes of tags.
GROUP = 16
FREE, GONE = 0, 1
#: Groups moved per burst while a table grows. 16 new flows a burst are the most that can come, so at two groups a
#: burst the old table of G groups (at most 12 G entries) is empty after G / 2 bursts, when the new one holds at most
#: 12 G + 8 G of the 24 G entries at which it would have to grow itself.
GROUPS_MOVED = 2
#: A table grows when this many of 16 places are taken.
FILL = 12

#: The words (int64) of a table's descriptor, in the order they lie in memory.
(
    TAGS,
    ENTRIES_AT,
    MASK,
    COUNT,
    LIMIT,
    OLD_TAGS,
    OLD_ENTRIES_AT,
    OLD_MASK,
    OLD_NEXT,
    CREATED,
    EXPIRED,
    SECRET_0,
    SECRET_1,
    NOWHERE,  # the address of zeros that stand for the entry of a flow that has none: no NF has marked it
) = (8 * word for word in range(14))
DESCRIPTOR_BYTES = 8 * 14

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
    """The tag of a hash, 2 to 255: its top byte, 0 and 1 made 2."""
    return maximum(shift_right_unsigned(hashed, 56), 2)


@cache
def table_functions(words: int, entry_bytes: int) -> tuple[KernelFunction, KernelFunction, KernelFunction]:
    """The functions of a table whose keys have so many words and whose entries so many bytes: candidate, resolve, move.

    candidate(tags, entries, mask, hashed, nowhere) is where the flow probably is, or nowhere. resolve(table, hashed,
    key) is the address of the entry of the key whose words lie at `key`, made and counted if there was none; its marks
    say which NFs have state in it. move(table) moves some groups of the old table into the new one.
    """
    hash_words = HASHES[words]
    last = 8 * (words - 1)

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
    def find(tags, entries, mask, hashed, key):
        group, tag = hashed & mask, tag_of(hashed)
        while True:
            match = match_tags(tags, group, tag)
            while match != 0:
                entry = entries + (group * GROUP + lowest_bit(match)) * entry_bytes
                if same_key(entry, key):
                    return entry
                match &= match - 1
            if match_tags(tags, group, FREE) != 0:
                return 0
            group = (group + 1) & mask

    @kernel_function
    def take_place(table, hashed):
        tags, mask = load_u64(table + TAGS), load_u64(table + MASK)
        group = hashed & mask
        free = match_tags(tags, group, FREE)
        while free == 0:
            group = (group + 1) & mask
            free = match_tags(tags, group, FREE)
        place = group * GROUP + lowest_bit(free)
        store_8(tags + place, tag_of(hashed))
        return load_u64(table + ENTRIES_AT) + place * entry_bytes

    @rare_function
    def resolve(table, hashed, key):
        entry = find(load_u64(table + TAGS), load_u64(table + ENTRIES_AT), load_u64(table + MASK), hashed, key)
        if entry == 0 and load_u64(table + OLD_TAGS) != 0:
            entry = find(
                load_u64(table + OLD_TAGS), load_u64(table + OLD_ENTRIES_AT), load_u64(table + OLD_MASK), hashed, key
            )
        if entry == 0:
            entry = take_place(table, hashed)  # never used before, so all zeros
            for word in range(words):
                store_64(entry + 8 * word, load_u64(key + 8 * word))
            store_64(table + COUNT, load_u64(table + COUNT) + 1)
            store_64(table + CREATED, load_u64(table + CREATED) + 1)
        return entry

    @operation
    def hash_entry(builder: Any, table: Any, entry: Any) -> Any:
        key = [load_u64.emit(builder, builder.add(entry, I64(8 * word))) for word in range(words)]
        key[-1] = builder.and_(key[-1], I64(KEY_MASK))
        secrets = [load_u64.emit(builder, builder.add(table, I64(word))) for word in (SECRET_0, SECRET_1)]
        return hash_words.emit(builder, *secrets, *key)

    @rare_function
    def move(table):
        tags, entries = load_u64(table + OLD_TAGS), load_u64(table + OLD_ENTRIES_AT)
        for _ in range(GROUPS_MOVED):
            group = load_u64(table + OLD_NEXT)
            for place in range(group * GROUP, group * GROUP + GROUP):
                # A place that was free stays free: a search that ended there still does.
                if load_u8(tags + place) > GONE:
                    entry = entries + place * entry_bytes
                    target = take_place(table, hash_entry(table, entry))
                    copy(target, entry, entry_bytes)
                    store_8(tags + place, GONE)
            store_64(table + OLD_NEXT, group + 1)
            if group == load_u64(table + OLD_MASK):
                store_64(table + OLD_TAGS, 0)
                return

    return candidate, resolve, move
