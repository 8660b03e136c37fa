"""The state of NFs as Arrow tables and Parquet files."""

import os
from collections.abc import Iterator
from pathlib import Path
from socket import AF_INET6, inet_ntop

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fajita.engine.interface import Engine
from fajita.engine.rows import state_column
from fajita.errors import InputError, errors_at_the_end
from fajita.key import Packing
from fajita.plan import NFPlan, Plan

_DECIMAL = pa.array([str(byte) for byte in range(256)])
_HEXADECIMAL = pa.array([f"{byte:02x}" for byte in range(256)])


def rows_table(plan: Plan, nf: NFPlan, sides: list[NDArray[np.void]]) -> pa.Table:
    """Rows of an NF by side of its table, in their order, IPv4 before IPv6: the key's fields, then the state's.

    Addresses are text, flags booleans, everything else integers of the width they are kept in; arrays are lists.
    """
    assert nf.table is not None
    pairs = zip(plan.tables[nf.table].sides, sides, strict=True)
    return pa.concat_tables([_side_table(rows, side.packing, nf) for side, rows in pairs])


def _side_table(rows: NDArray[np.void], packing: Packing, nf: NFPlan) -> pa.Table:
    names = {column.name for column in packing.columns}
    kinds = {column.name: column.kind for column in packing.columns}
    kinds |= {state_column(name, names): kind.shown for name, kind in type(nf.nf).state_fields.items()}
    columns = {name: _column(np.ascontiguousarray(rows[name]), kind) for name, kind in kinds.items()}
    for name, array in nf.nf.state_arrays.items():
        values = np.ascontiguousarray(rows[state_column(name, names)]).reshape(-1)
        column = pa.FixedSizeListArray.from_arrays(_column(values, array.element.shown), array.length)
        columns[state_column(name, names)] = column
    return pa.table(columns)


def _column(values: NDArray[np.generic], kind: str) -> pa.Array:
    if kind == "ipv4":
        return _address_text(values, 4, _DECIMAL, ".")
    if kind == "ipv6":
        data = values.astype(">u8").tobytes()
        return pa.array([inet_ntop(AF_INET6, data[at : at + 16]) for at in range(0, len(data), 16)], pa.string())
    if kind == "mac":
        return _address_text(values, 6, _HEXADECIMAL, ":")
    return pa.array(values.astype(bool) if kind == "bool" else values)


def _address_text(values: NDArray[np.generic], size: int, texts: pa.Array, separator: str) -> pa.Array:
    """Numbers in host order as text, byte by byte from the highest, without a Python object per row."""
    wide = values.astype(np.uint64)
    parts = [texts.take(pa.array((wide >> np.uint64(8 * byte)) & np.uint64(255))) for byte in reversed(range(size))]
    return pc.binary_join_element_wise(*parts, separator)


def _states(engine: Engine, plan: Plan) -> Iterator[tuple[NFPlan, list[NDArray[np.void]]]]:
    """The rows of each NF with state, table by table."""
    for table in plan.tables:
        nfs = [plan.nfs[index] for index in table.nfs]
        yield from zip(nfs, engine.rows_of(nfs), strict=True)


def export_state(engine: Engine, plan: Plan, folder: str | Path) -> list[Path]:
    """Write one Parquet file per NF with state, named after the NF, whole or not at all.

    InputError for the first that cannot be written, after all that can.
    """
    written = []
    with errors_at_the_end() as unless_refused:
        for nf, sides in _states(engine, plan):
            path = Path(folder) / f"{nf.nf.name}.parquet"
            with unless_refused():
                _write_whole(rows_table(plan, nf, sides), path)
                written.append(path)
    return written


def _write_whole(table: pa.Table, path: Path) -> None:
    """Under another name until it is whole."""
    partial = path.with_suffix(".partial")
    try:
        pq.write_table(table, partial)
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror or error}", str(path), "name a folder with room") from None
    finally:
        partial.unlink(missing_ok=True)
