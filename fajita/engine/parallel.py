"""Workers side by side: each takes its shard of every block through the chain, in a thread of its own.

A sharder says which packets are whose (fajita.sharding says by what). Frames stay where they are; a worker gets columns
of its own that say where its packets lie, and leaves its verdicts in those of the block. What a worker has to know of
the others' packets is only how late it is: the clock at each of its packets is that of the whole input.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.engine.balancing import Balancing
from fajita.engine.compiled import CompiledEngine, place_constants
from fajita.engine.counters import Counters, TableCounters, WorkerLoad, add_counters
from fajita.engine.entries import joined
from fajita.engine.membership import Membership
from fajita.engine.memory import Budget, usual_limit_bytes
from fajita.engine.merging import count_keys, merge_core, merge_rows
from fajita.engine.pieces import run_in_pieces
from fajita.engine.rows import states_only
from fajita.engine.sharder import Sharder
from fajita.engine.shards import Shard
from fajita.engine.shared_table import SharedTable
from fajita.engine.standstill import Standstill
from fajita.engine.threads import WorkerThreads
from fajita.engine.ticks import parts_between_ticks
from fajita.io.frames import FrameBlock
from fajita.lifetime import FIRST_CLOCK_NS
from fajita.plan import NFPlan, Plan, TablePlan
from fajita.rss import usual_indirection
from fajita.sharding import REPLICATED
from fajita.shared_entry import for_workers
from fajita.translation import TranslatedNF

#: So few packets are done before other threads have woken up.
FEW = 256


class ParallelEngine:
    """Runs a chain's kernel in several workers over blocks of frames, in place; the interface of one engine."""

    def __init__(
        self,
        plan: Plan,
        workers: int,
        *,
        memory_bytes: int | None = None,
        balance_ns: int | None = None,
        live: bool = False,
    ) -> None:
        """memory_bytes: what the tables of all workers may take; None: half of what the machine has free.

        balance_ns: how often, in the time of packets, the table of indirection is rewritten by load; None: never.
        live: of CompiledEngine.
        """
        self.plan = plan = for_workers(plan, workers)
        self._budget = Budget(usual_limit_bytes() if memory_bytes is None else memory_bytes)
        shared = [table for table in plan.tables if table.foreign is not None]
        tables = {table.index: SharedTable(table, workers, self._budget) for table in shared}
        self._standstill = still = Standstill(tables.values())
        self.indirection = owners = usual_indirection(workers)
        common = (workers, self._budget, tables, still.stop, still.wait, owners, place_constants(plan))
        members = [Membership(number, *common) for number in range(workers)]
        self.engines = [CompiledEngine(plan, membership=each, live=live, spreads=workers > 1) for each in members]
        fields = plan.sharding.fields
        self._sharder = Sharder(plan, fields) if fields is not None and workers > 1 else None
        self.balancing = None if balance_ns is None else Balancing(plan, balance_ns)
        self._shards = [Shard(number) for number in range(workers)]
        self._threads = WorkerThreads(workers)
        self._ticking = [table for table in plan.tables if table.ends_at_ticks]
        self._clock_ns = FIRST_CLOCK_NS

    def process(self, block: FrameBlock) -> None:
        """Run the chain over a block: frames are rewritten in place, verdicts filled in."""
        clocks_ns = self._clocks_of(block)
        periods = [table.round_ns for table in self._ticking]
        periods += [] if self.balancing is None else [self.balancing.interval_ns]
        for part, clocks_of_part, is_tick in parts_between_ticks(periods, block, clocks_ns, self._clock_ns):
            if self.balancing is not None and is_tick[-1]:
                self.rebalance()
            for table in compress(self._ticking, is_tick):
                self.engines[0].tick(table, int(clocks_of_part[0]))
            self._process(part, clocks_of_part)
            self._clock_ns = int(clocks_of_part[-1]) if len(part) else self._clock_ns

    def _clocks_of(self, block: FrameBlock) -> NDArray[np.int64]:
        """The latest packet time in the whole input up to each packet: mostly the packet's own."""
        times_ns = block.time_ns.view(np.int64)
        if len(block) and times_ns[0] >= self._clock_ns and (times_ns[1:] >= times_ns[:-1]).all():
            return times_ns
        return np.maximum(np.maximum.accumulate(times_ns), self._clock_ns)

    def _process(self, block: FrameBlock, clocks_ns: NDArray[np.int64]) -> None:
        buckets = self._buckets_of(block)
        if self.balancing is not None:
            self.balancing.note(buckets)
        tasks = [partial(self._run_shard, shard, block, clocks_ns, buckets) for shard in self._shards]
        run = self._threads.run if len(block) > FEW else self._threads.run_here
        run(tasks)

    def rebalance(self) -> None:
        """Rewrite the table of indirection by what the buckets have had since the last time."""
        assert self.balancing is not None
        self.balancing.rewrite(self.indirection, self.engines)

    def _buckets_of(self, block: FrameBlock) -> NDArray[np.uint8]:
        """What says, by the table of indirection, whose each packet is."""
        if self._sharder is None:
            return np.zeros(len(block), np.uint8)
        return self._sharder.buckets(block, self._threads if len(block) > FEW else None)

    def _run_shard(
        self, shard: Shard, block: FrameBlock, clocks_ns: NDArray[np.int64], buckets: NDArray[np.uint8]
    ) -> None:
        """What a worker does with a block, in its thread."""
        frames = shard.take(block, buckets, self.indirection)
        is_own_time = np.shares_memory(clocks_ns, block.time_ns)
        try:
            self._run(shard.worker, frames, None if is_own_time else clocks_ns[shard.indices])
        finally:
            shard.give_back(block, reshaped=self.plan.reshapes)

    def at_work(self) -> AbstractContextManager[None]:
        """What a worker does with its kernel, outside of `process`."""
        return self._standstill.at_work()

    def _run(self, number: int, frames: FrameBlock, clocks_ns: NDArray[np.int64] | None) -> None:
        with self._standstill.at_work():
            run_in_pieces(self.engines[number], frames, clocks_ns, self._threads)

    def shards_of(self, block: FrameBlock) -> list[FrameBlock]:
        """The packets of each worker, where they are; they have come then, and are to be run."""
        buckets = self._buckets_of(block)
        if self.balancing is not None:
            self.balancing.note(buckets)
        return [Shard(number).take(block, buckets, self.indirection) for number in range(len(self.engines))]

    def process_shards(self, shards: Sequence[FrameBlock]) -> float:
        """Run the chain over packets that are each worker's already, times never going back.

        Gives the seconds from when the first worker began, all being ready, to when the last was done. No state of a
        table that workers share ends meanwhile.
        """
        self._clock_ns = max([self._clock_ns, *(int(shard.time_ns[-1]) for shard in shards if len(shard))])
        return self._threads.run_timed([partial(self._run, n, shard, None) for n, shard in enumerate(shards)])

    def come_to(self, clock_ns: int) -> None:
        """The latest packet time so far, of packets that did not come by `process`."""
        self._clock_ns = max(self._clock_ns, clock_ns)

    def settle(self) -> None:
        """End all states that have been idle too long by the latest packet's time, in the order of their keys."""
        self._threads.run([partial(engine.settle, self._clock_ns) for engine in self.engines])

    def drain(self) -> None:
        """End all entries of each table with an NF that has `expire`, in the order of their keys; worker by worker."""
        self._threads.run([engine.drain for engine in self.engines])

    def change(self, nf: NFPlan, changed: TranslatedNF) -> None:
        """From the next packet on an NF is this one in all workers; its code is the same but for elements of lists."""
        for engine in self.engines:
            engine.change(nf, changed)

    def counters(self, *, distinct: bool = True) -> Counters:
        """What has been counted so far; distinct: of entries of which there are replicas, one."""
        total = add_counters(engine.counters() for engine in self.engines)
        for table in self.plan.tables:
            if distinct and table.sharing == REPLICATED:
                entries = self._count_entries(table)
                refused = total.tables[table.index].refused
                total.tables[table.index] = TableCounters(created=entries, active=entries, refused=refused)
        return total

    def _count_entries(self, table: TablePlan) -> int:
        """Different keys in the replicas of a table."""
        replicas = [engine.tables[table.index] for engine in self.engines]
        return sum(
            count_keys([replica.sides[number].read().keys for replica in replicas], side.packing)
            for number, side in enumerate(table.sides)
        )

    def rows(self, nf: NFPlan, *, arrays: bool = True) -> list[NDArray[np.void]]:
        """The state of an NF by side of its table, one row per key that has any, sorted by key."""
        (rows,) = self.rows_of([nf], arrays=arrays)
        return rows

    def rows_of(
        self, nfs: Sequence[NFPlan], *, arrays: bool = True, keys: bool = True
    ) -> Iterator[list[NDArray[np.void]]]:
        """`rows` of each of some NFs with one table, which is read once for all of them; keys: with those."""
        assert nfs[0].table is not None
        table = self.plan.tables[nfs[0].table]
        workers = [engine.tables[table.index].read() for engine in self.engines]
        sides = [joined(parts).in_order() for parts in zip(*filter(None, workers), strict=True)]
        for nf in nfs:
            if table.sharing != REPLICATED:
                yield [entries.rows(nf, arrays=arrays, keys=keys) for entries in sides]
                continue
            rows = [merge_rows(entries.rows(nf, arrays=arrays), entries.side.packing, nf) for entries in sides]
            yield rows if keys else [states_only([each], table.key, nf, arrays=arrays) for each in rows]

    def take_records(self, nf: NFPlan) -> list[NDArray[np.void]]:
        """What an NF that may emit has emitted since the last call, by side of its table, worker by worker."""
        parts = [engine.take_records(nf) for engine in self.engines]
        return [np.concatenate(side) for side in zip(*parts, strict=True)]

    def core(self, nf: NFPlan, *, arrays: bool = True) -> dict[str, Any]:
        """The variables of an NF's workers: merged as the NF declares it, else a list with each worker's."""
        return merge_core(nf, [engine.variables(nf, arrays=arrays) for engine in self.engines])

    def table_memory(self) -> list[tuple[int, int]]:
        """Capacity in entries and bytes of each table, of all workers."""
        tables = zip(*(engine.table_memory() for engine in self.engines), strict=True)
        return [(sum(capacity for capacity, _ in table), sum(size for _, size in table)) for table in tables]

    def loads(self) -> list[WorkerLoad]:
        """What each worker had to do."""
        return [load for engine in self.engines for load in engine.loads()]

    def balance(self) -> dict[str, int] | None:
        """How often flows changed their worker, and of how many buckets; None where they never do."""
        return None if self.balancing is None else self.balancing.counters()

    @property
    def memory_bytes(self) -> int | None:
        """What the tables may take together."""
        return self._budget.limit_bytes
