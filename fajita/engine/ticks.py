"""Where blocks are cut, so that all workers stand still for what is done now and then in the time of the packets."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fajita.io.frames import FrameBlock

#: Some frames, the clock at each, and for each period whether it comes to a tick with the first of them.
Part = tuple[FrameBlock, NDArray[np.int64], Sequence[bool]]


def parts_between_ticks(
    periods_ns: Sequence[int], block: FrameBlock, clocks_ns: NDArray[np.int64], before_ns: int
) -> Iterator[Part]:
    """The block in parts: a new one begins with each packet with which the clock comes to a tick, a multiple of some
    period (fajita.lifetime.tick_of). clocks_ns: the clock at each packet; before_ns: before the block."""
    if not periods_ns or not len(block):
        yield block, clocks_ns, [False] * len(periods_ns)
        return
    ticks = np.concatenate([[before_ns], clocks_ns])[:, None] // np.array(periods_ns)
    is_tick = ticks[1:] != ticks[:-1]
    starts = np.union1d([0], np.flatnonzero(is_tick.any(axis=1))).tolist()
    for start, stop in zip(starts, [*starts[1:], len(block)], strict=True):
        yield block.part(start, stop), clocks_ns[start:stop], is_tick[start].tolist()
