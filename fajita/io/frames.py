"""A block of frames: what a source hands to an engine, and an engine to a sink.

The frames stay where they are (a read buffer, a memory area, an mbuf); a block says where each one lies.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Link types an engine steps over to the IP header, by their number in a capture (www.tcpdump.org/linktypes.html),
#: as the small code a block carries per frame. A capture may use several numbers for one format.
LINK_CODES: dict[int, int] = {
    1: 1,  # Ethernet
    101: 2,  # raw IP; 12 and 14 are BSD's numbers for it, 228 and 229 say which version
    12: 2,
    14: 2,
    228: 2,
    229: 2,
    113: 3,  # Linux cooked, SLL
    276: 4,  # Linux cooked, SLL2
    0: 5,  # BSD null: address family in the byte order of the capturing host
    108: 5,  # OpenBSD loop: the same in network byte order
    9: 6,  # PPP in HDLC-like framing, with or without address and control bytes
}
#: The code of a frame whose link type fajita does not know: it passes through as `other`.
UNKNOWN_LINK = 0

ETHERNET, RAW_IP, LINUX_SLL, LINUX_SLL2, BSD_NULL, PPP = range(1, 7)


#: The arrays of a block.
_COLUMNS = {
    "address": "uint64",
    "captured": "uint32",
    "wire": "uint32",
    "time_ns": "uint64",
    "link": "uint8",
    "verdict": "uint8",
    "link_number": "uint16",
}
#: Those that a chain changes of frames that it makes longer or shorter.
RESHAPED = ("address", "captured", "wire")
#: Bytes between frames that are copied into one area: a read past the end of one is not yet a read of the next, so that
#: a kernel built with bounds checks notices.
_GAP = 64


def _unsigned(name: str, values: Any, shape: tuple[int, ...], dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """A user's column as a contiguous array of an unsigned type; ValueError unless its values are all in that type."""
    # As objects, since numpy would take integers below and above 2**63 together as floats.
    column = values if isinstance(values, np.ndarray) else np.asarray(values, object)
    if column.shape != shape:
        raise ValueError(f"{name} has the shape {column.shape}; one integer is needed per frame: {shape}")
    is_integer = column.dtype.kind in "iu" or all(isinstance(value, int | np.integer) for value in column.flat)
    if not is_integer:
        raise ValueError(f"{name} has values that are not integers")
    maximum = int(np.iinfo(dtype).max)
    if column.size and not 0 <= int(column.min()) <= int(column.max()) <= maximum:
        raise ValueError(f"{name} has values from {column.min()} to {column.max()}; 0 to {maximum} are possible")
    return np.ascontiguousarray(column, dtype)


@dataclass
class FrameBlock:
    """Frames and what is known of each; all arrays have one element per frame, in the order of arrival.

    address: uint64, where the frame's first byte lies; captured bytes from there may be read and written.
    captured: uint32, bytes present. wire: uint32, bytes the frame had on the wire, never less than captured.
    time_ns: uint64, nanoseconds since 1970. link: uint8, a code of LINK_CODES or UNKNOWN_LINK.
    verdict: uint8, filled by an engine: 1 the frame goes on, 0 it was dropped.
    memory: what must stay alive as long as the addresses are used. Frames do not overlap.
    first: the number of the block's first frame in its source, from 0.
    """

    address: NDArray[np.uint64]
    captured: NDArray[np.uint32]
    wire: NDArray[np.uint32]
    time_ns: NDArray[np.uint64]
    link: NDArray[np.uint8]
    verdict: NDArray[np.uint8]
    memory: object = None
    first: int = 0
    #: For a capture: the link type number of each frame's interface in the input (uint16), for the writer.
    link_number: NDArray[np.uint16] | None = field(default=None)
    #: What else must stay alive: where frames lie that have become longer. Parts of a block have it in common.
    grown: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        """ValueError for what a kernel, which works on raw addresses, could not take."""
        for name, dtype in _COLUMNS.items():
            column = getattr(self, name)
            if column is None and name == "link_number":
                continue
            if column.dtype != dtype or column.shape != self.address.shape or column.ndim != 1:
                raise ValueError(f"{name} has to be an array of {dtype} with one element per frame")
            if not column.flags.c_contiguous:
                raise ValueError(f"{name} has to be contiguous")
        if not self.verdict.flags.writeable:
            raise ValueError("verdict has to be writable")

    def __len__(self) -> int:
        return len(self.address)

    @classmethod
    def from_frames(
        cls,
        frames: Sequence[bytes],
        time_ns: Sequence[int] | NDArray[np.uint64] | None = None,
        wire: Sequence[int] | None = None,
        link: int = ETHERNET,
        first: int = 0,
    ) -> "FrameBlock":
        """Copy frames (bytes) into one new writable area; without times they are 1 microsecond apart."""
        captured = np.array([len(frame) for frame in frames], np.uint32)
        shape = captured.shape
        memory = np.frombuffer(bytearray(bytes(_GAP).join([*frames, b""])) or bytearray(1), np.uint8)
        ends = np.cumsum(captured.astype(np.uint64) + np.uint64(_GAP)) - np.uint64(_GAP)
        count = len(frames)
        default_times = np.arange(count, dtype=np.uint64) * np.uint64(1000)
        times = default_times if time_ns is None else _unsigned("time_ns", time_ns, shape, np.uint64)
        on_wire = captured if wire is None else _unsigned("wire", wire, shape, np.uint32)
        return cls(
            address=np.uint64(memory.ctypes.data) + ends - captured,
            captured=captured,
            wire=np.maximum(on_wire, captured),
            time_ns=times,
            link=np.full(count, link, np.uint8),
            verdict=np.zeros(count, np.uint8),
            memory=memory,
            first=first,
        )

    @classmethod
    def from_slots(
        cls,
        slots: NDArray[np.uint8],
        captured: Sequence[int] | NDArray[np.integer],
        time_ns: Sequence[int] | NDArray[np.integer],
        link: int = ETHERNET,
    ) -> "FrameBlock":
        """Use frames where they lie: row i of a writable C-contiguous (n, width) array holds frame i in place.

        captured, time_ns: integers of any type, one per frame. Raises ValueError if a captured length is not in 0 to
        the width of a row, or a time is negative.
        """
        if (
            not isinstance(slots, np.ndarray)
            or slots.ndim != 2
            or slots.dtype != np.uint8
            or not slots.flags.c_contiguous
            or not slots.flags.writeable
        ):
            raise ValueError("frames must be a writable C-contiguous array of uint8 with one row per frame")
        count, width = slots.shape
        lengths = _unsigned("captured", captured, (count,), np.uint32)
        if count and int(lengths.max()) > width:
            raise ValueError(f"captured has {int(lengths.max())}, but a row has {width} bytes")
        return cls(
            address=np.uint64(slots.ctypes.data) + np.arange(count, dtype=np.uint64) * np.uint64(width),
            captured=lengths.copy(),
            wire=lengths.copy(),
            time_ns=_unsigned("time_ns", time_ns, (count,), np.uint64),
            link=np.full(count, link, np.uint8),
            verdict=np.zeros(count, np.uint8),
            memory=slots,
        )

    def head(self, count: int) -> "FrameBlock":
        """The first `count` frames, in the same memory."""
        return self.part(0, count)

    def part(self, start: int, stop: int) -> "FrameBlock":
        """The frames from `start` to before `stop`, in the same memory."""
        return FrameBlock(
            self.address[start:stop],
            self.captured[start:stop],
            self.wire[start:stop],
            self.time_ns[start:stop],
            self.link[start:stop],
            self.verdict[start:stop],
            self.memory,
            self.first + start,
            None if self.link_number is None else self.link_number[start:stop],
            self.grown,
        )

    def frame(self, index: int) -> memoryview:
        """A writable view of the bytes of frame `index`, in place."""
        import ctypes

        size = int(self.captured[index])
        return memoryview((ctypes.c_uint8 * size).from_address(int(self.address[index]))).cast("B")


def limited(blocks: Iterable[FrameBlock], limit: int | None) -> Iterator[FrameBlock]:
    """The blocks up to so many frames, at least 1; None is no limit."""
    left = limit
    for block in blocks:
        if left is None or len(block) < left:
            yield block
            left = None if left is None else left - len(block)
        else:
            yield block.head(left)
            return
