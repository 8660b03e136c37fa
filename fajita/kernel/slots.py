"""The slots of a table: its entries in an order that does not depend on their hashes.

An entry gets the slot that was given back last, or else a new one behind all others, and keeps it while it moves. What
goes through a table to end entries goes from slot to slot, so that both engines end the same ones in the same order.
A slot's record has two words: the address of the entry's state, its lowest bit the side of the table (0 without an
entry), and a time or, without an entry, 1 + the slot that was given back before this one. The time is that of the last
packet when an eviction last looked at it; in a table that evicts nothing, one before which no state of the entry can
end (deadline). Records lie in chunks, whose addresses are in a directory, so that they never move.
"""

from fajita.kernel.arithmetic import divide_unsigned, maximum
from fajita.kernel.function import kernel_function
from fajita.kernel.memory import load_i64, store_64

#: Slots of a chunk, as a power of two; its records take a huge page.
CHUNK_BITS = 17
CHUNK_MASK = (1 << CHUNK_BITS) - 1
RECORD_BYTES = 16
#: A time that does not come.
NEVER = (1 << 63) - 1

#: The words (int64) of a table's descriptor. directory: address of the chunks' addresses. slots: how many were ever
#: taken. free_slot: 1 + the one given back last, or 0. entries, capacity: on all sides. hand, due: the next slot that
#: the search for idle entries looks at, and when (ns). evictor: the next slot that an eviction looks at. The rest is
#: counted.
(DIRECTORY, SLOTS, FREE_SLOT, ENTRIES, CAPACITY, HAND, DUE, EVICTOR, CREATED, EXPIRED, EVICTED, REFUSED) = (
    8 * word for word in range(12)
)
TABLE_BYTES = 8 * 12


@kernel_function
def record_of(table, slot):
    """The address of a slot's record."""
    chunk = load_i64(load_i64(table + DIRECTORY) + 8 * (slot >> CHUNK_BITS))
    return chunk + RECORD_BYTES * (slot & CHUNK_MASK)


@kernel_function
def take_slot(table):
    """The number of a slot for a new entry."""
    free = load_i64(table + FREE_SLOT)
    if free == 0:
        slot = load_i64(table + SLOTS)
        store_64(table + SLOTS, slot + 1)
        return slot
    store_64(table + FREE_SLOT, load_i64(record_of(table, free - 1) + 8))
    return free - 1


@kernel_function
def give_back_slot(table, slot):
    """The slot of an entry that has ended."""
    record = record_of(table, slot)
    store_64(record, 0)
    store_64(record + 8, load_i64(table + FREE_SLOT))
    store_64(table + FREE_SLOT, slot + 1)


@kernel_function
def add_one(counter):
    """Count one up at an address."""
    store_64(counter, load_i64(counter) + 1)


@kernel_function
def chosen_or(chosen, otherwise):
    """The idle time that an NF has chosen for a state, or else the usual one."""
    return otherwise if chosen == 0 else chosen


@kernel_function
def end_of_idleness(last_seen, longest):
    """When a state ends that may be idle for so long: the time from which `clock - last_seen >= longest`."""
    if longest <= 0:
        return last_seen
    end = last_seen + longest
    return NEVER if end < last_seen else end


@kernel_function
def next_due(due, clock, round_ns, slots):
    """fajita.lifetime.next_due."""
    if slots == 0:
        return clock + round_ns
    return maximum(due, clock - round_ns) + maximum(divide_unsigned(round_ns, slots), 1)
