"""Loads and stores at raw addresses, for code that numba compiles.

Every value is a signed 64-bit integer: numba turns `uint64 + 1` into a float, so no unsigned type appears
in compiled code. Unsigned loads of up to 32 bits are zero-extended; `load_u64` keeps the bit pattern.
Addresses need no alignment. Nothing here checks a bound: `checked_memory` has the same names with checks.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, register_model

_I64 = ir.IntType(64)


class Vector16(types.Type):
    """16 bytes in one register."""

    def __init__(self) -> None:
        super().__init__("Vector16")


VECTOR16 = Vector16()


@register_model(Vector16)
class _Vector16Model(PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.IntType(128))


def _pointer(builder: Any, address: Any, bits: int) -> Any:
    return builder.inttoptr(address, ir.IntType(bits).as_pointer())


def _swap(builder: Any, value: Any, bits: int) -> Any:
    kind = ir.IntType(bits)
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), f"llvm.bswap.i{bits}")
    return builder.call(function, [value])


def make_load(bits: int, *, signed: bool = False, big_endian: bool = False) -> Callable[..., Any]:
    """Build an intrinsic `load(address) -> int64` that reads `bits` bits, in network byte order if `big_endian`."""

    @intrinsic
    def load(typing_context: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = builder.load(_pointer(builder, arguments[0], bits))
            value.align = 1
            if big_endian and bits > 8:
                value = _swap(builder, value, bits)
            if bits == 64:
                return value
            return builder.sext(value, _I64) if signed else builder.zext(value, _I64)

        return types.int64(types.int64), codegen

    return load


def make_store(bits: int, *, big_endian: bool = False) -> Callable[..., Any]:
    """Build an intrinsic `store(address, value)` that writes the low `bits` bits, in network order if `big_endian`."""

    @intrinsic
    def store(typing_context: Any, address: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            low = arguments[1] if bits == 64 else builder.trunc(arguments[1], ir.IntType(bits))
            if big_endian and bits > 8:
                low = _swap(builder, low, bits)
            done = builder.store(low, _pointer(builder, arguments[0], bits))
            done.align = 1
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    return store


load_u8, load_u16, load_u32, load_u64 = (make_load(bits) for bits in (8, 16, 32, 64))
load_i8, load_i16, load_i32 = (make_load(bits, signed=True) for bits in (8, 16, 32))
load_i64 = load_u64
load_be16, load_be32, load_be64 = (make_load(bits, big_endian=True) for bits in (16, 32, 64))
store_8, store_16, store_32, store_64 = (make_store(bits) for bits in (8, 16, 32, 64))
store_be16, store_be32, store_be64 = (make_store(bits, big_endian=True) for bits in (16, 32, 64))


@intrinsic
def load_vector16(typing_context: Any, address: Any) -> Any:
    """Read 16 bytes, aligned to 16, as one 128-bit number."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = builder.load(_pointer(builder, arguments[0], 128))
        value.align = 16
        return value

    return VECTOR16(types.int64), codegen


@intrinsic
def prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for the cache line at an address, to be written; never faults."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32]), "llvm.prefetch.p0"
        )
        builder.call(function, [builder.inttoptr(arguments[0], byte), i32(1), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def shift_right(typing_context: Any, value: Any, count: Any) -> Any:
    """Shift the 64-bit pattern of `value` right by `count` (0 to 63), filling with zeros."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.lshr(arguments[0], arguments[1])

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def copy(typing_context: Any, target: Any, source: Any, size: Any) -> Any:
    """Copy `size` bytes between areas that do not overlap."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        cgutils.raw_memcpy(
            builder, _pointer(builder, arguments[0], 8), _pointer(builder, arguments[1], 8), arguments[2], 1, align=1
        )
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def clear(typing_context: Any, address: Any, size: Any) -> Any:
    """Set `size` bytes at an address to zero."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        cgutils.memset(builder, _pointer(builder, arguments[0], 8), arguments[1], 0)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen
