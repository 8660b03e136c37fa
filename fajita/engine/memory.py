"""Large areas of memory on huge pages."""

import mmap
import os
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from fajita.errors import InputError

HUGE_PAGE = 2 << 20


class Budget:
    """How many bytes the tables of all workers may take."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.taken_bytes = limit_bytes, 0
        self._lock = Lock()

    def take(self, nbytes: int) -> bool:
        """Whether there are so many left, which are then taken."""
        with self._lock:
            if self.taken_bytes + nbytes > self.limit_bytes:
                return False
            self.taken_bytes += nbytes
        return True

    def need(self, nbytes: int) -> None:
        """Take what nothing begins without; `check` says whether there is so much."""
        with self._lock:
            self.taken_bytes += nbytes

    def check(self) -> None:
        """InputError if more is needed than there may be."""
        if self.taken_bytes > self.limit_bytes:
            needed, limit = -(-self.taken_bytes >> 20), self.limit_bytes >> 20
            what = f"the tables need {needed:,} MiB to begin with and may take {limit:,} MiB"
            raise InputError(what, right=f"give them that, as with --memory {needed}MiB, or less capacity")

    def give_back(self, nbytes: int) -> None:
        """What is no longer needed."""
        with self._lock:
            self.taken_bytes -= nbytes


#: Where Linux says what the container that a process runs in may take (cgroup v2).
_CGROUP = Path("/sys/fs/cgroup")


def free_bytes() -> int:
    """What the machine, or the container, has free, memory that it would take from its caches included."""
    left = _left_in_container()
    return _free_in_machine() if left is None else min(left, _free_in_machine())


def _left_in_container() -> int | None:
    try:
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        caches = dict(line.split(maxsplit=1) for line in (_CGROUP / "memory.stat").read_text().splitlines())["file"]
        return max(0, limit - used + int(caches))
    except (OSError, ValueError, KeyError):  # there is none, or it has no limit
        return None


def _free_in_machine() -> int:
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def usual_limit_bytes() -> int:
    """What tables may take if nobody says otherwise: half of what is free."""
    return free_bytes() // 2


def rounded_up(nbytes: int) -> int:
    """What `huge_pages` gives when asked for so many bytes."""
    return -(-nbytes // HUGE_PAGE) * HUGE_PAGE


def huge_pages(nbytes: int, right: str = "fewer flows, or a machine with more") -> NDArray[np.uint8]:
    """A zeroed area of at least `nbytes`, aligned to 2 MiB, touched by whoever uses it first; InputError if not."""
    rounded = rounded_up(nbytes)
    try:
        # Private: shared anonymous memory is shmem, which gets no huge pages unless the system is told to.
        area = mmap.mmap(-1, rounded + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError):
        raise InputError(f"no memory for {rounded >> 20:,} MiB", right=right) from None
    if hasattr(mmap, "MADV_HUGEPAGE"):
        area.madvise(mmap.MADV_HUGEPAGE)
    view = np.frombuffer(area, np.uint8)
    start = -view.ctypes.data % HUGE_PAGE
    return view[start : start + rounded]
