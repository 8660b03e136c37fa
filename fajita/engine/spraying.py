"""Workers that all keep all state, for a flow that one core is too slow for (fajita.spraying).

Every worker runs every packet of a block; of those that are not its own it runs what state needs, and leaves the rest
to their owner. Where that rewrites packets each worker has copies of the others', made before any of them begins. All
workers have the same state and count the same, so that what is asked of the engine is asked of the first.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.engine.compiled import CompiledEngine, place_constants
from fajita.engine.counters import Counters, WorkerLoad
from fajita.engine.membership import Membership
from fajita.engine.memory import Budget, usual_limit_bytes
from fajita.engine.pieces import run_in_pieces
from fajita.engine.threads import WorkerThreads
from fajita.io.frames import FrameBlock
from fajita.kernel.bounds import CHECKED, allow_only
from fajita.kernel.copy_frames import copy_others_frames
from fajita.kernel.layout import BURST
from fajita.plan import NFPlan, Plan
from fajita.spraying import needs_copies
from fajita.translation import TranslatedNF


class SprayingEngine:
    """Runs a chain's kernel in several workers over the same packets; the interface of one engine."""

    def __init__(self, plan: Plan, workers: int, *, memory_bytes: int | None = None) -> None:
        """plan: tuned for spraying. memory_bytes: what all workers' tables may take; None: half of what is free."""
        assert plan.tuning.sprays
        self.plan = plan
        self._budget = Budget(usual_limit_bytes() if memory_bytes is None else memory_bytes)
        lists = place_constants(plan)
        members = [Membership(0, 1, self._budget, constants=lists) for _ in range(workers)]
        self.engines = [CompiledEngine(plan, membership=membership) for membership in members]
        self._threads = WorkerThreads(workers)
        self._own_packets = np.zeros(workers, np.int64)
        self._needs_copies = needs_copies(plan)

    def process(self, block: FrameBlock) -> None:
        """Run the chain over a block: frames are rewritten in place, verdicts filled in."""
        shards = self.shards_of(block)
        if self._needs_copies:
            self._threads.run([partial(_take_copies, shard, shard.verdict.copy()) for shard in shards])
        self.process_shards(shards)
        for number, shard in enumerate(shards):
            own = self._is_own(number, len(block))
            block.verdict[own] = shard.verdict[own]

    def _is_own(self, number: int, packets: int) -> NDArray[np.bool_]:
        """Which of the packets of a block are a worker's, burst by burst in turn."""
        return np.arange(packets) // BURST % len(self.engines) == number

    def shards_of(self, block: FrameBlock) -> list[FrameBlock]:
        """What each worker gets: all packets, where they are; verdict 1 says that one is its own."""
        shards = []
        for number in range(len(self.engines)):
            shard = block.part(0, len(block))
            shard.address, shard.verdict = block.address.copy(), self._is_own(number, len(block)).view(np.uint8)
            shards.append(shard)
        return shards

    def process_shards(self, shards: Sequence[FrameBlock]) -> float:
        """Run the chain over all packets, of which each worker has the frames that are to be its own.

        Gives the seconds from when the first worker began, all being ready, to when the last was done.
        """
        for number, shard in enumerate(shards):
            own = self._is_own(number, len(shard))
            shard.verdict[:] = own
            self._own_packets[number] += np.count_nonzero(own)
        pairs = zip(self.engines, shards, strict=True)
        return self._threads.run_timed([partial(run_in_pieces, *pair, None, self._threads) for pair in pairs])

    def settle(self) -> None:
        """End all states that have been idle too long by the latest packet's time, in the order of their keys."""
        self._threads.run([engine.settle for engine in self.engines])

    def drain(self) -> None:
        """End all entries of each table with an NF that has `expire`, in the order of their keys."""
        self._threads.run([engine.drain for engine in self.engines])

    def change(self, nf: NFPlan, changed: TranslatedNF) -> None:
        """From the next packet on an NF is this one in all workers; its code is the same but for elements of lists."""
        for engine in self.engines:
            engine.change(nf, changed)

    def counters(self, *, distinct: bool = True) -> Counters:
        """What has been counted so far."""
        return self.engines[0].counters()

    def rows(self, nf: NFPlan, *, arrays: bool = True) -> list[NDArray[np.void]]:
        """The state of an NF by side of its table, one row per entry that has any, sorted by key."""
        return self.engines[0].rows(nf, arrays=arrays)

    def rows_of(
        self, nfs: Sequence[NFPlan], *, arrays: bool = True, keys: bool = True
    ) -> Iterator[list[NDArray[np.void]]]:
        """`rows` of each of some NFs with one table; keys: with those."""
        return self.engines[0].rows_of(nfs, arrays=arrays, keys=keys)

    def take_records(self, nf: NFPlan) -> list[NDArray[np.void]]:
        """What an NF that may emit has emitted since the last call, by side of its table, in this order."""
        first, *_ = [engine.take_records(nf) for engine in self.engines]
        return first

    def core(self, nf: NFPlan, *, arrays: bool = True) -> dict[str, Any]:
        """The variables of an NF, which are the same in all workers."""
        return self.engines[0].core(nf, arrays=arrays)

    def table_memory(self) -> list[tuple[int, int]]:
        """Capacity in entries of each table, and bytes in all workers."""
        tables = zip(*(engine.table_memory() for engine in self.engines), strict=True)
        return [(table[0][0], sum(size for _, size in table)) for table in tables]

    def loads(self) -> list[WorkerLoad]:
        """The packets that each worker owned, and the time that it took for all."""
        loads = [load for engine in self.engines for load in engine.loads()]
        return [WorkerLoad(int(own), load.busy_seconds) for own, load in zip(self._own_packets, loads, strict=True)]

    def balance(self) -> dict[str, int] | None:
        """No flow changes its worker."""
        return None

    @property
    def memory_bytes(self) -> int | None:
        """What the tables may take together."""
        return self._budget.limit_bytes


def _take_copies(shard: FrameBlock, own: NDArray[np.uint8]) -> None:
    """Give a worker copies of the frames that are not its own, one behind the other."""
    sizes = np.where(own, 0, shard.captured).astype(np.int64)
    ends = np.cumsum(sizes)
    memory = np.empty(max(1, int(sizes.sum())), np.uint8)
    room = memory.ctypes.data + ends - sizes
    if CHECKED:
        allow_only([shard.address, shard.captured, own, room, memory], zip(shard.address, shard.captured, strict=True))
    arrays = (shard.address, shard.captured, own)
    copy_others_frames(*(array.ctypes.data for array in arrays), len(shard), room.ctypes.data)
    shard.memory = (shard.memory, memory)
