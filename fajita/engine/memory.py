"""Large areas of memory on huge pages."""

import mmap

import numpy as np
from numpy.typing import NDArray

from fajita.errors import InputError

HUGE_PAGE = 2 << 20


def huge_pages(nbytes: int, right: str = "fewer flows, or a machine with more") -> NDArray[np.uint8]:
    """A zeroed area of at least `nbytes`, aligned to 2 MiB, touched by whoever uses it first; InputError if not."""
    rounded = -(-nbytes // HUGE_PAGE) * HUGE_PAGE
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
