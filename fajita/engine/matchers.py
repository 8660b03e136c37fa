"""The matchers of a worker: how they begin in memory, which of their streams are open, and how all are given back."""

import weakref

import numpy as np
from numpy.typing import NDArray

from fajita.hyperscan import address_of, free_streams, new_scratch
from fajita.kernel import matchers as kernel
from fajita.matcher_type import MATCHER_HEADER_BYTES, MatcherType
from fajita.state_types import MapType


class Matcher:
    """What a matcher in memory needs; with it the library's streams go."""

    def __init__(self, memory: NDArray[np.uint8], kind: MatcherType) -> None:
        """memory: all zeros."""
        self._patterns = kind.made
        block, stream = self._patterns.databases
        words = memory[:MATCHER_HEADER_BYTES].view(np.int64)
        words[kernel.MOST // 8] = kind.length
        for word, function in (
            (kernel.SCAN_STREAM, "hs_scan_stream"),
            (kernel.SCAN, "hs_scan"),
            (kernel.OPEN_STREAM, "hs_open_stream"),
            (kernel.RESET_STREAM, "hs_reset_stream"),
        ):
            words[word // 8] = address_of(function)
        words[kernel.STREAMS // 8], words[kernel.BLOCKS // 8] = stream, block
        words[kernel.SCRATCH // 8] = new_scratch(block, stream)
        weakref.finalize(self, _free, memory)


def _slots(memory: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Those of the streams that there ever were, from number 1 on."""
    known = int(memory[:MATCHER_HEADER_BYTES].view(np.int64)[kernel.KNOWN // 8])
    return memory[MATCHER_HEADER_BYTES:].view(np.int64).reshape(-1, 2)[1 : known + 1]


def _free(memory: NDArray[np.uint8]) -> None:
    scratch = int(memory[:MATCHER_HEADER_BYTES].view(np.int64)[kernel.SCRATCH // 8])
    free_streams(_slots(memory)[:, 0].tolist(), scratch)


def read_matcher(memory: NDArray[np.uint8], kind: MapType) -> dict[tuple[int, ...], int]:
    """The numbers of the streams that are open."""
    return {(int(number) + 1,): 1 for number in np.flatnonzero(_slots(memory)[:, 1] == kernel.OPEN)}
