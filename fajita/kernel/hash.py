"""The hash of a packed key: folded 64 x 64 -> 128 bit multiplication, keyed with secrets of the table.

wyhash's `mum` (Wang Yi, 2019): the high half of a product exclusive-or the low half. It is as fast here as two crc32
instructions, needs no particular processor, and, unlike a CRC, two keys that collide under one secret do not collide
under all of them, so that whoever writes the traffic cannot aim flows at one group of the table.
"""

from typing import Any

from fajita.kernel.operation import I64, I128, Operation, operation
from fajita.key import MAXIMUM_WORDS

#: Kept set in every hash, so that 0 can say "no key". Between the bits that choose the group and those of the tag.
SOME_KEY = 1 << 47
#: What stands for the hash of a packet whose key nobody has guessed yet.
AWAITED = 1
#: A bit beside it, for the caller: which side of its table a packet's key belongs to.
SECOND_SIDE = 1 << 48


@operation
def fold_multiply(builder: Any, left: Any, right: Any) -> Any:
    """The high 64 bits of the unsigned product exclusive-or the low 64 bits."""
    product = builder.mul(builder.zext(left, I128), builder.zext(right, I128))
    return builder.xor(builder.trunc(builder.lshr(product, I128(64)), I64), builder.trunc(product, I64))


def _hash(words: int) -> Operation:
    """The operation `hash(secret_0, secret_1, word, ...)` of a key of so many words, two of them at a time."""

    def emit(builder: Any, secret_0: Any, secret_1: Any, *key: Any) -> Any:
        folded = secret_0
        for first in range(0, words, 2):
            second = builder.xor(key[first + 1], secret_1) if first + 1 < words else secret_1
            folded = fold_multiply.emit(builder, builder.xor(folded, key[first]), second)
        return builder.or_(fold_multiply.emit(builder, folded, secret_0), I64(SOME_KEY))

    return Operation(f"hash_{words}", emit)


#: By number of words.
HASHES: dict[int, Operation] = {words: _hash(words) for words in range(1, MAXIMUM_WORDS + 1)}
