"""What bare memory allows a chain: its packets, and of each table the lines of an entry that every packet needs.

Arrays, of which a packet needs some element, are not counted: a chain with them is further from its roof than it seems.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.cache_line import LINE_BYTES
from fajita.engine.memory import huge_pages
from fajita.kernel.bounds import allow_only
from fajita.kernel.cache import load_kernel
from fajita.kernel.roof import AHEAD, generate_roof
from fajita.plan import Plan


def lines_per_packet(plan: Plan) -> list[int]:
    """Of each table the cache lines of an IPv4 entry with its key and all that is no array."""
    sides = [(table, table.side_of(4)) for table in plan.tables]
    return [side.lines_up_to(side.key_bytes + table.scalar_bytes) for table, side in sides if side is not None]


class Roof:
    """A pass over frames in slots and over entries of so many tables. entries, lines: of each table."""

    def __init__(self, slots: NDArray[np.uint8], entries: Sequence[int], lines: Sequence[int]) -> None:
        self._run = load_kernel(generate_roof(lines))
        places = np.zeros(max(1, AHEAD * len(lines)), np.int64)
        areas = [huge_pages(max(1, count) * each * LINE_BYTES) for count, each in zip(entries, lines, strict=True)]
        for area in areas:
            area[:] = 0  # a line that was never written is the same zero page for all
        words = [slots.ctypes.data, len(slots), slots.shape[1], places.ctypes.data]
        for area, count in zip(areas, entries, strict=True):
            words += [area.ctypes.data, max(1, count)]
        self._context = np.array(words, np.int64)
        self._memory: list[NDArray[Any]] = [slots, places, *areas, self._context]

    def seconds(self) -> float:
        """The time of one pass."""
        allow_only(self._memory)
        start = time.perf_counter()
        self._run(self._context.ctypes.data)
        return time.perf_counter() - start
