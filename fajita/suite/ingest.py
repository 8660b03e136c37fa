"""From a capture file to verdicts, and to another file: what `fajita run` does, the program's start left out."""

import os
import statistics
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fajita import Chain
from fajita.io.generate_trace import generate_trace
from fajita.plan import Plan
from fajita.run import execute


class Setting(BaseModel):
    """to: where frames go that go on. size: bytes of a frame. The file lies in the system's cache."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    chain: str
    flows: int = Field(65_536, ge=1)
    packets: int = Field(1 << 22, ge=1)
    cores: int = Field(1, ge=1)
    size: int = Field(60, ge=60, le=1514)
    to: Literal["verdicts", "file"] = "verdicts"
    repeat: int = Field(3, ge=1)


def measure_group(folder: Path, settings: list[Setting], progress: Callable[[], None]) -> list[dict[str, Any]]:
    """A row for each setting, measured in turn."""
    with tempfile.TemporaryDirectory() as place:

        @cache
        def trace(flows: int, packets: int, size: int) -> Path:
            path = Path(place) / f"{flows}-{packets}-{size}.pcap"
            generate_trace(path, flows, packets, size)
            return path

        plans = [Chain.load(folder / setting.chain).plan for setting in settings]
        rates: list[list[float]] = [[] for _ in settings]
        for number in range(1 + max(setting.repeat for setting in settings)):
            for setting, plan, found in zip(settings, plans, rates, strict=True):
                if number <= setting.repeat:
                    rate = _mpps(plan, trace(setting.flows, setting.packets, setting.size), setting, Path(place))
                    progress()
                    if number:  # the first warms the caches up
                        found.append(rate)
    return [_row(setting, plan, sorted(found)) for setting, plan, found in zip(settings, plans, rates, strict=True)]


def passes(setting: Setting) -> int:
    """How often `progress` is called for it."""
    return setting.repeat + 1


def _mpps(plan: Plan, trace: Path, setting: Setting, place: Path) -> float:
    out = place / "out.pcap" if setting.to == "file" else None
    done = execute(plan, trace, out=out, cores=setting.cores)
    if done.error is not None:
        raise done.error
    if done.interrupted:
        raise KeyboardInterrupt
    if out is not None:
        os.unlink(out)
    return setting.packets / (done.seconds.total - done.seconds.compile) / 1e6


def _row(setting: Setting, plan: Plan, rates: list[float]) -> dict[str, Any]:
    median = statistics.median(rates)
    return setting.model_dump(exclude={"repeat"}) | {
        "chain": plan.name,
        "mpps": round(median, 3),
        "mpps_min": round(rates[0], 3),
        "mpps_max": round(rates[-1], 3),
        "gbps": round(median * setting.size * 8 / 1000, 2),
    }
