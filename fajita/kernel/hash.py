"""The hash of a packed key: folded 64 x 64 -> 128 bit multiplication, keyed with secrets of the table.

wyhash's `mum` (Wang Yi, 2019): the high half of a product exclusive-or the low half. It is as fast here as two crc32
instructions, needs no particular processor, and, unlike a CRC, two keys that collide under one secret do not collide
under all of them, so that whoever writes the traffic cannot aim flows at one group of the table.
"""

from typing import Any

from fajita.kernel.function import KernelFunction, kernel_function
from fajita.kernel.operation import I64, I128, operation

#: Kept set in every hash, so that 0 can say "no key". Between the bits that choose the group and those of the tag.
SOME_KEY = 1 << 47


@operation
def fold_multiply(builder: Any, left: Any, right: Any) -> Any:
    """The high 64 bits of the unsigned product exclusive-or the low 64 bits."""
    product = builder.mul(builder.zext(left, I128), builder.zext(right, I128))
    return builder.xor(builder.trunc(builder.lshr(product, I128(64)), I64), builder.trunc(product, I64))


@kernel_function
def hash_1(secret_0, secret_1, word):
    """Hash a key of one word."""
    return fold_multiply(fold_multiply(word ^ secret_0, secret_1), secret_0) | SOME_KEY


@kernel_function
def hash_2(secret_0, secret_1, first, second):
    """Hash a key of two words."""
    return fold_multiply(fold_multiply(first ^ secret_0, second ^ secret_1), secret_0) | SOME_KEY


@kernel_function
def hash_3(secret_0, secret_1, first, second, third):
    """Hash a key of three words."""
    folded = fold_multiply(first ^ secret_0, second ^ secret_1)
    return fold_multiply(folded ^ secret_0, third ^ secret_1) | SOME_KEY


#: By number of words.
HASHES: dict[int, KernelFunction] = {1: hash_1, 2: hash_2, 3: hash_3}
