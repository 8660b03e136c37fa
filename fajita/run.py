"""One run: frames from a source through an engine to a sink, and what came of it."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from fajita.change import Change, Schedule, changed_nf, check_changes
from fajita.engine.interface import Engine
from fajita.errors import InputError, nearest
from fajita.interruption import Interruption
from fajita.io.frames import FrameBlock, limited
from fajita.nf import NF
from fajita.plan import NFPlan, Plan
from fajita.records import KeptRecords, RecordSink, hand_over
from fajita.rss import check_workers

if TYPE_CHECKING:
    import pyarrow as pa

    from fajita.io.capture import Capture
    from fajita.io.writer import CaptureWriter

#: A capture file, frames in memory, or blocks of frames one after the other.
Source = str | Path | FrameBlock | Iterable[FrameBlock]

ENGINES = ("compiled", "reference")
#: Times as long as for one worker, at most, is a block of a capture for several.
_LONGEST_BLOCK = 8


@dataclass
class Seconds:
    """Wall-clock time of a run by what it was spent on."""

    compile: float = 0.0
    read: float = 0.0
    process: float = 0.0
    write: float = 0.0
    total: float = 0.0

    @contextmanager
    def spent_on(self, what: str) -> Iterator[None]:
        """Add the time that the body takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, what, getattr(self, what) + time.perf_counter() - start)


@dataclass
class Run:
    """What came of a run: counters and state in `engine`, times, and what is to be said of the input.

    sink: where the records went that NFs emitted; None: nowhere.
    error: what ended the run early; what was done before is all there. interrupted: somebody asked it to stop.
    """

    plan: Plan
    engine: Engine
    engine_name: str
    seconds: Seconds
    sink: RecordSink | None = None
    warnings: list[str] = field(default_factory=list)
    error: InputError | None = None
    interrupted: bool = False
    is_over: bool = False
    _changed: dict[str, NF] = field(default_factory=dict)

    def change(self, name: str, **params: Any) -> None:
        """From the next packet on, give the NF with that name in the chain these parameters; the others stay.

        InputError for parameters that are wrong, or that decide more than the elements of lists that its methods read,
        which is what a kernel stands on (fajita.change). What flows have in their states stays as it is.
        """
        nf = self.nf(name)
        if self.is_over:
            raise InputError(f"{name} cannot be changed: the run is over", self.plan.name, "change it between blocks")
        translated = changed_nf(nf, self.nf_now(nf), params)
        self.engine.change(nf, translated)
        self._changed[name] = translated.nf

    def nf_now(self, nf: NFPlan) -> NF:
        """An NF with the parameters that it has now."""
        return self._changed.get(nf.nf.name, nf.nf)

    @property
    def report(self) -> dict[str, Any]:
        """Counts, tables, summaries and times, as `fajita run --json` writes them."""
        from fajita.report import make_report

        return make_report(self)

    def __repr__(self) -> str:
        counters = self.engine.counters()
        dropped = counters.packets_in - counters.packets_out
        return f"Run({self.plan.name}: {counters.packets_in:,} packets in, {dropped:,} dropped)"

    def table(self, name: str) -> "pa.Table":
        """The state of the NF with that name in the chain: the fields of its key, then those of its state."""
        from fajita.export import rows_table

        nf = self.nf(name)
        if nf.table is None:
            stateful = [each.nf.name for each in self.plan.nfs if each.table is not None]
            right = f"one of {', '.join(stateful)}" if stateful else ""
            if type(nf.nf).core_fields or nf.nf.core_arrays or nf.nf.core_maps:
                right = f"its variables are in run.core({name!r})"
            raise InputError(f"{name} keeps no state per key", self.plan.name, right)
        return rows_table(self.plan, nf, self.engine.rows(nf))

    def records(self, name: str) -> "pa.Table":
        """The records that the NF with that name has emitted, columns as in `table`, each family's in their order."""
        nf = self.nf(name)
        if not nf.translated.may_emit:
            emitting = [each.nf.name for each in self.plan.nfs if each.translated.may_emit]
            right = f"one of {', '.join(emitting)}" if emitting else ""
            raise InputError(f"{name} emits no records", self.plan.name, right)
        if not isinstance(self.sink, KeptRecords):
            raise InputError("the records of this run were not kept", self.plan.name, "give it no `records`")
        return self.sink.table(self.plan, nf)

    def core(self, name: str) -> dict[str, Any]:
        """The variables of the NF with that name in the chain; empty if it has none.

        Of those that it declares (Sum, Max, Min, Or) what all workers have together, of others a list with a value for
        each worker. Arrays are arrays of numpy, of truth values for Bits.
        """
        return self.engine.core(self.nf(name))

    def nf(self, name: str) -> NFPlan:
        """The NF with that name in the chain; InputError if there is none."""
        named = {nf.nf.name: nf for nf in self.plan.nfs}
        if name not in named:
            raise InputError(f"no network function {name}", self.plan.name, nearest(name, named))
        return named[name]


def execute(
    plan: Plan,
    source: Source,
    *,
    out: str | Path | None = None,
    cores: int = 1,
    engine: str = "compiled",
    limit: int | None = None,
    strict: bool = False,
    records: RecordSink | None = None,
    memory_bytes: int | None = None,
    balance_ns: int | None = None,
    drain: bool = False,
    changes: Sequence[Change] = (),
    before_block: Callable[[Run], None] | None = None,
    progress: Callable[["Capture | None", int], None] = lambda capture, packets: None,
    interruption: Interruption | None = None,
) -> Run:
    """Run a chain over a source. An error in the middle ends the run and is kept in it; one at the start is raised.

    out: a capture file to write. cores: workers, each on a core of its own if there are enough. limit: packets after
    which to stop, at least 1. strict: a file cut off at the end is an error. records: where the records go that NFs
    emit, after each block; None: they are counted and dropped. memory_bytes: what flow tables may take at most; None:
    half of what the machine has free. balance_ns: how often, in the time of packets, the compiled engine changes which
    flows are whose by load; None: never. drain: at the end, however it came, all flows end as if they were idle.
    changes: parameters of NFs that change at a time. before_block: called with the run before each block; it may look
    at what there is, and change NFs. progress is called with the capture and the packets so far after each block.
    interruption: signals that end the run between two blocks, or while it waits for the next; so does a
    KeyboardInterrupt among the blocks.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}", "", "at least 1")
    check_changes(plan, changes)
    seconds, interruption = Seconds(), interruption or Interruption()
    with seconds.spent_on("total"), ExitStack() as open_files:
        with seconds.spent_on("compile"):
            run = Run(
                plan,
                make_engine(plan, engine, cores=cores, memory_bytes=memory_bytes, balance_ns=balance_ns),
                engine,
                seconds,
                records,
            )
        # To open a FIFO is to wait for whoever is at its other end.
        with seconds.spent_on("compile"), interruption.immediate():
            capture, blocks = _open_source(source, strict, limit, cores, open_files)
            writer = _open_writer(out, source, open_files)
        packets, schedule = 0, Schedule(changes, lambda change: run.change(change.nf, **change.params))
        with kept_in(run):
            for block in _timed(blocks, cores, seconds, interruption):
                if before_block is not None:
                    before_block(run)
                _process(run, block, schedule, writer)
                packets += len(block)
                progress(capture, packets)
        _close(run, open_files, drain)
        run.warnings = [*(capture.warnings if capture is not None else []), *schedule.warnings()]
        run.is_over = True
    return run


def _process(run: Run, block: FrameBlock, schedule: Schedule, writer: "CaptureWriter | None") -> None:
    """Run a block, parameters changing where they are to, and write what comes of it."""
    with run.seconds.spent_on("process"):
        for part in schedule.parts(block):
            run.engine.process(part)
    with run.seconds.spent_on("write"):
        hand_over(run.engine, run.plan, run.sink)
    if writer is not None:
        with run.seconds.spent_on("write"):
            writer.write(block)


def _close(run: Run, open_files: ExitStack, drain: bool) -> None:
    """What is left to do after the last block; what goes wrong with one thing does not cost the next."""
    with kept_in(run), run.seconds.spent_on("process"):
        run.engine.settle()
    if drain:
        with kept_in(run), run.seconds.spent_on("process"):
            run.engine.drain()
    with kept_in(run), run.seconds.spent_on("write"):
        open_files.close()
    with kept_in(run), run.seconds.spent_on("write"):
        hand_over(run.engine, run.plan, run.sink)
    with kept_in(run), run.seconds.spent_on("write"):
        if run.sink is not None:
            run.sink.close()


@contextmanager
def kept_in(run: Run) -> Iterator[None]:
    """What ends the body early is kept; of two errors the first, as the second may follow from it."""
    try:
        yield
    except InputError as error:
        run.error = run.error or error
    except KeyboardInterrupt:
        run.interrupted = True


def make_engine(
    plan: Plan, name: str, *, cores: int = 1, memory_bytes: int | None = None, balance_ns: int | None = None
) -> Engine:
    """The engine with that name, one of ENGINES, with a worker for each core; InputError for what cannot be."""
    check_workers(cores)
    if name == "compiled":
        from fajita.engine.workers import compiled_engine

        return compiled_engine(plan, cores, memory_bytes=memory_bytes, balance_ns=balance_ns)
    if name == "reference":
        from fajita.reference import ReferenceEngine

        if memory_bytes is not None:
            raise InputError("the reference engine knows no limit of memory", right="give the chain a capacity instead")
        if balance_ns is not None:
            raise InputError("the reference engine does not balance workers", right="leave out --balance")
        return ReferenceEngine(plan, 1 if plan.tuning.sprays else cores)
    raise InputError(f"no engine {name!r}", right=f"one of {', '.join(ENGINES)}")


def _open_source(
    source: Source, strict: bool, limit: int | None, cores: int, open_files: ExitStack
) -> tuple["Capture | None", Iterable[FrameBlock]]:
    if isinstance(source, FrameBlock):
        return None, limited([source], limit)
    if not isinstance(source, str | Path):
        if isinstance(source, bytes | bytearray | np.ndarray) or not isinstance(source, Iterable):
            _refuse_source(f"a source cannot be a {type(source).__name__}")
        return None, limited(_only_blocks(source), limit)
    from fajita.io.capture import BLOCK_FRAMES, CHUNK_SIZE, open_capture

    # As much for each worker as for one, so that they have to wake up no more often.
    times = min(cores, _LONGEST_BLOCK)
    sizes = {"chunk_size": CHUNK_SIZE * times, "block_frames": BLOCK_FRAMES * times}
    capture = open_files.enter_context(open_capture(source, strict=strict, limit=limit, **sizes))
    return capture, capture


def _only_blocks(source: Iterable[object]) -> Iterator[FrameBlock]:
    """The blocks of a user's source; InputError where it gives anything else."""
    for block in source:
        if not isinstance(block, FrameBlock):
            _refuse_source(f"a source has to give FrameBlocks, not a {type(block).__name__}")
        yield block


def _refuse_source(what: str) -> NoReturn:
    right = "make one with FrameBlock.from_slots(array, lengths, times) or FrameBlock.from_frames(list of bytes)"
    raise InputError(what, "", right)


def _open_writer(out: str | Path | None, source: Source, open_files: ExitStack) -> "CaptureWriter | None":
    if out is None:
        return None
    from fajita.io.writer import CaptureWriter

    input_path = source if isinstance(source, str | Path) else None
    return open_files.enter_context(CaptureWriter(out, input_path))


def _timed(
    blocks: "Capture | Iterable[FrameBlock]", cores: int, seconds: Seconds, interruption: Interruption
) -> Iterator[FrameBlock]:
    """The blocks; the time it takes to get each is time spent reading. KeyboardInterrupt instead of the next one.

    Blocks of a file are read while the one before is run, if the workers leave a processor for it. Of nothing else, as
    that might keep a thread waiting for ever.
    """
    iterator = iter(blocks)
    is_file = getattr(blocks, "bytes_total", None) is not None
    with _next_of(iterator, ahead=is_file and cores < len(os.sched_getaffinity(0))) as next_block:
        while True:
            with seconds.spent_on("read"), interruption.immediate():
                block = next_block()
            if block is None:
                return
            yield block


@contextmanager
def _next_of(iterator: Iterator[FrameBlock], *, ahead: bool) -> Iterator[Callable[[], FrameBlock | None]]:
    """Gives what gets the next block, None at the end; ahead: another thread has it ready by then."""
    if not ahead:
        yield lambda: next(iterator, None)
        return
    with ThreadPoolExecutor(1, "reader") as reader:
        coming = [reader.submit(next, iterator, None)]

        def get() -> FrameBlock | None:
            block = coming[0].result()
            if block is not None:
                coming[0] = reader.submit(next, iterator, None)
            return block

        yield get
