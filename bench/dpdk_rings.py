"""What it costs to run live where the device costs next to nothing: ports of net_ring, in which frames go round.

    python bench/dpdk_rings.py [--chain chains/three.yaml] [--flows 65536] [--repeat 9] [--eal "--no-huge --no-pci -m 512"]

A port sends into the ring that it receives from, which holds a frame of each flow, in an order drawn at random: so each
comes again once all others have been there. `in memory` is the chain over the same frames in the same order, again and
again. The frames are those that the chain has made of the usual ones, and it has to leave them as they are. Passes in
turn, timed by the processor time of the worker's thread.

With `--cores 2` there are two workers besides, by the clock on the wall: `spread` has a ring for each, so that frames are
handed over once and then come to the right worker; of `handed over` all frames are in one ring, and one worker receives
and hands over what is the other's. Prints one JSON object.
"""

import argparse
import ctypes
import json
import os
import statistics
import time
from ctypes.util import find_library
from typing import Any

import numpy as np
from dpdk import LIVE_SECONDS, PACKETS, TimedQueue, live_pass, play_frames
from numpy.typing import NDArray

from fajita import Chain
from fajita.dpdk.environment import begin_environment
from fajita.dpdk.library import library
from fajita.dpdk.port import Port
from fajita.dpdk.queue import Lane, WorkerQueue
from fajita.dpdk.session import Session
from fajita.engine.compiled import CompiledEngine
from fajita.engine.live import LiveWorkers
from fajita.engine.workers import AnyCompiledEngine, live_engine
from fajita.io.frames import FrameBlock
from fajita.nfs.flow_counter import FlowCounter
from fajita.io.synthetic import MINIMUM_SIZE, make_frames, packet_times
from fajita.plan import Plan

SPREAD, HANDED_OVER = "two workers, spread", "two workers, handed over"


def block_of(slots: NDArray[np.uint8], times: NDArray[np.uint64], repeats: int = 1) -> FrameBlock:
    """The frames, again and again."""
    block = FrameBlock.from_slots(slots, np.full(len(slots), MINIMUM_SIZE), times[: len(slots)])
    columns = [np.tile(getattr(block, name), repeats) for name in ("address", "captured", "wire", "link", "verdict")]
    address, captured, wire, link, verdict = columns
    return FrameBlock(address, captured, wire, times, link, verdict, memory=slots)


def now(count: int) -> NDArray[np.uint64]:
    return np.full(count, time.time_ns(), np.uint64)


def settled_frames(plan: Plan, flows: int, cores: int) -> NDArray[np.uint8]:
    """A frame of each flow in an order drawn at random, as the chain leaves it, and leaves it again."""
    slots = make_frames(np.random.default_rng(1).permutation(flows).astype(np.uint32), traffic="udp")
    live_engine(plan, cores).process(block_of(slots, now(flows)))
    return slots


def engine_with_flows(plan: Plan, slots: NDArray[np.uint8], cores: int) -> Any:
    """An engine to which no frame is new; SystemExit if the chain does not leave them as they are."""
    engine, frames = live_engine(plan, cores), slots.copy()
    block = block_of(frames, now(len(slots)))
    engine.process(block)
    if (block.verdict != 1).any() or (frames != slots).any():
        raise SystemExit(f"{plan.name} drops frames, or rewrites them otherwise when they come again")
    return engine


class InMemory:
    """The chain over the frames where they lie, in huge pages."""

    def __init__(self, plan: Plan, flows: int) -> None:
        slots = settled_frames(plan, flows, 1)
        self._engine: AnyCompiledEngine = CompiledEngine(plan)
        self._engine.process(block_of(slots, packet_times(0, flows, 100)))
        repeats = max(1, PACKETS // flows)
        self._block = block_of(slots, packet_times(flows, flows * repeats, 100), repeats)

    def pass_ns(self) -> float:
        """ns per packet."""
        start = time.thread_time()
        self._engine.process(self._block)
        seconds = time.thread_time() - start
        self._block.time_ns += np.uint64(100 * len(self._block))
        return seconds / len(self._block) * 1e9


class Rings:
    """A chain on a port of rings in which the frames are; as many workers, of which some share the first ring."""

    _ports = 0

    def __init__(self, plan: Plan, flows: int, cores: int, rings: int) -> None:
        lib, ffi = library()
        self._cores, self._flows = cores, flows
        slots = settled_frames(plan, flows, cores)
        self.engine = engine_with_flows(plan, slots, cores)
        room = 1 << flows.bit_length()
        number, Rings._ports = Rings._ports, Rings._ports + 1
        made = [lib.fajita_make_ring(f"round {number} {ring}".encode(), room, 0) for ring in range(rings)]
        port = Port(_port_of_rings(f"round{number}", [int(ffi.cast("intptr_t", ring)) for ring in made]))
        pool = lib.fajita_make_pool(f"round {number}".encode(), 2 * room - 1, 2048, 0)
        self.session = Session([Lane(port, port)], cores, plan.sharding.fields, make_queue=TimedQueue)
        self.session.start()
        self._fill(slots, pool, port, rings)
        self.workers = LiveWorkers(self.engine, self.session.queues)

    def _fill(self, slots: NDArray[np.uint8], pool: Any, port: Port, rings: int) -> None:
        for ring in range(rings):
            queue = WorkerQueue([Lane(port, port)], ring, pool, [None])
            play_frames(queue, slots[ring::rings], pool)
            workers = LiveWorkers(live_engine(Chain([FlowCounter()]).plan, 1), [queue], len(slots[ring::rings]))
            workers.start()
            while not workers.wait(0.01):
                pass
            workers.stop()

    def pass_ns(self) -> float:
        """ns per packet, of the one worker's processor time; of several, by the clock on the wall."""
        if self._cores == 1:
            return live_pass(self.workers, self.session.queues[0])
        before, start = self.workers.packets_in, time.perf_counter()
        self.workers.start()
        self.workers.wait(LIVE_SECONDS)
        done, seconds = self.workers.packets_in - before, time.perf_counter() - start
        self.workers.stop()
        return seconds / done * 1e9

    def check(self) -> None:
        """Nothing was lost and no flow was new: what was measured is what is meant."""
        (counts,) = self.session.counts()
        entries = sum(table.created for table in self.engine.counters().tables)
        lost = counts.in_packets - counts.out_packets
        if lost or counts.too_long or counts.malformed or entries != self._flows:
            raise SystemExit(f"{lost} frames were lost, of {self._flows} flows there are {entries}: {counts}")


def _port_of_rings(name: str, rings: list[int]) -> int:
    """The number of a port that sends into the rings that it receives from."""
    driver = ctypes.CDLL(find_library("rte_net_ring"))
    pointers = (ctypes.c_void_p * len(rings))(*rings)
    count = ctypes.c_uint(len(rings))
    number: int = driver.rte_eth_from_rings(name.encode(), pointers, count, pointers, count, ctypes.c_uint(0))
    if number < 0:
        raise SystemExit("DPDK makes no port of rings")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chain", default="chains/three.yaml")
    parser.add_argument("--flows", type=int, default=65_536)
    parser.add_argument("--cores", type=int, default=1, choices=(1, 2))
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--eal", default="--no-huge --no-pci -m 2048 -l 0")
    options = parser.parse_args()
    plan = Chain.load(options.chain).plan
    begin_environment(options.eal)
    ways: dict[str, Any] = {}
    if options.cores == 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        ways["in memory"] = InMemory(plan, options.flows)
    ways["live"] = Rings(plan, options.flows, 1, 1)
    if options.cores == 2:
        ways[SPREAD] = Rings(plan, options.flows, 2, 2)
        ways[HANDED_OVER] = Rings(plan, options.flows, 2, 1)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(options.repeat + 1):
        for name, way in ways.items():
            ns = way.pass_ns()
            if number:  # the first pass is for the caches
                times[name].append(ns)
    for way in ways.values():
        if isinstance(way, Rings):
            way.check()
    first = next(iter(ways))
    print(
        json.dumps(
            {
                "chain": options.chain,
                "flows": options.flows,
                "ns_per_packet": {name: round(statistics.median(of), 1) for name, of in times.items()},
                "range": {name: [round(min(of), 1), round(max(of), 1)] for name, of in times.items()},
                f"speed_of_{first}": {
                    name: round(statistics.median(a / b for a, b in zip(times[first], of, strict=True)), 2)
                    for name, of in times.items()
                },
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
