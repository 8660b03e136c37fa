"""The numbers that network functions compute with: 64 bits, signed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def wrap(value: int) -> int:
    """The signed 64-bit number with the same low 64 bits (two's complement)."""
    return ((value + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)


def integers(value: Any) -> NDArray[np.int64] | None:
    """An array of integers, one after the other, as NFs see it; None if it is none."""
    if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind not in "iu":
        return None
    return value.astype(np.int64, copy=False)
