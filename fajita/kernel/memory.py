"""Loads and stores at raw addresses.

Unsigned loads of up to 32 bits are zero-extended; `load_u64` keeps the bit pattern. Addresses need no alignment. A
kernel built with `FAJITA_CHECK_BOUNDS=1` asks `bounds` before each access; otherwise nothing here checks anything.
"""

from typing import Any

from fajita.kernel.bounds import checked_address
from fajita.kernel.operation import I1, I8, I16, I32, I64, I128, VOID, Operation, llvm_intrinsic, operation

_INTEGERS = {8: I8, 16: I16, 32: I32, 64: I64, 128: I128}


def _pointer(builder: Any, address: Any, bits: int) -> Any:
    return builder.inttoptr(checked_address(builder, address, I64(bits // 8)), _INTEGERS[bits].as_pointer())


def _swap(builder: Any, value: Any, bits: int) -> Any:
    return llvm_intrinsic(builder, f"llvm.bswap.i{bits}", _INTEGERS[bits], value)


def _load(name: str, bits: int, *, signed: bool = False, big_endian: bool = False) -> Operation:
    """Make `load(address)` of `bits` bits, in network byte order if `big_endian`."""

    def emit(builder: Any, address: Any) -> Any:
        value = builder.load(_pointer(builder, address, bits))
        value.align = 1
        if big_endian:
            value = _swap(builder, value, bits)
        if bits == 64:
            return value
        return builder.sext(value, I64) if signed else builder.zext(value, I64)

    return Operation(name, emit)


def _store(name: str, bits: int, *, big_endian: bool = False) -> Operation:
    """Make `store(address, value)` of the low `bits` bits, in network byte order if `big_endian`."""

    def emit(builder: Any, address: Any, value: Any) -> None:
        low = value if bits == 64 else builder.trunc(value, _INTEGERS[bits])
        if big_endian:
            low = _swap(builder, low, bits)
        builder.store(low, _pointer(builder, address, bits)).align = 1

    return Operation(name, emit)


load_u8, load_u16, load_u32, load_u64 = (_load(f"load_u{bits}", bits) for bits in (8, 16, 32, 64))
load_i8, load_i16, load_i32, load_i64 = (_load(f"load_i{bits}", bits, signed=True) for bits in (8, 16, 32, 64))
load_be16, load_be32, load_be64 = (_load(f"load_be{bits}", bits, big_endian=True) for bits in (16, 32, 64))
store_8, store_16, store_32, store_64 = (_store(f"store_{bits}", bits) for bits in (8, 16, 32, 64))
store_be16, store_be32, store_be64 = (_store(f"store_be{bits}", bits, big_endian=True) for bits in (16, 32, 64))


@operation
def load_128(builder: Any, address: Any) -> Any:
    """16 bytes at an address aligned to 16, as one value of 128 bits for other operations."""
    value = builder.load(_pointer(builder, address, 128))
    value.align = 16
    return value


def _prefetch(name: str, *, written: bool, level: int) -> Operation:
    """Make `prefetch(address)`, which asks for a cache line into the first or second level and never faults, whatever
    the address. written: it will have to be written back."""

    def emit(builder: Any, address: Any) -> None:
        at = builder.inttoptr(address, I8.as_pointer())
        llvm_intrinsic(builder, "llvm.prefetch.p0", VOID, at, I32(int(written)), I32(4 - level), I32(1))

    return Operation(name, emit)


prefetch = _prefetch("prefetch", written=True, level=1)
#: A line that is only read.
prefetch_unchanged = _prefetch("prefetch_unchanged", written=False, level=1)
#: A line that is needed later: so it takes none of the few places in which the first level waits for memory.
prefetch_farther = _prefetch("prefetch_farther", written=False, level=2)


@operation
def no_prefetch(builder: Any, address: Any) -> None:
    """Ask for nothing: to see what asking is worth."""


@operation
def copy(builder: Any, target: Any, source: Any, size: Any) -> None:
    """Copy `size` bytes between areas that do not overlap."""
    byte = I8.as_pointer()
    to = builder.inttoptr(checked_address(builder, target, size), byte)
    from_ = builder.inttoptr(checked_address(builder, source, size), byte)
    llvm_intrinsic(builder, "llvm.memcpy.p0.p0.i64", VOID, to, from_, size, I1(0))


@operation
def clear(builder: Any, address: Any, size: Any) -> None:
    """Set `size` bytes to zero."""
    at = builder.inttoptr(checked_address(builder, address, size), I8.as_pointer())
    llvm_intrinsic(builder, "llvm.memset.p0.i64", VOID, at, I8(0), size, I1(0))
