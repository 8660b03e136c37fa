"""The records that an NF has emitted and nobody has taken yet."""

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from fajita.engine.rows import row_dtype
from fajita.key import Packing
from fajita.plan import NFPlan
from fajita.reference.flow_key import KeyValues
from fajita.reference.record import Record

Row = tuple[Any, ...]


def make_row(flow: KeyValues, state: Record, packing: Packing, *, arrays: bool = True) -> Row:
    """The values of a row: those of the key, an IPv6 address as two halves, then what the state holds now.

    arrays: whether with its arrays.
    """
    is_address = [column.kind == "ipv6" for column in packing.columns]
    key = [
        (value >> 64, value & (1 << 64) - 1) if wide else value
        for value, wide in zip(flow.fields, is_address, strict=True)
    ]
    kind = type(state)
    copies = (state.kept[name].copy() for name in kind.arrays) if arrays else ()
    return (*key, *(state.kept[name] for name in kind.fields), *copies)


class Records:
    """Of one NF. packings: those of its table's key, one for each side. flows: the flow that each state is of."""

    def __init__(self, nf: NFPlan, packings: list[Packing], flows: WeakKeyDictionary[Record, KeyValues]) -> None:
        self.nf, self.packings, self._flows = nf, packings, flows
        self._rows: list[list[Row]] = [[] for _ in packings]
        self.count = 0

    def begin(self, state: Record, flow: KeyValues) -> None:
        """A new state, and the flow it is of, the way of its first packet."""
        self._flows[state] = flow

    def emit(self, state: Record) -> None:
        """Append what the state holds now."""
        flow = self._flows[state]
        side = [packing.family for packing in self.packings].index(flow.family)
        self._rows[side].append(make_row(flow, state, self.packings[side]))
        self.count += 1

    def take(self) -> list[NDArray[np.void]]:
        """The rows since the last call, by side."""
        taken, self._rows = self._rows, [[] for _ in self.packings]
        return [np.array(rows, row_dtype(packing, self.nf)) for rows, packing in zip(taken, self.packings, strict=True)]
