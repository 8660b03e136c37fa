"""The lists that NFs index, as they lie in memory: one after the other, each with elements of one width."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.cache_line import LINE_BYTES
from fajita.integers import AnyIntegers


def as_elements(values: Sequence[int] | AnyIntegers) -> NDArray[Any]:
    """What a list has in memory: 64 bits each, or as many as an array of numpy has."""
    return values if isinstance(values, np.ndarray) else np.array(values, np.int64)


class ConstantLists:
    """Where the lists of all NFs are. bytes: of all of them."""

    def __init__(self) -> None:
        self.bytes = 0
        self._placed: list[tuple[int, Sequence[int] | AnyIntegers]] = []

    def add(self, values: Sequence[int] | AnyIntegers) -> int:
        """Give a list its place: bytes from the beginning."""
        elements = as_elements(values)
        # What spans several cache lines begins with one.
        alignment = LINE_BYTES if elements.nbytes > LINE_BYTES else 8
        offset = -(-self.bytes // alignment) * alignment
        self._placed.append((offset, values))
        self.bytes = offset + elements.nbytes
        return offset

    def write(self, area: NDArray[np.uint8]) -> None:
        """Write all of them to memory."""
        for offset, values in self._placed:
            write_elements(area, offset, values)


def write_elements(area: NDArray[np.uint8], offset: int, values: Sequence[int] | AnyIntegers) -> None:
    """Write a list to its place."""
    elements = as_elements(values)
    area[offset : offset + elements.nbytes].view(elements.dtype)[:] = elements
