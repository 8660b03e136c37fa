"""The states and the variables of several workers as one: what is read, exported and summed up at the end of a run.

What an NF declares (Sum, Max, Min, Or) is merged with its own arithmetic: a sum wraps in the field's width, and of 64
bits the largest is the one that its `max` would choose, to which numbers from 2**63 on are negative.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.engine.rows import key_words, sort_rows, state_column
from fajita.key import Packing
from fajita.plan import NFPlan
from fajita.state_types import ArrayType, StateType

_MERGES: dict[str, np.ufunc] = {"sum": np.add, "max": np.maximum, "min": np.minimum, "or": np.bitwise_or}


def merge_rows(rows: NDArray[np.void], packing: Packing, nf: NFPlan) -> NDArray[np.void]:
    """The rows (rows.row_dtype) that all workers have of an NF for one side of a replicated table, sorted by key, as
    one row for each key."""
    if not len(rows):
        return rows
    starts = np.flatnonzero(_is_first_of_key(rows, packing))
    merged = rows[starts]
    if len(merged) == len(rows):
        return merged
    taken = {column.name for column in packing.columns}
    for name, kind in _types(nf).items():
        column = state_column(name, taken)
        # A field that is not declared is one that nothing assigns: 0 in all rows.
        if kind.merge is not None and column in (rows.dtype.names or ()):
            values, merge = _as_compared(rows[column], kind), _MERGES[kind.merge]
            merged[column] = merge.reduceat(values, starts, axis=0, dtype=values.dtype).view(rows[column].dtype)
    return merged


def count_keys(parts: Sequence[NDArray[np.void]], packing: Packing) -> int:
    """How many different keys there are among rows that begin with one."""
    return int(np.count_nonzero(_is_first_of_key(sort_rows(np.concatenate(parts), packing), packing)))


def merge_core(nf: NFPlan, workers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The variables of an NF: of those that it declares what all workers have together, of any other a list of what
    each has, in their order. workers: the same variables of each, arrays among them or not."""
    types = type(nf.nf).core_fields | nf.nf.core_arrays
    return {name: _merged([worker[name] for worker in workers], types.get(name)) for name in workers[0]}


def _merged(values: list[Any], kind: StateType | ArrayType | None) -> Any:
    """kind: None of a map."""
    if kind is None or kind.merge is None:
        return values
    element = kind.element if isinstance(kind, ArrayType) else kind
    given = np.array(values, None if isinstance(kind, ArrayType) else element.dtype)
    compared = _as_compared(given, element)
    merged = _MERGES[kind.merge].reduce(compared, axis=0, dtype=compared.dtype)
    return merged.view(given.dtype) if isinstance(kind, ArrayType) else int(merged.view(given.dtype))


def _is_first_of_key(rows: NDArray[np.void], packing: Packing) -> NDArray[np.bool_]:
    """Of rows that are sorted by key, whether one has another key than the one before."""
    is_first = np.zeros(len(rows), bool)
    is_first[:1] = True
    for words in key_words(rows, packing):
        is_first[1:] |= words[1:] != words[:-1]
    return is_first


def _types(nf: NFPlan) -> dict[str, StateType]:
    """Of the fields of a state, and of the elements of its arrays."""
    return type(nf.nf).state_fields | {name: kind.element for name, kind in nf.nf.state_arrays.items()}


def _as_compared(values: NDArray[Any], kind: StateType) -> NDArray[Any]:
    """Values as an NF's `max` and `min` see them."""
    return values.view(np.int64) if kind.merge in ("max", "min") and kind.bytes == 8 else values
