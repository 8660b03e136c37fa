"""A worker's packets in pieces, between which it may be stopped."""

import numpy as np
from numpy.typing import NDArray

from fajita.engine.compiled import CompiledEngine
from fajita.engine.threads import WorkerThreads
from fajita.io.frames import FrameBlock

#: Packets that a worker takes at once: after so many it looks whether it is to stop, several times a second.
_AT_ONCE = 1 << 20


def run_in_pieces(
    engine: CompiledEngine, frames: FrameBlock, clocks_ns: NDArray[np.int64] | None, threads: WorkerThreads
) -> None:
    """Let a worker's engine run frames, as of CompiledEngine.process, unless it is to stop."""
    for start in range(0, len(frames), _AT_ONCE):
        if threads.is_stopping:
            return
        stop = start + _AT_ONCE
        engine.process(frames.part(start, stop), None if clocks_ns is None else clocks_ns[start:stop])
