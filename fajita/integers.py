"""The numbers that network functions compute with: 64 bits, signed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def wrap(value: int) -> int:
    """The signed 64-bit number with the same low 64 bits (two's complement)."""
    return ((value + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)


#: An array of integers of one width.
AnyIntegers = NDArray[np.integer[Any]]


def integers(value: Any) -> AnyIntegers | None:
    """An array of integers, one after the other, as NFs see it; None if it is none. A narrow one stays so."""
    if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind not in "iu":
        return None
    kept = np.dtype(np.int64) if value.dtype.itemsize == 8 else value.dtype.newbyteorder("=")
    return value.astype(kept, copy=False)
