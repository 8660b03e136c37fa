"""`hash_of`: a hash of integers for sketches, filters and the choice among paths, the same in every run."""

#: Constants of wyhash (Wang Yi, 2019).
START, FACTOR, LAST_FACTOR = 0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3
MAXIMUM_NUMBERS = 6

_64_BITS = (1 << 64) - 1


def fold_multiply(left: int, right: int) -> int:
    """The high 64 bits of the unsigned product exclusive-or the low 64 bits."""
    product = left * right
    return (product >> 64) ^ (product & _64_BITS)


def hash_of(*numbers: int) -> int:
    """A hash of 1 to 6 integers, of which the low 64 bits count: 0 to 2**32 - 1.

    It has no key: whoever knows it can send packets that collide.
    """
    if not 1 <= len(numbers) <= MAXIMUM_NUMBERS:
        raise TypeError(f"hash_of takes 1 to {MAXIMUM_NUMBERS} integers, not {len(numbers)}")
    folded = START
    for number in numbers:
        folded = fold_multiply(folded ^ (int(number) & _64_BITS), FACTOR)
    return fold_multiply(folded, LAST_FACTOR) >> 32
