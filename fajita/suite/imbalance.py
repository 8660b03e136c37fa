"""How unevenly RSS spreads packets over cores, with its table of indirection as it is and rewritten by load (RSS++).

As in the FAJITA paper: flows that are active in a window of 100 ms, so many, and how much more than the idlest the
busiest core has. A flow lives for `lifetime` windows on average; the table is rewritten at the end of each window, by
what its buckets had in it. No core is needed for that: packets are hashed and counted, by window, core and bucket.
"""

import math
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from fajita import Chain
from fajita.balance import loads, rebalanced
from fajita.engine.sharder import Sharder
from fajita.io.flow_order import FlowOrder
from fajita.io.frames import FrameBlock
from fajita.io.synthetic import MINIMUM_SIZE, make_frames
from fajita.nfs.flow_counter import FlowCounter
from fajita.rss import INDIRECTION_ENTRIES, usual_indirection

#: In a window of 100 ms, at a million packets per second.
WINDOW_PACKETS = 100_000


class Setting(BaseModel):
    """flows: active in a window. table: of indirection, as it is or rewritten."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flows: int = Field(512, ge=1)
    order: Literal["uniform", "roundrobin", "caida", "campus"] = "uniform"
    table: Literal["plain", "rewritten"] = "plain"
    cores: int = Field(8, ge=2, le=INDIRECTION_ENTRIES)
    windows: int = Field(40, ge=2)
    lifetime: int = Field(10, ge=1)


def measure_group(folder: Path, settings: list[Setting], progress: Callable[[], None]) -> list[dict[str, Any]]:
    """A row for each setting. folder: nothing is read."""
    rows = []
    for setting in settings:
        rows.append(_row(setting))
        progress()
    return rows


def passes(setting: Setting) -> int:
    """How often `progress` is called for it."""
    return 1


class ActiveFlows:
    """The flows of window after window: so many at a time, each replaced by a new one with the chance 1 / lifetime."""

    def __init__(self, order: str, flows: int, lifetime: int, seed: int) -> None:
        self._order, self._random = FlowOrder(order, flows, seed), np.random.default_rng(seed)
        self._flows = np.arange(flows, dtype=np.uint32)
        self._next, self._lifetime = flows, lifetime

    def window(self, packets: int) -> NDArray[np.uint32]:
        """The flow of each packet."""
        ended = self._random.random(len(self._flows)) < 1 / self._lifetime
        new = int(np.count_nonzero(ended))
        self._flows[ended] = np.arange(self._next, self._next + new)
        self._next += new
        return self._flows[self._order.take(packets)]


def _buckets_of(sharder: Sharder, flows: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """The bucket of each flow's packets."""
    frames = make_frames(flows, MINIMUM_SIZE, "udp")
    sizes, times = np.full(len(flows), MINIMUM_SIZE, np.uint32), np.zeros(len(flows), np.uint64)
    return sharder.buckets(FrameBlock.from_slots(frames, sizes, times))


def _counts_of_windows(setting: Setting) -> Iterator[NDArray[np.int64]]:
    """The packets of each bucket, window by window."""
    plan = Chain([FlowCounter()]).plan
    assert plan.sharding.fields is not None
    sharder = Sharder(plan, plan.sharding.fields)
    active = ActiveFlows(setting.order, setting.flows, setting.lifetime, seed=1)
    for _ in range(setting.windows):
        found, packets = np.unique(active.window(WINDOW_PACKETS), return_counts=True)
        yield np.bincount(_buckets_of(sharder, found), packets, INDIRECTION_ENTRIES).astype(np.int64)


def imbalance(load: list[int]) -> float:
    """By how much the busiest core has more than the idlest, in percent; without bound if that has nothing."""
    return (max(load) / min(load) - 1) * 100 if min(load) else float("inf")


def _row(setting: Setting) -> dict[str, Any]:
    table = usual_indirection(setting.cores)
    of_windows, moved = [], []
    for counts in _counts_of_windows(setting):
        of_windows.append(loads(counts, table, setting.cores))
        before = table
        if setting.table == "rewritten":
            table = rebalanced(counts, table, setting.cores)
        moved.append(int(np.count_nonzero(table != before)))
    # The first window has no load to go by.
    shares = [max(load) * setting.cores / sum(load) for load in of_windows[1:]]
    percent = statistics.median(map(imbalance, of_windows[1:]))
    return setting.model_dump() | {
        "imbalance_percent": round(percent, 1) if math.isfinite(percent) else None,
        "busiest_to_mean": round(statistics.median(shares), 3),
        "buckets_moved": round(statistics.mean(moved[1:]), 2),
    }
