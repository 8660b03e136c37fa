"""The buffers into which a worker's kernel puts the records that NFs emit, and what was taken out of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fajita.engine.entries import Entries, Part
from fajita.engine.side import SideMemory
from fajita.kernel import records as kernel
from fajita.plan import NFPlan, Plan

#: Of a buffer; it is larger where one burst could emit more.
BUFFER_BYTES = 1 << 20


class RecordBuffer:
    """The records of one NF and one side of its table, a view of whose descriptor the kernel shares.

    count: records emitted so far, those still in the buffer left out.
    """

    def __init__(self, nf: NFPlan, table: SideMemory, descriptor: NDArray[np.int64]) -> None:
        self.nf, self._table, self._words = nf, table, descriptor
        self.count = 0
        self._taken: list[NDArray[np.void]] = []
        width, burst = table.side.entry_bytes, kernel.records_per_burst(nf.translated)
        room = max(BUFFER_BYTES // width, burst)
        self.area = np.empty((room, width), np.uint8)
        self._words[kernel.NEXT_AT // 8] = self.area.ctypes.data
        self._words[kernel.LAST_AT // 8] = self.area.ctypes.data + (room - burst) * width
        self._words[kernel.ENTRY_BYTES // 8] = width
        self._words[kernel.KEY_BYTES // 8] = table.side.key_bytes

    @property
    def waiting(self) -> int:
        """Records in the buffer."""
        return (int(self._words[kernel.NEXT_AT // 8]) - self.area.ctypes.data) // self.area.shape[1]

    def empty(self) -> None:
        """Take the records out of the buffer."""
        if waiting := self.waiting:
            self._taken.append(self._decode(waiting))
            self._words[kernel.NEXT_AT // 8] = self.area.ctypes.data
            self.count += waiting

    def _decode(self, records: int) -> NDArray[np.void]:
        return Entries.read(self._table.plan, self._table.side, [Part(self.area, np.arange(records))]).decode(self.nf)

    def take(self) -> NDArray[np.void]:
        """All records since the last call, as rows in the order they were emitted."""
        self.empty()
        taken, self._taken = self._taken, []
        return np.concatenate(taken) if taken else self._decode(0)


class RecordBuffers:
    """All buffers of a worker; descriptors: what the kernel sees of them."""

    def __init__(self, plan: Plan, tables: Sequence[SideMemory]) -> None:
        """tables: one for each side of each table of the plan."""
        places = kernel.place_records(plan)
        self.descriptors = np.zeros((max(1, len(places)), kernel.DESCRIPTOR_BYTES // 8), np.int64)
        self._buffers = [
            RecordBuffer(place.nf, tables[place.side.index], self.descriptors[place.offset // kernel.DESCRIPTOR_BYTES])
            for place in places
        ]

    def of(self, nf: NFPlan) -> list[RecordBuffer]:
        """The buffers of an NF that may emit, by side of its table."""
        return [buffer for buffer in self._buffers if buffer.nf is nf]

    def empty(self) -> None:
        """Take the records out of all buffers."""
        for buffer in self._buffers:
            buffer.empty()

    def count(self, nf: NFPlan) -> int:
        """Records that an NF has emitted so far."""
        return sum(buffer.count + buffer.waiting for buffer in self.of(nf))

    def areas(self) -> list[NDArray[np.generic]]:
        """The memory the kernel may touch."""
        return [self.descriptors, *(buffer.area for buffer in self._buffers)]
