"""A NIC that tests play: what it receives are frames in memory, what it transmits is kept. And an engine behind it."""

import ctypes
from collections import defaultdict
from collections.abc import Sequence
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.engine.live import Exchange, LiveWorkers
from fajita.engine.workers import live_engine
from fajita.io.frames import ETHERNET, FrameBlock
from fajita.plan import NFPlan, Plan

_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_QUEUE = 7
_NONE = FrameBlock.from_frames([])


def empty_columns(room: int) -> FrameBlock:
    """A block whose columns are to be filled."""
    wide, narrow = (np.zeros((2, room), dtype) for dtype in (np.uint64, np.uint32))
    return FrameBlock(wide[0], *narrow, wide[1], np.full(room, ETHERNET, np.uint8), np.zeros(room, np.uint8))


class FakeNIC:
    """An interface (fajita.engine.live). So many of its frames are there at each poll, in turn; some may be 0.

    sent: the frames that went on, in order. finished: all frames have been here.
    """

    def __init__(self, bursts: Sequence[int] = (64,), room: int = 64) -> None:
        self._bursts, self._polls = bursts, 0
        self.sent: list[bytes] = []
        self.calls: list[str] = []
        self.finished = Event()
        self.block = empty_columns(room)
        self._functions = (_FUNCTION(self._receive), _FUNCTION(self._transmit))
        self.receive, self.transmit = (ctypes.cast(each, ctypes.c_void_p).value or 0 for each in self._functions)
        self.queue = _QUEUE
        self.load(_NONE)

    def load(self, frames: FrameBlock) -> None:
        """These come next."""
        self._frames, self._at, self._first = frames, 0, 0
        self.finished.clear()
        if not len(frames):
            self.finished.set()

    def begin(self) -> None:
        self.calls.append("begin")

    def end(self) -> None:
        self.calls.append("end")

    def hurry(self) -> None:
        self.calls.append("hurry")

    def reshape(self) -> None:
        return None

    def look_ahead(self) -> None:
        return None

    def busy_seconds(self) -> float:
        return 1.5

    def waiting(self) -> int:
        return 0

    def spread(self, worker: int, indirection: NDArray[np.uint8]) -> Exchange:
        """It hands nothing over: whatever it receives is its own worker's."""
        self._exchange = _FUNCTION(lambda queue, count: count)
        address = ctypes.cast(self._exchange, ctypes.c_void_p).value or 0
        return Exchange(address, np.zeros(len(self.block), np.uint8))

    def now_ns(self) -> int | None:
        return None

    def _receive(self, queue: int, most: int) -> int:
        assert queue == _QUEUE
        there = self._bursts[self._polls % len(self._bursts)]
        self._polls += 1
        count = min(there, most, len(self.block), len(self._frames) - self._at)
        part = self._frames.part(self._at, self._at + count)
        for name in ("address", "captured", "wire", "time_ns", "link"):
            getattr(self.block, name)[:count] = getattr(part, name)
        self._first, self._at = self._at, self._at + count
        return count

    def _transmit(self, queue: int, count: int) -> int:
        assert queue == _QUEUE
        assert count == self._at - self._first
        self._frames.verdict[self._first : self._at] = self.block.verdict[:count]
        self._keep(count)
        self.sent += [bytes(self.block.frame(i)) for i in range(count) if self.block.verdict[i] == 1]
        if self._at == len(self._frames):
            self.finished.set()
        return 0

    def _keep(self, count: int) -> None:
        """What has become of the frames: those that lie elsewhere now do so only until the next come."""
        for index, at in enumerate(range(self._first, self._at)):
            if self._frames.address[at] != self.block.address[index]:
                frame = np.frombuffer(bytes(self.block.frame(index)), np.uint8)
                self._frames.grown.append(frame)
                self._frames.address[at] = frame.ctypes.data
            self._frames.captured[at], self._frames.wire[at] = self.block.captured[index], self.block.wire[index]


class BehindNIC:
    """An engine all of whose packets come by a FakeNIC, for fajita.verify."""

    def __init__(self, plan: Plan, nic: FakeNIC) -> None:
        self._engine, self._nic = live_engine(plan, 1), nic
        self._workers = LiveWorkers(self._engine, [nic])
        self._records: defaultdict[int, list[list[Any]]] = defaultdict(list)

    def process(self, block: FrameBlock) -> None:
        self._nic.load(block)
        self._workers.start()
        while not self._nic.finished.wait(0.1) and not self._workers.wait(0):
            self._workers.keep_house()
        self._workers.stop()

    def settle(self) -> None:
        self._workers.settle()

    def take_records(self, nf: NFPlan) -> list[Any]:
        self._workers.take_records()
        while not self._workers.records.empty():
            of, sides = self._workers.records.get()
            self._records[of.index].append(sides)
        return [np.concatenate(side) for side in zip(*self._records.pop(nf.index), strict=True)]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)
