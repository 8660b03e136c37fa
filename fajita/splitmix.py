"""The random numbers of an NF: splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).

Its state is a counter, so one that begins at 0 and a seed that is added where a number is drawn will do.
"""

from hashlib import blake2b

STEP = 0x9E3779B97F4A7C15
#: Shift and factor of the two rounds of the finalizer, and its last shift (Stafford's variant 13).
ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
LAST_SHIFT = 31

_64_BITS = (1 << 64) - 1


def seed_of(name: str) -> int:
    """The seed of the NF with this name: 64 bits."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")


class SplitMix:
    """The numbers of one NF, one after the other."""

    def __init__(self, name: str) -> None:
        self._state = seed_of(name)

    def below(self, limit: int) -> int:
        """The next number, from 0 to limit - 1; 0 if the limit is 0 or less."""
        self._state = (self._state + STEP) & _64_BITS
        mixed = self._state
        for shift, factor in ROUNDS:
            mixed = (mixed ^ mixed >> shift) * factor & _64_BITS
        mixed ^= mixed >> LAST_SHIFT
        return mixed * limit >> 64 if limit > 0 else 0
