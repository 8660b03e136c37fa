"""Operations on what several packets have in columns, in one go: LLVM makes the widest instructions of it there are."""

from typing import Any

from llvmlite import ir

from fajita.kernel.bounds import checked_address
from fajita.kernel.function import kernel_function
from fajita.kernel.memory import load_u32
from fajita.kernel.operation import I32, I64, llvm_intrinsic, operation

#: Words that are summed at once.
_SUMMED = 16


def load_vector(builder: Any, address: Any, kind: Any, lanes: int) -> Any:
    """So many integers that lie one after the other; the address needs no alignment."""
    vector = ir.VectorType(kind, lanes)
    at = checked_address(builder, address, I64(kind.width // 8 * lanes))
    value = builder.load(builder.inttoptr(at, vector.as_pointer()))
    value.align = 1
    return value


def store_vector(builder: Any, value: Any, address: Any) -> None:
    """The same for a store."""
    at = checked_address(builder, address, I64(value.type.element.width // 8 * value.type.count))
    builder.store(value, builder.inttoptr(at, value.type.as_pointer())).align = 1


def every(kind: Any, lanes: int, value: int) -> Any:
    """A constant in all lanes."""
    return ir.Constant(ir.VectorType(kind, lanes), [value] * lanes)


def lanes_of(builder: Any, one: Any, other: Any, numbers: list[int]) -> Any:
    """Lanes of two vectors, those of the second counted on from those of the first."""
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(I32, len(numbers)), numbers))


@operation
def sum_of_16(builder: Any, address: Any) -> Any:
    """The sum of 16 unsigned words of 32 bits."""
    words = load_vector(builder, address, I32, _SUMMED)
    wide = builder.zext(words, ir.VectorType(I64, _SUMMED))
    return llvm_intrinsic(builder, f"llvm.vector.reduce.add.v{_SUMMED}i64", I64, wide)


@kernel_function
def sum_u32(address, count):
    """The sum of a column of unsigned words of 32 bits."""
    total, end = 0, address + 4 * count
    while address + 4 * _SUMMED <= end:
        total += sum_of_16(address)
        address += 4 * _SUMMED
    while address < end:
        total += load_u32(address)
        address += 4
    return total
