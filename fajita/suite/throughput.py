"""Packets per second from memory: variants of a chain or of its traffic, measured in turn.

As `fajita bench` does it, each pass over packets in slots of huge pages that are restored before; but the variants that
are compared take turns, so that a noisy machine disturbs them alike, and in between the bare memory traffic of each is
measured too.
"""

import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fajita import Chain
from fajita.benchmark import Passes, make_every_flow, own_frames
from fajita.engine.workers import compiled_engine
from fajita.io.flow_order import FlowOrder
from fajita.io.synthetic import synthetic_block
from fajita.plan import Plan
from fajita.suite.cache_misses import EventCounter, counter_of_misses
from fajita.suite.roof import Roof, lines_per_packet
from fajita.tuning import Tuning

#: What may be left out of a kernel, by the names that suites give it. The first five are a ladder: each has one idea
#: more than the one before, "everything" the last.
TUNINGS = {
    "one packet at a time": Tuning(batching="packet", pipelined=False, ahead=False, auxiliary=False),
    "bursts split by flow": Tuning(batching="flow", pipelined=False, ahead=False, auxiliary=False),
    "whole bursts": Tuning(pipelined=False, ahead=False, auxiliary=False),
    "pipelined lookup": Tuning(ahead=False, auxiliary=False),
    "prefetch": Tuning(auxiliary=False),
    "everything": Tuning(),
    "without prefetch": Tuning(prefetch=False),
    "without auxiliary links": Tuning(auxiliary=False),
}
#: Of a setting whose fastest and slowest pass differ by more, no figure can be trusted.
NOISY = 0.2


def _known_tuning(name: str) -> str:
    if name not in TUNINGS:
        raise ValueError(f"no tuning {name}; known: {', '.join(TUNINGS)}")
    return name


class Setting(BaseModel):
    """What one variant is. size: bytes of a frame without the Ethernet checksum. packets: of a pass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    chain: str
    flows: int = Field(65_536, ge=1)
    packets: int = Field(1 << 21, ge=1)
    cores: int = Field(1, ge=1)
    order: Literal["uniform", "roundrobin", "caida", "campus"] = "uniform"
    traffic: Literal["udp", "tcp", "mixed"] = "udp"
    size: int = Field(60, ge=60, le=1514)
    tuning: Annotated[str, AfterValidator(_known_tuning)] = "everything"
    sharing: Literal["replicated", "shared"] | None = None
    repeat: int = Field(7, ge=1)

    def plan(self, folder: Path) -> Plan:
        """The plan of its chain, a path relative to the folder."""
        return Chain.load(folder / self.chain).plan_with(
            TUNINGS[self.tuning], sharing=self.sharing if self.cores > 1 else None
        )


@dataclass
class _Variant:
    """One setting, ready to run. seconds, misses: of each pass; roof: seconds of the bare memory's."""

    setting: Setting
    passes: Passes
    seconds: list[float] = field(default_factory=list)
    misses: list[int] = field(default_factory=list)
    roof: list[float] = field(default_factory=list)

    @cached_property
    def bare(self) -> Roof:
        """Its memory traffic, on one core."""
        engine = self.passes.engine
        entries, lines = [table.active for table in engine.counters().tables], lines_per_packet(engine.plan)
        return Roof(self.passes.pristine[0].copy(), entries[: len(lines)], lines)

    def run(self, counter: EventCounter | None, *, counts: bool) -> None:
        """A pass over all packets; counts: it is one of those that are reported. counter: of cache misses, if any."""
        with _pinned(self.setting.cores == 1):
            elapsed, missed = self.passes.counted(counter.read if counter is not None else lambda: 0)
            bare = self.bare.seconds() if self.setting.cores == 1 else 0.0
        if counts:
            self.seconds.append(elapsed)
            self.misses.append(missed)
            self.roof.append(bare)

    def row(self, counter: EventCounter | None) -> dict[str, Any]:
        """What is reported: the setting and its rates, million packets per second, median and range."""
        packets = self.setting.packets
        rates = sorted(packets / seconds / 1e6 for seconds in self.seconds)
        median = statistics.median(rates)
        row = self.setting.model_dump(exclude={"repeat"}) | {
            "chain": self.passes.engine.plan.name,
            "mpps": round(median, 3),
            "mpps_min": round(rates[0], 3),
            "mpps_max": round(rates[-1], 3),
            "ns_per_packet": round(1000 / median, 2),
            "roof_mpps": None,
            "of_roof": None,
            "cache_misses": None,
            "noisy": rates[-1] / rates[0] - 1 > NOISY,
        }
        if self.setting.cores == 1:
            shares = [bare / seconds for bare, seconds in zip(self.roof, self.seconds, strict=True)]
            row["roof_mpps"] = round(packets / statistics.median(self.roof) / 1e6, 3)
            row["of_roof"] = round(statistics.median(shares), 3)
            if counter is not None:
                row["cache_misses"] = round(statistics.median(self.misses) / packets, 3)
        return row


def measure_group(
    folder: Path, settings: list[Setting], progress: Callable[[], None] = lambda: None
) -> list[dict[str, Any]]:
    """A row for each of some settings that are compared, measured in turn; progress is called after each pass."""
    variants = [_prepare(folder, setting) for setting in settings]
    with counter_of_misses() as counter:
        for number in range(1 + max(setting.repeat for setting in settings)):
            for variant in variants if number % 2 else reversed(variants):
                if number <= variant.setting.repeat:
                    variant.run(counter, counts=number > 0)  # the first warms the caches up
                    progress()
        return [variant.row(counter) for variant in variants]


def passes(setting: Setting) -> int:
    """How often `progress` will have been called for it."""
    return setting.repeat + 1


def _prepare(folder: Path, setting: Setting) -> _Variant:
    order = FlowOrder(setting.order, setting.flows, seed=1)
    engine = compiled_engine(setting.plan(folder), setting.cores)
    make_every_flow(engine, setting.flows, setting.size, setting.traffic)
    block = synthetic_block(order, setting.packets, first=setting.flows, size=setting.size, traffic=setting.traffic)
    shards = engine.shards_of(block)
    return _Variant(setting, Passes(engine, shards if setting.cores == 1 else [own_frames(shard) for shard in shards]))


@contextmanager
def _pinned(is_needed: bool) -> Iterator[None]:
    """The calling thread on one processor, the last, which interrupts disturb least."""
    if not is_needed:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
