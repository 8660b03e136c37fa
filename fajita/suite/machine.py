"""What a measurement was made on: processor, caches, memory, versions; and how busy the machine was meanwhile."""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fajita
from fajita.suite.cache_misses import why_not_counted

_CPU = Path("/sys/devices/system/cpu")
#: Packages that what is compiled depends on.
_PACKAGES = ("numba", "llvmlite", "numpy")
#: The first line of /proc/stat, in ticks (proc_stat(5)).
_STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def describe_machine() -> dict[str, Any]:
    """The machine and the versions, as far as the system says; what it does not is left out."""
    described = {
        "processor": _processor(),
        "processors": len(os.sched_getaffinity(0)),
        "threads_per_core": len(_listed(_read(_CPU / "cpu0/topology/thread_siblings_list"))) or None,
        "caches": _caches(),
        "governor": _read(_CPU / "cpu0/cpufreq/scaling_governor") or None,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "huge_pages": _chosen(_read(Path("/sys/kernel/mm/transparent_hugepage/enabled"))),
        "hypervisor": "hypervisor" in _cpu_info("flags").split(),
        "kernel": platform.release(),
        "cache_misses_not_counted": why_not_counted(),
        "python": platform.python_version(),
        "fajita": fajita.__version__,
        "commit": _commit(),
        **{name: version(name) for name in _PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return {name: value for name, value in described.items() if value not in (None, "", {})}


class Load:
    """Shares of the machine's time, 0 to 1, while something was measured. stolen: a hypervisor gave it to others."""

    def __init__(self) -> None:
        self.busy = self.stolen = 0.0

    def as_row(self) -> dict[str, float]:
        """For a report."""
        return {"busy": round(self.busy, 3), "stolen": round(self.stolen, 4)}


@contextmanager
def watched() -> Iterator[Load]:
    """How busy the machine is while the body runs; known at its end."""
    load, before = Load(), _ticks()
    try:
        yield load
    finally:
        passed = {name: after - before[name] for name, after in _ticks().items()}
        if total := sum(passed.values()):
            # The system's count of time spent waiting may go back (proc_stat(5)).
            load.busy = min(1.0, max(0.0, 1 - (passed["idle"] + passed["iowait"]) / total))
            load.stolen = min(1.0, max(0.0, passed["steal"] / total))


def _ticks() -> dict[str, int]:
    first, *_ = _read(Path("/proc/stat")).splitlines() or [""]
    return dict(zip(_STATES, [int(part) for part in first.split()[1:]] or [0] * len(_STATES), strict=False))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _cpu_info(name: str) -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _processor() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _caches() -> dict[str, str]:
    """Sizes of the first processor's caches by level and kind."""
    found = {}
    for index in sorted((_CPU / "cpu0/cache").glob("index*")):
        kind = {"Data": "d", "Instruction": "i"}.get(_read(index / "type"), "")
        found[f"L{_read(index / 'level')}{kind}"] = _read(index / "size")
    return found


def _listed(text: str) -> list[int]:
    """The numbers of a list such as 0-3,8."""
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def _chosen(text: str) -> str:
    """The word in brackets."""
    return text.partition("[")[2].partition("]")[0]


def _commit() -> str:
    """The commit of the checkout that fajita is run from, with + if something has been changed; empty without one."""
    folder = Path(fajita.__file__).parents[1]
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
