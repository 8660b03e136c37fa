"""How long bursts of new flows take while a table grows from empty to millions of flows: does one ever wait?

    python bench/growth.py [--chain chains/one.yaml] [--flows 4194304] [--plot FILE.png]

Every packet begins a flow. Bursts are handed to the kernel one by one, so that what is timed is the burst and what the
table does before it: moving a few groups, touching a page, allocating. Prints two JSON objects; times in microseconds.
`worker` counts only the time that the worker's thread ran, page faults included; `clock` also what other processes took
away from it. `known` has the same for as many bursts of flows that the table has by then.
"""

import argparse
import gc
import json
import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fajita import Chain
from fajita.benchmark import load_pyplot
from fajita.engine.compiled import CompiledEngine
from fajita.engine.memory import huge_pages
from fajita.io.flow_order import FlowOrder
from fajita.io.frames import FrameBlock
from fajita.io.synthetic import synthetic_block
from fajita.kernel.layout import BURST

#: Bursts whose frames are made at once, outside the timed part.
CHUNK = 1 << 12
#: More than a table takes for each flow while it grows, old half and frames included.
ENTRY_BYTES = 2048


def use_memory(size: int) -> None:
    """Take memory and give it back: the first use of it in a virtual machine makes its host find some, page by page."""
    area = huge_pages(size)
    area[:: 1 << 12] = 1


def bursts(block: FrameBlock) -> list[FrameBlock]:
    return [burst(block, at) for at in range(0, len(block), BURST)]


def burst(block: FrameBlock, at: int) -> FrameBlock:
    part = slice(at, at + BURST)
    return FrameBlock(
        block.address[part],
        block.captured[part],
        block.wire[part],
        block.time_ns[part],
        block.link[part],
        block.verdict[part],
        block.memory,
    )


def burst_times_us(engine: CompiledEngine, flows: int) -> NDArray[np.float64]:
    """Two rows: the worker's own time for each burst, and the clock's."""
    order, times = FlowOrder("roundrobin", flows, 0), []
    for first in range(0, flows, CHUNK * BURST):
        count = min(CHUNK * BURST, flows - first)
        for frames in bursts(synthetic_block(order, count, first=first, traffic="udp")):
            own, clock = time.thread_time_ns(), time.perf_counter_ns()
            engine.process(frames)
            times.append((time.thread_time_ns() - own, time.perf_counter_ns() - clock))
    return np.array(times).T / 1000


def distribution(times: NDArray[np.float64]) -> dict[str, float]:
    figures = {f"p{share:g}": round(float(np.percentile(times, share)), 1) for share in (50, 99, 99.9, 99.99)}
    return figures | {"longest": round(float(times.max()), 1), "over_500": int((times > 500).sum())}


def plot(times: NDArray[np.float64], path: str) -> None:
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(np.arange(len(times)) * BURST, times, ",", rasterized=True)
    axes.set(yscale="log", xlabel="flows in the table", ylabel="µs a burst of 16 new flows")
    axes.axhline(1000, color="red", linewidth=0.8)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chain", type=Path, default=Path(__file__).parents[1] / "chains" / "one.yaml")
    parser.add_argument("--flows", type=int, default=1 << 22)
    parser.add_argument("--plot")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    gc.disable()  # Python's own collector would stop bursts, too, and there are many objects here
    use_memory(options.flows * ENTRY_BYTES)
    engine = CompiledEngine(Chain.load(options.chain).plan)
    growing, known = (burst_times_us(engine, options.flows) for _ in range(2))
    for what, (own, clock) in (("growing", growing), ("known", known)):
        print(json.dumps({"bursts": what, "worker": distribution(own), "clock": distribution(clock)}))
    if options.plot:
        plot(growing[0], options.plot)


if __name__ == "__main__":
    main()
