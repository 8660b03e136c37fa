"""What both engines offer."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from fajita.engine.counters import Counters, WorkerLoad
from fajita.io.frames import FrameBlock
from fajita.plan import NFPlan
from fajita.translation import TranslatedNF


class Engine(Protocol):
    """Runs a chain over blocks of frames and keeps its state."""

    def process(self, block: FrameBlock) -> None:
        """Rewrite the frames in place and fill in the verdicts."""

    def settle(self) -> None:
        """End all states that have been idle too long by the latest packet's time, in the order of their keys."""

    def drain(self) -> None:
        """End all entries of each table with an NF that has `expire`, in the order of their keys."""

    def change(self, nf: NFPlan, changed: TranslatedNF) -> None:
        """From the next packet on an NF is this one, whose code is the same but for the elements of its lists."""

    def counters(self, *, distinct: bool = True) -> Counters:
        """What has been counted so far.

        distinct: of a table with a replica for each worker, count keys, for which every entry is looked at; without,
        count the entries of all replicas.
        """

    def rows(self, nf: NFPlan, *, arrays: bool = True) -> list[NDArray[Any]]:
        """The state of an NF by side of its table: a row per entry that has any, sorted by key, of rows.row_dtype.

        arrays: whether it has the arrays of the state.
        """

    def rows_of(self, nfs: Sequence[NFPlan], *, arrays: bool = True, keys: bool = True) -> Iterator[list[NDArray[Any]]]:
        """`rows` of each of some NFs with the same table, in less time than one by one.

        keys: whether the rows have the fields of the key; without, the fields of the state have their own names.
        """

    def take_records(self, nf: NFPlan) -> list[NDArray[Any]]:
        """The records of an NF that may emit, by side of its table: of rows.row_dtype, in the order they were emitted.

        Each is handed over once: what was emitted since the last call.
        """

    def core(self, nf: NFPlan, *, arrays: bool = True) -> dict[str, Any]:
        """The variables of an NF; arrays, where asked for, as arrays of numpy.

        Of those that it declares (Sum, Max, Min, Or) what all workers have together, of others a list of what each has.
        """

    def table_memory(self) -> list[tuple[int, int]]:
        """Capacity in entries and bytes of each table."""

    def loads(self) -> list[WorkerLoad]:
        """What each worker had to do."""

    def balance(self) -> dict[str, int] | None:
        """How often flows changed their worker, and of how many buckets; None where they never do."""

    @property
    def memory_bytes(self) -> int | None:
        """What the tables may take together; None: no limit."""
