"""The compiled engine: one worker's memory, and the loop that hands blocks of frames to the kernel."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from fajita.constant_lists import write_elements
from fajita.engine.core import begin_core, read_core
from fajita.engine.counters import Counters, FragmentCounters, NFCounters, TableCounters, WorkerLoad
from fajita.engine.fragments import FragmentMemory
from fajita.engine.landing import place_landing
from fajita.engine.membership import Membership
from fajita.engine.memory import Budget, huge_pages, usual_limit_bytes
from fajita.engine.merging import merge_core
from fajita.engine.records import RecordBuffers
from fajita.engine.shared_table import SharedPart
from fajita.engine.tables import FlowTable
from fajita.io.frames import RESHAPED, FrameBlock
from fajita.kernel.bounds import CHECKED, allow_only
from fajita.kernel.cache import kernel_at_hand
from fajita.kernel.generate import generate, stages
from fajita.kernel.layout import CONTEXT, CONTEXT_WORDS, DONE, RECORDS_FULL, STOPPED, place_scratch, place_statistics
from fajita.kernel.live import TICK, generate_live
from fajita.kernel.reshape import GAP
from fajita.kernel.slots import TABLE_BYTES
from fajita.kernel.table import DESCRIPTOR_BYTES, NOWHERE, TABLE
from fajita.lifetime import FIRST_CLOCK_NS
from fajita.nf import DRAINED, ENDED_BY, IDLE
from fajita.packet import OTHER_REASONS
from fajita.plan import NFPlan, Plan, TablePlan
from fajita.settings import share_of_capacity
from fajita.translation import TranslatedNF

_kernels_of_plans: WeakKeyDictionary[Plan, Callable[..., int]] = WeakKeyDictionary()


def _kernel_of(plan: Plan) -> Callable[..., int]:
    """The kernel of a plan, whose text is made once for all workers."""
    if plan not in _kernels_of_plans:
        _kernels_of_plans[plan] = kernel_at_hand(generate(plan))
    return _kernels_of_plans[plan]


def _run_once(poll: Callable[..., int], context: int) -> int:
    return poll(context, 0)


#: From here on variables of workers, and lists, lie on huge pages; so do frames that have become longer.
_LARGE, _LARGE_ROOM = 64 << 10, 4 << 20


def _zeros(size: int) -> NDArray[np.uint8]:
    """Memory for the variables of all NFs, or their lists, aligned to a cache line where there are long ones."""
    if size < _LARGE:
        return np.zeros(-(-size // 8) or 1, np.int64).view(np.uint8)
    return huge_pages(size, right="smaller arrays, or a machine with more")


def place_constants(plan: Plan) -> NDArray[np.uint8]:
    """The lists of all NFs in memory; workers may share it."""
    area = _zeros(plan.constants.bytes)
    plan.constants.write(area)
    return area


class CompiledEngine:
    """Runs a chain's kernel over blocks of frames, in place. One engine is one worker; it is not thread-safe."""

    def __init__(
        self,
        plan: Plan,
        *,
        memory_bytes: int | None = None,
        membership: Membership | None = None,
        live: bool = False,
        spreads: bool = False,
    ) -> None:
        """memory_bytes: what the tables may take; None: half of what the machine has free.

        membership: what a worker of several has in common with the others; the plan is then that of for_workers.
        live: with the kernel for `run_live`, which does all that the other does. spreads: as of generate_live.
        """
        self.plan = plan
        self._poll: Callable[..., int] | None = kernel_at_hand(generate_live(plan, spreads=spreads)) if live else None
        self._run = partial(_run_once, self._poll) if self._poll is not None else _kernel_of(plan)
        self._scratch = np.zeros(stages(plan) * place_scratch(plan).total // 8, np.int64)
        self._core = _zeros(plan.core_bytes)
        self._matchers = begin_core(self._core, plan.nfs)
        self._layout = place_statistics(plan)
        self._statistics = np.zeros(self._layout.total // 8, np.int64)
        if membership is None:
            membership = Membership(0, 1, Budget(usual_limit_bytes() if memory_bytes is None else memory_bytes))
        self._constants = place_constants(plan) if membership.constants is None else membership.constants
        self._sides = np.zeros((max(1, len(plan.sides)), DESCRIPTOR_BYTES // 8), np.int64)
        #: What stands for an entry that is not there.
        self._nowhere = np.zeros(max((side.entry_bytes for side in plan.sides), default=1), np.uint8)
        self._sides[:, NOWHERE // 8] = self._nowhere.ctypes.data
        self._descriptors = np.zeros((max(1, len(plan.tables)), TABLE_BYTES // 8), np.int64)
        self._membership = membership
        self.tables = [self._make_table(table) for table in plan.tables]
        membership.budget.check()
        for table in self.tables:
            for side in table.plan.sides:
                self._sides[side.index, TABLE // 8] = self._descriptors[table.plan.index].ctypes.data
        self._records = RecordBuffers(plan, [side for table in self.tables for side in table.sides])
        self._listed = np.zeros(0, np.int64)
        self._clocks: NDArray[np.generic] = self._listed
        self.fragments = FragmentMemory(plan)
        self._busy_seconds = 0.0
        self._live: Sequence[NDArray[Any]] = ()
        #: What frames have become longer by on the wire, in all.
        self._gained_bytes, self._room = 0, np.zeros(1, np.uint8)
        self._floors: NDArray[np.uint64] | None = None
        self._context = np.zeros(len(CONTEXT_WORDS), np.int64)
        self._place("scratch", self._scratch)
        self._place("core", self._core)
        self._place("constants", self._constants)
        self._place("statistics", self._statistics)
        self._place("sides", self._sides)
        self._place("tables", self._descriptors)
        self._context[CONTEXT["clock"] // 8] = FIRST_CLOCK_NS
        self._place("records", self._records.descriptors)
        self._place("fragments", self.fragments.words)
        self._place("stop", membership.stop)
        with_errors = [side for table in plan.tables if table.errors for side in table.sides]
        self._blank = np.zeros(max((side.entry_bytes for side in with_errors), default=1), np.uint8)
        self._place("blank", self._blank)
        self._landing = place_landing(self._context, plan, membership)

    def _make_table(self, table: TablePlan) -> FlowTable | SharedPart:
        words, common = self._descriptors[table.index], self._membership
        if table.foreign is not None:
            return SharedPart(common.tables[table.index], common.worker, words, self._sides, self._ask)
        capacity = share_of_capacity(self.plan.settings.capacity, common.worker, common.workers)
        return FlowTable(table, words, self._sides, common.budget, capacity)

    def _place(self, name: str, array: NDArray[np.generic]) -> None:
        self._context[CONTEXT[name] // 8] = array.ctypes.data

    def process(self, block: FrameBlock, clocks_ns: NDArray[np.int64] | None = None) -> None:
        """Run the chain over a block: frames are rewritten in place, verdicts filled in.

        clocks_ns: the latest packet time in the whole input up to each packet, if these are not all packets.
        """
        self._context[CONTEXT["before"] // 8] = self.packets_in
        self._context[CONTEXT["position"] // 8] = 0
        self._context[CONTEXT["end"] // 8] = len(block)
        self._place_columns(block, clocks_ns)
        self.fragments.begin_block()
        before = self._make_room(block)
        start = time.perf_counter()
        try:
            self._run_to_the_end(block)
        finally:  # an interruption ends the run, but what was done counts
            self._busy_seconds += time.perf_counter() - start
            if before is not None:
                done = self.position
                self._gained_bytes += int(block.wire[:done].sum()) - int(before[:done].sum())
        for table in self.tables:
            table.free_moved()

    @property
    def packets_in(self) -> int:
        """Packets so far: those of former blocks, and of this one."""
        return int(self._context[CONTEXT["before"] // 8] + self._context[CONTEXT["position"] // 8])

    @property
    def position(self) -> int:
        """The next frame of the block."""
        return int(self._context[CONTEXT["position"] // 8])

    def begin_live(self, frames: int, longest: int, floors: NDArray[np.uint64] | None) -> None:
        """Before `run_live` of so many frames at once, as long at most; whatever was processed, no block is under way.

        floors: the addresses down to which each of the frames may become longer where it lies; None: none may.
        """
        self._context[CONTEXT["before"] // 8] = self.packets_in
        self._context[CONTEXT["position"] // 8] = 0
        if self.plan.reshapes:
            # What nobody touches takes no memory.
            self._lie_longer(np.empty(frames * (longest + self.plan.headroom + GAP) + 1, np.uint8), floors)

    def run_live(self, live: Sequence[NDArray[Any]], block: FrameBlock) -> int:
        """Let the loop of fajita.kernel.live run until it asks for something, and do that, as far as it is an engine's.

        live: its words, and those to which they lead. block: the columns that it fills. Gives what it asked for.
        """
        self._place_columns(block)
        self._live = live
        self._allow_memory(block)
        assert self._poll is not None
        asks = self._poll(self._context.ctypes.data, live[0].ctypes.data)
        if asks not in (DONE, TICK):
            self._answer(asks)
        for table in self.tables:
            table.free_moved()
        return asks

    @property
    def clock_ns(self) -> int:
        """The latest packet time so far."""
        return int(self._context[CONTEXT["clock"] // 8])

    def allow_block(self, block: FrameBlock) -> None:
        """For a build with bounds checks: other frames have come into the columns."""
        self._allow_memory(block)

    def was_busy(self, seconds: float) -> None:
        """So long has this worker been at work, other than in `process`."""
        self._busy_seconds += seconds

    def settle_between(self, clock_ns: int) -> None:
        """`settle` while packets still come: of the tables that are this worker's own and are looked through anyway."""
        self._context[CONTEXT["clock"] // 8] = max(clock_ns, self.clock_ns)
        for table in self.tables:
            if table.plan.is_swept:
                self._settle(table)
                table.free_moved()

    def _place_columns(self, block: FrameBlock, clocks_ns: NDArray[np.int64] | None = None) -> None:
        for name in ("address", "captured", "wire", "time_ns", "link", "verdict"):
            self._place(name, getattr(block, name))
        self._clocks = block.time_ns if clocks_ns is None else clocks_ns
        self._place("clocks", self._clocks)

    def _make_room(self, block: FrameBlock) -> NDArray[np.uint32] | None:
        """If frames may become longer or shorter, where longer ones may lie; how long they are on the wire before."""
        if not self.plan.reshapes:
            return None
        if not all(getattr(block, name).flags.writeable for name in RESHAPED):
            raise ValueError(f"{', '.join(RESHAPED)} have to be writable: the chain makes frames longer or shorter")
        size = int(block.captured.sum()) + len(block) * (self.plan.headroom + GAP) if self.plan.headroom else 0
        self._lie_longer(np.empty(size + 1, np.uint8) if size < _LARGE_ROOM else huge_pages(size + 1))
        block.grown.append(self._room)
        return block.wire.copy()

    def _lie_longer(self, room: NDArray[np.uint8], floors: NDArray[np.uint64] | None = None) -> None:
        """Frames that become longer are to be copied there, unless there is room down to their floors."""
        self._room, self._floors = room, floors
        self._place("room", room)
        self._place("room_first", room)
        self._context[CONTEXT["floors"] // 8] = 0 if floors is None else floors.ctypes.data

    def shards_of(self, block: FrameBlock) -> list[FrameBlock]:
        """The packets of each worker: all are this one's."""
        return [block]

    def process_shards(self, shards: Sequence[FrameBlock]) -> float:
        """Run the chain over the one block; gives the seconds that it took."""
        (block,) = shards
        before = self._busy_seconds
        self.process(block)
        return self._busy_seconds - before

    def _run_to_the_end(self, block: FrameBlock | None = None) -> None:
        """Let the kernel run, and do what it asks for in between."""
        self._allow_memory(block)
        while (asks := self._run(self._context.ctypes.data)) != DONE:
            self._answer(asks)
            self._allow_memory(block)

    def _answer(self, asks: int) -> None:
        """Do what the kernel asks for."""
        if asks == RECORDS_FULL:
            self._records.empty()
        elif asks == STOPPED or self.plan.sides[asks - 1].owner is not None:
            self._membership.stand_still()
        else:
            self._attend(asks - 1)

    def _ask(self, what: str, table: int) -> None:
        """Have the kernel do to a table what all workers stand still for. what: the word of the context."""
        self._allow_memory()
        self._context[CONTEXT[what] // 8] = 1 + table
        self._run(self._context.ctypes.data)
        self._context[CONTEXT[what] // 8] = 0

    def _attend(self, side: int) -> None:
        """What the kernel asks for on behalf of a side of a table."""
        for table in self.plan.tables:
            for number, each in enumerate(table.sides):
                if each.index == side and isinstance(own := self.tables[table.index], FlowTable):
                    own.attend(number)

    def settle(self, clock_ns: int | None = None) -> None:
        """End all states that have been idle too long by now, in the order of their keys.

        clock_ns: the latest packet time in the whole input, if this engine has not had all packets.
        """
        if clock_ns is not None:
            self._context[CONTEXT["clock"] // 8] = clock_ns
        for table in self.tables:
            if table.plan.idle_ends:
                self._settle(table)

    def tick(self, table: TablePlan, clock_ns: int) -> None:
        """End what is idle in a table that comes to a tick, while no worker is at work."""
        self._context[CONTEXT["clock"] // 8] = clock_ns
        self._settle(self.tables[table.index])

    def _settle(self, table: FlowTable | SharedPart) -> None:
        self._end_listed(table, table.entries_by_key(int(self._context[CONTEXT["clock"] // 8])), "settled")

    def drain(self) -> None:
        """End all entries of each table with an NF that has `expire`, in the order of their keys."""
        for table in self.tables:
            if self.plan.is_drained(table.plan):
                self._say_why(table.plan, DRAINED)
                self._end_listed(table, table.entries_by_key(), "drained")
                self._say_why(table.plan, IDLE)

    def _say_why(self, table: TablePlan, ended_by: int) -> None:
        """Let the NFs of a table that ask know why its states end."""
        for offsets in (self.plan.nfs[index].core_offsets for index in table.nfs):
            if ENDED_BY in offsets:
                self._core[offsets[ENDED_BY]] = ended_by

    def _end_listed(self, table: FlowTable | SharedPart, listed: NDArray[np.int64], how: str) -> None:
        """how: the word of the context that asks the kernel for it."""
        self._place("listed", listed)
        self._context[CONTEXT[how] // 8] = 1 + table.plan.index
        self._context[CONTEXT["listed_end"] // 8] = listed.ctypes.data + listed.nbytes
        self._listed = listed
        self._run_to_the_end()
        self._context[CONTEXT[how] // 8] = 0

    def change(self, nf: NFPlan, changed: TranslatedNF) -> None:
        """From the next packet on an NF is this one, whose code is the same but for the elements of its lists."""
        for name, elements in changed.lists.items():
            write_elements(self._constants, nf.constant_offsets[name], elements)

    def _allow_memory(self, block: FrameBlock | None = None) -> None:
        """For a build with bounds checks."""
        if not CHECKED:
            return
        own: list[NDArray[Any]] = [self._context, self._scratch, self._core, self._constants, self._statistics]
        own += [self._nowhere, self._blank, self._sides, self._descriptors, self._listed, self.fragments.words]
        own += [self._room, *self._landing, *self._live]
        if self._membership is not None:
            own.append(self._membership.stop)
        areas = [*self._records.areas(), *(area for table in self.tables for area in table.areas())]
        columns: list[NDArray[Any]] = []
        frames: Iterable[tuple[int, int]] = ()
        if block is not None:
            columns = [block.address, block.captured, block.wire, block.time_ns, block.link, block.verdict]
            columns.append(self._clocks)
            lowest = block.address if self._floors is None else self._floors[: len(block)]
            if self._floors is not None:
                columns.append(self._floors)
            # What lies where frames are that have become longer is allowed as a whole.
            lies_there = block.address - np.uint64(self._room.ctypes.data) < np.uint64(self._room.nbytes)
            ends = block.address + block.captured
            kept = [column[~lies_there].tolist() for column in (lowest, ends - lowest)]
            frames = zip(*kept, strict=True)
        allow_only([*own, *areas, *columns], frames)

    def counters(self, *, distinct: bool = True) -> Counters:
        """What has been counted so far."""
        layout, words = self._layout, self._statistics.tolist()
        dropped, dropped_bytes = words[layout.dropped_packets // 8], words[layout.dropped_bytes // 8]
        in_bytes = words[layout.in_bytes // 8]
        other = dict(zip(OTHER_REASONS, words[layout.other // 8 :], strict=False))
        return Counters(
            packets_in=self.packets_in,
            packets_out=self.packets_in - dropped,
            bytes_in=in_bytes - self._gained_bytes - int(self._context[CONTEXT["gained"] // 8]),
            bytes_out=in_bytes - dropped_bytes,
            other={reason: count for reason, count in other.items() if count},
            fragments=FragmentCounters(self.fragments.followed, self.fragments.early),
            nfs=self._nf_counters(words),
            tables=[
                TableCounters(table.created, table.expired, table.evicted, table.refused, table.entries)
                for table in self.tables
            ],
        )

    def _nf_counters(self, words: list[int]) -> list[NFCounters]:
        counters: list[NFCounters] = []
        for nf in self.plan.nfs:
            places, reasons = self._layout.drops[nf.index], nf.translated.reasons
            drops = {reason: words[at // 8] for reason, at in zip(reasons, places, strict=True)}
            records = self._records.count(nf)
            counted = self._layout.received[nf.index]
            if counted is None:
                counters.append(NFCounters(counters[-1].received - sum(counters[-1].drops.values()), drops, records))
            else:
                counters.append(NFCounters(words[counted // 8], drops, records))
        return counters

    def rows(self, nf: NFPlan, *, arrays: bool = True) -> list[NDArray[np.void]]:
        """The state of an NF by side of its table, one row per entry that has any, sorted by key."""
        (rows,) = self.rows_of([nf], arrays=arrays)
        return rows

    def rows_of(
        self, nfs: Sequence[NFPlan], *, arrays: bool = True, keys: bool = True
    ) -> Iterator[list[NDArray[np.void]]]:
        """`rows` of each of some NFs with one table, which is read once for all of them; keys: with those."""
        assert nfs[0].table is not None
        sides = [entries.in_order() for entries in self.tables[nfs[0].table].read()]
        return ([entries.rows(nf, arrays=arrays, keys=keys) for entries in sides] for nf in nfs)

    def take_records(self, nf: NFPlan) -> list[NDArray[np.void]]:
        """What an NF that may emit has emitted since the last call, by side of its table, in this order."""
        return [buffer.take() for buffer in self._records.of(nf)]

    def core(self, nf: NFPlan, *, arrays: bool = True) -> dict[str, Any]:
        """The variables of an NF: one value of those that it declares, a list with each worker's of others."""
        return merge_core(nf, [self.variables(nf, arrays=arrays)])

    def variables(self, nf: NFPlan, *, arrays: bool = True) -> dict[str, Any]:
        """Those of this worker; its arrays as they are now."""
        return read_core(self._core, nf, arrays=arrays)

    def table_memory(self) -> list[tuple[int, int]]:
        """Capacity in entries and bytes of each table."""
        return [(table.capacity, table.bytes) for table in self.tables]

    def loads(self) -> list[WorkerLoad]:
        """What this worker had to do."""
        return [WorkerLoad(self.packets_in, self._busy_seconds)]

    def balance(self) -> dict[str, int] | None:
        """No flow changes its worker."""
        return None

    @property
    def memory_bytes(self) -> int | None:
        """What the tables may take together."""
        return self._membership.budget.limit_bytes
