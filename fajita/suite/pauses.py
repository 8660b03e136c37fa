"""What a machine's pauses do to packets that come at a steady pace.

In a pause the processor is taken away, by the system's timer, another process or a hypervisor. What comes meanwhile
queues up, and so does what comes until the queue is empty: 1 / (1 - load) times as long as the pause.
"""

import numpy as np
from numpy.typing import NDArray

#: A wait that is so much longer than that of the packet before is a pause, µs; or so many times a full burst's time.
_PAUSE_US, _PAUSE_BURSTS = 5.0, 4


def behind_pauses(waits_us: NDArray[np.float64], burst_us: float) -> NDArray[np.bool_]:
    """Which packets of a worker are in queues that a pause began or made longer. burst_us: a full burst's time.

    A queue ends where a burst is not full: its last packet waits for less than a full burst's time, here half of that,
    as bursts vary.
    """
    queued = waits_us > burst_us / 2
    begins = queued & ~np.concatenate([[False], queued[:-1]])
    queue = np.cumsum(begins)
    pauses = queued & (np.diff(waits_us, prepend=0.0) > max(_PAUSE_US, _PAUSE_BURSTS * burst_us))
    return queued & (np.bincount(queue, pauses) > 0)[queue]


def waits_behind(idle_us: NDArray[np.float64], gap_us: float, load: float) -> NDArray[np.float64]:
    """What packets wait in a queue with the pauses of an idle loop, which `idle_us` waited for them: a lower bound.

    Each takes `load` of the gap to the next, always the same time. Lindley's recursion,
    wait[n] = max(idle[n], wait[n - 1] - (1 - load) * gap), in closed form.
    """
    drained = np.arange(len(idle_us)) * ((1 - load) * gap_us)
    return np.asarray(np.maximum.accumulate(idle_us + drained) - drained)
