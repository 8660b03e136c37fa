"""The interpreted engine: one packet after the other through the whole chain, a dict for each table of the plan.

With several workers each packet is run by the one that its header fields say, but still one after the other, in the
order of the input. Tables that workers share, or have replicas of, are one dict: what a replica is to mean.
"""

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from fajita.engine.counters import Counters, WorkerLoad, add_counters
from fajita.engine.merging import merge_core
from fajita.engine.rows import sort_rows, states_only
from fajita.integers import wrap
from fajita.io.frames import FrameBlock
from fajita.lifetime import FIRST_CLOCK_NS, tick_of
from fajita.plan import NFPlan, Plan, TablePlan
from fajita.reference.flow_key import KeyValues
from fajita.reference.flow_table import FlowTable
from fajita.reference.landing import lands
from fajita.reference.record import Record
from fajita.reference.sharder import Sharder
from fajita.reference.worker import Worker
from fajita.rss import usual_indirection
from fajita.settings import share_of_capacity
from fajita.sharding import OWN
from fajita.translation import TranslatedNF


class ReferenceEngine:
    """Runs a chain over blocks of frames, in place; the same interface as the compiled engine's."""

    def __init__(self, plan: Plan, workers: int = 1) -> None:
        self.plan = plan
        flows: WeakKeyDictionary[Record, KeyValues] = WeakKeyDictionary()
        fields = plan.sharding.fields if workers > 1 else None
        self._sharder = None if fields is None else Sharder(plan, fields)
        self.indirection = usual_indirection(workers)
        self.workers = [Worker(plan, flows, partial(lands, fields, self.indirection, n)) for n in range(workers)]
        #: The tables of the workers, each once.
        self._tables = [self._make_tables(table) for table in plan.tables]
        self._clock_ns = FIRST_CLOCK_NS

    def _make_tables(self, table: TablePlan) -> list[FlowTable]:
        """The tables of all workers for one of the plan."""
        if table.sharing != OWN:
            one = FlowTable(table, self.workers[0].nfs, self.plan.settings.capacity)
            for worker in self.workers:
                worker.tables.append(one)
            return [one]
        for number, worker in enumerate(self.workers):
            capacity = share_of_capacity(self.plan.settings.capacity, number, len(self.workers))
            worker.tables.append(FlowTable(table, worker.nfs, capacity))
        return [worker.tables[-1] for worker in self.workers]

    def process(self, block: FrameBlock) -> None:
        """Run the chain over a block: frames are rewritten in place, verdicts filled in."""
        for index in range(len(block)):
            frame, link, wire = block.frame(index), int(block.link[index]), int(block.wire[index])
            time_ns = int(block.time_ns[index])
            self._move_clock(wrap(time_ns))
            worker = self._worker_of(frame, link, time_ns)
            block.verdict[index] = worker.process(frame, link, wire, time_ns, self._clock_ns)
            if self.plan.reshapes and worker.made[0] is not frame:
                _replace(block, index, *worker.made)

    def _worker_of(self, frame: memoryview, link: int, time_ns: int) -> Worker:
        if self._sharder is None:
            return self.workers[0]
        return self.workers[self.indirection[self._sharder.bucket(frame, link, time_ns)]]

    def _move_clock(self, time_ns: int) -> None:
        """The clock goes on; where it comes to a tick of a table, what is idle there ends."""
        before, self._clock_ns = self._clock_ns, max(self._clock_ns, time_ns)
        for table, (first, *_) in zip(self.plan.tables, self._tables, strict=True):
            if table.ends_at_ticks and tick_of(before, table.round_ns) != tick_of(self._clock_ns, table.round_ns):
                first.settle(self._clock_ns)

    def settle(self) -> None:
        """End all states that have been idle too long by the latest packet's time, in the order of their keys."""
        for plan, tables in zip(self.plan.tables, self._tables, strict=True):
            for table in tables if plan.idle_ends else ():
                table.settle(self._clock_ns)

    def drain(self) -> None:
        """End all entries of each table with an NF that has `expire`, in the order of their keys."""
        for plan, tables in zip(self.plan.tables, self._tables, strict=True):
            for table in tables if self.plan.is_drained(plan) else ():
                table.drain()

    def change(self, nf: NFPlan, changed: TranslatedNF) -> None:
        """From the next packet on an NF is this one in all workers; its code is the same but for elements of lists."""
        for worker in self.workers:
            worker.nfs[nf.index].become(changed.nf)

    def counters(self, *, distinct: bool = True) -> Counters:
        """What has been counted so far."""
        for worker in self.workers:
            for nf in worker.nfs:
                nf.counters.records = nf.records.count
        total = copy.deepcopy(add_counters(worker.counters for worker in self.workers))
        for tables in self._tables:
            for table in tables:
                table.counters.active = len(table.entries)
            total.tables.append(copy.copy(sum((table.counters for table in tables[1:]), tables[0].counters)))
        return total

    def rows(self, nf: NFPlan, *, arrays: bool = True) -> list[NDArray[np.void]]:
        """The state of an NF by side of its table, one row per entry that has any, sorted by key."""
        assert nf.table is not None
        parts = [table.rows(nf, arrays=arrays) for table in self._tables[nf.table]]
        packings = [side.packing for side in self.plan.tables[nf.table].sides]
        return [sort_rows(np.concatenate(side), packing) for *side, packing in zip(*parts, packings, strict=True)]

    def rows_of(
        self, nfs: Sequence[NFPlan], *, arrays: bool = True, keys: bool = True
    ) -> Iterator[list[NDArray[np.void]]]:
        """`rows` of each of some NFs with one table; keys: with those."""
        for nf in nfs:
            assert nf.table is not None
            sides, key = self.rows(nf, arrays=arrays), self.plan.tables[nf.table].key
            yield sides if keys else [states_only([side], key, nf, arrays=arrays) for side in sides]

    def take_records(self, nf: NFPlan) -> list[NDArray[np.void]]:
        """What an NF that may emit has emitted since the last call, by side of its table, worker by worker."""
        parts = [worker.nfs[nf.index].records.take() for worker in self.workers]
        return [np.concatenate(side) for side in zip(*parts, strict=True)]

    def core(self, nf: NFPlan, *, arrays: bool = True) -> dict[str, Any]:
        """The variables of an NF's workers: merged as the NF declares it, else a list with each worker's."""
        return merge_core(nf, [worker.variables(nf, arrays=arrays) for worker in self.workers])

    def table_memory(self) -> list[tuple[int, int]]:
        """Entries and bytes of each table; a dict has no capacity of its own."""
        return [(sum(len(each.entries) for each in table), sum(each.bytes for each in table)) for table in self._tables]

    def loads(self) -> list[WorkerLoad]:
        """What each worker had to do; the time is that of all, as one runs after the other."""
        return [WorkerLoad(worker.counters.packets_in, worker.busy_seconds) for worker in self.workers]

    def balance(self) -> dict[str, int] | None:
        """No flow changes its worker."""
        return None

    @property
    def memory_bytes(self) -> int | None:
        """Python's own memory has no limit here."""
        return None


def _replace(block: FrameBlock, index: int, frame: memoryview, wire: int) -> None:
    """Let a frame of a block be another one."""
    area = np.frombuffer(frame, np.uint8) if len(frame) else np.zeros(1, np.uint8)
    block.grown.append(area)
    block.address[index], block.captured[index], block.wire[index] = area.ctypes.data, len(frame), wire
