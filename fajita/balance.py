"""Rewriting the table of indirection by load, so that no worker waits for the busiest.

After RSS++ (Barbette, Katsikas, Maguire and Kostić, CoNEXT 2019): count the packets of each bucket, and from time to
time give some buckets of the busiest worker to the idlest, as few as suffice, since with each the state of its flows
has to move. Theirs is a search for the set of buckets that brings each overloaded core nearest to the mean; this is the
greedy form of it: one bucket at a time, always the one whose move levels the two workers best.

A bucket is never divided: where one holds more than a worker's share (an elephant flow), nothing helps.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fajita.rss import INDIRECTION_ENTRIES

#: By how much of the mean the busiest worker may be above it before anything is moved.
USUAL_TOLERANCE = 0.05


def loads(packets: NDArray[np.integer], indirection: NDArray[np.uint8], workers: int) -> list[int]:
    """The packets of each worker, of those of each bucket; ValueError for arrays that are not of all buckets."""
    if packets.shape != (INDIRECTION_ENTRIES,) or indirection.shape != (INDIRECTION_ENTRIES,):
        raise ValueError(f"packets and workers are needed for each of {INDIRECTION_ENTRIES} buckets")
    if workers < 1 or int(indirection.max()) >= workers:
        raise ValueError(f"the table has workers up to {indirection.max()}; there are {workers}")
    if int(packets.min()) < 0:
        raise ValueError(f"a bucket with {packets.min()} packets")
    total = [0] * workers
    for bucket, worker in enumerate(indirection.tolist()):
        total[worker] += int(packets[bucket])
    return total


def is_balanced(load: Sequence[int], tolerance: float) -> bool:
    """Whether the busiest worker is within a tolerance of the mean."""
    return max(load) * len(load) <= sum(load) * (1 + tolerance)


def rebalanced(
    packets: NDArray[np.integer], indirection: NDArray[np.uint8], workers: int, tolerance: float = USUAL_TOLERANCE
) -> NDArray[np.uint8]:
    """A table with which the busiest worker would have been within a tolerance of the mean, or as near as goes.

    packets: of each bucket, in the time looked at. A bucket is moved from the busiest to the idlest worker if the two
    are then more level, and no others; so no table makes the busiest worker busier, and one that will do stays as it
    is. Of those that do as well the smallest is taken, then the first: the same counts give the same table.
    """
    load, table, counts = loads(packets, indirection, workers), indirection.copy(), packets.tolist()
    while not is_balanced(load, tolerance):
        busiest, idlest = load.index(max(load)), load.index(min(load))
        gap = load[busiest] - load[idlest]
        movable = [bucket for bucket in np.flatnonzero(table == busiest).tolist() if 0 < counts[bucket] < gap]
        if not movable:
            break
        moved = min(movable, key=lambda bucket: (abs(gap - 2 * counts[bucket]), counts[bucket]))
        table[moved] = idlest
        load[busiest] -= counts[moved]
        load[idlest] += counts[moved]
    return table


def moves(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> dict[tuple[int, int], NDArray[np.intp]]:
    """The buckets that two tables give to different workers, by (worker before, worker after)."""
    changed = np.flatnonzero(before != after)
    pairs = sorted({(int(before[bucket]), int(after[bucket])) for bucket in changed})
    return {(old, new): changed[(before[changed] == old) & (after[changed] == new)] for old, new in pairs}
