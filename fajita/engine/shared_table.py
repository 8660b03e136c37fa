"""The memory of a flow table that all workers share, how it grows, and what each worker has of its own for it.

While workers are at work they find and insert entries; everything here but `SharedPart`'s counts is for when all stand
still. What workers keep of their own (kernel/shared_table.py) is in the table by then: they pour it in when their
kernels return.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fajita.engine.entries import Entries
from fajita.engine.memory import Budget
from fajita.engine.side import Areas, SideMemory
from fajita.kernel import slots
from fajita.kernel import table as kernel
from fajita.kernel.layout import BURST
from fajita.kernel.shared_table import copies_layout
from fajita.plan import LINE_BYTES, TablePlan, TableSide

#: What a worker's descriptor of a side has from the one that all have in common.
_COMMON = (
    kernel.TAGS,
    kernel.ENTRIES_AT,
    kernel.MASK,
    kernel.COUNT,
    kernel.LIMIT,
    kernel.MOST,
    kernel.ATTENTION,
    kernel.SECRET_0,
    kernel.SECRET_1,
)

#: Has the kernel do to a table what all workers stand still for: the word of the context that asks for it, the table.
Ask = Callable[[str, int], None]


def words_apart(words: int) -> NDArray[np.int64]:
    """Zeros, in cache lines of their own: what one worker writes there slows down nobody beside it."""
    per_line = LINE_BYTES // 8
    memory = np.zeros((-(-words // per_line) + 1) * per_line, np.int64)
    start = -memory.ctypes.data % LINE_BYTES // 8
    return memory[start : start + words]


class _SharedSide(SideMemory):
    """One side of it. The descriptor is the one that all workers have in common."""

    def __init__(self, plan: TablePlan, side: TableSide, workers: int, budget: Budget) -> None:
        self._in_flight = BURST * (workers - 1)
        super().__init__(plan, side, words_apart(kernel.DESCRIPTOR_BYTES // 8), budget, room=2 * BURST * workers)

    def _use(self, areas: Areas) -> None:
        """As many entries fewer as the other workers may begin until they stand still."""
        super()._use(areas)
        limit = self._get(kernel.LIMIT) - self._in_flight
        self._set(kernel.LIMIT, limit)
        self._set(kernel.ATTENTION_LATER, limit - BURST + 1)
        self._set(kernel.ATTENTION, limit - BURST + 1)

    def _stop_growing(self) -> None:
        """From now on nobody has to stand still for it, and it takes all that fit."""
        self._set(kernel.LIMIT, self._get(kernel.LIMIT) + self._in_flight)
        super()._stop_growing()

    @property
    def common(self) -> NDArray[np.int64]:
        """The descriptor."""
        return self._words

    def begin_to_grow(self) -> bool:
        """If it has to grow, and can: the kernel then moves all entries."""
        if self._get(kernel.COUNT) + BURST <= self._get(kernel.LIMIT):
            return False
        if not self._make_next():
            self._stop_growing()
            return False
        self._begin_to_move()
        return True


class SharedTable:
    """A table that so many workers share; its plan is one of those of `for_workers`."""

    def __init__(self, plan: TablePlan, workers: int, budget: Budget) -> None:
        self.plan, self.budget = plan, budget
        self.sides = [_SharedSide(plan, side, workers, budget) for side in plan.sides]
        self.parts: list[SharedPart] = []

    def join(self, part: "SharedPart") -> None:
        """A worker more."""
        self.parts.append(part)
        part.hear(self.sides)

    def grow(self) -> None:
        """Make each side that has to grow twice as large, or refuse new flows from now on if there is no memory."""
        growing = [side.begin_to_grow() for side in self.sides]
        if any(growing):
            self.parts[0].ask("moved", self.plan.index)
        for side in self.sides:
            side.free_moved()
        for part in self.parts:
            part.hear(self.sides)

    def fold(self) -> None:
        """Make what workers did to entries of others part of these."""
        self.parts[0].ask("folded", self.plan.index)

    def areas(self) -> list[NDArray[np.generic]]:
        """The memory that kernels may touch, but for what is a worker's own."""
        areas: list[NDArray[np.generic]] = [side.common for side in self.sides]
        return [*areas, *(area for side in self.sides for area in side.areas())]

    @property
    def entries(self) -> int:
        """Entries in the table."""
        return sum(side.entries for side in self.sides)

    @property
    def created(self) -> int:
        """Entries begun so far."""
        return sum(part.created for part in self.parts)

    @property
    def expired(self) -> int:
        """Entries that ended because their flow was idle, or because the run was over."""
        return sum(part.expired for part in self.parts)

    @property
    def evicted(self) -> int:
        """None ends for another to begin."""
        return 0

    @property
    def refused(self) -> int:
        """Packets of new flows that found the table full."""
        return sum(part.refused for part in self.parts)

    @property
    def capacity(self) -> int:
        """Entries it takes before it grows, or at most if it no longer does."""
        return sum(side.capacity for side in self.sides)

    @property
    def bytes(self) -> int:
        """Memory of tags and entries."""
        return sum(side.bytes for side in self.sides)

    def entries_by_key(self, idle_at_ns: int | None = None) -> NDArray[np.int64]:
        """FlowTable.entries_by_key."""
        self.fold()
        return np.concatenate([side.entries_by_key(idle_at_ns) | number for number, side in enumerate(self.sides)])

    def read(self) -> list[Entries]:
        """FlowTable.read."""
        self.fold()
        return [side.read() for side in self.sides]


class SharedPart:
    """A table as one of the workers has it: its descriptors, which are views of its engine's, and its copies.

    It counts what this worker did. All that is everybody's is the first worker's, so that the parts of all workers
    together are the table.
    """

    def __init__(
        self, table: SharedTable, worker: int, descriptor: NDArray[np.int64], sides: NDArray[np.int64], ask: Ask
    ) -> None:
        self.table, self.plan, self.sides, self.ask = table, table.plan, table.sides, ask
        self._is_first = worker == 0
        self._words = descriptor
        self._descriptors = [sides[side.index] for side in table.plan.sides]
        layouts = [copies_layout(side.entry_bytes) for side in table.plan.sides]
        self._copies = [words_apart(layout.bytes // 8) for layout in layouts]
        table.budget.need(sum(layout.bytes for layout in layouts))
        for words, copies, side, layout in zip(self._descriptors, self._copies, table.sides, layouts, strict=True):
            words[kernel.SHARED_AT // 8] = side.common.ctypes.data
            words[kernel.WORKER // 8] = worker + 1
            words[kernel.HELD_AT // 8] = copies.ctypes.data
            words[kernel.COPIES_AT // 8] = copies.ctypes.data + layout.copies_at
        table.join(self)

    def hear(self, sides: list[_SharedSide]) -> None:
        """Take over what has changed of the sides."""
        for words, side in zip(self._descriptors, sides, strict=True):
            for word in _COMMON:
                words[word // 8] = side.common[word // 8]

    def areas(self) -> list[NDArray[np.generic]]:
        """The memory that the worker's kernel may touch, beside its descriptors."""
        return [*self._copies, *self.table.areas()]

    def attend(self, side: int) -> None:
        """Nothing: `grow` does it, when all stand still."""

    def free_moved(self) -> None:
        """Nothing, for the same reason."""

    def _count(self, word: int) -> int:
        return int(self._words[word // 8])

    @property
    def created(self) -> int:
        """Entries that this worker began."""
        return self._count(slots.CREATED)

    @property
    def expired(self) -> int:
        """Entries that it ended."""
        return self._count(slots.EXPIRED)

    @property
    def evicted(self) -> int:
        """None."""
        return 0

    @property
    def refused(self) -> int:
        """Packets of new flows that it refused, as the table was full."""
        return self._count(slots.REFUSED)

    @property
    def entries(self) -> int:
        """SharedTable.entries."""
        return self.table.entries if self._is_first else 0

    @property
    def capacity(self) -> int:
        """SharedTable.capacity."""
        return self.table.capacity if self._is_first else 0

    @property
    def bytes(self) -> int:
        """Memory of this worker's copies; with the first's, that of the table."""
        return sum(copies.nbytes for copies in self._copies) + (self.table.bytes if self._is_first else 0)

    def entries_by_key(self, idle_at_ns: int | None = None) -> NDArray[np.int64]:
        """SharedTable.entries_by_key."""
        return self.table.entries_by_key(idle_at_ns) if self._is_first else np.zeros(0, np.int64)

    def read(self) -> list[Entries]:
        """SharedTable.read; none for any but the first worker."""
        return self.table.read() if self._is_first else []
