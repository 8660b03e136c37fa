"""Workers on an interface: each polls queues of its own in a compiled loop, in a thread of its own, until told to stop.

The thread that starts them is none of them. It has nothing to do but wait, so that signals are handled in it at once,
look at counters, and have workers come back from their loops for what is done now and then: a word in memory, which
they read between two blocks, says so.
"""

import ctypes
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from threading import Barrier, BrokenBarrierError, Event, Thread
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fajita.engine.compiled import CompiledEngine
from fajita.engine.fragments import FragmentMemory
from fajita.engine.gate import Gate
from fajita.engine.parallel import ParallelEngine
from fajita.engine.sharder import byte_tables
from fajita.engine.shared_table import words_apart
from fajita.engine.threads import WorkerThreads
from fajita.io.frames import FrameBlock
from fajita.kernel.bounds import CHECKED
from fajita.kernel.layout import DONE
from fajita.kernel.live import LIVE, LIVE_WORDS, NEVER, TICK
from fajita.lifetime import FIRST_CLOCK_NS
from fajita.plan import NFPlan, TablePlan
from fajita.records import Sides
from fajita.rss import HashFields

#: Bytes of a frame that an mbuf can have.
LONGEST = 0xFFFF
#: How long to wait before looking again for what workers have done.
_GLANCE_S = 0.001
#: A worker with fewer packets since it last kept house has the time to look through its tables for idle states.
FEW = 1000
#: It spends one part in so many of its time on that, at most.
SETTLE_SHARE = 20
#: How long a worker that is to stop may take to send what it has, before it is hurried, and then again.
_PATIENCE_S = 0.5
#: How long others stand still for a worker that does not come to a tick, as its driver waits for room to send; and when
#: that is tried again.
_TICK_PATIENCE_S, _TICK_AGAIN_S = 0.1, 1.0


@dataclass
class Exchange:
    """What hands packets over to other workers: a function as fajita.kernel.live has it, and where buckets go."""

    function: int
    buckets: NDArray[np.uint8]


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

    def reshape(self) -> NDArray[np.uint64] | None:
        """Called before all else if frames may become longer and shorter: when they are transmitted, `block` says where
        they lie and how long they are. Gives where, once frames are received, the addresses are down to which each may
        become longer where it lies; None: it is copied elsewhere."""

    def look_ahead(self) -> NDArray[np.uint64] | None:
        """Called before all else if it may have received the next block when it gives one that is full. Gives a word
        for each frame: while the chain runs, the kernel asks for the cache lines at these addresses, where the next
        frames are described. None: it receives when it is told to. Told to receive none it gives what it still has."""

    def busy_seconds(self) -> float:
        """How long packets were at work since `begin`."""

    def now_ns(self) -> int | None:
        """The time that a packet would get now; None: packets bring their times."""

    def waiting(self) -> int:
        """Packets that other workers have handed over and that it has not taken yet."""

    def spread(self, worker: int, indirection: NDArray[np.uint8]) -> Exchange:
        """Be one of several, whose buckets are told by the table of indirection."""


class LiveWorker:
    """One worker: its engine, what it polls, and the loop. Only `come_back` is for another thread than its own."""

    def __init__(
        self,
        engine: CompiledEngine,
        interface: Interface,
        left: NDArray[np.int64] | None,
        ticking: Sequence[TablePlan],
        *,
        alone: bool,
    ) -> None:
        """left: packets that all workers may still receive; None: as many as come.

        ticking: tables in which states end at ticks, while this worker is the only one.
        """
        self.engine, self.interface = engine, interface
        engine.begin_live(len(interface.block), LONGEST, interface.reshape() if engine.plan.reshapes else None)
        self._ticking = ticking
        self._wanted = words_apart(1)
        self._words = np.zeros(len(LIVE_WORDS), np.int64)
        self._clock_ns, self._packets_before, self._settle_after = FIRST_CLOCK_NS, 0, 0.0
        self._areas: list[NDArray[Any]] = [self._words, self._wanted, *([] if left is None else [left])]
        coming = interface.look_ahead() if left is None and alone else None
        self._areas += [] if coming is None else [coming]
        self._receive = _Called(interface.receive, interface, engine)
        given = {
            "receive": self._receive.address,
            "transmit": interface.transmit,
            "queue": interface.queue,
            "wanted": self._wanted.ctypes.data,
            "coming": 0 if coming is None else coming.ctypes.data,
            "left": 0 if left is None else left.ctypes.data,
            "tick": self._next_tick(),
        }
        self._tell(given)
        self._most = len(interface.block)

    def receive(self, *, more: bool) -> None:
        """Whether to receive packets; of others it takes them all the same."""
        self._tell({"most": self._most if more else 0})

    def _tell(self, words: dict[str, int]) -> None:
        for name, value in words.items():
            self._words[LIVE[name] // 8] = value

    def spread(self, worker: int, fields: HashFields, indirection: NDArray[np.uint8]) -> None:
        """Be one of several workers: hand packets over whose bucket is another's."""
        exchange = self.interface.spread(worker, indirection)
        self._exchange = _Called(exchange.function, self.interface, self.engine)
        self._memory = FragmentMemory(self.engine.plan)
        room = len(self.interface.block)
        tables, found, indices = byte_tables(fields.key), np.zeros(2, np.int64), np.zeros(room, np.int64)
        self._areas += [tables, exchange.buckets, self._memory.words, found, indices]
        self._tell(
            {
                "exchange": self._exchange.address,
                "hash_tables": tables.ctypes.data,
                "buckets": exchange.buckets.ctypes.data,
                "hash_memory": self._memory.words.ctypes.data,
                "hash_found": found.ctypes.data,
                "hash_indices": indices.ctypes.data,
            }
        )
        # What others hand over has to find a place beside it.
        self._most = max(1, room // 2)

    def come_back(self) -> None:
        """Have the loop return soon."""
        self._wanted[0] = 1

    def poll(self) -> bool:
        """Poll until the loop returns; whether that was asked for."""
        asks = self.engine.run_live(self._areas, self.interface.block)
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
        """What is done now and then: if there is little to do, end what is idle by now."""
        now_ns, packets, start = self.interface.now_ns(), self.engine.packets_in, time.monotonic()
        is_idle, self._packets_before = packets - self._packets_before < FEW, packets
        if now_ns is not None and is_idle and start >= self._settle_after:
            self.engine.settle_between(now_ns)
            # A large table takes a while to look through, in which packets wait.
            self._settle_after = start + SETTLE_SHARE * (time.monotonic() - start)


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
        self._ticking, self._ticked_ns, self._gate = [] if alone else ticking, FIRST_CLOCK_NS, Gate()
        self._tick_after = 0.0
        self.workers = [
            LiveWorker(each, interface, left, ticking if alone else [], alone=alone)
            for each, interface in zip(engines, interfaces, strict=True)
        ]
        if not alone:
            assert isinstance(engine, ParallelEngine)
            assert engine.plan.sharding.fields is not None
            for number, worker in enumerate(self.workers):
                worker.spread(number, engine.plan.sharding.fields, engine.indirection)
        self._at_work = engine.at_work if isinstance(engine, ParallelEngine) else nullcontext
        self._threads = WorkerThreads(len(engines))
        self._is_stopping, self._futures = False, list[Future[Any]]()

    @property
    def packets_in(self) -> int:
        """Packets that have been run so far."""
        return sum(worker.engine.packets_in for worker in self.workers)

    def start(self) -> None:
        """Let them poll."""
        self._is_stopping, self._futures = False, []
        for worker in self.workers:
            worker.receive(more=True)
        ready = Barrier(1 + len(self.workers))
        try:
            self._futures = self._threads.begin([partial(self._work, worker, ready) for worker in self.workers])
            # From here on the gate knows all of them.
            ready.wait()
        except BaseException:
            ready.abort()
            raise

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until a worker has failed; whether there is nothing to wait for any more."""
        done, _ = wait(self._futures, seconds, "FIRST_COMPLETED")
        return bool(done) or (self._limit is not None and self.packets_in >= self._limit)

    def keep_house(self) -> None:
        """Have all workers do what is done now and then."""
        for worker in self.workers:
            worker.come_back()

    def tick(self) -> None:
        """End what is idle in the tables that workers share, if the clock has come to a tick of theirs.

        If one of them cannot come, that is left to a later call.
        """
        if not self._ticking or time.monotonic() < self._tick_after:
            return
        clock_ns = self._clock_ns()
        due = [table for table in self._ticking if clock_ns // table.round_ns != self._ticked_ns // table.round_ns]
        if not due or self._end_idle(due, clock_ns):
            self._ticked_ns = clock_ns
        else:
            self._tick_after = time.monotonic() + _TICK_AGAIN_S

    def _end_idle(self, tables: Sequence[TablePlan], clock_ns: int) -> bool:
        """While all workers stand still; False: one did not come."""
        with self._gate.closed(self.keep_house, _TICK_PATIENCE_S) as have_come:
            for table in tables if have_come else ():
                self.workers[0].engine.tick(table, clock_ns)
        return have_come

    def _clock_ns(self) -> int:
        now_ns = self.workers[0].interface.now_ns()
        return max(worker.engine.clock_ns for worker in self.workers) if now_ns is None else now_ns

    def stop(self) -> None:
        """Let each finish what it has received; comes back when all have. InputError if one has failed."""
        with self._hurrying():
            try:
                if len(self._futures) > 1:
                    self._empty_rings()
            finally:  # whatever interrupts that: their memory must not be taken from under them
                self._is_stopping = True
                self._threads.finish(self._futures, self.keep_house)

    def _empty_rings(self) -> None:
        """No packet comes any more, and what workers have handed over is taken."""
        for worker in self.workers:
            worker.receive(more=False)
        # Once all have come back none is about to hand anything over.
        with self._gate.closed(self.keep_house):
            pass
        while any(worker.interface.waiting() for worker in self.workers):
            if wait(self._futures, _GLANCE_S, "FIRST_COMPLETED").done:
                break  # one has failed

    @contextmanager
    def _hurrying(self) -> Iterator[None]:
        """A driver may wait for ever for room to send: in the body it does so for a while."""
        is_over = Event()

        def hurry() -> None:
            while not is_over.wait(_PATIENCE_S):
                for worker, future in zip(self.workers, self._futures, strict=False):
                    if not future.done():
                        worker.interface.hurry()

        thread = Thread(target=hurry, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

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
        with self._gate.worker():
            try:
                ready.wait()
            except BrokenBarrierError:
                return  # something came between when workers were started
            self._poll(worker)

    def _poll(self, worker: LiveWorker) -> None:
        try:
            worker.interface.begin()
            while not self._is_stopping:
                with self._at_work():
                    while not worker.poll():
                        self._take_records(worker.engine)
                    if not self._is_stopping:
                        worker.keep_house()
                self._take_records(worker.engine)
                self._gate.wait()
        finally:
            worker.engine.was_busy(worker.interface.busy_seconds())
            worker.interface.end()
            self._take_records(worker.engine)

    def _take_records(self, engine: CompiledEngine) -> None:
        for nf in self._emitting:
            self.records.put((nf, engine.take_records(nf)))


class _Called:
    """A function of an interface, for the kernel to call; in a build with bounds checks, by a detour through Python:

    what the kernel may touch changes with every block.
    """

    def __init__(self, function: int, interface: Interface, engine: CompiledEngine) -> None:
        self.address = function
        if not CHECKED:
            return
        kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
        called = kind(function)

        def checked(queue: int, number: int) -> int:
            count = called(queue, number)
            engine.allow_block(interface.block.head(count))
            return count

        self._kept = kind(checked)
        self.address = ctypes.cast(self._kept, ctypes.c_void_p).value or 0
