"""What a worker polls: a queue of each port that packets come from, and where they go."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.dpdk.library import library
from fajita.dpdk.port import Port
from fajita.engine.counters import Addable
from fajita.engine.live import Exchange
from fajita.io.frames import ETHERNET, FrameBlock

#: Frames that a worker takes at once.
BLOCK = 256
#: How often a port is asked again, with a pause of the processor between, that takes no packet.
RETRIES = 1000
#: Drivers whose packets come with their own times, and the unit of those: a file's are in microseconds.
_STAMPS_NS = {"net_pcap": 1000}


@dataclass(frozen=True)
class Lane:
    """From a port to a port."""

    source: Port
    target: Port


@dataclass
class LaneCounts(Addable):
    """What went along a lane, of all workers.

    unsent: the port did not take them. malformed, too_long, no_memory: refused when they came, or for what the chain
    has made of them: nothing, or more than fits an mbuf. copied: into one piece, for which there was no room in their
    first. handed: over to another worker.
    """

    in_packets: int = 0
    in_bytes: int = 0
    out_packets: int = 0
    out_bytes: int = 0
    unsent: int = 0
    malformed: int = 0
    too_long: int = 0
    no_memory: int = 0
    copied: int = 0
    handed: int = 0


@dataclass
class WorkerQueue:
    """The queues with one number, of some lanes. It is what fajita.engine.live calls an interface.

    pool: mbufs for packets that come in several pieces.
    """

    lanes: Sequence[Lane]
    number: int
    pool: Any
    locks: Sequence[NDArray[np.uint32] | None]
    room: int = BLOCK
    block: FrameBlock = field(init=False)
    _thread: int | None = None

    def __post_init__(self) -> None:
        lib, ffi = library()
        room = self.room
        self.block = FrameBlock(
            np.zeros(room, np.uint64),
            np.zeros(room, np.uint32),
            np.zeros(room, np.uint32),
            np.zeros(room, np.uint64),
            np.full(room, ETHERNET, np.uint8),
            np.zeros(room, np.uint8),
        )
        self._held = ffi.new("struct rte_mbuf *[]", room)
        self._outgoing = ffi.new("struct rte_mbuf *[]", room)
        self._lane_of = ffi.new("uint8_t[]", room)
        self.words = words = ffi.new("struct fajita_queue *")
        words.address = _pointer("uint64_t *", self.block.address)
        words.captured = _pointer("uint32_t *", self.block.captured)
        words.wire = _pointer("uint32_t *", self.block.wire)
        words.time_ns = _pointer("uint64_t *", self.block.time_ns)
        words.verdict = _pointer("uint8_t *", self.block.verdict)
        words.held, words.outgoing, words.lane_of = self._held, self._outgoing, self._lane_of
        words.large, words.room, words.retries = self.pool, room, RETRIES
        words.lanes = len(self.lanes)
        for lane, told, lock in zip(self.lanes, words.lane, self.locks, strict=False):
            has_queue = self.number < lane.source.receive_queues
            told.in_port, told.in_queue = lane.source.number, self.number if has_queue else lib.FAJITA_NO_QUEUE
            # Workers that have to share a queue take turns.
            told.out_port, told.out_queue = lane.target.number, self.number if lock is None else 0
            told.lock = ffi.NULL if lock is None else _pointer("uint32_t *", lock)
            told.stamp_ns = _STAMPS_NS.get(lane.source.description.driver, 0)
        lib.fajita_begin_queue(words)
        self.receive = int(ffi.cast("intptr_t", ffi.addressof(lib, "fajita_receive")))
        self.transmit = int(ffi.cast("intptr_t", ffi.addressof(lib, "fajita_transmit")))
        self.queue = int(ffi.cast("intptr_t", words))

    def begin(self) -> None:
        """DPDK has caches for threads that it knows; one more than it knows works without."""
        self.words.retries, self.words.busy_cycles, self.words.busy_since = RETRIES, 0, 0
        self._thread = get_ident()
        library().lib.fajita_begin_thread()

    def hurry(self) -> None:
        """Wait no longer for a port that takes no packets: what it does not take at once is lost."""
        self.words.retries = 0
        if self._thread is not None:
            library().lib.fajita_wake(self._thread)

    def end(self) -> None:
        """Give back what is under way."""
        lib, _ = library()
        lib.fajita_end_queue(self.words)
        lib.fajita_end_thread()

    def busy_seconds(self) -> float:
        """How long packets were at work since it began: from when some came to when they had gone."""
        return float(self.words.busy_cycles / library().lib.fajita_cycles_per_second())

    def now_ns(self) -> int | None:
        """The time of a packet that would come now; None if a port's packets come with their own."""
        if any(lane.source.description.driver in _STAMPS_NS for lane in self.lanes):
            return None
        return int(library().lib.fajita_now(self.words))

    def waiting(self) -> int:
        """Packets that other workers have handed over and that it has not taken yet."""
        return int(library().lib.fajita_waiting(self.words))

    def reshape(self) -> NDArray[np.uint64]:
        """Let frames become longer and shorter: down to which address each may grow, once it has come."""
        self._floors = np.zeros(self.room, np.uint64)
        self.words.floor = _pointer("uint64_t *", self._floors)
        return self._floors

    def look_ahead(self) -> NDArray[np.uint64]:
        """Receive the next block when one is full; the kernel asks for the mbufs' first lines."""
        self._ahead = np.zeros(self.room, np.uint64)
        self.words.ahead = _pointer("struct rte_mbuf **", self._ahead)
        return self._ahead

    def connect(self, to: Sequence[Any], come_from: Sequence[Any]) -> None:
        """With other workers, by rings to and from each; NULL for itself."""
        _, ffi = library()
        self._rings = [ffi.new("struct rte_ring *[]", list(rings)) for rings in (to, come_from)]
        self.words.to, self.words.come_from = self._rings

    def spread(self, worker: int, indirection: NDArray[np.uint8]) -> Exchange:
        """Be one of the workers, once they are connected."""
        lib, ffi = library()
        self._buckets = np.zeros(self.room, np.uint8)
        self._indirection = indirection
        self.words.worker, self.words.workers = worker, len(self._rings[0])
        self.words.buckets = _pointer("uint8_t *", self._buckets)
        self.words.indirection = _pointer("uint8_t *", indirection)
        return Exchange(int(ffi.cast("intptr_t", ffi.addressof(lib, "fajita_exchange"))), self._buckets)

    def counts(self) -> list[LaneCounts]:
        """By lane."""
        names = LaneCounts.__dataclass_fields__
        return [
            LaneCounts(**{name: int(getattr(self.words.lane[index], name)) for name in names})
            for index in range(len(self.lanes))
        ]


def _pointer(kind: str, array: NDArray[np.generic]) -> Any:
    return library().ffi.cast(kind, array.ctypes.data)
