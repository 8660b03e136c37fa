"""How a live run goes, in a line: what came since the last one, how busy the workers are, how full the tables."""

import time

from fajita.live import LiveRun


class LiveStatus:
    """Makes the line; rates are those since the last call, or since the run began."""

    def __init__(self, chain: str) -> None:
        self._chain = chain
        self._at_ns = 0
        self._before = [0, 0, 0]
        self._busy: list[float] = []

    def line(self, run: LiveRun) -> str:
        """The line for now."""
        now_ns = time.monotonic_ns()
        seconds = max(now_ns - (self._at_ns or run.started_ns), 1) / 1e9
        self._at_ns = now_ns
        counts = run.packets_now()
        rates = [(new - old) / seconds / 1e6 for new, old in zip(counts, self._before, strict=True)]
        self._before = counts
        busy = run.busy_now()
        before = self._busy or [0.0] * len(busy)
        self._busy = busy
        loads = [f"{min(1.0, (new - old) / seconds):.0%}" for new, old in zip(busy, before, strict=True)]
        entries = [f"{key} {count:,}/{capacity:,}" for key, count, capacity in run.tables_now()]
        parts = [
            f"{self._chain}: {rates[0]:.3f} Mpps in, {rates[1]:.3f} out, {rates[2]:.3f} dropped",
            f"load {' '.join(loads)}",
            *entries,
            *(f"{name} is down" for name in run.ports_down()),
        ]
        return " | ".join(parts)
