"""What a worker has in common with the others of an engine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fajita.engine.memory import Budget
from fajita.engine.shared_table import SharedTable
from fajita.rss import usual_indirection


@dataclass(frozen=True)
class Membership:
    """worker: its number, from 0 on, among so many workers; budget: what the tables of all may take.

    tables: those that they share, by index. stop: a word that is not 0 when all are to stand still. stand_still: called
    when the kernel has stopped for that; it comes back when the worker may go on. indirection: the worker of each
    bucket, changed in place; if nothing else is said all are the first's. constants: the lists of NFs, in memory; None:
    the worker has its own.
    """

    worker: int
    workers: int
    budget: Budget
    tables: Mapping[int, SharedTable] = field(default_factory=dict)
    stop: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    stand_still: Callable[[], None] = lambda: None
    indirection: NDArray[np.uint8] = field(default_factory=lambda: usual_indirection(1))
    constants: NDArray[np.uint8] | None = None
