"""What it is worth to rewrite RSS's table of indirection by load (RSS++): throughput of heavy chains, with and without.

    python bench/balance.py [--cores 2] [--orders uniform,caida,campus] [--flows 32,64,…] [--plot FILE.png]

Traffic is that of the suite imbalance, window by window. Of each window a worker has its packets in memory of its own,
as a NIC's queue would have them; then all run, and what is timed is from when the first begins to when the last is
done, and for the rewriting also the rewriting, with moving the state of the flows that change their worker. Both take
the same windows in turn; rates are of the median window. Chains: flow_counter → 64 rounds of arithmetic a packet;
flow_counter → four lines anywhere in 64 MB per worker. Prints one JSON object a line.
"""

import argparse
import json
import statistics
import time

import numpy as np
from heavy import CpuHeavy, MemoryHeavy

from fajita import Chain
from fajita.benchmark import load_pyplot, own_frames
from fajita.engine.parallel import ParallelEngine
from fajita.io.frames import FrameBlock
from fajita.io.synthetic import MINIMUM_SIZE, make_frames, packet_times
from fajita.nfs.flow_counter import FlowCounter
from fajita.suite.imbalance import ActiveFlows

CHAINS = {
    "cpu-heavy": Chain([FlowCounter(), CpuHeavy(rounds=64)]),
    "memory-heavy": Chain([FlowCounter(), MemoryHeavy(lines=4)]),
}
WINDOW_NS = 100_000_000
#: The rewriting has to see some windows before it can be as good as it gets, and caches fill.
WARM_UP = 3


def run(engine: ParallelEngine, block: FrameBlock) -> float:
    """The seconds that the workers take for a window, and the rewriting after it."""
    elapsed = engine.process_shards([own_frames(shard) for shard in engine.shards_of(block)])
    if engine.balancing is not None:
        start = time.perf_counter()
        engine.rebalance()
        elapsed += time.perf_counter() - start
    return elapsed


def compare(
    name: str, order: str, flows: int, cores: int, packets: int, windows: int, lifetime: int
) -> dict[str, object]:
    plan = CHAINS[name].plan
    engines = [ParallelEngine(plan, cores), ParallelEngine(plan, cores, balance_ns=WINDOW_NS)]
    active, seconds = ActiveFlows(order, flows, lifetime, seed=1), []
    gap_ns = WINDOW_NS // packets
    for window in range(windows + WARM_UP):
        slots = make_frames(active.window(packets), MINIMUM_SIZE, "udp")
        times = packet_times(window * packets, packets, gap_ns)
        block = FrameBlock.from_slots(slots, np.full(packets, MINIMUM_SIZE, np.uint32), times)
        seconds.append([run(engine, block) for engine in engines])
    timed = np.array(seconds[WARM_UP:])
    plain, rewritten = (packets / np.median(timed, axis=0) / 1e6).tolist()
    balance = engines[1].balance()
    assert balance is not None
    return {
        "chain": name,
        "order": order,
        "flows_per_100_ms": flows,
        "cores": cores,
        "mpps_plain": round(plain, 2),
        "mpps_rewritten": round(rewritten, 2),
        "factor": round(statistics.median((timed[:, 0] / timed[:, 1]).tolist()), 3),
        "buckets_moved": round(balance["buckets_moved"] / (windows + WARM_UP), 2),
    }


def plot(rows: list[dict[str, object]], path: str) -> None:
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for key in dict.fromkeys((row["chain"], row["order"]) for row in rows):
        line = [row for row in rows if (row["chain"], row["order"]) == key]
        axes.plot(
            [row["flows_per_100_ms"] for row in line],
            [row["factor"] for row in line],
            marker="o",
            label=", ".join(map(str, key)),
        )
    axes.axhline(1, color="grey", linewidth=1)
    axes.set(xscale="log", xlabel="flows active per 100 ms", ylabel="speed with the table rewritten, against plain RSS")
    axes.set_title(f"rewriting the table of indirection, {rows[0]['cores']} cores")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--chains", default=",".join(CHAINS))
    parser.add_argument("--orders", default="uniform,caida,campus")
    parser.add_argument("--flows", default="8,32,128,512,2048")
    parser.add_argument("--packets", type=int, default=500_000, help="of a window")
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--lifetime", type=int, default=10)
    parser.add_argument("--plot")
    options = parser.parse_args()
    rows = []
    for name in options.chains.split(","):
        for order in options.orders.split(","):
            for flows in map(int, options.flows.split(",")):
                rows.append(
                    compare(name, order, flows, options.cores, options.packets, options.windows, options.lifetime)
                )
                print(json.dumps(rows[-1]), flush=True)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
