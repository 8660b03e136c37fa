"""Before all other processes: for what is timed, where the system lets a thread ask for that."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def precedence() -> Iterator[bool]:
    """Let the calling thread run before all usual ones while the body runs; gives whether it may.

    Linux wants CAP_SYS_NICE or a limit (RLIMIT_RTPRIO) for that (sched(7)). The system's timer and a hypervisor still
    take the processor away.
    """
    usual = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO)))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, *usual)
