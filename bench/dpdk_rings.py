"""What it costs to run live where the device costs next to nothing: ports of net_ring, in which mbufs go round.

    python bench/dpdk_rings.py [--chain chains/three.yaml] [--flows 65536] [--cores 1] [--repeat 9] [--eal "…"]

A port sends into the ring that it receives from. `live` has 992 mbufs in it, about as many as queues of a NIC have,
and whenever one is received the next frame is copied into it, as a NIC would; what ring and copies take by themselves
is measured, too. `in memory` is the chain over those frames where they lie. `live, an mbuf for each flow` has a frame
of each flow in the ring, in an order drawn at random, and nothing is copied, so that each mbuf comes again once all
others have been there; compared with the same frames in the same order. Those frames are what the chain has made of the
usual ones, and it has to leave them as they are. Passes in turn, timed by the processor time of the worker's thread.

With `--cores 2` there are two workers on an mbuf for each flow, timed by the mean of their threads' processor times:
`spread` has a ring for each, so that frames are handed over once and then come to the right worker; of `handed over`
all frames are in one ring, and one worker receives and hands over what is the other's, for which both need processors
that nobody else uses. The chain must not change what packets are spread by (chains/one.yaml). Prints one JSON object.
"""

import argparse
import ctypes
import json
import os
import statistics
import time
from ctypes.util import find_library
from typing import Any, cast

import numpy as np
from dpdk import LIVE_SECONDS, PACKETS, InMemory, NICAlone, TimedQueue, live_pass, passes_in_turn, play_frames
from numpy.typing import NDArray

from fajita import Chain
from fajita.benchmark import make_every_flow
from fajita.dpdk.environment import begin_environment
from fajita.dpdk.library import library
from fajita.dpdk.port import Port
from fajita.dpdk.queue import Lane, WorkerQueue
from fajita.dpdk.session import Session
from fajita.engine.compiled import CompiledEngine
from fajita.engine.live import LiveWorkers
from fajita.engine.workers import live_engine
from fajita.io.flow_order import FlowOrder
from fajita.io.frames import FrameBlock
from fajita.io.synthetic import MINIMUM_SIZE, make_frames, packet_times
from fajita.nfs.flow_counter import FlowCounter
from fajita.plan import Plan

#: Mbufs in a ring whose frames are renewed.
MBUFS = 992
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
        raise SystemExit(
            f"{plan.name} drops frames or rewrites them anew when they come again; chains/one.yaml does not"
        )
    return engine


class InMemoryAgain:
    """The chain over the same frames again and again where they lie, in huge pages."""

    def __init__(self, plan: Plan, flows: int) -> None:
        slots = settled_frames(plan, flows, 1)
        self._engine = CompiledEngine(plan)
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
    """A port that sends into the rings that it receives from, and who polls it."""

    _made = 0

    def __init__(self, plan: Plan, mbufs: int, cores: int = 1, rings: int = 1) -> None:
        lib, ffi = library()
        number, Rings._made = Rings._made, Rings._made + 1
        room = 1 << mbufs.bit_length()
        pointers = [lib.fajita_make_ring(f"round {number} {ring}".encode(), room, 0) for ring in range(rings)]
        self.rings = rings
        self.port = Port(_port_of_rings(f"round{number}", [int(ffi.cast("intptr_t", each)) for each in pointers]))
        self.pool = lib.fajita_make_pool(f"round {number}".encode(), room + 511, 2048, 0)
        if self.pool == ffi.NULL:
            raise SystemExit(f"no memory for {room} mbufs: more huge pages, or -m")
        self.session = Session([Lane(self.port, self.port)], cores, plan.sharding.fields, make_queue=TimedQueue)
        self.queues = cast(list[TimedQueue], self.session.queues)
        self.session.start()

    def fill(self, slots: NDArray[np.uint8]) -> None:
        """Put each of the frames in one of the rings, in turn."""
        for ring in range(self.rings):
            queue, frames = (
                WorkerQueue([Lane(self.port, self.port)], ring, self.pool, [None]),
                slots[ring :: self.rings],
            )
            play_frames(queue, frames, self.pool)
            workers = LiveWorkers(live_engine(Chain([FlowCounter()]).plan, 1), [queue], len(frames))
            workers.start()
            while not workers.wait(0.01):
                pass
            workers.stop()


class Renewed:
    """A chain on a ring of few mbufs, into each of which the next frame is copied when it is received."""

    def __init__(self, plan: Plan, slots: NDArray[np.uint8], flows: int) -> None:
        self._rings, self._slots = Rings(plan, MBUFS), slots
        self._rings.fill(slots[:MBUFS])
        self._engine = live_engine(plan, 1)
        make_every_flow(self._engine, flows)
        self._workers = LiveWorkers(self._engine, self._rings.session.queues)
        self._play()
        self.device = NICAlone("fajita_renewed", "fajita_sent", self._rings.port.number)

    def _play(self) -> None:
        play_frames(self._rings.queues[0], self._slots, self._rings.pool, "fajita_renewed")

    def pass_ns(self) -> float:
        """A while; ns per packet."""
        return live_pass(self._workers, self._rings.queues[0])


class Round:
    """A chain, and one worker or two, on rings with an mbuf for each flow."""

    def __init__(self, plan: Plan, flows: int, cores: int, rings: int) -> None:
        slots = settled_frames(plan, flows, cores)
        self._cores, self._flows = cores, flows
        self._rings = Rings(plan, flows, cores, rings)
        self._rings.fill(slots)
        self._engine = engine_with_flows(plan, slots, cores)
        self._queues = self._rings.queues
        self._workers = LiveWorkers(self._engine, self._queues)

    def pass_ns(self) -> float:
        """A while; ns per packet, in which all workers are at work, or wait for one another."""
        self._workers.start()
        self._workers.wait(0.02)  # until they are at it
        before, start = self._workers.packets_in, self._seconds()
        self._workers.wait(LIVE_SECONDS)
        packets, seconds = self._workers.packets_in - before, self._seconds() - start
        self._workers.stop()
        return seconds / packets * 1e9

    def _seconds(self) -> float:
        """The processor time of the workers' threads, on average."""
        return statistics.mean(time.clock_gettime(queue.clock()) for queue in self._queues)

    def check(self) -> None:
        """Nothing was lost and no flow was new: what was measured is what is meant."""
        (counts,) = self._rings.session.counts()
        flows = sum(table.created for table in self._engine.counters().tables)
        if counts.in_packets != counts.out_packets or flows != self._flows:
            raise SystemExit(f"frames were lost, or flows were new: {self._flows} flows, {flows} were made; {counts}")


def _port_of_rings(name: str, rings: list[int]) -> int:
    """The number of a port that sends into the rings that it receives from."""
    driver = ctypes.CDLL(find_library("rte_net_ring"))
    pointers = (ctypes.c_void_p * len(rings))(*rings)
    count = ctypes.c_uint(len(rings))
    number: int = driver.rte_eth_from_rings(name.encode(), pointers, count, pointers, count, ctypes.c_uint(0))
    if number < 0:
        raise SystemExit("DPDK makes no port of rings")
    return number


def ways_of(plan: Plan, flows: int, cores: int) -> dict[str, Any]:
    """What is timed."""
    if cores == 2:
        return {
            "live": Round(plan, flows, 1, 1),
            SPREAD: Round(plan, flows, 2, 2),
            HANDED_OVER: Round(plan, flows, 2, 1),
        }
    slots = make_frames(FlowOrder("uniform", flows, 1).take(PACKETS), traffic="udp")
    again, renewed = Round(plan, flows, 1, 1), Renewed(plan, slots, flows)
    return {
        "in memory": InMemory(plan, slots, flows, PACKETS),
        "live": renewed,
        "ring and copies": renewed.device,
        "in memory, the same frames again": InMemoryAgain(plan, flows),
        "live, an mbuf for each flow": again,
    }


#: Which speed is told as a part of which: the second as a part of the first, less what the third takes by itself.
RATIOS = {
    "live": ("in memory", "live", None),
    "live less ring and copies": ("in memory", "live", "ring and copies"),
    "an mbuf for each flow": ("in memory, the same frames again", "live, an mbuf for each flow", None),
    SPREAD: ("live", SPREAD, None),
    HANDED_OVER: ("live", HANDED_OVER, None),
}


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
    if options.cores == 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    ways = ways_of(plan, options.flows, options.cores)
    times = passes_in_turn(ways, options.repeat)
    for way in ways.values():
        if isinstance(way, Round):
            way.check()
    ratios = {}
    for name, (base, other, without) in RATIOS.items():
        if base in times and other in times:
            less = times[without] if without else [0.0] * options.repeat
            ratios[name] = statistics.median(
                a / (b - c) for a, b, c in zip(times[base], times[other], less, strict=True)
            )
    print(
        json.dumps(
            {
                "chain": options.chain,
                "flows": options.flows,
                "ns_per_packet": {name: round(statistics.median(of), 1) for name, of in times.items()},
                "range": {name: [round(min(of), 1), round(max(of), 1)] for name, of in times.items()},
                "of_the_speed": {name: round(ratio, 2) for name, ratio in ratios.items()},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
