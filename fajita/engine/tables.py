"""The memory of a flow table: tags, entries and the descriptor that the kernel reads; and how it grows."""

import secrets

import numpy as np
from numpy.typing import NDArray

from fajita.engine.memory import huge_pages
from fajita.engine.rows import elements, row_dtype, sort_rows, state_column, turn_around
from fajita.kernel import table as kernel
from fajita.key import KeyColumn
from fajita.plan import NFPlan, TablePlan, TableSide

_FIRST_GROUPS = 64


class FlowTable:
    """One side of a table of a worker. The descriptor is a view of the engine's, shared with the kernel."""

    def __init__(self, plan: TablePlan, side: TableSide, descriptor: NDArray[np.int64]) -> None:
        self.plan, self.side = plan, side
        self._words = descriptor
        self._areas: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
        self._set(kernel.SECRET_0, _secret())
        self._set(kernel.SECRET_1, _secret())
        self._allocate(_FIRST_GROUPS)

    def _get(self, word: int) -> int:
        return int(self._words[word // 8])

    def _set(self, word: int, value: int) -> None:
        self._words[word // 8] = value

    def _allocate(self, groups: int) -> None:
        places = groups * kernel.GROUP
        tags, entries = huge_pages(places), huge_pages(places * self.side.entry_bytes)
        self._areas.append((tags, entries))
        self._set(kernel.TAGS, tags.ctypes.data)
        self._set(kernel.ENTRIES_AT, entries.ctypes.data)
        self._set(kernel.MASK, groups - 1)
        self._set(kernel.LIMIT, groups * kernel.FILL)

    def grow(self) -> None:
        """Begin to move to a table of twice the size; the kernel does the moving, a few groups per burst."""
        del self._areas[:-1]
        self._set(kernel.OLD_ENTRIES_AT, self._get(kernel.ENTRIES_AT))
        self._set(kernel.OLD_MASK, self._get(kernel.MASK))
        self._set(kernel.OLD_NEXT, 0)
        old_tags = self._get(kernel.TAGS)
        self._allocate(2 * (self._get(kernel.MASK) + 1))
        self._set(kernel.OLD_TAGS, old_tags)

    def free_moved(self) -> None:
        """Give back the memory of the old table once all of it has moved. Not while a kernel runs."""
        if self._get(kernel.OLD_TAGS) == 0:
            del self._areas[:-1]

    def areas(self) -> list[NDArray[np.uint8]]:
        """The memory the kernel may touch."""
        return [area for pair in self._areas for area in pair]

    @property
    def entries(self) -> int:
        """Entries in the table."""
        return self._get(kernel.COUNT)

    @property
    def created(self) -> int:
        """Entries made so far."""
        return self._get(kernel.CREATED)

    @property
    def expired(self) -> int:
        """Entries that ended by their timeout so far."""
        return self._get(kernel.EXPIRED)

    @property
    def capacity(self) -> int:
        """Entries the table takes before it grows."""
        return self._get(kernel.LIMIT)

    @property
    def bytes(self) -> int:
        """Memory of tags and entries, of the old table too while it grows."""
        return sum(area.nbytes for area in self.areas())

    def rows(self, nf: NFPlan, *, arrays: bool = True) -> NDArray[np.void]:
        """The state of one NF of this table, a row per entry that has any, sorted by key; without its arrays if so."""
        parts = [self._rows_of(tags, entries, nf, arrays) for tags, entries in self._areas]
        return sort_rows(np.concatenate(parts), self.side.packing)

    def _rows_of(
        self, tags: NDArray[np.uint8], entries: NDArray[np.uint8], nf: NFPlan, arrays: bool
    ) -> NDArray[np.void]:
        width, states = self.side.entry_bytes, self.side.key_bytes
        places = len(entries) // width
        lines = entries[: places * width].reshape(-1, width)[: len(tags)]
        used = np.flatnonzero(tags[: len(lines)] > kernel.GONE)
        used = used[(lines[used, states - 1] >> nf.mark & 1).astype(bool)]
        scalars = lines[used, : states + self.plan.scalar_bytes]
        rows = np.empty(len(used), row_dtype(self.side.packing, nf, arrays=arrays))
        for column in self.side.packing.columns:
            start = column.word * 8 + column.shift // 8
            rows[column.name] = _numbers(scalars[:, start : start + column.bits // 8], column)
        if self.plan.direction is not None:
            turn_around(rows, scalars[:, states + self.plan.direction] == 1)
        taken = {column.name for column in self.side.packing.columns}
        for name, kind in type(nf.nf).state_fields.items():
            start = states + nf.offsets[name]
            values = np.ascontiguousarray(scalars[:, start : start + kind.bytes]).view(kind.dtype)[:, 0]
            rows[state_column(name, taken)] = values
        for name, array in nf.nf.state_arrays.items() if arrays else ():
            start = states + nf.offsets[name]
            rows[state_column(name, taken)] = elements(lines[used, start : start + array.bytes], array)
        return rows


def _numbers(data: NDArray[np.uint8], column: KeyColumn) -> NDArray[np.uint64]:
    """Bytes in network order, a row each, as numbers; of an IPv6 address both halves."""
    if column.kind == "ipv6":
        return np.ascontiguousarray(data).view(">u8").astype(np.uint64)
    number = np.zeros((len(data), 8), np.uint8)
    number[:, 8 - data.shape[1] :] = data
    return number.view(">u8")[:, 0].astype(np.uint64) >> np.uint64(column.value_shift) & np.uint64(column.value_mask)


def _secret() -> int:
    """64 random bits as int64."""
    return secrets.randbits(64) - (1 << 63)
