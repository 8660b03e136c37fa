"""The records that NFs emit, on their way out of a run: kept in memory, or written to Parquet files as they come."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fajita.engine.interface import Engine
from fajita.errors import InputError, errors_at_the_end
from fajita.plan import NFPlan, Plan

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows of an NF by side of its table, in the order in which they were emitted.
Sides = list[NDArray[np.void]]

#: Rows that a file gets at once, as a row group: so many are held in memory.
GROUP_ROWS = 1 << 16


class RecordSink(Protocol):
    """Where the records of a run go."""

    def write(self, nf: NFPlan, sides: Sides) -> None:
        """Take what an NF has emitted since the last call; InputError if that cannot be."""

    def close(self) -> None:
        """The run has ended, however it did; InputError if what was taken cannot be finished."""


def hand_over(engine: Engine, plan: Plan, sink: RecordSink | None) -> None:
    """Give the sink what was emitted since the last call; without one it is dropped, having been counted.

    InputError for the first NF whose records the sink does not take, after it was given the others'.
    """
    with errors_at_the_end() as unless_refused:
        for nf in plan.nfs:
            if nf.translated.may_emit:
                sides = engine.take_records(nf)
                if sink is not None:
                    with unless_refused():
                        sink.write(nf, sides)


class _Waiting:
    """Rows of an NF that came one after the other; count: how many."""

    def __init__(self) -> None:
        self._parts: list[Sides] = []
        self.count = 0

    def add(self, sides: Sides) -> None:
        if rows := sum(map(len, sides)):
            self._parts.append(sides)
            self.count += rows

    def joined(self, plan: Plan, nf: NFPlan) -> Sides:
        """All of them, by side."""
        from fajita.engine.rows import row_dtype

        assert nf.table is not None
        packings = [side.packing for side in plan.tables[nf.table].sides]
        empty = [np.empty(0, row_dtype(packing, nf)) for packing in packings]
        return [np.concatenate(parts) for parts in zip(empty, *self._parts, strict=True)]


class KeptRecords:
    """Keeps the records of a run in memory."""

    def __init__(self) -> None:
        self._waiting: dict[int, _Waiting] = {}

    def write(self, nf: NFPlan, sides: Sides) -> None:
        """Keep them."""
        self._waiting.setdefault(nf.index, _Waiting()).add(sides)

    def close(self) -> None:
        """Nothing is left to do."""

    def table(self, plan: Plan, nf: NFPlan) -> "pa.Table":
        """All records of an NF, IPv4's before IPv6's, each in the order in which they were emitted."""
        from fajita.export import rows_table

        return rows_table(plan, nf, self._waiting.get(nf.index, _Waiting()).joined(plan, nf))


class RecordFiles:
    """Writes NAME.records.parquet in a folder for each NF of a chain that may emit: whole or not at all."""

    def __init__(self, folder: str | Path, plan: Plan) -> None:
        self._files = {
            nf.index: _RecordFile(Path(folder) / f"{nf.nf.name}.records.parquet", plan, nf)
            for nf in plan.nfs
            if nf.translated.may_emit
        }

    def write(self, nf: NFPlan, sides: Sides) -> None:
        """Append them to the NF's file; InputError if it cannot be written, which it is then no more."""
        self._files[nf.index].write(sides)

    def close(self) -> None:
        """Finish the files; InputError for the first that cannot be, after all that can."""
        try:
            with errors_at_the_end() as unless_refused:
                for file in self._files.values():
                    with unless_refused():
                        file.close()
        finally:  # where an interruption left some unfinished
            for file in self._files.values():
                file.discard()


class _RecordFile:
    """One of them; under another name until it is whole."""

    def __init__(self, path: Path, plan: Plan, nf: NFPlan) -> None:
        self.path, self.partial = path, path.with_suffix(".partial")
        self._plan, self._nf = plan, nf
        self._waiting = _Waiting()
        self._writer: Any = None
        self._has_ended = False

    def write(self, sides: Sides) -> None:
        if not self._has_ended:
            self._waiting.add(sides)
            if self._waiting.count >= GROUP_ROWS:
                with self._discarded_on_failure():
                    self._write_group()

    def close(self) -> None:
        if not self._has_ended:
            with self._discarded_on_failure():
                self._write_group()
                self._writer.close()
                os.replace(self.partial, self.path)
            self._has_ended = True

    def _write_group(self) -> None:
        import pyarrow.parquet as pq

        from fajita.export import rows_table

        waiting, self._waiting = self._waiting, _Waiting()
        table = rows_table(self._plan, self._nf, waiting.joined(self._plan, self._nf))
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.partial, table.schema)
        self._writer.write_table(table)

    def discard(self) -> None:
        """Leave nothing of a file that is not whole."""
        if self._has_ended:
            return
        self._has_ended = True
        with suppress(OSError):
            if self._writer is not None:
                self._writer.close()
        with suppress(OSError):
            self.partial.unlink(missing_ok=True)

    @contextmanager
    def _discarded_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.discard()
            if isinstance(error, OSError):
                what = f"cannot write: {error.strerror or error}"
                raise InputError(what, str(self.path), "name a folder with room") from None
            raise


class SeveralSinks:
    """Gives records to several sinks; what one refuses costs the others nothing."""

    def __init__(self, sinks: Sequence[RecordSink]) -> None:
        self._sinks = sinks

    def write(self, nf: NFPlan, sides: Sides) -> None:
        """Give them to each; InputError for the first that does not take them."""
        with errors_at_the_end() as unless_refused:
            for sink in self._sinks:
                with unless_refused():
                    sink.write(nf, sides)

    def close(self) -> None:
        """The run has ended for each; InputError for the first that cannot be finished."""
        with errors_at_the_end() as unless_refused:
            for sink in self._sinks:
                with unless_refused():
                    sink.close()
