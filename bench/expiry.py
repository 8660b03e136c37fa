"""What it costs that flows end: the chain `three` with a timeout against the same without, flows coming and going.

    python bench/expiry.py [--flows 1048576] [--turnover 0.05] [--timeout 10] [--blocks 30]

A window of so many live flows moves on: each second of packet time that share of them ends and as many begin. Packets
are 100 ns apart, of live flows drawn uniformly. Both chains run on the same frames in turn, block by block; what is
timed begins when the first flows have timed out. Prints one JSON object: million packets per second, their ratio,
entries.
"""

import argparse
import json
import os
import statistics
import time

import numpy as np

from fajita import NF, Chain
from fajita.engine.compiled import CompiledEngine
from fajita.io.frames import FrameBlock
from fajita.io.synthetic import MINIMUM_SIZE, make_frames, packet_times
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.rate_limiter import RateLimiter

GAP_NS, PACKETS = 100, 1 << 20


def chain(timeout: str | None) -> Chain:
    nfs: list[NF] = [
        FlowCounter(),
        LoadBalancer(servers=["10.0.0.1", "10.0.0.2"]),
        RateLimiter(rate="1Gbps", burst="64kB"),
    ]
    return Chain(nfs, timeout=timeout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", type=int, default=1 << 20)
    parser.add_argument("--turnover", type=float, default=0.05)
    parser.add_argument("--timeout", type=int, default=10, help="seconds")
    parser.add_argument("--blocks", type=int, default=30)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    engines = {
        "ends": CompiledEngine(chain(f"{options.timeout}s").plan),
        "stays": CompiledEngine(chain(None).plan),
    }
    times: dict[str, list[float]] = {name: [] for name in engines}
    random = np.random.default_rng(1)
    warm_up = round(1.6 * options.timeout * 1e9 / GAP_NS / PACKETS)
    for number in range(warm_up + options.blocks):
        first = number * PACKETS
        begun = options.flows * options.turnover * first * GAP_NS / 1e9
        flows = (int(begun) + random.integers(0, options.flows, PACKETS)).astype(np.uint32)
        pristine = make_frames(flows, traffic="udp")
        slots = pristine.copy()
        for name, engine in engines.items() if number % 2 else reversed(engines.items()):
            slots[:] = pristine
            lengths = np.full(PACKETS, MINIMUM_SIZE, np.uint32)
            block = FrameBlock.from_slots(slots, lengths, packet_times(first, PACKETS, GAP_NS))
            start = time.perf_counter()
            engine.process(block)
            if number >= warm_up:
                times[name].append(time.perf_counter() - start)
    rates = {name: round(PACKETS / statistics.median(taken) / 1e6, 2) for name, taken in times.items()}
    ratio = statistics.median(b / a for a, b in zip(times["ends"], times["stays"], strict=True))
    entries = {name: engine.counters().tables[0].active for name, engine in engines.items()}
    expired = engines["ends"].counters().tables[0].expired
    print(json.dumps({"mpps": rates, "ratio": round(ratio, 3), "entries": entries, "expired": expired}))


if __name__ == "__main__":
    main()
