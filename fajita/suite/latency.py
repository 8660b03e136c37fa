"""How long packets wait, against how many come: offered loads from a tenth of what a chain can do to more than all.

Packets are due at a steady pace whatever the chain does (kernel/pacing.py), so that what a stall holds up is counted.
A worker takes what has come, up to a burst's number of packets at once. Capacity is that of the same bursts when all
packets are there. With several cores each worker has its shard's share of the load. Beside each pass, packets come at
the same pace to a loop that does nothing with them: what they wait there, the machine alone is the reason for. Both
take the processor before all other processes where that is permitted.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from fajita import Chain
from fajita.benchmark import make_every_flow, own_frames
from fajita.engine.pacing import PacedEngine
from fajita.engine.threads import WorkerThreads
from fajita.engine.workers import compiled_engine
from fajita.errors import InputError
from fajita.io.flow_order import FlowOrder
from fajita.io.frames import FrameBlock
from fajita.io.synthetic import synthetic_block
from fajita.plan import Plan
from fajita.sharding import OWN
from fajita.suite.pauses import behind_pauses, waits_behind

#: Of a pass this share comes first, all at once, and is not counted: to put the frames back took the tables out of the
#: caches, into which they come back flow by flow.
_WARM_UP = 1 / 2

_PERCENTILES = {"p50_us": 50.0, "p99_us": 99.0, "p99_9_us": 99.9}

Waits = NDArray[np.float64]


class Setting(BaseModel):
    """load: offered, as a share of capacity. burst: packets that are run at once, at most. packets: of a pass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    chain: str
    flows: int = Field(65_536, ge=1)
    packets: int = Field(1 << 20, ge=1000)
    cores: int = Field(1, ge=1)
    burst: int = Field(64, ge=1)
    load: float = Field(0.8, gt=0, le=10)
    repeat: int = Field(5, ge=1)


class _Workers:
    """A worker for each core, each with the packets of its shard."""

    def __init__(self, plan: Plan, setting: Setting) -> None:
        if setting.cores > 1 and any(table.sharing != OWN for table in plan.tables):
            raise InputError("workers share a table of this chain", plan.name, "measure its latency on one core")
        block = synthetic_block(
            FlowOrder("uniform", setting.flows, 1), setting.packets, first=setting.flows, traffic="udp"
        )
        whole = [block] if setting.cores == 1 else compiled_engine(plan, setting.cores).shards_of(block)
        self.shards = [own_frames(shard) for shard in whole]
        self._pristine = [_slots(shard).copy() for shard in self.shards]
        self.engines = [PacedEngine(plan) for _ in self.shards]
        for engine in self.engines:
            make_every_flow(engine, setting.flows)
        self._threads = WorkerThreads(setting.cores)

        self.packets = sum(map(len, self.shards))

    def run(self, mpps: float, burst: int) -> tuple[float, list[Waits]]:
        """Offer so many million packets per second, 0: all at once. The rate achieved, and what each waited, in µs."""
        for shard, frames in zip(self.shards, self._pristine, strict=True):
            _slots(shard)[:] = frames

        def work(engine: PacedEngine, shard: FrameBlock) -> tuple[float, Waits]:
            return engine.run_paced(shard, self._gap_ns(mpps, shard), burst, len(shard) - _counted(shard))

        came = self._on_all(work)
        counted = sum(map(_counted, self.shards))
        return counted / max(took for took, _ in came) / 1e6, [waited_ns / 1000 for _, waited_ns in came]

    def run_idle(self, mpps: float, burst: int) -> list[Waits]:
        """What each packet waits at this pace, in µs, if nothing is done with it."""

        def work(engine: PacedEngine, shard: FrameBlock) -> Waits:
            return engine.run_idle(_counted(shard), self._gap_ns(mpps, shard), burst)

        return [waited_ns / 1000 for waited_ns in self._on_all(work)]

    def gaps_us(self, mpps: float) -> list[float]:
        """Between two packets of each worker."""
        return [self._gap_ns(mpps, shard) / 1000 for shard in self.shards]

    def _gap_ns(self, mpps: float, shard: FrameBlock) -> float:
        """Between two packets of a worker, whose share of the load is that of its packets."""
        return 1000 / mpps * self.packets / max(1, len(shard)) if mpps else 0.0

    def _on_all(self, work: Callable[[PacedEngine, FrameBlock], Any]) -> list[Any]:
        """What each worker's work gives."""
        ends = self._threads.begin([partial(work, *own) for own in zip(self.engines, self.shards, strict=True)])
        self._threads.finish(ends)
        return [end.result() for end in ends]


def _counted(shard: FrameBlock) -> int:
    """How many packets of a pass count."""
    return len(shard) - int(len(shard) * _WARM_UP)


def _slots(shard: FrameBlock) -> NDArray[np.uint8]:
    assert isinstance(shard.memory, np.ndarray)
    return shard.memory


def measure_group(folder: Path, settings: list[Setting], progress: Callable[[], None]) -> list[dict[str, Any]]:
    """A row for each setting; those of one chain, flows and cores run on the same workers."""
    made: dict[tuple[object, ...], _Workers] = {}
    rows = []
    for setting in settings:
        plan = Chain.load(folder / setting.chain).plan
        place = (setting.chain, setting.flows, setting.packets, setting.cores)
        workers = made.get(place) or made.setdefault(place, _Workers(plan, setting))
        rows.append(_row(plan, workers, setting, progress))
    return rows


def passes(setting: Setting) -> int:
    """How often `progress` is called for it."""
    return setting.repeat


def _row(plan: Plan, workers: _Workers, setting: Setting, progress: Callable[[], None]) -> dict[str, Any]:
    """Percentiles are the medians of those of the passes, as one pass may meet whatever else the machine does."""
    capacity = max(workers.run(0, setting.burst)[0] for _ in range(3))
    gaps = workers.gaps_us(capacity * setting.load)
    rates, figures = [], []
    for _ in range(setting.repeat):
        rate, waits = workers.run(capacity * setting.load, setting.burst)
        idle = workers.run_idle(capacity * setting.load, setting.burst)
        rates.append(rate)
        figures.append(_measured(waits, setting, gaps) | _of_machine(idle, setting, gaps))
        progress()
    return setting.model_dump(exclude={"repeat"}) | {
        "chain": plan.name,
        "capacity_mpps": round(capacity, 3),
        "offered_mpps": round(capacity * setting.load, 3),
        "mpps": round(float(np.median(rates)), 3),
        **{name: _over_passes(name, [of_pass[name] for of_pass in figures]) for name in figures[0]},
    }


def _over_passes(name: str, values: list[float]) -> float | None:
    """The longest is that of all passes. None: most packets of most passes were behind pauses."""
    value = max(values) if name.endswith("longest_us") else float(np.median(values))
    return round(value, 2) if np.isfinite(value) else None


def _measured(waits: list[Waits], setting: Setting, gaps: list[float]) -> dict[str, float]:
    """Figures of a pass, µs. calm: of the packets that no pause held up, if these are most."""
    bursts = [setting.burst * gap * setting.load for gap in gaps]
    calm = np.concatenate([each[~behind_pauses(each, burst)] for each, burst in zip(waits, bursts, strict=True)])
    whole = np.concatenate(waits)
    return {
        "mean_us": float(whole.mean()),
        **{name: float(np.percentile(whole, share)) for name, share in _PERCENTILES.items()},
        "longest_us": float(whole.max()),
        "calm_p99_us": float(np.percentile(calm, 99.0)) if 2 * len(calm) >= len(whole) else np.inf,
    }


def _of_machine(idle: list[Waits], setting: Setting, gaps: list[float]) -> dict[str, float]:
    """Figures of an idle pass, µs. pauses: of a queue at this load that nothing but its pauses holds up."""
    queues = [waits_behind(each, gap, setting.load) for each, gap in zip(idle, gaps, strict=True)]
    whole = np.concatenate(idle)
    return {
        "pauses_p99_us": float(np.percentile(np.concatenate(queues), 99.0)),
        "machine_p99_us": float(np.percentile(whole, 99.0)),
        "machine_longest_us": float(whole.max()),
    }
