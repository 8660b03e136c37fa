"""The state of an NF as rows: the fields of the key, then the fields of its state, in host byte order."""

import numpy as np
from numpy.typing import NDArray

from fajita.plan import NFPlan, TablePlan


def row_dtype(table: TablePlan, nf: NFPlan) -> np.dtype[np.void]:
    """The structured dtype of an NF's rows; a state field named like one of the key gets `state_` before it."""
    fields = [(column.name, column.dtype) for column in table.key.columns]
    taken = {name for name, _ in fields}
    fields += [(state_column(name, taken), kind.dtype) for name, kind in type(nf.nf).state_fields.items()]
    return np.dtype(fields)


def state_column(name: str, key_fields: set[str]) -> str:
    """The column of a state field beside the columns of the key; no two fields of a state get the same."""
    bare = name
    while bare.startswith("state_"):
        bare = bare.removeprefix("state_")
    return f"state_{name}" if bare in key_fields else name


def sort_rows(rows: NDArray[np.void], table: TablePlan) -> NDArray[np.void]:
    """By key, so that the order depends neither on the engine nor on the number of workers."""
    if not table.key.columns:  # one entry at most
        return rows
    order = np.lexsort([rows[column.name] for column in reversed(table.key.columns)])
    return rows[order]


def states_only(rows: NDArray[np.void], table: TablePlan, nf: NFPlan) -> NDArray[np.void]:
    """The rows without the key, fields named as in State."""
    taken = {column.name for column in table.key.columns}
    fields = type(nf.nf).state_fields
    result = np.empty(len(rows), np.dtype([(name, kind.dtype) for name, kind in fields.items()]))
    for name in fields:
        result[name] = rows[state_column(name, taken)]
    return result


def turn_around(rows: NDArray[np.void], reverse: NDArray[np.bool_]) -> None:
    """Exchange source and destination where a connection's first packet went against the order its key is kept in."""
    for source, destination in (("src", "dst"), ("src_port", "dst_port")):
        rows[source][reverse], rows[destination][reverse] = (
            rows[destination][reverse].copy(),
            rows[source][reverse].copy(),
        )
