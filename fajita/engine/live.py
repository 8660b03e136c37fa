"""Workers on an interface: each polls queues of its own in a compiled loop, in a thread of its own, until told to stop.

The thread that starts them is none of them. It has nothing to do but wait, so that signals are handled in it at once,
look at counters, and have workers come back from their loops for what is done now and then: a word in memory, which
they read between two blocks, says so.
"""

import ctypes
from collections.abc import Sequence
from concurrent.futures import Future, wait
from contextlib import nullcontext
from functools import partial
from queue import SimpleQueue
from threading import Barrier
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fajita.engine.compiled import CompiledEngine
from fajita.engine.parallel import ParallelEngine
from fajita.engine.shared_table import words_apart
from fajita.engine.threads import WorkerThreads
from fajita.io.frames import FrameBlock
from fajita.kernel.bounds import CHECKED
from fajita.kernel.layout import DONE
from fajita.kernel.live import LIVE, LIVE_WORDS, NEVER, TICK
from fajita.lifetime import FIRST_CLOCK_NS
from fajita.plan import NFPlan, TablePlan
from fajita.records import Sides

#: A worker with fewer packets since it last kept house has the time to look through its tables for idle states.
FEW = 1000
#: How long a worker may take to send what it has, before it is hurried, and then again.
_PATIENCE_S = 0.25


class Interface(Protocol):
    """What a worker polls. `block` has a place for each frame that it may take at once.

    receive, transmit: addresses of C functions, as fajita.kernel.live has them; queue: what they are given first.
    """

    block: FrameBlock
    receive: int
    transmit: int
    queue: int

    def begin(self) -> None:
        """Called in the worker's thread before it polls."""

    def end(self) -> None:
        """Called there when it has polled for the last time."""

    def hurry(self) -> None:
        """Called in another thread, between the two: what cannot be sent at once is not to be waited for."""

    def busy_seconds(self) -> float:
        """How long packets were at work so far."""

    def now_ns(self) -> int | None:
        """The time that a packet would get now; None: packets bring their times."""


class LiveWorker:
    """One worker: its engine, what it polls, and the loop. Only `come_back` is for another thread than its own."""

    def __init__(
        self,
        engine: CompiledEngine,
        interface: Interface,
        left: NDArray[np.int64] | None,
        ticking: Sequence[TablePlan],
    ) -> None:
        """left: packets that all workers may still receive; None: as many as come.

        ticking: tables in which states end at ticks, while this worker is the only one.
        """
        self.engine, self.interface = engine, interface
        self._left, self._ticking = left, ticking
        self._wanted = words_apart(1)
        self._words = np.zeros(len(LIVE_WORDS), np.int64)
        self._clock_ns, self._settled_at = FIRST_CLOCK_NS, 0
        self._receive: Any = _checked(interface, engine) if CHECKED else interface.receive
        given = {
            "receive": _address(self._receive),
            "transmit": interface.transmit,
            "queue": interface.queue,
            "most": len(interface.block),
            "wanted": self._wanted.ctypes.data,
            "left": 0 if left is None else left.ctypes.data,
            "tick": self._next_tick(),
        }
        for name, value in given.items():
            self._words[LIVE[name] // 8] = value

    def come_back(self) -> None:
        """Have the loop return soon."""
        self._wanted[0] = 1

    def poll(self) -> bool:
        """Poll until the loop returns; whether that was asked for."""
        areas = [self._words, self._wanted, *([] if self._left is None else [self._left])]
        asks = self.engine.run_live(areas, self.interface.block)
        if asks == TICK:
            self._tick()
        if asks == DONE:
            self._wanted[0] = 0
        return asks == DONE

    def _tick(self) -> None:
        """End what is idle in the tables that come to a tick with the packet that is next."""
        clock_ns = int(self.interface.block.time_ns.view(np.int64)[self.engine.position])
        for table in self._ticking:
            if clock_ns // table.round_ns != self._clock_ns // table.round_ns:
                self.engine.tick(table, clock_ns)
        self._clock_ns = clock_ns
        self._words[LIVE["tick"] // 8] = self._next_tick()

    def _next_tick(self) -> int:
        ticks = [(self._clock_ns // table.round_ns + 1) * table.round_ns for table in self._ticking]
        return min([NEVER, *ticks])

    def keep_house(self) -> None:
        """What is done now and then: account for its time and, if there is little to do, end what is idle by now."""
        now_ns, packets = self.interface.now_ns(), self.engine.packets_in
        if now_ns is not None and packets - self._settled_at < FEW:
            self.engine.settle_between(now_ns)
        self._settled_at = packets


class LiveWorkers:
    """The workers of an engine, each with an interface of its own.

    records: what they emitted, for the thread that started them. limit: packets after which nothing more is received.
    """

    def __init__(
        self, engine: CompiledEngine | ParallelEngine, interfaces: Sequence[Interface], limit: int | None = None
    ) -> None:
        self.engine = engine
        self.records: SimpleQueue[tuple[NFPlan, Sides]] = SimpleQueue()
        engines = engine.engines if isinstance(engine, ParallelEngine) else [engine]
        ticking = [table for table in engine.plan.tables if table.ends_at_ticks]
        left = None
        if limit is not None:
            left = words_apart(1)
            left[0] = limit
        self._limit, self._emitting = limit, [nf for nf in engine.plan.nfs if nf.translated.may_emit]
        alone = len(engines) == 1
        self.workers = [
            LiveWorker(each, interface, left, ticking if alone else [])
            for each, interface in zip(engines, interfaces, strict=True)
        ]
        self._at_work = engine.at_work if isinstance(engine, ParallelEngine) else nullcontext
        self._threads = WorkerThreads(len(engines))
        self._is_stopping, self._futures = False, list[Future[Any]]()

    @property
    def packets_in(self) -> int:
        """Packets that have been run so far."""
        return sum(worker.engine.packets_in for worker in self.workers)

    def start(self) -> None:
        """Let them poll."""
        self._is_stopping = False
        ready = Barrier(len(self.workers))
        self._futures = self._threads.begin([partial(self._work, worker, ready) for worker in self.workers])

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until a worker has failed; whether there is nothing to wait for any more."""
        done, _ = wait(self._futures, seconds, "FIRST_COMPLETED")
        return bool(done) or (self._limit is not None and self.packets_in >= self._limit)

    def keep_house(self) -> None:
        """Have all workers do what is done now and then."""
        for worker in self.workers:
            worker.come_back()

    def stop(self) -> None:
        """Let each finish what it has received; comes back when all have. InputError if one has failed."""
        self._is_stopping = True
        for worker in self.workers:
            worker.come_back()
        try:
            self._wait_for_all()
        except BaseException:  # a signal: what they are at is not to be taken from them
            self._wait_for_all()
            raise
        self._threads.finish(self._futures)

    def _wait_for_all(self) -> None:
        """A driver may wait for ever for room to send: after a while they are hurried."""
        while wait(self._futures, _PATIENCE_S).not_done:
            for worker, future in zip(self.workers, self._futures, strict=True):
                if not future.done():
                    worker.interface.hurry()

    def settle(self) -> None:
        """When all have stopped: end what has been idle too long by the latest packet's time."""
        if isinstance(self.engine, ParallelEngine):
            self.engine.come_to(max(worker.engine.clock_ns for worker in self.workers))
        self.engine.settle()

    def take_records(self) -> None:
        """When all have stopped: take what was emitted since."""
        for worker in self.workers:
            self._take_records(worker.engine)

    def _work(self, worker: LiveWorker, ready: Barrier) -> None:
        ready.wait()
        worker.interface.begin()
        try:
            with self._at_work():
                while not ((is_wanted := worker.poll()) and self._is_stopping):
                    if is_wanted:
                        worker.keep_house()
                    self._take_records(worker.engine)
        finally:
            worker.engine.was_busy(worker.interface.busy_seconds())
            worker.interface.end()
            self._take_records(worker.engine)

    def _take_records(self, engine: CompiledEngine) -> None:
        for nf in self._emitting:
            self.records.put((nf, engine.take_records(nf)))


def _address(function: Any) -> int:
    return function if isinstance(function, int) else ctypes.cast(function, ctypes.c_void_p).value or 0


def _checked(interface: Interface, engine: CompiledEngine) -> Any:
    """`receive` for a build with bounds checks: what the kernel may touch changes with every block."""
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    receive = kind(interface.receive)

    def received(queue: int, most: int) -> int:
        count = receive(queue, most)
        engine.allow_block(interface.block.head(count))
        return count

    return kind(received)
