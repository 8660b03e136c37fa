"""The entries of one side of a table, read once for all its NFs: keys, and rows of each NF's states."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fajita.engine.rows import elements, order_of, row_dtype, state_column, turn_around
from fajita.key import KeyColumn
from fajita.plan import NFPlan, TablePlan, TableSide


@dataclass(frozen=True)
class Part:
    """Entries in one area: memory (places, bytes of an entry), and the places of the entries in it."""

    memory: NDArray[np.uint8]
    places: NDArray[np.intp]


@dataclass(frozen=True)
class Entries:
    """The entries of one side, of one worker or several, where they lie: to be read before the next packet is run.

    keys: a row each, fields in host byte order; of a connection the way of its first packet. marks: of each, which NFs
    have a state in it. order: in which rows are made of them, and of which.
    """

    table: TablePlan
    side: TableSide
    parts: Sequence[Part]
    keys: NDArray[np.void]
    marks: NDArray[np.uint8]
    order: NDArray[np.intp]

    @classmethod
    def read(cls, table: TablePlan, side: TableSide, parts: Sequence[Part]) -> "Entries":
        """All entries of some areas, in their order there."""
        keys = np.zeros(
            sum(len(part.places) for part in parts), [(each.name, *each.dtype) for each in side.packing.columns]
        )
        heads = _bytes(parts, 0, side.key_bytes)
        for column in side.packing.columns:
            start = column.word * 8 + column.shift // 8
            keys[column.name] = _numbers(heads[:, start : start + column.bits // 8], column)
        if table.direction is not None:
            turn_around(keys, _bytes(parts, side.key_bytes + table.direction, 1)[:, 0] == 1)
        return cls(table, side, parts, keys, heads[:, -1].copy(), np.arange(len(keys)))

    def in_order(self) -> "Entries":
        """Sorted by key."""
        return replace(self, order=order_of(self.keys, self.side.packing))

    def rows(self, nf: NFPlan, *, arrays: bool = True, keys: bool = True) -> NDArray[np.void]:
        """A row per entry that has a state of the NF; a field that nothing stores is 0.

        arrays, keys: whether the rows have those of the states, and the fields of the key.
        """
        has_state = (self.marks >> nf.mark & 1).astype(bool)
        chosen = self if has_state.all() else replace(self, order=self.order[has_state[self.order]])
        return chosen.decode(nf, arrays=arrays, keys=keys)

    def decode(self, nf: NFPlan, *, arrays: bool = True, keys: bool = True) -> NDArray[np.void]:
        """A row per entry, all of which have a state of the NF."""
        rows = np.zeros(len(self.order), row_dtype(self.side.packing, nf, arrays=arrays, keys=keys))
        taken = {column.name for column in self.side.packing.columns} if keys else set()
        for name in taken:
            rows[name] = self.keys[name].take(self.order, axis=0)
        stored = {name: kind for name, kind in type(nf.nf).state_fields.items() if name in nf.offsets}
        first = min((nf.offsets[name] for name in stored), default=0)
        end = max((nf.offsets[name] + kind.bytes for name, kind in stored.items()), default=first)
        states = self._states(first, end)
        for name, kind in stored.items():
            start = nf.offsets[name] - first
            values = np.ascontiguousarray(states[:, start : start + kind.bytes])
            rows[state_column(name, taken)] = values.view(kind.dtype)[:, 0]
        for name, array in nf.nf.state_arrays.items() if arrays else ():
            at = nf.offsets[name]
            rows[state_column(name, taken)] = elements(self._states(at, at + array.bytes), array)
        return rows

    def _states(self, start: int, end: int) -> NDArray[np.uint8]:
        """The bytes from here to there behind the keys, in order."""
        return _bytes(self.parts, self.side.key_bytes + start, end - start).take(self.order, axis=0)


def joined(workers: Sequence[Entries]) -> Entries:
    """Entries of several workers, one after the other."""
    first, keys = workers[0], np.concatenate([entries.keys for entries in workers])
    marks = np.concatenate([entries.marks for entries in workers])
    parts = [part for entries in workers for part in entries.parts]
    return Entries(first.table, first.side, parts, keys, marks, np.arange(len(keys)))


def _bytes(parts: Sequence[Part], start: int, size: int) -> NDArray[np.uint8]:
    """What lies in each entry from `start` on, a row each."""
    read = [part.memory[part.places, start : start + size] for part in parts]
    return read[0] if len(read) == 1 else np.concatenate(read)


def _numbers(data: NDArray[np.uint8], column: KeyColumn) -> NDArray[np.uint64]:
    """Bytes in network order, a row each, as numbers; of an IPv6 address both halves."""
    if column.kind == "ipv6":
        return np.ascontiguousarray(data).view(">u8").astype(np.uint64)
    number = np.zeros((len(data), 8), np.uint8)
    number[:, 8 - data.shape[1] :] = data
    return number.view(">u8")[:, 0].astype(np.uint64) >> np.uint64(column.value_shift) & np.uint64(column.value_mask)
