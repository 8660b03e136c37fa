"""The maps of a worker: how they begin in memory, and what they hold."""

import numpy as np
from numpy.typing import NDArray

from fajita.engine.side import secret
from fajita.kernel import maps as kernel
from fajita.state_types import MAP_HEADER_BYTES, MapType


def begin_map(memory: NDArray[np.uint8], kind: MapType) -> None:
    """Make an empty map of memory that is all zeros."""
    words = memory[:MAP_HEADER_BYTES].view(np.int64)
    words[kernel.MOST // 8], words[kernel.MASK // 8] = kind.length, kind.slots - 1
    words[kernel.SECRET_0 // 8], words[kernel.SECRET_1 // 8] = secret(), secret()


def read_map(memory: NDArray[np.uint8], kind: MapType) -> dict[tuple[int, ...], int]:
    """Its keys, in their order, with their values."""
    slots = memory[MAP_HEADER_BYTES : kind.bytes].view(np.int64).reshape(kind.slots, kind.words + 1)
    taken = slots[slots[:, -1] != 0]
    *keys, values = taken[np.lexsort(taken[:, -2::-1].T)].T
    return dict(zip(zip(*(key.tolist() for key in keys), strict=True), (values - 1).tolist(), strict=True))
