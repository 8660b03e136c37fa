"""What an NF gets for an array of its state or core in the interpreted engine."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.reference.integer import Int64
from fajita.state_types import ArrayType, StateType


def new_array(kind: ArrayType, begin: int = 0) -> NDArray[Any]:
    """An array, all of whose elements are what they begin as."""
    dtype, shape = kind.dtype
    return np.full(shape, begin, dtype)


def cut(value: int, kind: StateType) -> int:
    """What a field of this type keeps of a value: the low bits that fit."""
    bits = 8 * kind.bytes
    low = int(value) & ((1 << bits) - 1)
    return low - (1 << bits) if kind.signed and low >> (bits - 1) else low


class ElementView(Sequence[Any]):
    """An array: an index outside it, also a negative one, reads 0 or False; writing there does nothing."""

    def __init__(self, values: NDArray[Any], element: StateType) -> None:
        self._values, self._element = values, element

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        kept = int(self._values[index]) if 0 <= index < len(self._values) else 0
        return kept != 0 if self._element.shown == "bool" else Int64(kept)

    def __setitem__(self, index: int, value: int) -> None:
        if 0 <= index < len(self._values):
            self._values[index] = cut(value, self._element)
