"""Maps in the core area: from one to four integers to a number that is not negative.

A map has words of its own, then slots of so many words of a key and one of 1 + the value, 0 where a slot is free.
Collisions go to the next slot; what is removed leaves no mark, as those behind it move up. Never are all slots taken
(fajita.state_types), so a search ends. The hash is keyed: who writes the traffic cannot aim at one place.
"""

from fajita.kernel.function import KernelFunction, burst_function, kernel_function
from fajita.kernel.hash import HASHES
from fajita.kernel.memory import copy, load_i64, load_u64, store_64
from fajita.state_types import MAP_HEADER_BYTES, MAXIMUM_MAP_KEY

#: The words (int64) of a map: how many keys it has, and may have; the number of its slots less 1.
COUNT, MOST, MASK, SECRET_0, SECRET_1 = (8 * word for word in range(5))

hash_2, hash_4 = HASHES[2], HASHES[4]


def _functions(words: int) -> dict[str, KernelFunction]:
    """The functions of maps whose keys have so many words; those that it has not are given as 0."""
    value_at, slot_bytes = 8 * words, 8 * words + 8

    @kernel_function
    def home(map, first, second, third, fourth):
        """Where a search for a key begins, as the number of a slot."""
        secret_0, secret_1 = load_u64(map + SECRET_0), load_u64(map + SECRET_1)
        if words > 2:
            return hash_4(secret_0, secret_1, first, second, third, fourth) & load_i64(map + MASK)
        return hash_2(secret_0, secret_1, first, second) & load_i64(map + MASK)

    @kernel_function
    def slot_at(map, number):
        return map + MAP_HEADER_BYTES + slot_bytes * number

    @kernel_function
    def has_key(slot, first, second, third, fourth):
        same = load_i64(slot) == first
        if words > 1:
            same &= load_i64(slot + 8) == second
        if words > 2:
            same &= load_i64(slot + 16) == third
        if words > 3:
            same &= load_i64(slot + 24) == fourth
        return same

    @kernel_function
    def find(map, first, second, third, fourth):
        """The number of the key's slot, or of the free one that it would take."""
        number, mask = home(map, first, second, third, fourth), load_i64(map + MASK)
        while load_i64(slot_at(map, number) + value_at) != 0:
            if has_key(slot_at(map, number), first, second, third, fourth):
                return number
            number = (number + 1) & mask
        return number

    @burst_function
    def get(map, first, second, third, fourth):
        """The value, -1 without one."""
        return load_i64(slot_at(map, find(map, first, second, third, fourth)) + value_at) - 1

    @burst_function
    def put(map, first, second, third, fourth, value):
        """Whether the key has the value now: not if it is new to a map that is full, or the value is negative."""
        if value < 0:
            return 0
        slot = slot_at(map, find(map, first, second, third, fourth))
        if load_i64(slot + value_at) == 0:
            if load_i64(map + COUNT) == load_i64(map + MOST):
                return 0
            store_64(map + COUNT, load_i64(map + COUNT) + 1)
            store_64(slot, first)
            if words > 1:
                store_64(slot + 8, second)
            if words > 2:
                store_64(slot + 16, third)
            if words > 3:
                store_64(slot + 24, fourth)
        store_64(slot + value_at, value + 1)
        return 1

    @kernel_function
    def home_of(map, slot):
        first, second, third, fourth = load_i64(slot), 0, 0, 0
        if words > 1:
            second = load_i64(slot + 8)
        if words > 2:
            third = load_i64(slot + 16)
        if words > 3:
            fourth = load_i64(slot + 24)
        return home(map, first, second, third, fourth)

    @burst_function
    def remove(map, first, second, third, fourth):
        """Whether the key was there."""
        free, mask = find(map, first, second, third, fourth), load_i64(map + MASK)
        if load_i64(slot_at(map, free) + value_at) == 0:
            return 0
        store_64(map + COUNT, load_i64(map + COUNT) - 1)
        number = (free + 1) & mask
        while load_i64(slot_at(map, number) + value_at) != 0:
            # What began its search at the free slot or before it would no longer be found behind it.
            if (number - home_of(map, slot_at(map, number))) & mask >= (number - free) & mask:
                copy(slot_at(map, free), slot_at(map, number), slot_bytes)
                free = number
            number = (number + 1) & mask
        store_64(slot_at(map, free) + value_at, 0)
        return 1

    return {f"map_get_{words}": get, f"map_set_{words}": put, f"map_remove_{words}": remove}


#: By the name they have in generated code.
MAP_FUNCTIONS: dict[str, KernelFunction] = {
    name: function for words in range(1, MAXIMUM_MAP_KEY + 1) for name, function in _functions(words).items()
}
globals().update(MAP_FUNCTIONS)
