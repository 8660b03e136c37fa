"""How unevenly RSS spreads packets over cores, with its table of indirection as it is and rewritten by load (RSS++).

    python bench/imbalance.py [--cores 8] [--flows 32,64,…,2048] [--windows 40] [--lifetime 10] [--plot FILE.png]

As in the FAJITA paper: flows that are active in a window of 100 ms, so many, and how much more than the idlest the
busiest core has. A flow lives for `lifetime` windows on average; the table is rewritten at the end of each window, by
what its buckets had in it. No core is needed for that: packets are hashed and counted, by window, core and bucket.
Throughput is bench/balance.py's. Prints one JSON object a line.
"""

import argparse
import json
import statistics
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fajita import Chain
from fajita.balance import loads, rebalanced
from fajita.benchmark import load_pyplot
from fajita.engine.sharder import Sharder
from fajita.io.flow_order import FlowOrder
from fajita.io.frames import FrameBlock
from fajita.io.synthetic import MINIMUM_SIZE, make_frames
from fajita.nfs.flow_counter import FlowCounter
from fajita.rss import INDIRECTION_ENTRIES, usual_indirection

#: In a window of 100 ms, at a million packets per second.
WINDOW_PACKETS = 100_000


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


def buckets_of(sharder: Sharder, flows: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """The bucket of each flow's packets."""
    frames = make_frames(flows, MINIMUM_SIZE, "udp")
    sizes, times = np.full(len(flows), MINIMUM_SIZE, np.uint32), np.zeros(len(flows), np.uint64)
    return sharder.buckets(FrameBlock.from_slots(frames, sizes, times))


def counts_of_windows(order: str, flows: int, windows: int, lifetime: int) -> Iterator[NDArray[np.int64]]:
    """The packets of each bucket, window by window."""
    plan = Chain([FlowCounter()]).plan
    assert plan.sharding.fields is not None
    sharder, active = Sharder(plan, plan.sharding.fields), ActiveFlows(order, flows, lifetime, seed=1)
    for _ in range(windows):
        found, packets = np.unique(active.window(WINDOW_PACKETS), return_counts=True)
        yield np.bincount(buckets_of(sharder, found), packets, INDIRECTION_ENTRIES).astype(np.int64)


def imbalance(load: list[int]) -> float:
    """By how much the busiest core has more than the idlest, in percent; without bound if that has nothing."""
    return (max(load) / min(load) - 1) * 100 if min(load) else float("inf")


def measure(order: str, flows: int, cores: int, windows: int, lifetime: int) -> dict[str, object]:
    usual = table = usual_indirection(cores)
    plain, rewritten, moved = [], [], []
    for counts in counts_of_windows(order, flows, windows, lifetime):
        plain.append(loads(counts, usual, cores))
        rewritten.append(loads(counts, table, cores))
        before, table = table, rebalanced(counts, table, cores)
        moved.append(int(np.count_nonzero(table != before)))
    # The first window has no load to go by.
    return {
        "order": order,
        "flows_per_100_ms": flows,
        "cores": cores,
        "imbalance_plain": round(statistics.median(map(imbalance, plain[1:])), 1),
        "imbalance_rewritten": round(statistics.median(map(imbalance, rewritten[1:])), 1),
        "busiest_to_mean_plain": round(statistics.median(max(load) * cores / sum(load) for load in plain[1:]), 3),
        "busiest_to_mean_rewritten": round(
            statistics.median(max(load) * cores / sum(load) for load in rewritten[1:]), 3
        ),
        "buckets_moved": statistics.mean(moved[1:]),
    }


def plot(rows: list[dict[str, object]], path: str) -> None:
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for order in dict.fromkeys(row["order"] for row in rows):
        line = [row for row in rows if row["order"] == order]
        for kind, style in (("plain", "-"), ("rewritten", "--")):
            values = [row[f"imbalance_{kind}"] for row in line]
            axes.plot([row["flows_per_100_ms"] for row in line], values, style, marker="o", label=f"{order}, {kind}")
    axes.set(
        xscale="log", yscale="log", xlabel="flows active per 100 ms", ylabel="busiest core over the idlest less 1, %"
    )
    axes.set_title(f"load imbalance, {rows[0]['cores']} cores")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=8)
    parser.add_argument("--orders", default="uniform,caida,campus")
    parser.add_argument("--flows", default="32,64,128,256,512,1024,2048,16384")
    parser.add_argument("--windows", type=int, default=40)
    parser.add_argument("--lifetime", type=int, default=10)
    parser.add_argument("--plot")
    options = parser.parse_args()
    rows = []
    for order in options.orders.split(","):
        for flows in map(int, options.flows.split(",")):
            rows.append(measure(order, flows, options.cores, options.windows, options.lifetime))
            print(json.dumps(rows[-1]), flush=True)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
