"""The entries of one side of a table, read once for all its NFs: keys, and rows of each NF's states."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fajita.engine.rows import elements, order_of, row_dtype, rows_at, state_column, turn_around
from fajita.key import KeyColumn
from fajita.plan import NFPlan, TablePlan, TableSide


@dataclass(frozen=True)
class Entries:
    """Copies of entries. lines: the bytes of each, (entries, bytes), the arrays at their ends left out or not.

    keys: a row each, fields in host byte order; of a connection the way of its first packet.
    """

    table: TablePlan
    side: TableSide
    lines: NDArray[np.uint8]
    keys: NDArray[np.void]

    @classmethod
    def read(cls, table: TablePlan, side: TableSide, lines: NDArray[np.uint8]) -> "Entries":
        """Entries that lie in memory as the rows of `lines`."""
        keys = np.zeros(len(lines), [(column.name, column.dtype) for column in side.packing.columns])
        for column in side.packing.columns:
            start = column.word * 8 + column.shift // 8
            keys[column.name] = _numbers(lines[:, start : start + column.bits // 8], column)
        if table.direction is not None:
            turn_around(keys, lines[:, side.key_bytes + table.direction] == 1)
        return cls(table, side, lines, keys)

    def in_order(self) -> "Entries":
        """Sorted by key."""
        order = order_of(self.keys, self.side.packing)
        return Entries(self.table, self.side, self.lines.take(order, axis=0), rows_at(self.keys, order))

    def rows(self, nf: NFPlan, *, arrays: bool = True) -> NDArray[np.void]:
        """A row per entry that has a state of the NF, in their order; a field that nothing stores is 0.

        arrays: whether the lines, and the rows, have those of the states.
        """
        has_state = (self.lines[:, self.side.key_bytes - 1] >> nf.mark & 1).astype(bool)
        if has_state.all():
            return self.decode(nf, arrays=arrays)
        return Entries(self.table, self.side, self.lines[has_state], self.keys[has_state]).decode(nf, arrays=arrays)

    def decode(self, nf: NFPlan, *, arrays: bool = True) -> NDArray[np.void]:
        """A row per entry, all of which have a state of the NF."""
        rows = np.zeros(len(self.lines), row_dtype(self.side.packing, nf, arrays=arrays))
        taken = {column.name for column in self.side.packing.columns}
        for name in taken:
            rows[name] = self.keys[name]
        for name, kind in type(nf.nf).state_fields.items():
            if name not in nf.offsets:
                continue
            start = self.side.key_bytes + nf.offsets[name]
            values = np.ascontiguousarray(self.lines[:, start : start + kind.bytes]).view(kind.dtype)[:, 0]
            rows[state_column(name, taken)] = values
        for name, array in nf.nf.state_arrays.items() if arrays else ():
            start = self.side.key_bytes + nf.offsets[name]
            rows[state_column(name, taken)] = elements(self.lines[:, start : start + array.bytes], array)
        return rows


def joined(parts: Sequence[Entries]) -> Entries:
    """Entries of several workers, or of several memories, one after the other."""
    first = parts[0]
    lines = np.concatenate([part.lines for part in parts])
    return Entries(first.table, first.side, lines, np.concatenate([part.keys for part in parts]))


def _numbers(data: NDArray[np.uint8], column: KeyColumn) -> NDArray[np.uint64]:
    """Bytes in network order, a row each, as numbers; of an IPv6 address both halves."""
    if column.kind == "ipv6":
        return np.ascontiguousarray(data).view(">u8").astype(np.uint64)
    number = np.zeros((len(data), 8), np.uint8)
    number[:, 8 - data.shape[1] :] = data
    return number.view(">u8")[:, 0].astype(np.uint64) >> np.uint64(column.value_shift) & np.uint64(column.value_mask)
