"""Large areas of memory on huge pages."""

import mmap

import numpy as np
from numpy.typing import NDArray

HUGE_PAGE = 2 << 20


def huge_pages(nbytes: int) -> NDArray[np.uint8]:
    """A zeroed area of at least `nbytes`, aligned to 2 MiB, touched by whoever uses it first."""
    rounded = -(-nbytes // HUGE_PAGE) * HUGE_PAGE
    area = mmap.mmap(-1, rounded + HUGE_PAGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        area.madvise(mmap.MADV_HUGEPAGE)
    view = np.frombuffer(area, np.uint8)
    start = -view.ctypes.data % HUGE_PAGE
    return view[start : start + rounded]
