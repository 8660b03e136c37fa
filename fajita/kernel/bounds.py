"""Bounds checks on every load and store of a kernel: a build for tests, chosen with FAJITA_CHECK_BOUNDS=1.

Whoever runs a kernel says which memory it may touch: regions, each frame one of its own. The kernel asks before every
access, by a callback into Python. One that does not lie within a region is noted and done to a dummy area instead, so
that a test sees the fault rather than a crash. The code has the callback by its name, as it lies elsewhere in each
process.
"""

import ctypes
import os
import threading
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from llvmlite import binding
from numpy.typing import NDArray

from fajita.kernel.operation import I64, llvm_intrinsic

#: Whether kernels of this process are built with checks.
CHECKED = os.environ.get("FAJITA_CHECK_BOUNDS") == "1"

#: As large as the largest access: a whole frame.
_DUMMY = ctypes.create_string_buffer(1 << 18)


class _Allowed(threading.local):
    """Where the regions begin and end that a thread's kernel may touch."""

    starts: Sequence[int] = ()
    ends: Sequence[int] = ()


class Regions:
    """The memory that the kernel of each thread may touch now, and what kernels touched beside it."""

    def __init__(self) -> None:
        self.violations: list[tuple[int, int]] = []
        self.checks = 0
        self._allowed = _Allowed()

    def allow_only(self, regions: Iterable[tuple[int, int]]) -> None:
        """Allow these (address, bytes) and nothing else."""
        ordered = sorted(region for region in regions if region[1])
        self._allowed.starts = [address for address, _ in ordered]
        self._allowed.ends = [address + size for address, size in ordered]

    def checked(self, address: int, size: int) -> int:
        """The address, or that of the dummy area."""
        self.checks += 1
        index = bisect_right(self._allowed.starts, address) - 1
        if size == 0 or (index >= 0 and address + size <= self._allowed.ends[index]):
            return address
        self.violations.append((address, size))
        return ctypes.addressof(_DUMMY)


REGIONS = Regions()
_CHECK_TYPE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_CHECK, _NAME = _CHECK_TYPE(REGIONS.checked), "fajita.checked"
if CHECKED:
    binding.add_symbol(_NAME, ctypes.cast(_CHECK, ctypes.c_void_p).value)


def allow_only(arrays: Iterable[NDArray[Any]], regions: Iterable[tuple[int, int]] = ()) -> None:
    """Say what the next kernel may touch: arrays, and regions of (address, bytes). Does nothing in other builds."""
    if CHECKED:
        REGIONS.allow_only([*((array.ctypes.data, array.nbytes) for array in arrays), *regions])


def checked_address(builder: Any, address: Any, size: Any) -> Any:
    """The address itself, or, in a build with checks, what `Regions.checked` makes of it."""
    return llvm_intrinsic(builder, _NAME, I64, address, size) if CHECKED else address
