"""One flow, two cores: packets sprayed over them, each keeping all state, against RSS, which gives all to one core.

    python bench/spraying.py [--rounds 0,1,2,4,8,16,32,64,128] [--cores 2] [--repeat 9] [--plot FILE.png]

The chain is flow_counter → rate_limiter → an NF without state that does so many rounds of arithmetic a packet; first
without that NF. Both kernels run on the same frames in turn, so that a noisy machine disturbs them alike; a ratio is
the median of those of neighbouring passes. State-compute replication: Xu et al., NSDI 2025. Prints one JSON object a
line.
"""

import argparse
import json
import statistics

from heavy import CpuHeavy

from fajita import Chain
from fajita.benchmark import load_pyplot, own_frames
from fajita.engine.workers import AnyCompiledEngine, compiled_engine
from fajita.io.flow_order import FlowOrder
from fajita.io.frames import FrameBlock
from fajita.io.synthetic import synthetic_block
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.rate_limiter import RateLimiter
from fajita.tuning import Tuning


def compare(rounds: int | None, cores: int, packets: int, repeat: int) -> dict[str, float | None]:
    """What a packet costs with RSS, what the last NF of that, and how many times as fast spraying is."""
    limiter = RateLimiter(rate="1Tbps", burst="1GB")
    bare = Chain([FlowCounter(), limiter])
    worked = bare if rounds is None else Chain([FlowCounter(), limiter, CpuHeavy(rounds=rounds)])
    engines: dict[str, AnyCompiledEngine] = {
        "bare": compiled_engine(bare.plan, 1),
        "rss": compiled_engine(worked.plan, cores),
        "sprayed": compiled_engine(worked.plan_with(Tuning(sprays=True)), cores),
    }
    block = synthetic_block(FlowOrder("uniform", 1, 1), packets, traffic="udp")
    shards: dict[str, list[FrameBlock]] = {
        name: [own_frames(shard) for shard in engine.shards_of(block)] for name, engine in engines.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(repeat + 1):
        for name, engine in engines.items():
            elapsed = engine.process_shards(shards[name])
            if number:
                seconds[name].append(elapsed)
    ns = {name: statistics.median(each) / packets * 1e9 for name, each in seconds.items()}
    factors = [one / other for one, other in zip(seconds["rss"], seconds["sprayed"], strict=True)]
    return {
        "rounds": rounds,
        "cores": cores,
        "ns_with_rss": round(ns["rss"], 2),
        "ns_of_the_nf": round(ns["rss"] - ns["bare"], 2),
        "ns_sprayed": round(ns["sprayed"], 2),
        "factor": round(statistics.median(factors), 3),
    }


def plot(rows: list[dict[str, float | None]], path: str) -> None:
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    axes.plot([row["ns_of_the_nf"] for row in rows], [row["factor"] for row in rows], marker="o")
    axes.axhline(1, color="grey", linewidth=1)
    axes.set(xlabel="cost of the NF without state, ns a packet", ylabel=f"speed against RSS, {rows[0]['cores']} cores")
    axes.set_title("one flow: flow_counter → rate_limiter → NF, packets sprayed")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", default="0,1,2,4,8,16,32,64,128")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--packets", type=int, default=1 << 20)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--plot")
    options = parser.parse_args()
    rows = []
    for rounds in [None, *map(int, options.rounds.split(","))]:
        rows.append(compare(rounds, options.cores, options.packets, options.repeat))
        print(json.dumps(rows[-1]), flush=True)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
