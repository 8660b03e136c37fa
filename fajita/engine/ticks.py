"""Where blocks are cut, so that all workers stand still when a table that they share comes to a tick."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fajita.io.frames import FrameBlock
from fajita.plan import Plan, TablePlan

Part = tuple[FrameBlock, NDArray[np.int64], list[TablePlan]]


def parts_between_ticks(plan: Plan, block: FrameBlock, clocks_ns: NDArray[np.int64], before_ns: int) -> Iterator[Part]:
    """The block in parts, each with its clocks and the tables that come to a tick (fajita.lifetime) with its first
    packet. before_ns: the clock before the block."""
    tables = [table for table in plan.tables if table.ends_at_ticks]
    if not tables or not len(block):
        yield block, clocks_ns, []
        return
    ticks = np.concatenate([[before_ns], clocks_ns])[:, None] // np.array([table.round_ns for table in tables])
    is_tick = ticks[1:] != ticks[:-1]
    starts = np.union1d([0], np.flatnonzero(is_tick.any(axis=1)))
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(block)], strict=True):
        ticking = [table for table, ticks_now in zip(tables, is_tick[start], strict=True) if ticks_now]
        yield block.part(start, stop), clocks_ns[start:stop], ticking
