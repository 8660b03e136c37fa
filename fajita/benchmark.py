"""How fast a chain is on packets in memory: no file, no NIC, only parse, tables and NFs.

Packets lie in 64-byte slots (or more, for larger frames) of huge pages. A first pass that is not counted makes every
flow; then come timed passes. Before each, outside the timed part, the frames are restored, as the chain may rewrite
them; the packets' own time goes on from pass to pass, as on a wire.
"""

import csv
import io
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.engine.compiled import CompiledEngine
from fajita.engine.interface import Engine
from fajita.engine.memory import huge_pages
from fajita.engine.workers import AnyCompiledEngine, compiled_engine
from fajita.errors import InputError
from fajita.io.flow_order import FlowOrder
from fajita.io.frames import RESHAPED, FrameBlock
from fajita.io.synthetic import DEFAULT_GAP_NS, MINIMUM_SIZE, synthetic_block
from fajita.kernel.layout import BURST
from fajita.plan import Plan
from fajita.records import hand_over
from fajita.rss import check_workers

#: Packets are held in memory, twice: 32 GiB of the smallest frames.
MAXIMUM_PACKETS = 1 << 28
#: Flows that are made at once by the pass that is not counted.
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Measurement:
    """The rates of the timed passes of one setting, million packets per second."""

    chain: str
    flows: int
    packets: int
    cores: int
    order: str
    traffic: str
    passes: tuple[float, ...]

    def as_row(self) -> dict[str, str | int | float]:
        """What `bench --json` writes: the median, the slowest and the fastest pass."""
        median = statistics.median(self.passes)
        return {
            "chain": self.chain,
            "flows": self.flows,
            "packets": self.packets,
            "cores": self.cores,
            "order": self.order,
            "traffic": self.traffic,
            "burst": BURST,
            "mpps": round(median, 3),
            "mpps_min": round(min(self.passes), 3),
            "mpps_max": round(max(self.passes), 3),
            "ns_per_packet": round(1000 / median, 3),
        }


def measure(
    plan: Plan,
    *,
    flows: int,
    packets: int,
    cores: int = 1,
    order: str = "uniform",
    repeat: int = 5,
    traffic: str = "udp",
    size: int = MINIMUM_SIZE,
    seed: int = 1,
    progress: Callable[[], None] = lambda: None,
) -> Measurement:
    """Time `repeat` passes of a chain over `packets` packets of `flows` flows; progress is called after each pass.

    InputError for a number out of range, and if the memory does not suffice.
    """
    for name, value, maximum in (("packets", packets, MAXIMUM_PACKETS), ("repeat", repeat, None)):
        if value < 1 or (maximum is not None and value > maximum):
            raise InputError(f"{name} is {value}", right=f"1 to {maximum}" if maximum is not None else "at least 1")
    check_workers(cores)
    try:
        flow_order = FlowOrder(order, flows, seed)
        engine = compiled_engine(plan, cores)
        make_every_flow(engine, flows, size, traffic)
        block = synthetic_block(flow_order, packets, first=flows, size=size, traffic=traffic)
        shards = (
            [block] if isinstance(engine, CompiledEngine) else [own_frames(shard) for shard in engine.shards_of(block)]
        )
        passes = _timed_passes(Passes(engine, shards), repeat, progress)
    except MemoryError:
        right = "ask for fewer"
        raise InputError(f"not enough memory for {packets} packets of {flows} flows", right=right) from None
    return Measurement(plan.name, flows, packets, cores, order, traffic, tuple(passes))


def put_back(block: FrameBlock, columns: Sequence[NDArray[np.unsignedinteger]]) -> None:
    """Let frames lie where they did, as long as they were. columns: those of RESHAPED, as they were."""
    for name, column in zip(RESHAPED, columns, strict=True):
        getattr(block, name)[:] = column
    block.grown.clear()


def own_frames(shard: FrameBlock) -> FrameBlock:
    """A worker's packets of a synthetic block in memory of its own, as a NIC's queue would have them."""
    slots: NDArray[np.uint8] = shard.memory  # type: ignore[assignment]
    packets, width = len(shard), slots.shape[1]
    frames = huge_pages(max(1, packets * width))[: packets * width].reshape(packets, width)
    frames[:] = slots[(shard.address - np.uint64(slots.ctypes.data)) // np.uint64(width)]
    return FrameBlock.from_slots(frames, shard.captured, shard.time_ns)


class Passes:
    """Passes of an engine over what each worker has of a synthetic block, in slots of its own.

    Before each the frames are restored; the packets' own time goes on from pass to pass. pristine: the frames as they
    came.
    """

    def __init__(self, engine: AnyCompiledEngine, shards: list[FrameBlock]) -> None:
        self.engine, self._shards = engine, shards
        self._slots: list[NDArray[np.uint8]] = [shard.memory for shard in shards]  # type: ignore[misc]
        self.pristine = [frames.copy() for frames in self._slots]
        self._lying = [[getattr(shard, name).copy() for name in RESHAPED] for shard in shards]
        self.packets = sum(map(len, shards))

    def seconds(self) -> float:
        """The time of the next pass, without what is done before and after it."""
        elapsed, _ = self.counted(lambda: 0)
        return elapsed

    def counted(self, count: Callable[[], int]) -> tuple[float, int]:
        """The time of the next pass, and by how much `count` has gone on meanwhile."""
        for frames, original in zip(self._slots, self.pristine, strict=True):
            frames[:] = original
        for shard, columns in zip(self._shards, self._lying, strict=True):
            put_back(shard, columns)
        before = count()
        elapsed = self.engine.process_shards(self._shards)
        counted = count() - before
        hand_over(self.engine, self.engine.plan, None)
        for shard in self._shards:
            shard.time_ns += np.uint64(self.packets * DEFAULT_GAP_NS)
        return elapsed, counted


def _timed_passes(passes: Passes, repeat: int, progress: Callable[[], None]) -> list[float]:
    """Million packets per second of each pass but the first, which warms the caches up."""
    rates = []
    for _ in range(repeat + 1):
        rates.append(passes.packets / passes.seconds() / 1e6)
        progress()
    return rates[1:]


def make_every_flow(engine: Engine, flows: int, size: int = MINIMUM_SIZE, traffic: str = "udp") -> None:
    """Run a packet of each flow, so that none is new in what is measured."""
    order = FlowOrder("roundrobin", flows, 0)
    for first in range(0, flows, _CHUNK):
        count = min(_CHUNK, flows - first)
        engine.process(synthetic_block(order, count, first=first, size=size, traffic=traffic))


def csv_text(rows: list[dict[str, Any]]) -> str:
    """Rows of measurements as CSV (RFC 4180, but with plain line ends), names first; what a row lacks is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def load_pyplot() -> Any:
    """matplotlib's pyplot, drawing to files; InputError if it is not installed."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise InputError("a plot needs matplotlib", right="pip install 'fajita[plot]'") from None
    matplotlib.use("agg")
    from matplotlib import pyplot

    return pyplot


def plot(rows: list[dict[str, Any]], path: str) -> None:
    """Draw rate against flows, a line per number of cores, as a PNG; if only cores differ, against those.

    The range of the passes is a band; `-` is standard output.
    """
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    x, lines = ("flows", "cores") if len({row["flows"] for row in rows}) > 1 or len(rows) == 1 else ("cores", "flows")
    for value in dict.fromkeys(row[lines] for row in rows):
        line = sorted((row for row in rows if row[lines] == value), key=lambda row: row[x])
        at = [row[x] for row in line]
        axes.plot(at, [row["mpps"] for row in line], marker="o", label=f"{value:,}")
        axes.fill_between(at, [row["mpps_min"] for row in line], [row["mpps_max"] for row in line], alpha=0.2)
    axes.set(xlabel=x, ylabel="million packets per second", title=f"chain {rows[0]['chain']}, {rows[0]['order']}")
    if x == "flows":
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(title=lines)
    try:
        figure.savefig(sys.stdout.buffer if path == "-" else path, format="png", dpi=150)
    except OSError as error:
        where = "standard output" if path == "-" else path
        raise InputError(f"cannot write: {error.strerror}", where, "name a file that can be written") from None
    finally:
        pyplot.close(figure)
