"""The ports of a run: set up for so many workers, started, stopped, and what came and went."""

import time
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.dpdk.environment import captured_streams, failure
from fajita.dpdk.library import library
from fajita.dpdk.port import DESCRIPTORS, Counts, Port
from fajita.dpdk.queue import BLOCK, Lane, LaneCounts, WorkerQueue
from fajita.errors import InputError
from fajita.rss import HashFields

#: Bytes of a frame that an mbuf holds, unless the port's frames are larger; of Ethernet and two tags beside the MTU.
_ROOM, _FRAMING = 2048, 22
#: Frames in several segments are put together in mbufs of this size, so many per worker: as many as may wait in a queue
#: that transmits, and a block beside. More would take more memory than all others.
_LARGE_ROOM, _LARGE_MBUFS = 16 << 10, 2047
#: Packets on their way from a worker to another, at most.
_HANDED = 1024
#: Mbufs in the cache that a thread has of a pool, at most.
_CACHED = 384

#: DPDK has one space of names for all sessions of a process.
_numbers = count()


class Session:
    """Ports in use. `queues`: what each worker polls."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        workers: int,
        fields: HashFields | None = None,
        make_queue: type[WorkerQueue] = WorkerQueue,
    ) -> None:
        """fields: by which packets are spread over workers. make_queue: of what kind `queues` are."""
        self._make_queue, self._number = make_queue, next(_numbers)
        self.lanes = lanes
        self.ports = list({port.number: port for lane in lanes for port in (lane.source, lane.target)}.values())
        self._pools: list[Any] = []
        self._rings: list[Any] = []
        self._links: dict[int, bool] = {}
        self._last_counts: dict[int, Counts] = {}
        try:
            with captured_streams():  # libraries of AF_XDP write there, too
                self.queues = self._set_up(workers, fields)
        except BaseException:
            self.close()
            raise

    def _set_up(self, workers: int, fields: HashFields | None) -> list[WorkerQueue]:
        room = max([_ROOM, *(port.description.mtu + _FRAMING for port in self.ports)])
        mbufs = mbufs_needed(len(self.lanes), workers)
        socket = self.lanes[0].source.description.socket
        pools = [self._pool(f"frames {number}", mbufs, room, socket) for number in range(workers)]
        large = [self._pool(f"large {number}", _LARGE_MBUFS, _LARGE_ROOM, socket) for number in range(workers)]
        sources = {lane.source.number for lane in self.lanes}
        targets = {lane.target.number for lane in self.lanes}
        locks: dict[int, NDArray[np.uint32] | None] = {}
        for port in self.ports:
            most = port.description.transmit_queues
            locks[port.number] = None if workers <= most else np.zeros(1, np.uint32)
            transmit = 0 if port.number not in targets else workers if workers <= most else 1
            receive = min(workers, port.description.receive_queues) if port.number in sources else 0
            port.set_up(pools[:receive], transmit, fields)
        lane_locks = [locks[lane.target.number] for lane in self.lanes]
        queues = [self._make_queue(self.lanes, number, large[number], lane_locks) for number in range(workers)]
        for queue in queues:  # no worker's clock is behind another's
            queue.words.clock_offset_ns = queues[0].words.clock_offset_ns
        if workers > 1:
            self._connect(queues, socket)
        return queues

    def _connect(self, queues: Sequence[WorkerQueue], socket: int) -> None:
        """Give workers rings to hand packets over: one from each to each other."""
        _, ffi = library()
        numbers = range(len(queues))
        rings = [[ffi.NULL if a == b else self._ring(f"{a} {b}", socket) for b in numbers] for a in numbers]
        for number, queue in enumerate(queues):
            queue.connect(rings[number], [row[number] for row in rings])

    def _ring(self, name: str, socket: int) -> Any:
        lib, ffi = library()
        ring = lib.fajita_make_ring(f"fajita {self._number} {name}".encode(), _HANDED, socket)
        if ring == ffi.NULL:
            raise InputError(f"no memory for what workers hand over: {failure(-12)}", "--dpdk", "more memory")
        self._rings.append(ring)
        return ring

    def _pool(self, name: str, mbufs: int, room: int, socket: int) -> Any:
        lib, ffi = library()
        pool = lib.fajita_make_pool(f"fajita {self._number} {name}".encode(), mbufs, min(room, 0xFFFF - 128), socket)
        if pool == ffi.NULL:
            what = f"no memory for {mbufs:,} packets of {room:,} bytes: {failure(-12)}"
            raise InputError(what, "--dpdk", "more memory, such as -m 1024 with --no-huge, or more huge pages")
        self._pools.append(pool)
        return pool

    def start(self) -> None:
        """Packets come from now on."""
        for port in self.ports:
            port.start()
        self._links = {port.number: port.is_up() for port in self.ports}

    def link_changes(self) -> list[str]:
        """What is to be said of links that have come or gone since the last call."""
        changes = []
        for port in self.ports:
            is_up = port.is_up()
            if is_up != self._links[port.number]:
                self._links[port.number] = is_up
                changes.append(f"{port.name}: the link went {'up' if is_up else 'down'} at {_clock_time()}")
        return changes

    def is_up(self, port: Port) -> bool:
        """Whether a port had a link when that was last looked at."""
        return self._links.get(port.number, False)

    def port_counts(self, port: Port) -> Counts:
        """What a port has counted itself."""
        return self._last_counts.get(port.number) or port.counts()

    def close(self) -> None:
        """Stop the ports and give all memory back; InputError, when that is done, if a port does not stop."""
        self._last_counts = {port.number: port.counts() for port in self.ports}
        errors: list[InputError] = []
        with captured_streams():
            for port in self.ports:
                try:
                    port.close()
                except InputError as error:
                    errors.append(error)
        for ring in self._rings:
            library().lib.fajita_free_ring(ring)
        self._rings = []
        if errors:  # and pools stay, to which such a port may still write
            raise errors[0]
        for pool in self._pools:
            library().lib.fajita_free_pool(pool)
        self._pools = []

    def counts(self) -> list[LaneCounts]:
        """What went along each lane, of all workers."""
        totals = [LaneCounts() for _ in self.lanes]
        for queue in self.queues:
            totals = [total + counts for total, counts in zip(totals, queue.counts(), strict=True)]
        return totals


def mbufs_needed(lanes: int, workers: int) -> int:
    """How many a worker receives into, so that some are left though each worker has handed-over ones of them.

    A queue that transmits keeps mbufs until it needs their places, even if they have been sent long ago.
    """
    under_way = lanes * DESCRIPTORS * (1 + workers) + workers * (2 * BLOCK + _CACHED) + (workers - 1) * _HANDED
    # A power of two less one is what a pool stores best.
    return (1 << under_way.bit_length()) - 1


def _clock_time() -> str:
    return time.strftime("%H:%M:%S")
