"""A worker's part of a block of frames, and its verdicts back into the block."""

import numpy as np
from numpy.typing import NDArray

from fajita.io.frames import RESHAPED, FrameBlock
from fajita.kernel.bounds import allow_only
from fajita.kernel.deal import deal_frames, scatter_bytes
from fajita.rss import INDIRECTION_ENTRIES

#: Columns that a worker gets; its verdicts are its own.
_COLUMNS = ("address", "captured", "wire", "time_ns", "link")


class Shard:
    """One worker's frames of a block, in their order, in memory that the next block's take again."""

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self._indices = np.zeros(0, np.uint32)
        self._columns: dict[str, NDArray[np.unsignedinteger]] = {}
        self._taken = FrameBlock.from_frames([])

    @property
    def indices(self) -> NDArray[np.uint32]:
        """Which frames of the block they are."""
        return self._indices[: len(self._taken)]

    def take(self, block: FrameBlock, buckets: NDArray[np.uint8], indirection: NDArray[np.uint8]) -> FrameBlock:
        """The worker's frames of a block, until the next call: those whose bucket it has. Without Python's lock.

        ValueError for arrays that do not fit the block, as what follows works on raw addresses.
        """
        if buckets.dtype != np.uint8 or buckets.shape != block.address.shape or not buckets.flags.c_contiguous:
            raise ValueError("buckets has to be a contiguous array of uint8 with one element per frame")
        if indirection.dtype != np.uint8 or indirection.shape != (INDIRECTION_ENTRIES,):
            raise ValueError(f"the table of indirection has to be an array of {INDIRECTION_ENTRIES} uint8")
        indirection = np.ascontiguousarray(indirection)
        self._make_room(block)
        sources = [getattr(block, name) for name in _COLUMNS]
        targets = [self._columns[name] for name in _COLUMNS]
        described = np.array(
            [(a.ctypes.data, b.ctypes.data, a.itemsize) for a, b in zip(sources, targets, strict=True)], np.int64
        )
        allow_only([buckets, indirection, self._indices, described, *sources, *targets])
        first = described.ctypes.data
        count = deal_frames(
            buckets.ctypes.data,
            len(block),
            indirection.ctypes.data,
            self.worker,
            self._indices.ctypes.data,
            first,
            first + described.nbytes,
        )
        columns = {name: column[:count] for name, column in self._columns.items()}
        self._taken = FrameBlock(**columns, memory=block.memory, first=block.first, grown=block.grown)
        return self._taken

    def _make_room(self, block: FrameBlock) -> None:
        if len(block) > len(self._indices) or not self._columns:
            self._indices = np.empty(len(block), np.uint32)
            names = (*_COLUMNS, "verdict")
            self._columns = {name: np.zeros(len(block), getattr(block, name).dtype) for name in names}

    def give_back(self, block: FrameBlock, *, reshaped: bool = False) -> None:
        """Put the verdicts on the frames that were taken last into the block that they are of.

        reshaped: also where they lie and how long they are.
        """
        taken = self._taken
        if len(taken) and self._indices[len(taken) - 1] >= len(block):
            raise ValueError(f"the frames were not taken from a block of {len(block)}")
        if reshaped:
            for name in RESHAPED:
                getattr(block, name)[self._indices[: len(taken)]] = getattr(taken, name)
        allow_only([self._indices, taken.verdict, block.verdict])
        scatter_bytes(self._indices.ctypes.data, len(taken), taken.verdict.ctypes.data, block.verdict.ctypes.data)
