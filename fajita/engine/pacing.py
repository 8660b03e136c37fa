"""An engine whose packets come at a pace of their own: how long each waits, from when it is due to when it is done."""

import platform
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray

from fajita.engine.compiled import CompiledEngine
from fajita.engine.precedence import precedence
from fajita.errors import InputError
from fajita.io.frames import FrameBlock
from fajita.kernel.cache import load_kernel
from fajita.kernel.counter import read_counter
from fajita.kernel.layout import CONTEXT, DONE, RECORDS_FULL
from fajita.kernel.pacing import FRACTIONS, generate_idle, generate_paced
from fajita.plan import Plan

#: What is not timed runs in bursts of so many.
_WARM_UP_BURST = 256
#: For longer than that no run takes all of a processor, which others need too.
_LONGEST_ALONE_NS = 1_000_000_000

#: How often both clocks are looked at to find a moment.
_ATTEMPTS = 16


class PacedEngine(CompiledEngine):
    """One worker. Its tables have to have room for all flows before, as nothing can be asked of it meanwhile."""

    def __init__(self, plan: Plan) -> None:
        if platform.machine() != "x86_64":
            raise InputError("latency is measured with x86's time stamp counter", right="measure on an x86-64 machine")
        if plan.reshapes:
            what = f"latency of {plan.name} cannot be measured: it makes frames longer or shorter"
            raise InputError(what, right="measure its speed: fajita bench")
        super().__init__(plan)
        self._paced: Callable[..., int] = load_kernel(generate_paced(plan))
        self._idle: Callable[..., int] = load_kernel(generate_idle())

    def run_paced(
        self, block: FrameBlock, gap_ns: float, most: int, warm_up: int = 0
    ) -> tuple[float, NDArray[np.float64]]:
        """Run the block, packet i being due `i * gap_ns` after the first, at most `most` at once.

        warm_up: so many packets are run before, as fast as can be, and are not counted. gap_ns 0: all are there at
        once, for a loop that is the same: what it does for a burst counts where bursts are small. Gives the seconds
        that it took and what each packet waited, in ns. InputError if a table has to grow.
        """
        for name in ("address", "captured", "wire", "time_ns", "link", "verdict"):
            self._place(name, getattr(block, name))
        self._place("clocks", block.time_ns)
        self.fragments.begin_block()
        self._context[CONTEXT["before"] // 8] = 0
        late = _results(len(block))
        self._live = (late,)
        self._allow_memory(block)
        return _timed(self._paced, self._context, warm_up, late, gap_ns, most)

    def run_idle(self, packets: int, gap_ns: float, most: int) -> NDArray[np.float64]:
        """Let as many packets be due at the same pace, and do nothing with them. Gives what each waited, in ns.

        They wait where the machine takes the processor away, which nothing that runs on it can help.
        """
        late, context = _results(packets), np.zeros_like(self._context)  # this worker's is left alone
        self._live = (late, context)
        self._allow_memory()
        _, waited_ns = _timed(self._idle, context, 0, late, gap_ns, most)
        return waited_ns


def _results(packets: int) -> NDArray[np.int64]:
    late = np.empty(packets, np.int64)
    late.fill(0)  # a page that is touched first in the timed part makes 50 to 500 µs of packets wait
    return late


def _timed(
    kernel: Callable[..., int],
    context: NDArray[np.int64],
    warm_up: int,
    late: NDArray[np.int64],
    gap_ns: float,
    most: int,
) -> tuple[float, NDArray[np.float64]]:
    per_ns, total = cycles_per_ns(), len(late)
    gap = max(1, round(gap_ns * per_ns * FRACTIONS))
    with precedence() if total * gap_ns <= _LONGEST_ALONE_NS else nullcontext():
        asked = kernel(context.ctypes.data, 0, warm_up, 1, _WARM_UP_BURST, late.ctypes.data)
        start = time.perf_counter()
        if asked == DONE:
            asked = kernel(context.ctypes.data, warm_up, total, gap, most, late.ctypes.data)
        seconds = time.perf_counter() - start
    if asked == RECORDS_FULL:
        right = "measure fewer packets, or a chain that emits none"
        raise InputError("records filled their buffer while latency was measured", right=right)
    if asked != DONE:
        raise InputError("a table grew while latency was measured", right="measure with flows that are all known")
    return seconds, late[warm_up:] / per_ns


def cycles_per_ns() -> float:
    """How fast the time stamp counter counts, found by looking at both clocks twice."""
    (at, cycle), (later, another) = _both_clocks(), _both_clocks()
    while later - at < 20_000_000:
        later, another = _both_clocks()
    return (another - cycle) / (later - at)


def _both_clocks() -> tuple[int, int]:
    """What both say at one moment: the best of some attempts, as another process may come between two looks."""
    looks = ((time.perf_counter_ns(), read_counter(), time.perf_counter_ns()) for _ in range(_ATTEMPTS))
    before, cycle, after = min(looks, key=lambda look: look[2] - look[0])
    return (before + after) // 2, cycle
