"""The integers NFs compute with: 64 bits, signed, wrapping, and never an exception."""

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from fajita.integers import AnyIntegers, integers, wrap

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


class Int64(int):
    """An int in -2**63 to 2**63 - 1. Arithmetic with it gives an Int64; comparisons are those of int."""

    __slots__ = ()

    def __new__(cls, value: int) -> "Int64":
        """Wrap a number of any size."""
        number = int(value)
        return super().__new__(cls, number if _LEAST <= number <= _MOST else wrap(number))

    def bit_length(self) -> "Int64":
        """How many bits the number without its sign has."""
        return Int64(super().bit_length())


def _floor_divide(dividend: int, divisor: int) -> int:
    return 0 if divisor == 0 else dividend // divisor


def _floor_modulo(dividend: int, divisor: int) -> int:
    return 0 if divisor == 0 else dividend % divisor


def _left_shift(value: int, count: int) -> int:
    return value << (count & 63)


def _right_shift(value: int, count: int) -> int:
    return value >> (count & 63)


_BINARY: dict[str, Callable[[int, int], int]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "pow": operator.pow,
    "floordiv": _floor_divide,
    "mod": _floor_modulo,
    "lshift": _left_shift,
    "rshift": _right_shift,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
}
_UNARY: dict[str, Callable[[int], int]] = {
    "neg": operator.neg,
    "pos": operator.pos,
    "invert": operator.invert,
    "abs": operator.abs,
}


def _define(name: str, operation: Callable[..., int]) -> None:
    """Give Int64 an operator, and its reflection for an int on the left."""
    if name in _UNARY:
        setattr(Int64, f"__{name}__", lambda value: Int64(operation(int(value))))
    else:
        setattr(Int64, f"__{name}__", lambda left, right: Int64(operation(int(left), int(right))))
        setattr(Int64, f"__r{name}__", lambda right, left: Int64(operation(int(left), int(right))))


for _name, _operation in (_BINARY | _UNARY).items():
    _define(_name, _operation)


class Int64List(Sequence[Int64]):
    """A list parameter as an NF sees it: an index outside it, also a negative one, reads 0."""

    def __init__(self, values: Iterable[int] | AnyIntegers) -> None:
        self._values = values if isinstance(values, np.ndarray) else tuple(values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, value: object) -> bool:
        return value in self._values

    def __getitem__(self, index: Any) -> Any:
        return Int64(self._values[index]) if 0 <= index < len(self._values) else Int64(0)


def int64_range(*bounds: int) -> Iterator[Int64]:
    """What an NF gets for `range`."""
    return map(Int64, range(*bounds))


def int64_length(sized: Sequence[int]) -> Int64:
    """What an NF gets for `len`."""
    return Int64(len(sized))


def to_int64(value: Any) -> Any:
    """A parameter or constant as an NF sees it: integers, lists and arrays of them, of 64 bits; anything else as is."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return Int64(value)
    if isinstance(value, list | tuple) and all(isinstance(item, int) for item in value):
        return Int64List(value)
    return value if (array := integers(value)) is None else Int64List(array)
