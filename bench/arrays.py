"""Four NFs with state in arrays of their own, with elements prefetched against without, in one run.

    python bench/arrays.py [--flows 1024,65536,1048576] [--repeat 9]

Each NF numbers the flows and keeps what it knows of them under their numbers in arrays of the worker: a line of 64
bytes a flow and NF, none of them in the flow's entry. Both kernels run on the same frames in turn, so that a noisy
machine disturbs them alike; time is that of the thread; the ratio is the median of the ratios of neighbouring passes.
Prints one JSON object a line.
"""

import argparse
import json
import os
import statistics
import time
from typing import Any

import numpy as np

from fajita import NF, PASS, Array, Chain, Packet, five_tuple, u32, u64
from fajita.engine.compiled import CompiledEngine
from fajita.io.flow_order import FlowOrder
from fajita.io.frames import FrameBlock
from fajita.io.synthetic import DEFAULT_GAP_NS, synthetic_block
from fajita.tuning import Tuning

CHUNK = 1 << 16


class Numbering(NF):
    """Gives every flow a number; `words` of its line belong to each flow."""

    key = five_tuple

    class Params:
        flows: int

    class State:
        number: u32

    class Core:
        given: u32
        lines: Array[u64, "words"]  # noqa: F821

    def prepare(self) -> None:
        self.words = 8 * self.flows

    def new_flow(self, pkt: Packet, state: Any) -> None:
        state.number = self.core.given
        self.core.given += 1

    def packet(self, pkt: Packet, state: Any) -> int:
        return PASS


class Volume(Numbering):
    """Packets and bytes."""

    def packet(self, pkt: Packet, state: Any) -> int:
        at = 8 * state.number
        self.core.lines[at] += 1
        self.core.lines[at + 1] += pkt.length
        return PASS


class Gaps(Numbering):
    """The time of the last packet, and the sum and the largest of the gaps between packets."""

    def packet(self, pkt: Packet, state: Any) -> int:
        at = 8 * state.number
        gap = pkt.time_ns - self.core.lines[at]
        self.core.lines[at] = pkt.time_ns
        self.core.lines[at + 1] += gap
        self.core.lines[at + 2] = max(self.core.lines[at + 2], gap)
        return PASS


class Bucket(Numbering):
    """A token bucket: bytes that may go, and when that was."""

    def packet(self, pkt: Packet, state: Any) -> int:
        at = 8 * state.number
        tokens = min(self.core.lines[at] + ((pkt.time_ns - self.core.lines[at + 1]) >> 3), 1_000_000)
        self.core.lines[at + 1] = pkt.time_ns
        if tokens < pkt.length:
            return pkt.drop("over rate")
        self.core.lines[at] = tokens - pkt.length
        return PASS


class Average(Numbering):
    """A moving average of packet sizes, in 1/256 bytes, and the last time to live."""

    def packet(self, pkt: Packet, state: Any) -> int:
        at = 8 * state.number
        before = self.core.lines[at]
        self.core.lines[at] = before + ((pkt.length << 8) - before >> 4)
        self.core.lines[at + 1] = pkt.ttl
        return PASS


def engine_for(flows: int, tuning: Tuning) -> CompiledEngine:
    """An engine that knows all the flows."""
    chain = Chain([nf_class(flows=flows) for nf_class in (Volume, Gaps, Bucket, Average)], name="arrays")
    engine = CompiledEngine(chain.plan_with(tuning))
    order = FlowOrder("roundrobin", flows, 0)
    for first in range(0, flows, CHUNK):
        engine.process(synthetic_block(order, min(CHUNK, flows - first), first=first, traffic="udp"))
    return engine


def mpps(engine: CompiledEngine, block: FrameBlock) -> float:
    start = time.thread_time()  # of this thread alone: others may want the core, too
    engine.process(block)
    return len(block) / (time.thread_time() - start) / 1e6


def compare(flows: int, packets: int, repeat: int) -> dict[str, object]:
    engines = {name: engine_for(flows, Tuning(prefetch=name == "prefetch")) for name in ("prefetch", "none")}
    block = synthetic_block(FlowOrder("uniform", flows, 1), packets, first=flows, traffic="udp")
    figures: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(repeat + 1):
        for name in list(engines)[:: 1 if number % 2 else -1]:
            figure = mpps(engines[name], block)
            if number:  # the first pass warms the caches up
                figures[name].append(figure)
        block.time_ns += np.uint64(packets * DEFAULT_GAP_NS)
    medians = {name: round(statistics.median(values), 2) for name, values in figures.items()}
    ratios = [with_it / without for with_it, without in zip(*figures.values(), strict=True)]
    return {"flows": flows, "packets": packets, **medians, "prefetch/none": round(statistics.median(ratios), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", default="1024,65536,1048576")
    parser.add_argument("--packets", type=int, default=1 << 21)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for flows in map(int, options.flows.split(",")):
        print(json.dumps(compare(flows, options.packets, options.repeat)), flush=True)


if __name__ == "__main__":
    main()
