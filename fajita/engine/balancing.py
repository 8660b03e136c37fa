"""Rewriting the table of indirection by load while a chain runs, with the state of the flows that change their worker.

As RSS++ does it (fajita.balance); all workers stand still meanwhile. What NFs keep once per worker stays where it is.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fajita.balance import moves, rebalanced
from fajita.engine.compiled import CompiledEngine
from fajita.engine.migration import Migration
from fajita.engine.tables import FlowTable
from fajita.errors import InputError
from fajita.nf import BEFORE_LOOKUP
from fajita.plan import NFPlan, Plan
from fajita.rss import INDIRECTION_ENTRIES
from fajita.sharding import OWN
from fajita.state_types import ArrayType, StateType


class Balancing:
    """Counts the packets of each bucket, and makes of that a better table when asked to.

    interval_ns: how often that is to be, in the time of the packets.
    """

    def __init__(self, plan: Plan, interval_ns: int) -> None:
        """InputError for a chain that cannot be balanced."""
        if why := _why_not(plan):
            raise InputError(f"the chain {plan.name} cannot be balanced: {why}", "", "leave out --balance")
        fields = plan.sharding.fields
        assert fields is not None
        own = [table.index for table in plan.tables if table.sharing == OWN]
        self._migration = Migration(plan, fields, own)
        self._packets = np.zeros(INDIRECTION_ENTRIES, np.int64)
        self.interval_ns = interval_ns
        self._rewrites = self._buckets_moved = 0

    def note(self, buckets: NDArray[np.uint8]) -> None:
        """Packets of these buckets have come."""
        self._packets += np.bincount(buckets, minlength=INDIRECTION_ENTRIES)

    def counters(self) -> dict[str, int]:
        """How often the table has changed, and how many of its entries, in all."""
        return {"rewrites": self._rewrites, "buckets_moved": self._buckets_moved}

    def rewrite(self, indirection: NDArray[np.uint8], engines: Sequence[CompiledEngine]) -> None:
        """Change the table in place, by what has come since the last time, and move the state of what changes hands.

        What another worker has no memory for stays where it is.
        """
        before = indirection.copy()
        wanted = rebalanced(self._packets, before, len(engines))
        self._packets[:] = 0
        for (source, target), buckets in moves(before, wanted).items():
            if self._migration.move(buckets, _own_tables(engines[source]), _own_tables(engines[target])):
                indirection[buckets] = target
        moved = int(np.count_nonzero(indirection != before))
        self._rewrites, self._buckets_moved = self._rewrites + (moved > 0), self._buckets_moved + moved


def _own_tables(engine: CompiledEngine) -> dict[int, FlowTable]:
    """By index; those that workers share are not among them."""
    return {table.plan.index: table for table in engine.tables if isinstance(table, FlowTable)}


def _why_not(plan: Plan) -> str:
    """Why flows cannot change their worker; empty if they can."""
    if plan.sharding.fields is None:
        return "all packets go to one worker"
    if plan.settings.capacity is not None:
        return "each worker has its part of the capacity"
    asking = next((nf for nf in plan.nfs if nf.translated.asks_landing), None)
    if asking is not None:
        return f"what {asking.nf.name} has chosen by where packets land (lands_here) would not hold any more"
    sharing = next((nf for nf in plan.nfs if nf.nf.together is not None), None)
    if sharing is not None:
        return f"packets that agree in {sharing.nf.together} share variables (Core) of {sharing.nf.name}, which stay"
    kept = next((nf for nf in plan.nfs if nf.table is not None and _looks_at_worker(nf)), None)
    if kept is not None:
        return f"what {kept.nf.name} does with a flow depends on variables of the flow's worker (Core)"
    return ""


def _looks_at_worker(nf: NFPlan) -> bool:
    """Whether what an NF does with a flow that it knows may depend on what it keeps once per worker."""
    names = ("packet", "expire", "error", BEFORE_LOOKUP)
    hooks = [nf.translated.hooks[name] for name in names if name in nf.translated.hooks]
    kept: list[StateType | ArrayType] = [*type(nf.nf).core_fields.values(), *nf.nf.core_arrays.values()]
    undeclared = bool(nf.nf.core_maps) or any(kind.merge is None for kind in kept)
    return undeclared and any("core" in hook.arguments for hook in hooks)
