"""The internet checksum, repaired after a change of what it covers as RFC 1624 (eqn. 3) says.

A one's complement sum does not depend on byte order (RFC 1071, 2B), so checksums and the words they cover are loaded as
the machine has them. A UDP checksum of 0 means none and stays; one that becomes 0 is sent as all ones (RFC 768).
"""

from typing import Any

from llvmlite import ir

from fajita.kernel.arithmetic import shift_right_unsigned
from fajita.kernel.function import kernel_function
from fajita.kernel.memory import load_u16, store_16
from fajita.kernel.operation import I1, I16, I32, I64, llvm_intrinsic, operation


@operation
def fold(builder: Any, total: Any) -> Any:
    """A one's complement sum of less than 2**32 in 16 bits: both halves added at once to each other, with the carry."""
    low = builder.trunc(total, I32)
    turned = llvm_intrinsic(builder, "llvm.fshl.i32", I32, low, low, I32(16))
    return builder.zext(builder.lshr(builder.add(low, turned), I32(16)), I64)


@kernel_function
def halves(total):
    """A sum of 64 bits as that of its halves, as the words of a one's complement sum may be grouped."""
    return (total & 0xFFFFFFFF) + shift_right_unsigned(total, 32)


@operation
def less(builder: Any, checksum: Any, change: Any) -> Any:
    """A checksum after `change`, both of 16 bits, has been added to the sum that it is the complement of.

    ~(~checksum + change), the carry added in, is checksum - change, the borrow subtracted: with the same one of the
    two zeros, and fewer instructions.
    """
    low = [builder.trunc(value, I16) for value in (checksum, change)]
    both = llvm_intrinsic(builder, "llvm.usub.with.overflow.i16", ir.LiteralStructType([I16, I1]), *low)
    difference, borrow = (builder.extract_value(both, index) for index in (0, 1))
    return builder.zext(builder.sub(difference, builder.zext(borrow, I16)), I64)


@kernel_function
def repair(address, change):
    """Add `change`, of 16 bits, to what the checksum at an address is of."""
    store_16(address, less(load_u16(address), change))


@kernel_function
def repair_udp(address, change):
    """The same for UDP."""
    checksum = load_u16(address)
    if checksum != 0:
        checksum = less(checksum, change)
        store_16(address, checksum if checksum != 0 else 0xFFFF)
