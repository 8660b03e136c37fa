"""The table of indirection of a run, rewritten by load, with the state of what changes hands."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from fajita.balance import USUAL_TOLERANCE, moves, rebalanced
from fajita.engine.migration import Migration
from fajita.engine.tables import FlowTable
from fajita.plan import Plan
from fajita.rss import HashFields, usual_indirection


class Balancer:
    """Has the table of indirection. It is for one run; no worker may run while it moves state."""

    def __init__(
        self,
        plan: Plan,
        fields: HashFields,
        workers: Sequence[list[FlowTable]],
        tables: Iterable[int] | None = None,
        tolerance: float = USUAL_TOLERANCE,
    ) -> None:
        """workers: the tables of each, by index. tables: the indices of those whose entries move, None: all."""
        self.indirection = usual_indirection(len(workers))
        self._migration = Migration(plan, fields, tables)
        self._workers, self._tolerance = workers, tolerance

    def rebalance(self, packets: NDArray[np.integer]) -> int:
        """Rewrite the table by the packets that each bucket had of late; how many buckets have another worker now.

        Buckets stay where a worker has no room for their state.
        """
        wanted = rebalanced(packets, self.indirection, len(self._workers), self._tolerance)
        before = self.indirection.copy()
        for (old, new), buckets in moves(before, wanted).items():
            if self._migration.move(buckets, self._workers[old], self._workers[new]):
                self.indirection[buckets] = new
        return int((self.indirection != before).sum())
