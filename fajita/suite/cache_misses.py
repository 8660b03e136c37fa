"""Cache misses of a piece of work, as the processor counts them: those of the last-level cache (perf_event_open(2)).

Many virtual machines have no such counters; then there is nothing to report, and a report says so.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

#: The number of the system call, which the C library has no function for, by machine.
_SYSTEM_CALLS = {"x86_64": 298, "aarch64": 241}
#: The first version of struct perf_event_attr: type, size, config, period, sample type, format, flags, three more.
_ATTRIBUTES = struct.Struct("=IIQQQQQIIQ")
_EXCLUDE_KERNEL, _EXCLUDE_HYPERVISOR = 1 << 5, 1 << 6
#: The kind of an event, the processor's, and its number (linux/perf_event.h).
CACHE_MISSES = (0, 3)


class EventCounter:
    """Counts what the calling thread does in its own code from now on. Close it, or use it in a `with`."""

    def __init__(self, event: tuple[int, int] = CACHE_MISSES) -> None:
        """event: its kind and number. OSError where the machine or its administrator does not let it be counted."""
        number = _SYSTEM_CALLS.get(platform.machine())
        if number is None:
            raise OSError(f"no counters are known of {platform.machine()}")
        kind, config = event
        flags = _EXCLUDE_KERNEL | _EXCLUDE_HYPERVISOR
        attributes = ctypes.create_string_buffer(
            _ATTRIBUTES.pack(kind, _ATTRIBUTES.size, config, 0, 0, 0, flags, 0, 0, 0)
        )
        library = ctypes.CDLL(None, use_errno=True)
        of_this_thread, on_any_processor, in_no_group = 0, -1, -1
        self._file = library.syscall(
            number, attributes, of_this_thread, on_any_processor, in_no_group, ctypes.c_ulong(0)
        )
        if self._file < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def read(self) -> int:
        """Events so far."""
        return int.from_bytes(os.read(self._file, 8), "little")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._file)


@contextmanager
def counter_of_misses() -> Iterator[EventCounter | None]:
    """One of the calling thread's cache misses; None where there is none."""
    try:
        counter = EventCounter()
    except OSError:
        yield None
        return
    with counter:
        yield counter


def why_not_counted() -> str:
    """What the system says when cache misses are to be counted; empty if they are."""
    try:
        EventCounter().__exit__(None, None, None)
    except OSError as error:
        return error.strerror or str(error)
    return ""
