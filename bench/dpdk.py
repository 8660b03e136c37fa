"""What it costs to run live: bursts of mbufs against the same frames in memory, and what of that is Python's.

    python bench/dpdk.py [--chain chains/three.yaml] [--flows 65536] [--repeat 9] [--eal "--no-huge --no-pci -m 512"]

A NIC is played in C: it allocates an mbuf for each frame, copies the frame into it and gives bursts of 32; what is sent
is freed at once. What that takes by itself is measured too: a device does it beside the processor. All run in turn, a
pass each, timed by the processor time of the worker's thread, which is not another program's. `null` is the same
between two ports of net_null, whose frames are empty. Prints one JSON object: ns per packet, the ratio of the speeds,
and for one live run how many functions of Python were called in the worker's thread, and how often the system had to
give it memory.
"""

import argparse
import json
import os
import resource
import statistics
import threading
import time
from collections.abc import Mapping
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np

from fajita import Chain
from fajita.benchmark import make_every_flow
from fajita.dpdk.environment import begin_environment
from fajita.dpdk.library import library
from fajita.dpdk.port import find_port
from fajita.dpdk.queue import BLOCK, Lane, WorkerQueue
from fajita.dpdk.session import Session
from fajita.engine.compiled import CompiledEngine
from fajita.engine.live import LiveWorkers
from fajita.engine.memory import huge_pages
from fajita.engine.workers import live_engine
from fajita.io.flow_order import FlowOrder
from fajita.io.frames import FrameBlock
from fajita.io.synthetic import MINIMUM_SIZE, make_frames, packet_times
from fajita.plan import Plan

PACKETS = 1 << 19
LIVE_SECONDS = 0.3


class TimedQueue(WorkerQueue):
    """Notes the processor time and the page faults of the worker's thread while it polls."""

    def begin(self) -> None:
        super().begin()
        self._start, self._faults = time.thread_time(), _faults()

    def clock(self) -> int:
        """That of the thread that polls."""
        assert self._thread is not None
        return time.pthread_getcpuclockid(self._thread)

    def end(self) -> None:
        self.seconds, self.faults = time.thread_time() - self._start, _faults() - self._faults
        super().end()


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt


class Played:
    """A chain behind a NIC that is played."""

    def __init__(self, plan: Plan, slots: np.ndarray, flows: int) -> None:
        lib, ffi = library()
        pool = lib.fajita_make_pool(b"played", 4095, 2048, 0)
        port: Any = SimpleNamespace(number=0, receive_queues=1, description=SimpleNamespace(driver="played"))
        self.queue = TimedQueue([Lane(port, port)], 0, pool, [None])
        play_frames(self.queue, slots, pool)
        self.queue.words.lane[0].transmit = ffi.addressof(lib, "fajita_swallow")
        self.engine = live_engine(plan, 1)
        make_every_flow(self.engine, flows)
        self._workers = LiveWorkers(self.engine, [self.queue])

    def pass_ns(self) -> float:
        """A while; ns per packet."""
        return live_pass(self._workers, self.queue)


def play_frames(queue: WorkerQueue, slots: np.ndarray, pool: Any, receive: str = "fajita_played") -> None:
    """Have a queue receive these frames, over and over, in mbufs of a pool or those that the function receives."""
    lib, ffi = library()
    lib.fajita_play(_pointer(slots), len(slots), MINIMUM_SIZE, pool)
    queue.words.lane[0].receive = ffi.addressof(lib, receive)


def live_pass(workers: LiveWorkers, queue: TimedQueue, seconds: float = LIVE_SECONDS) -> float:
    before = workers.packets_in
    workers.start()
    workers.wait(seconds)
    workers.stop()
    return queue.seconds / (workers.packets_in - before) * 1e9


class NICAlone:
    """What a NIC takes by itself, in a thread that has DPDK's caches: the one that is played, after Played."""

    def __init__(self, receive: str = "fajita_played", transmit: str = "fajita_swallow", port: int = 0) -> None:
        lib, ffi = library()
        self._bursts, self._port = [ffi.addressof(lib, name) for name in (receive, transmit)], port

    def pass_ns(self) -> float:
        """A while; ns per packet."""
        lib, _ = library()
        blocks, seconds = 40_000, list[float]()

        def play() -> None:
            lib.fajita_begin_thread()
            start = time.thread_time()
            lib.fajita_play_alone(*self._bursts, self._port, blocks, BLOCK)
            seconds.append(time.thread_time() - start)
            lib.fajita_end_thread()

        thread = threading.Thread(target=play)
        thread.start()
        thread.join()
        return seconds[0] / (blocks * BLOCK) * 1e9


class InMemory:
    """The same chain on the frames where they lie; `most` at once."""

    def __init__(self, plan: Plan, slots: np.ndarray, flows: int, most: int) -> None:
        self.engine, self._most = CompiledEngine(plan), most
        make_every_flow(self.engine, flows)
        self._pristine, self._first = slots, flows
        self._slots = huge_pages(slots.nbytes)[: slots.nbytes].reshape(slots.shape)

    def pass_ns(self) -> float:
        """All frames once; ns per packet."""
        slots = self._slots
        slots[:] = self._pristine
        count = len(slots)
        block = FrameBlock.from_slots(slots, np.full(count, MINIMUM_SIZE), packet_times(self._first, count, 100))
        parts = [block.part(first, first + self._most) for first in range(0, count, self._most)]
        self._first += count
        start = time.thread_time()
        for part in parts:
            self.engine.process(part)
        return (time.thread_time() - start) / count * 1e9


def _pointer(array: np.ndarray) -> Any:
    return library().ffi.cast("uint8_t *", array.ctypes.data)


def null_ns(plan: Plan) -> float:
    """Between two ports of net_null."""
    session = Session([Lane(find_port("net_null0", "--in"), find_port("net_null1", "--out"))], 1)
    queue = TimedQueue(session.lanes, 0, session.queues[0].pool, [None])
    workers = LiveWorkers(live_engine(plan, 1), [queue])
    session.start()
    try:
        return min(live_pass(workers, queue) for _ in range(5))
    finally:
        session.close()


def python_of(played: Played) -> dict[str, int]:
    """What one run has of Python in the worker's thread; a new thread, as only those are watched."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    threading.setprofile(count)
    try:
        workers = LiveWorkers(played.engine, [played.queue])
        before = workers.packets_in
        live_pass(workers, played.queue, 1.0)
    finally:
        threading.setprofile(None)
    return {"packets": workers.packets_in - before, "python_calls": calls, "page_faults": played.queue.faults}


def passes_in_turn(ways: Mapping[str, Any], repeat: int) -> dict[str, list[float]]:
    """What each way takes in each of so many passes, ns per packet; one more comes first, for the caches."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(repeat + 1):
        for name, way in ways.items():
            ns = way.pass_ns()
            if number:
                times[name].append(ns)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chain", default="chains/three.yaml")
    parser.add_argument("--flows", type=int, default=65_536)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--eal", default="--no-huge --no-pci -m 512 -l 0")
    options = parser.parse_args()
    plan = Chain.load(options.chain).plan
    begin_environment(f"{options.eal} --vdev=net_null0 --vdev=net_null1")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    slots = make_frames(FlowOrder("uniform", options.flows, 1).take(PACKETS), traffic="udp")
    ways: dict[str, Any] = {
        "in memory": InMemory(plan, slots, options.flows, PACKETS),
        f"in memory, {BLOCK} at once": InMemory(plan, slots, options.flows, BLOCK),
        "live": Played(plan, slots, options.flows),
        "the NIC that is played": NICAlone(),
    }
    times = passes_in_turn(ways, options.repeat)
    medians = {name: statistics.median(of) for name, of in times.items()}
    print(
        json.dumps(
            {
                "chain": options.chain,
                "flows": options.flows,
                "ns_per_packet": {name: round(ns, 1) for name, ns in medians.items()},
                "range": {name: [round(min(of), 1), round(max(of), 1)] for name, of in times.items()},
                "live_of_memory": round(medians["in memory"] / medians["live"], 2),
                "live_less_nic_of_memory": round(
                    medians["in memory"] / (medians["live"] - medians["the NIC that is played"]), 2
                ),
                "null_ns_per_packet": round(null_ns(plan), 1),
                "one_live_run": python_of(ways["live"]),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
