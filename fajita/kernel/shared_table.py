"""One side of a table that all workers share, as long as they are at work: entries are found and begun, no more.

Tables grow, and entries move and end, only while all workers stand still; table.py does that, with the descriptor that
they have in common. A worker has a descriptor of its own besides, with the same addresses in it.

Finding takes no lock. Who begins an entry claims the lowest free place of the first group that has one, by its tag;
then writes the key; then, with the owner's number, says that it is there. As tags go only from free to taken, and
whoever goes past a group has seen that all of it is taken, two who look for a place for the same key come to the same
place: one gets it, the other finds it.

The worker that began an entry, its owner, is the only one that writes its state. Any other keeps what its packets do to
it in a *copy* of its own, which begins as an entry without state, and pours that into a second area of the entry, the
foreign one, when it needs the room for the copy of another entry, and whenever its kernel returns. So while packets of
a flow come to several workers, each writes in memory of its own. Which entry a copy is of stands in an array apart, so
that an entry of which there is none costs a look at eight bytes.
"""

from dataclasses import dataclass
from functools import cache

from fajita.kernel.arithmetic import divide_unsigned, shift_right_unsigned
from fajita.kernel.atomics import (
    add_atomic_64,
    if_equal,
    load_acquire_u8,
    load_relaxed_u8,
    load_relaxed_u64,
    pause,
    read_anew,
    replace_u8,
    store_release_8,
)
from fajita.kernel.function import KernelFunction, kernel_function, rare_function
from fajita.kernel.memory import clear, load_u8, load_u64, store_8, store_64
from fajita.kernel.slots import CREATED, add_one
from fajita.kernel.table import (
    ATTENTION,
    COPIED,
    COPIES_AT,
    COUNT,
    ENTRIES_AT,
    FREE,
    GROUP,
    HELD_AT,
    KEY_MASK,
    MASK,
    MOST,
    MOST_OVERFLOWED,
    SHARED_AT,
    TABLE,
    TAGS,
    WORKER,
    lowest_bit,
    match_tags,
    overflowed,
    tag_of,
)
from fajita.plan import LINE_BYTES

#: The number of copies that a worker has of entries of a side, as a power of two, if they take no more than so many
#: bytes. Of 1,000 entries of other workers few have the same of 4,096 copies; a packet for which a copy has to change
#: hands takes 30 ns more (docs/decisions).
_MOST_BITS, _LEAST_BITS, _COPIES_BYTES = 12, 6, 1 << 20
#: Spreads addresses of entries over the copies.
_SPREAD = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class CopiesLayout:
    """What a worker has at HELD_AT for a side, by bytes from there.

    By the number of a copy the address of its entry, or 0; at numbers_at the numbers of those that have one; at
    copies_at the copies, 1 << bits of them, each of so many bytes.
    """

    bits: int
    copy_bytes: int

    @property
    def numbers_at(self) -> int:
        """After a word for each."""
        return 8 << self.bits

    @property
    def copies_at(self) -> int:
        """After another."""
        return 16 << self.bits

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.copies_at + (self.copy_bytes << self.bits)


def copies_layout(entry_bytes: int) -> CopiesLayout:
    """The layout for entries of that size."""
    copy_bytes = -(-entry_bytes // LINE_BYTES) * LINE_BYTES
    return CopiesLayout(max(_LEAST_BITS, min(_MOST_BITS, (_COPIES_BYTES // copy_bytes).bit_length() - 1)), copy_bytes)


@kernel_function
def went_past(count):
    """One more entry went past the group whose count this is."""
    before = load_relaxed_u8(count)
    while before != MOST_OVERFLOWED:
        if replace_u8(count, before, before + 1):
            return
        before = load_relaxed_u8(count)


@dataclass(frozen=True)
class SharedFunctions:
    """The functions of a side for a worker at work. side: its own descriptor; state: where the key of an entry ends.

    is_due(side): whether the side has so many entries that all have to stand still. is_of(entry, key): whether that is
    the entry of the key whose words lie at `key`. find(side, hashed, key) is the address of that, or 0; insert(side,
    hashed, key) of one that is there from now on, or 0 if there may be no more. redirected(entry, held, copies): the
    copy of an entry, if there is one, else the entry.
    adopted(side, state): where the worker writes what its packets do to an entry: there or in a copy. home(side, state)
    undoes that. pour_all(side) empties all copies.
    """

    is_due: KernelFunction
    is_of: KernelFunction
    find: KernelFunction
    insert: KernelFunction
    redirected: KernelFunction
    adopted: KernelFunction
    home: KernelFunction
    pour_all: KernelFunction


@cache
def shared_functions(words: int, entry_bytes: int, owner: int, pour: KernelFunction) -> SharedFunctions:
    """The functions for keys of so many words and entries of so many bytes.

    owner: where an entry has its owner's number, in bytes from the end of its key. pour(copy, state) adds what a copy
    holds to the foreign area of an entry; both are given by the ends of their keys.
    """
    key_bytes, last, layout = 8 * words, 8 * (words - 1), copies_layout(entry_bytes)
    owner_at, stride, numbers_at = key_bytes + owner, layout.copy_bytes, layout.numbers_at
    copies_end, spread_shift = stride << layout.bits, 64 - layout.bits

    @kernel_function
    def copy_number(entry):
        # Of the copy that an entry has, if it has any.
        return shift_right_unsigned(entry * _SPREAD, spread_shift)

    @kernel_function
    def is_due(side):
        count = load_relaxed_u64(load_u64(side + SHARED_AT) + COUNT)
        store_64(side + COUNT, count)
        return count >= load_u64(side + ATTENTION)

    @kernel_function
    def same_key(entry, key):
        same = (load_relaxed_u64(entry + last) & KEY_MASK) == load_u64(key + last)
        for word in range(words - 1):
            same &= load_u64(entry + 8 * word) == load_u64(key + 8 * word)
        return same

    @rare_function
    def is_of(entry, key):
        # Once its owner is known the key of an entry is whole.
        return load_acquire_u8(entry + owner_at) != 0 and same_key(entry, key)

    @kernel_function
    def in_group(side, group, tag, key):
        match = match_tags(load_u64(side + TAGS), group, tag)
        while match != 0:
            entry = load_u64(side + ENTRIES_AT) + (group * GROUP + lowest_bit(match)) * entry_bytes
            while load_acquire_u8(entry + owner_at) == 0:
                pause()
            if same_key(entry, key):
                return entry
            match &= match - 1
        return 0

    @rare_function
    def find(side, hashed, key):
        # It may miss an entry that is being begun, which insert then finds.
        tags, mask, tag = load_u64(side + TAGS), load_u64(side + MASK), tag_of(hashed)
        group = hashed & mask
        for _ in range(mask + 1):
            entry = in_group(side, group, tag, key)
            if entry != 0 or load_relaxed_u8(overflowed(tags, mask, group)) == 0:
                return entry
            group = (group + 1) & mask
        return 0

    @kernel_function
    def begin(side, entry, hashed, group, key):
        # The place is claimed; nobody reads more of the entry before its owner is known.
        for word in range(words):
            store_64(entry + 8 * word, load_u64(key + 8 * word))
        store_release_8(entry + owner_at, load_u64(side + WORKER))
        mask = load_u64(side + MASK)
        passed = hashed & mask
        while passed != group:
            went_past(overflowed(load_u64(side + TAGS), mask, passed))
            passed = (passed + 1) & mask
        add_one(load_u64(side + TABLE) + CREATED)

    @rare_function
    def insert(side, hashed, key):
        count = load_u64(side + SHARED_AT) + COUNT
        if add_atomic_64(count, 1) >= load_u64(side + MOST):
            add_atomic_64(count, -1)
            return 0
        tags, mask, tag = load_u64(side + TAGS), load_u64(side + MASK), tag_of(hashed)
        group = hashed & mask
        while True:  # A side never has as many entries as places.
            read_anew()
            free = match_tags(tags, group, FREE)
            # Looked at after: what took a place before that was seen as taken is found.
            read_anew()
            entry = in_group(side, group, tag, key)
            if entry != 0:
                add_atomic_64(count, -1)
                return entry
            if free == 0:
                group = (group + 1) & mask
            else:
                place = group * GROUP + lowest_bit(free)
                if replace_u8(tags + place, FREE, tag):
                    entry = load_u64(side + ENTRIES_AT) + place * entry_bytes
                    begin(side, entry, hashed, group, key)
                    return entry
        return 0

    @kernel_function
    def redirected(entry, held, copies):
        number = copy_number(entry)
        return if_equal(load_u64(held + 8 * number), entry, copies + number * stride, entry)

    @kernel_function
    def pour_one(side, number):
        held = load_u64(side + HELD_AT) + 8 * number
        copy = load_u64(side + COPIES_AT) + number * stride
        pour(copy + key_bytes, load_u64(held) + key_bytes)
        store_8(copy + owner_at, 0)  # no packet takes it for an entry

    @rare_function
    def adopted(side, state):
        worker, entry = load_u64(side + WORKER), state - key_bytes
        if load_u8(state + owner) == worker:
            return state
        number = copy_number(entry)
        held = load_u64(side + HELD_AT) + 8 * number
        copy = load_u64(side + COPIES_AT) + number * stride
        if load_u64(held) != entry:
            if load_u64(held) != 0:
                pour_one(side, number)
            else:
                count = load_u64(side + COPIED)
                store_64(load_u64(side + HELD_AT) + numbers_at + 8 * count, number)
                store_64(side + COPIED, count + 1)
            clear(copy, stride)
            for word in range(words - 1):
                store_64(copy + 8 * word, load_u64(entry + 8 * word))
            store_64(copy + last, load_relaxed_u64(entry + last) & KEY_MASK)
            store_8(copy + owner_at, worker)
            store_64(held, entry)
        return copy + key_bytes

    @kernel_function
    def home(side, state):
        offset = state - load_u64(side + COPIES_AT)
        if offset < 0 or offset >= copies_end:
            return state
        return load_u64(load_u64(side + HELD_AT) + 8 * divide_unsigned(offset, stride)) + key_bytes

    @rare_function
    def pour_all(side):
        held = load_u64(side + HELD_AT)
        for index in range(load_u64(side + COPIED)):
            number = load_u64(held + numbers_at + 8 * index)
            pour_one(side, number)
            store_64(held + 8 * number, 0)
        store_64(side + COPIED, 0)

    return SharedFunctions(is_due, is_of, find, insert, redirected, adopted, home, pour_all)


@cache
def fold_all(entry_bytes: int, key_bytes: int, fold: KernelFunction) -> KernelFunction:
    """Make `fold_all(shared)`, for when all workers stand still: what is foreign in each entry becomes its own.

    fold(state) does it to one. shared: the descriptor that all have in common.
    """

    @rare_function
    def fold_entries(shared):
        tags, state = load_u64(shared + TAGS), load_u64(shared + ENTRIES_AT) + key_bytes
        for _ in range((load_u64(shared + MASK) + 1) * GROUP):
            if load_u8(tags) != FREE:
                fold(state)
            tags += 1
            state += entry_bytes

    return fold_entries
