"""Synthetic traffic of any length as a pcap file, in constant memory."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from fajita.errors import InputError
from fajita.io.flow_order import FlowOrder
from fajita.io.frames import FrameBlock
from fajita.io.synthetic import DEFAULT_GAP_NS, MINIMUM_SIZE, Synthesizer, packet_times
from fajita.io.writer import CaptureWriter

#: Bytes of frames made at a time, so that they are still in the cache when they are written.
CHUNK_BYTES = 1 << 20


def generate_trace(
    path: str | Path,
    flows: int,
    packets: int,
    size: int = MINIMUM_SIZE,
    order: str = "uniform",
    seed: int = 1,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write `packets` frames of `size` bytes, DEFAULT_GAP_NS apart, and return the bytes of the file.

    `flows`, `order` and `seed` as for FlowOrder. progress: called with the packets done so far, after each chunk.
    Whatever interrupts it, the file is valid and holds what was done. InputError, before the file is touched, for
    an argument out of range, and if the file cannot be written.
    """
    if packets < 1:
        raise InputError(f"{packets} packets", right="at least 1 can be generated")
    flow_order = FlowOrder(order, flows, seed)
    synthesizer = Synthesizer(size)
    chunk = CHUNK_BYTES // synthesizer.slot
    slots = np.empty((min(chunk, packets), synthesizer.slot), np.uint8)
    with CaptureWriter(path) as writer:
        for first in range(0, packets, chunk):
            count = min(chunk, packets - first)
            synthesizer.write(flow_order.take(count), slots)
            block = FrameBlock.from_slots(
                slots[:count], np.full(count, size, np.uint32), packet_times(first, count, DEFAULT_GAP_NS)
            )
            block.first = first
            block.verdict[:] = 1
            writer.write(block)
            if progress is not None:
                progress(first + count)
    return writer.bytes_written
