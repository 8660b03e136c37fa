"""The memory of a flow table of a worker: its sides, and the slots of its entries."""

import numpy as np
from numpy.typing import NDArray

from fajita.engine.entries import Entries
from fajita.engine.memory import Budget, huge_pages
from fajita.engine.side import SideMemory
from fajita.errors import InputError
from fajita.kernel import slots as kernel
from fajita.lifetime import FIRST_CLOCK_NS
from fajita.plan import TablePlan
from fajita.settings import MAXIMUM_CAPACITY

_CHUNK_SLOTS = 1 << kernel.CHUNK_BITS


class FlowTable:
    """A table of a worker. The descriptors, one of its own and one per side of the plan, are views of the engine's.

    capacity: entries at most; None: as many as the budget of memory allows.
    """

    def __init__(
        self,
        plan: TablePlan,
        descriptor: NDArray[np.int64],
        sides: NDArray[np.int64],
        budget: Budget,
        capacity: int | None,
    ) -> None:
        self.plan = plan
        self._words = descriptor
        self._most = MAXIMUM_CAPACITY if capacity is None else capacity
        self.sides = [SideMemory(plan, side, sides[side.index], budget, capacity) for side in plan.sides]
        self._directory = np.zeros(MAXIMUM_CAPACITY // _CHUNK_SLOTS + 1, np.int64)
        self._chunks: list[NDArray[np.uint8]] = []
        self._set(kernel.DIRECTORY, self._directory.ctypes.data)
        self._set(kernel.CAPACITY, self._most)
        self._set(kernel.DUE, FIRST_CLOCK_NS)
        self._make_slots()

    def _get(self, word: int) -> int:
        return int(self._words[word // 8])

    def _set(self, word: int, value: int) -> None:
        self._words[word // 8] = value

    def attend(self, side: int) -> None:
        """What the kernel asks for on behalf of a side of the table (`SideMemory.attend`)."""
        self.sides[side].attend()
        self._make_slots()

    def _make_slots(self) -> None:
        """A slot for each entry that there may be until a side grows again, as far as the machine has memory for it.

        The budget has it: a side takes it along with its own.
        """
        if self.plan.slot is None:
            return
        needed = min(self._most, sum(side.capacity for side in self.sides))
        while len(self._chunks) * _CHUNK_SLOTS < needed:
            try:
                chunk = huge_pages(_CHUNK_SLOTS * kernel.RECORD_BYTES)
            except InputError:
                if not self._chunks:
                    raise
                self._most = len(self._chunks) * _CHUNK_SLOTS
                break
            self._directory[len(self._chunks)] = chunk.ctypes.data
            self._chunks.append(chunk)
        self._set(kernel.CAPACITY, self._most)

    def areas(self) -> list[NDArray[np.generic]]:
        """The memory the kernel may touch, beside the descriptors."""
        return [self._directory, *self._chunks, *(area for side in self.sides for area in side.areas())]

    def free_moved(self) -> None:
        """Give back what no side needs any more. Not while a kernel runs."""
        for side in self.sides:
            side.free_moved()

    @property
    def descriptor(self) -> NDArray[np.int64]:
        """What the kernel reads and writes of it, beside the descriptors of its sides."""
        return self._words

    @property
    def entries(self) -> int:
        """Entries in the table."""
        return self._get(kernel.ENTRIES)

    @property
    def created(self) -> int:
        """Entries begun so far."""
        return self._get(kernel.CREATED)

    @property
    def expired(self) -> int:
        """Entries that ended because their flow was idle, or because the run was over."""
        return self._get(kernel.EXPIRED)

    @property
    def evicted(self) -> int:
        """Entries that ended for another to begin."""
        return self._get(kernel.EVICTED)

    @property
    def refused(self) -> int:
        """Packets of new flows that found the table full."""
        return self._get(kernel.REFUSED)

    @property
    def capacity(self) -> int:
        """Entries the table takes, at most or before it grows."""
        return min(self._get(kernel.CAPACITY), sum(side.capacity for side in self.sides))

    @property
    def bytes(self) -> int:
        """Memory of tags, entries and slots."""
        return sum(side.bytes for side in self.sides) + sum(chunk.nbytes for chunk in self._chunks)

    def entries_by_key(self, idle_at_ns: int | None = None) -> NDArray[np.int64]:
        """Where entries are, as slots have it: address of the state, the side in the lowest bit.

        idle_at_ns: only those in which some state may have been idle too long at that time.
        """
        return np.concatenate([side.entries_by_key(idle_at_ns) | number for number, side in enumerate(self.sides)])

    def read(self) -> list[Entries]:
        """The entries, by side."""
        return [side.read() for side in self.sides]
