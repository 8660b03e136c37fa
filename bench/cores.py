"""Several cores against one, in one run: `three`, and `share` with replicas and with tables that workers share.

    python bench/cores.py [--cores 2[,4…]] [--flows 65536,1048576] [--repeat 15] [--plot FILE.png]

Packets are those of `fajita bench`, each worker's in memory of its own. The engines run in turn, so that a noisy
machine disturbs them alike; a factor is the median of those of neighbouring passes, and beside it that of the fastest
passes, which a neighbour on the same machine has disturbed least. Prints one JSON object a line.
"""

import argparse
import json
import statistics
from pathlib import Path

from fajita import Chain
from fajita.benchmark import load_pyplot, make_every_flow, own_frames
from fajita.engine.workers import compiled_engine
from fajita.io.flow_order import FlowOrder
from fajita.io.synthetic import synthetic_block

FOLDER = Path(__file__).parents[1] / "chains"
#: By what is measured: the chain, and how tables are kept in which workers meet.
SETTINGS = {
    "one": ("one", None),
    "two": ("two", None),
    "three": ("three", None),
    "share, replicated": ("share", "replicated"),
    "share, shared": ("share", "shared"),
}


def compare(name: str, cores: list[int], flows: int, packets: int, repeat: int) -> list[dict[str, object]]:
    """A row for each number of cores."""
    chain, sharing = SETTINGS[name]
    block = synthetic_block(FlowOrder("uniform", flows, 1), packets, first=flows, traffic="udp")
    runs = {}
    for workers in [1, *cores]:
        plan = Chain.load(FOLDER / f"{chain}.yaml").plan_with(sharing=sharing if workers > 1 else None)
        engine = compiled_engine(plan, workers)
        make_every_flow(engine, flows)
        shards = [own_frames(shard) for shard in engine.shards_of(block)]
        runs[workers] = (engine, shards, [shard.memory.copy() for shard in shards])  # type: ignore[attr-defined]
    seconds: dict[int, list[float]] = {workers: [] for workers in runs}
    for number in range(repeat + 1):
        for workers, (engine, shards, pristine) in runs.items():
            for shard, frames in zip(shards, pristine, strict=True):
                shard.memory[:] = frames  # type: ignore[index]
            elapsed = engine.process_shards(shards)
            if number:
                seconds[workers].append(elapsed)
    return [
        {
            "chain": name,
            "flows": flows,
            "cores": workers,
            "mpps_one_core": round(packets / statistics.median(seconds[1]) / 1e6, 2),
            "mpps": round(packets / statistics.median(seconds[workers]) / 1e6, 2),
            "factor_of_fastest": round(min(seconds[1]) / min(seconds[workers]), 3),
            "factor": round(statistics.median(a / b for a, b in zip(seconds[1], seconds[workers], strict=True)), 3),
        }
        for workers in cores
    ]


def plot(rows: list[dict[str, object]], path: str) -> None:
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for key in dict.fromkeys((row["chain"], row["flows"]) for row in rows):
        line = [row for row in rows if (row["chain"], row["flows"]) == key]
        points = [(1, line[0]["mpps_one_core"]), *((row["cores"], row["mpps"]) for row in line)]
        axes.plot(*zip(*points, strict=True), marker="o", label=f"{key[0]}, {key[1]:,} flows")
    axes.set(xlabel="cores", ylabel="million packets per second")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", default="2")
    parser.add_argument("--chains", default="three;share, replicated;share, shared", help="with ; between")
    parser.add_argument("--flows", default="65536,1048576")
    parser.add_argument("--packets", type=int, default=1 << 21)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--plot")
    options = parser.parse_args()
    cores, rows = [int(part) for part in options.cores.split(",")], []
    for name in options.chains.split(";"):
        for flows in map(int, options.flows.split(",")):
            for row in compare(name, cores, flows, options.packets, options.repeat):
                rows.append(row)
                print(json.dumps(row), flush=True)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
