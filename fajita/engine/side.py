"""The memory of one side of a flow table: tags, entries and the descriptor that the kernel reads; and how it grows."""

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fajita.engine.entries import Entries, Part
from fajita.engine.memory import HUGE_PAGE, Budget, huge_pages, rounded_up
from fajita.errors import InputError
from fajita.kernel import table as kernel
from fajita.kernel.layout import BURST
from fajita.plan import TablePlan, TableSide
from fajita.table_size import area_sizes, groups_for, record_bytes

#: More entries than there ever are: no attention is due.
_NEVER = (1 << 63) - 1


@dataclass(frozen=True)
class Areas:
    """The memory of so many groups: tags, with the counts of entries that went past each group behind them; entries."""

    groups: int
    tags: NDArray[np.uint8]
    entries: NDArray[np.uint8]


class SideMemory:
    """One side of a table of a worker. The descriptor is a view of the engine's, shared with the kernel.

    capacity: entries that it must be able to hold from the beginning, and never more; None: it grows while the budget
    lasts. room: entries that it must be able to hold from the beginning.
    """

    def __init__(
        self,
        plan: TablePlan,
        side: TableSide,
        descriptor: NDArray[np.int64],
        budget: Budget,
        capacity: int | None = None,
        room: int = 0,
    ) -> None:
        self.plan, self.side = plan, side
        self._words, self._budget = descriptor, budget
        self._areas: list[Areas] = []
        self._next: Areas | None = None
        self._set(kernel.SECRET_0, secret())
        self._set(kernel.SECRET_1, secret())
        groups = groups_for(max(room, capacity or 0))
        self._budget.need(self._bytes(groups))
        self._use(self._allocate(groups))
        self._set(kernel.MOST, _NEVER)
        if capacity is not None:
            self._stop_growing()

    def _get(self, word: int) -> int:
        return int(self._words[word // 8])

    def _set(self, word: int, value: int) -> None:
        self._words[word // 8] = value

    def _bytes(self, groups: int) -> int:
        """What so many groups take, the records of their entries' slots included."""
        sizes = (*area_sizes(self.side, groups), record_bytes(self.plan, groups))
        return sum(rounded_up(size) for size in sizes)

    def _allocate(self, groups: int) -> Areas:
        tags, entries = (huge_pages(size) for size in area_sizes(self.side, groups))
        return Areas(groups, tags, entries)

    def _use(self, areas: Areas) -> None:
        """Put new entries there."""
        self._areas.append(areas)
        self._set(kernel.TAGS, areas.tags.ctypes.data)
        self._set(kernel.ENTRIES_AT, areas.entries.ctypes.data)
        self._set(kernel.MASK, areas.groups - 1)
        limit = areas.groups * kernel.FILL
        self._set(kernel.LIMIT, limit)
        # A twelfth before it has to grow the memory for that is made ready.
        self._set(kernel.ATTENTION_LATER, limit - max(limit // kernel.FILL, BURST - 1))
        self._set(kernel.ATTENTION, self._get(kernel.ATTENTION_LATER))
        self._set(kernel.PAGES_LEFT, 0)

    def attend(self) -> None:
        """What the kernel asks for when there are so many entries: make the next table ready, or begin to move there.

        Without memory for it the side stays as it is, and the table's policy for new flows holds.
        """
        self.free_moved()
        if self._next is None and not self._make_next():
            self._stop_growing()
        elif self._get(kernel.COUNT) + BURST > self._get(kernel.LIMIT):
            self._begin_to_move()

    def _make_next(self) -> bool:
        groups = 2 * (self._get(kernel.MASK) + 1)
        if not self._budget.take(self._bytes(groups)):
            return False
        try:
            self._next = self._allocate(groups)
        except InputError:
            self._budget.give_back(self._bytes(groups))
            return False
        # Tags are few and soon touched; the entries are what the kernel touches ahead, one page a burst.
        self._set(kernel.PAGES_AT, self._next.entries.ctypes.data)
        self._set(kernel.PAGES_LEFT, self._next.entries.nbytes // HUGE_PAGE)
        self._set(kernel.ATTENTION, 0)
        return True

    def _stop_growing(self) -> None:
        self._set(kernel.MOST, self._get(kernel.LIMIT))
        self._set(kernel.LIMIT, _NEVER)
        self._set(kernel.ATTENTION, _NEVER)

    def _begin_to_move(self) -> None:
        """Begin to move to the table of twice the size; the kernel does the moving, a few groups per burst."""
        assert self._next is not None
        for old, new in (
            (kernel.OLD_ENTRIES_AT, kernel.ENTRIES_AT),
            (kernel.OLD_MASK, kernel.MASK),
            (kernel.OLD_TAGS, kernel.TAGS),
        ):
            self._set(old, self._get(new))
        self._set(kernel.OLD_NEXT, 0)
        self._use(self._next)
        self._set(kernel.ATTENTION, 0)
        self._next = None

    def free_moved(self) -> None:
        """Give back the memory of the old table once all of it has moved. Not while a kernel runs."""
        if self._get(kernel.OLD_TAGS) == 0:
            for areas in self._areas[:-1]:
                self._budget.give_back(self._bytes(areas.groups))
            del self._areas[:-1]

    def areas(self) -> list[NDArray[np.uint8]]:
        """The memory the kernel may touch."""
        all_areas = [*self._areas, self._next] if self._next is not None else self._areas
        return [area for areas in all_areas for area in (areas.tags, areas.entries)]

    @property
    def descriptor(self) -> NDArray[np.int64]:
        """What the kernel reads and writes of it."""
        return self._words

    @property
    def entries(self) -> int:
        """Entries in it."""
        return self._get(kernel.COUNT)

    @property
    def capacity(self) -> int:
        """Entries that it takes before it grows, or at most if it no longer does."""
        return min(self._get(kernel.LIMIT), self._get(kernel.MOST))

    @property
    def bytes(self) -> int:
        """Memory of tags and entries, of the old table too while it grows."""
        return sum(area.nbytes for area in self.areas())

    def read(self) -> Entries:
        """Its entries."""
        return Entries.read(self.plan, self.side, [self._used(areas) for areas in self._areas])

    def entries_by_key(self, idle_at_ns: int | None = None) -> NDArray[np.int64]:
        """The addresses at which the keys of entries end, in the order of the keys.

        idle_at_ns: only of entries in which some state may have been idle too long at that time.
        """
        parts = [self._used(areas) for areas in self._areas]
        if idle_at_ns is not None:
            parts = [Part(part.memory, part.places[self._is_idle(part, idle_at_ns)]) for part in parts]
        entries = Entries.read(self.plan, self.side, parts).in_order()
        addresses = [part.memory.ctypes.data + part.places * self.side.entry_bytes for part in parts]
        return np.concatenate(addresses)[entries.order] + self.side.key_bytes

    def _is_idle(self, part: Part, clock_ns: int) -> NDArray[np.bool_]:
        """Whether some state in each entry may have been idle too long; times wrap as the kernel's do."""
        assert self.plan.last_seen is not None
        start = self.side.key_bytes + self.plan.last_seen
        last_seen = part.memory[part.places, start : start + 8].view(np.int64)[:, 0]
        return np.int64(clock_ns) - last_seen >= self.plan.shortest_idle_ns

    def _used(self, areas: Areas) -> Part:
        """The entries there."""
        width, places = self.side.entry_bytes, areas.groups * kernel.GROUP
        used = np.flatnonzero(areas.tags[:places] != kernel.FREE)
        return Part(areas.entries[: places * width].reshape(-1, width), used)


def secret() -> int:
    """64 random bits as int64."""
    return secrets.randbits(64) - (1 << 63)
