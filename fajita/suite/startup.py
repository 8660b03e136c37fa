"""How long it takes until a chain runs, in a process of its own: its kernel compiled, or found where it was kept."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fajita.errors import InputError
from fajita.io.generate_trace import generate_trace

#: Frames of the trace: next to nothing, so that what is timed is everything else.
_PACKETS = 16


class Setting(BaseModel):
    """cache: empty before each run; or as a run before left it; or with all but the chain's own kernel (new chain)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    chain: str
    cache: Literal["empty", "warm", "new chain"] = "warm"
    repeat: int = Field(3, ge=1)


def measure_group(folder: Path, settings: list[Setting], progress: Callable[[], None]) -> list[dict[str, Any]]:
    """A row for each setting, one after the other."""
    rows = []
    for setting in settings:
        seconds = []
        for _ in range(setting.repeat):
            seconds.append(_seconds(folder / setting.chain, setting.cache))
            progress()
        rows.append(
            {
                "chain": Path(setting.chain).stem,
                "cache": setting.cache,
                "seconds": round(statistics.median(seconds), 3),
                "seconds_min": round(min(seconds), 3),
                "seconds_max": round(max(seconds), 3),
            }
        )
    return rows


def passes(setting: Setting) -> int:
    """How often `progress` is called for it."""
    return setting.repeat


def _seconds(chain: Path, cache: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "few.pcap"
        generate_trace(trace, 4, _PACKETS)
        if cache != "empty":
            _run(chain, trace, folder)
        if cache == "new chain":
            for kept in Path(folder).glob("*/**/*chain_*"):
                if kept.is_file():
                    kept.unlink()
        return _run(chain, trace, folder)


def _run(chain: Path, trace: Path, cache_folder: str) -> float:
    command = [sys.executable, "-m", "fajita", "run", str(chain), "--pcap", str(trace), "--quiet"]
    start = time.perf_counter()
    done = subprocess.run(
        command, env=os.environ | {"FAJITA_CACHE_DIR": cache_folder}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise InputError(done.stderr.strip().removeprefix("fajita: "), str(chain))
    return time.perf_counter() - start
