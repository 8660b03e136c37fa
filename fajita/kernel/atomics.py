"""Loads, stores and changes of memory at which several workers are at once.

Relaxed ones are whole, no more; a release store is seen only after all that was stored before it, by whoever reads it
with an acquire load.
"""

import platform
from typing import Any

from fajita.kernel.bounds import checked_address
from fajita.kernel.operation import I8, I16, I32, I64, VOID, Operation, llvm_intrinsic, operation

_INTEGERS = {8: I8, 16: I16, 32: I32, 64: I64}
#: The instruction by which a processor is told that a loop waits for another.
_PAUSE = {"x86_64": "llvm.x86.sse2.pause", "AMD64": "llvm.x86.sse2.pause"}.get(platform.machine())


def _pointer(builder: Any, address: Any, bits: int) -> Any:
    return builder.inttoptr(checked_address(builder, address, I64(bits // 8)), _INTEGERS[bits].as_pointer())


def _load(name: str, bits: int, ordering: str) -> Operation:
    """Make `load(address)`; the address is aligned to the size."""

    def emit(builder: Any, address: Any) -> Any:
        value = builder.load_atomic(_pointer(builder, address, bits), ordering, bits // 8)
        return value if bits == 64 else builder.zext(value, I64)

    return Operation(name, emit)


def _store(name: str, bits: int, ordering: str) -> Operation:
    """Make `store(address, value)`; the address is aligned to the size."""

    def emit(builder: Any, address: Any, value: Any) -> None:
        low = value if bits == 64 else builder.trunc(value, _INTEGERS[bits])
        builder.store_atomic(low, _pointer(builder, address, bits), ordering, bits // 8)

    return Operation(name, emit)


def _change(name: str, bits: int, change: str) -> Operation:
    """Make `change(address, value)`, which gives what was there before; the address is aligned to the size."""

    def emit(builder: Any, address: Any, value: Any) -> Any:
        low = value if bits == 64 else builder.trunc(value, _INTEGERS[bits])
        before = builder.atomic_rmw(change, _pointer(builder, address, bits), low, "monotonic")
        return before if bits == 64 else builder.zext(before, I64)

    return Operation(name, emit)


load_relaxed_u8, load_relaxed_u64 = (_load(f"load_relaxed_u{bits}", bits, "monotonic") for bits in (8, 64))
load_acquire_u8, load_acquire_u64 = (_load(f"load_acquire_u{bits}", bits, "acquire") for bits in (8, 64))
store_release_8, store_release_64 = (_store(f"store_release_{bits}", bits, "release") for bits in (8, 64))
add_atomic_8, add_atomic_16, add_atomic_32, add_atomic_64 = (
    _change(f"add_atomic_{bits}", bits, "add") for bits in _INTEGERS
)
#: Without sign.
max_atomic_8, max_atomic_16, max_atomic_32, max_atomic_64 = (
    _change(f"max_atomic_{bits}", bits, "umax") for bits in _INTEGERS
)
or_atomic_8, or_atomic_16, or_atomic_32, or_atomic_64 = (_change(f"or_atomic_{bits}", bits, "or") for bits in _INTEGERS)


@operation
def replace_u8(builder: Any, address: Any, expected: Any, value: Any) -> Any:
    """Put a byte where the expected one is; 1 if it was there, else 0, and nothing has changed."""
    low = (builder.trunc(number, I8) for number in (expected, value))
    done = builder.cmpxchg(_pointer(builder, address, 8), *low, "acq_rel", "acquire")
    return builder.zext(builder.extract_value(done, 1), I64)


@operation
def pause(builder: Any) -> None:
    """What a loop does that waits for another worker."""
    if _PAUSE is not None:
        llvm_intrinsic(builder, _PAUSE, VOID)


@operation
def read_anew(builder: Any) -> None:
    """The compiler takes no load that follows for one that went before."""
    builder.fence("acq_rel")


@operation
def if_equal(builder: Any, left: Any, right: Any, value: Any, otherwise: Any) -> Any:
    """One of two values, without a branch."""
    return builder.select(builder.icmp_signed("==", left, right), value, otherwise)
