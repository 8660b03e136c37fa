"""The hash of a packed key: folded 64 x 64 -> 128 bit multiplication, keyed with secrets of the table.

wyhash's `mum` (Wang Yi, 2019): the high half of a product exclusive-or the low half. It is as fast here as two crc32
instructions, needs no particular processor, and, unlike a CRC, two keys that collide under one secret do not collide
under all of them, so that whoever writes the traffic cannot aim flows at one group of the table.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

#: Kept set in every hash, so that 0 can say "no key". Between the bits that choose the group and those of the tag.
SOME_KEY = 1 << 47


@intrinsic
def fold_multiply(typing_context: Any, left: Any, right: Any) -> Any:
    """int64: the high 64 bits of the unsigned product exclusive-or the low 64 bits."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(builder.zext(arguments[0], wide), builder.zext(arguments[1], wide))
        high = builder.trunc(builder.lshr(product, wide(64)), word)
        return builder.xor(high, builder.trunc(product, word))

    return types.int64(types.int64, types.int64), codegen


@njit
def hash_1(secret_0, secret_1, word):
    """Hash a key of one word."""
    return fold_multiply(fold_multiply(word ^ secret_0, secret_1), secret_0) | SOME_KEY


@njit
def hash_2(secret_0, secret_1, first, second):
    """Hash a key of two words."""
    return fold_multiply(fold_multiply(first ^ secret_0, second ^ secret_1), secret_0) | SOME_KEY


#: By number of words.
HASHES: dict[int, Callable[..., Any]] = {1: hash_1, 2: hash_2}
