"""Workers that share a table, each in a thread of its own; and a look at all that holds in the table between runs."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fajita import Chain, FrameBlock
from fajita.engine import compiled
from fajita.engine.compiled import CompiledEngine
from fajita.engine.membership import Membership
from fajita.engine.memory import Budget
from fajita.engine.shared_table import SharedTable
from fajita.engine.standstill import Standstill
from fajita.kernel import table as layout
from fajita.kernel.bounds import CHECKED, REGIONS
from fajita.kernel.table import FREE, GROUP, MOST_OVERFLOWED
from fajita.plan import Plan
from fajita.sharding import SHARED
from fajita.shared_entry import for_workers
from tests.kernel.test_hash import expected_hash


def shared_plan(chain: Chain, workers: int, shard: str = "source") -> Plan:
    """The plan of so many workers, of which the packet's source address says which gets it, unless another key does."""
    plan = chain.plan_with(shard=shard, sharing="shared")
    assert any(table.sharing == SHARED for table in plan.tables)
    return for_workers(plan, workers)


class Workers:
    """So many workers of a chain."""

    def __init__(self, chain: Chain, workers: int, *, shard: str = "source", memory: int = 1 << 40) -> None:
        self.plan = shared_plan(chain, workers, shard)
        shared = [table for table in self.plan.tables if table.foreign is not None]
        self.tables = {table.index: SharedTable(table, workers, Budget(memory)) for table in shared}
        self.standstill = still = Standstill(self.tables.values())
        self.engines = [
            CompiledEngine(
                self.plan, membership=Membership(number, workers, Budget(1 << 40), self.tables, still.stop, still.wait)
            )
            for number in range(workers)
        ]
        self._threads = ThreadPoolExecutor(workers)

    def process(self, blocks: Sequence[FrameBlock]) -> None:
        """Each worker its block, all at once; where bounds are checked, which is by process, one after the other."""
        run_all = map if CHECKED else self._threads.map
        list(run_all(self._run, self.engines, blocks))

    def _run(self, engine: CompiledEngine, block: FrameBlock) -> None:
        with self.standstill.at_work():
            engine.process(block)

    def interleave(self, blocks: Sequence[FrameBlock]) -> None:
        """All at once in a build that checks bounds: at each access of memory another worker may come between."""
        assert CHECKED
        before = sys.getswitchinterval()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "allow_only", lambda arrays, regions=(): None)
            REGIONS.allow_only([(0, 1 << 62)])
            sys.setswitchinterval(1e-6)
            try:
                list(self._threads.map(self._run, self.engines, blocks))
            finally:
                sys.setswitchinterval(before)

    def settle(self, clock_ns: int) -> None:
        """End what is idle; all stand still."""
        for engine in self.engines:
            engine.settle(clock_ns)

    def check(self) -> None:
        """The invariants of all shared tables; all stand still."""
        for table in self.tables.values():
            table.fold()
            for side in table.sides:
                check_side(side)


def check_side(side) -> None:
    """Each key once, where a search for it comes; tags and counts are right; what is free is all zeros."""
    (areas,) = side._areas
    groups, width, words = areas.groups, side.side.entry_bytes, side.side.packing.words
    places = groups * GROUP
    tags, counts = areas.tags[:places], areas.tags[places:][:groups]
    lines = areas.entries[: places * width].reshape(-1, width)
    assert not lines[tags == FREE].any()
    used = np.flatnonzero(tags != FREE)
    assert len(used) == side.entries
    keys = np.ascontiguousarray(lines[used, : 8 * words]).view(np.uint64)
    keys[:, -1] &= np.uint64(layout.KEY_MASK)
    assert len(np.unique(keys, axis=0)) == len(keys)
    secrets = [int(side.common[word // 8]) % (1 << 64) for word in (layout.SECRET_0, layout.SECRET_1)]
    went_past = np.zeros(groups, int)
    for place, key in zip(used.tolist(), keys.tolist(), strict=True):
        hashed = expected_hash(*secrets, key)
        assert tags[place] == max(hashed >> 56, 1)
        passed = hashed & (groups - 1)
        while passed != place // GROUP:
            went_past[passed] += 1
            passed = (passed + 1) % groups
    assert (counts == np.minimum(went_past, MOST_OVERFLOWED)).all()
    if side.side.owner is not None:
        assert lines[used, side.side.key_bytes + side.side.owner].all()
        foreign = side.plan.foreign
        start = side.side.key_bytes + foreign.start
        assert not lines[:, start : start + foreign.bytes].any()
