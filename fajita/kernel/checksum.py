"""The internet checksum, repaired after a change of what it covers as RFC 1624 (eqn. 3) says.

A one's complement sum does not depend on byte order (RFC 1071, 2B), so checksums and the words they cover are loaded as
the machine has them. A UDP checksum of 0 means none and stays; one that becomes 0 is sent as all ones (RFC 768).
"""

from typing import Any

from fajita.kernel.arithmetic import shift_right_unsigned
from fajita.kernel.function import kernel_function
from fajita.kernel.memory import load_u16, store_16
from fajita.kernel.operation import I32, I64, llvm_intrinsic, operation


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


@kernel_function
def repair(address, change):
    """Add `change` to the checksum at an address."""
    store_16(address, fold((load_u16(address) ^ 0xFFFF) + change) ^ 0xFFFF)


@kernel_function
def repair_udp(address, change):
    """The same for UDP."""
    if load_u16(address) != 0:
        repair(address, change)
        if load_u16(address) == 0:
            store_16(address, 0xFFFF)
