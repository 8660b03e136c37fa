"""A capture file as blocks of frames, read and indexed in two buffers that are used in turn."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fajita.errors import InputError
from fajita.io.frames import UNKNOWN_LINK, FrameBlock
from fajita.io.stream import RIGHT, Stream, open_stream
from fajita.plural import counted

#: Bytes read at a time; small enough that frames are still in the processor's cache when they are processed.
CHUNK_SIZE = 2 << 20
#: Frames in a block at most; a chunk of 60-byte frames holds 27,594.
BLOCK_FRAMES = 32_768
#: A wire length above is taken as it is, with a warning: no frame is so long.
PLAUSIBLE_WIRE = 2**31
_MAGIC_SIZE = 4


class Format(Protocol):
    """A capture format, as far as a Capture needs to know it."""

    #: The most bytes a record, block or header may have.
    maximum_record: int
    #: Frames whose time was outside what `time_ns` of a block can hold, and was set to the nearest that it can.
    clamped_times: int
    #: What is wrong at the place where `index` stopped and what would be right; None while all is well.
    fault: tuple[str, str] | None

    def index(self, room: FrameBlock, memory: NDArray[np.uint8], start: int, end: int) -> tuple[int, int]:
        """Note the frames in memory[start:end] from the front of `room`; give where to go on and how many.

        `room.first` is the number of frames so far. Stops at a record that is not whole, or not right, and when
        `room` is full.
        """

    def next_record(self, number: int) -> str:
        """What an error calls the next bytes of the file; `number`: that of the next packet, from 1."""


@dataclass
class _Tally:
    """How many packets something is true of, and the first one's number, from 1."""

    count: int = 0
    first: int = 0

    def note(self, mask: NDArray[np.bool_], before: int) -> bool:
        """Add the packets of a block for which `mask` is true; `before`: how many there were before the block."""
        found = int(np.count_nonzero(mask))
        if found and not self.count:
            self.first = before + int(mask.argmax()) + 1
        self.count += found
        return found > 0

    def __str__(self) -> str:
        return f"{counted(self.count, 'packet')} (the first: packet {self.first})"


class Capture:
    """A capture file, iterated over once; a context manager.

    Each FrameBlock, with all its frames and arrays, is valid until the next but one is asked for: one can be run while
    another is read.
    packets: frames given so far. warnings: what else is to be said of them, one line each.
    Iterating raises InputError, after all frames before the place, if the file is damaged.
    """

    def __init__(self, stream: Stream, strict: bool, limit: int | None, chunk_size: int, block_frames: int) -> None:
        """Use open_capture, which says what these are."""
        self._stream = stream
        self._strict = strict
        self._limit = limit
        head = bytearray(_MAGIC_SIZE)
        size = _fill(stream, memoryview(head))
        self._format = _find_format(bytes(head[:size]), stream)
        self.packets = 0
        self._rooms = [_make_room(block_frames) for _ in range(2)]
        # The system gives memory where it is touched: behind the first chunk, only once a record is so long.
        self._memory, self._other_memory = (np.empty(chunk_size + self._format.maximum_record, np.uint8) for _ in "ab")
        #: Whether a block has its frames in the memory.
        self._is_lent = False
        self._chunk_size = chunk_size
        self._memory[:size] = head[:size]
        #: The bytes in memory that are not indexed yet, and how many the data has before the first byte of memory.
        self._start, self._end, self._offset = 0, size, 0
        self._last_ns = 0
        self._cut = ""
        self._too_short, self._too_long, self._backwards = _Tally(), _Tally(), _Tally()
        self._unknown_links: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    @property
    def bytes_read(self) -> int:
        """Bytes read of the file, compressed or not."""
        return self._stream.position

    @property
    def bytes_total(self) -> int | None:
        """Size of the file in bytes; None if it is not a regular file."""
        return self._stream.total

    @property
    def warnings(self) -> list[str]:
        """What is odd about the packets so far, one line each."""
        lines = [
            f"link type {number} is not known; its {counted(count, 'frame')} count as other"
            for number, count in sorted(self._unknown_links.items())
        ]
        if self._too_short.count:
            lines.append(f"{self._too_short}: wire length below the captured length, which is taken instead")
        if self._too_long.count:
            lines.append(f"{self._too_long}: wire length above {PLAUSIBLE_WIRE} bytes, which no frame has")
        if self._backwards.count:
            lines.append(f"{self._backwards}: time before that of the packet in front")
        if count := self._format.clamped_times:
            lines.append(f"{counted(count, 'packet')}: time outside 1970 to 2262, replaced by the nearest inside")
        if self._cut:
            lines.append(self._cut)
        return lines

    def __iter__(self) -> Iterator[FrameBlock]:
        while self._limit is None or self.packets < self._limit:
            room = self._rooms[0]
            room.first = self.packets
            # What lies behind the limit is not looked at, so that no warning is about it.
            room = room if self._limit is None else room.head(self._limit - self.packets)
            self._start, count = self._format.index(room, self._memory, self._start, self._end)
            if count:
                self.packets += count
                self._is_lent = True
                yield self._block(count)
                if self.packets == self._limit:
                    return
            if self._format.fault:
                what, right = self._format.fault
                where = f"{what} (byte offset {self._offset + self._start})"
                raise InputError(where, str(self._stream.path), right)
            if count < len(room) and not self._read():
                return

    def _block(self, count: int) -> FrameBlock:
        room = self._rooms[0]
        self._rooms.reverse()
        assert room.link_number is not None
        block = FrameBlock(
            address=room.address[:count],
            captured=room.captured[:count],
            wire=room.wire[:count],
            time_ns=room.time_ns[:count],
            link=room.link[:count],
            verdict=room.verdict[:count],
            memory=self._memory,
            first=room.first,
            link_number=room.link_number[:count],
        )
        self._check(block)
        return block

    def _check(self, block: FrameBlock) -> None:
        """Put right and count what a file may say wrongly of a packet."""
        if self._too_short.note(block.wire < block.captured, block.first):
            np.maximum(block.wire, block.captured, out=block.wire)
        self._too_long.note(block.wire > PLAUSIBLE_WIRE, block.first)
        self._backwards.note(block.time_ns[:1] < self._last_ns, block.first)
        self._backwards.note(block.time_ns[1:] < block.time_ns[:-1], block.first + 1)
        self._last_ns = int(block.time_ns[-1])
        is_unknown = block.link == UNKNOWN_LINK
        if block.link_number is not None and is_unknown.any():
            numbers, counts = np.unique(block.link_number[is_unknown], return_counts=True)
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
                self._unknown_links[number] = self._unknown_links.get(number, 0) + count

    def _read(self) -> bool:
        """Move what is left to the front of free memory and read on behind it; False at the end of the data."""
        rest = self._end - self._start
        if self._is_lent:
            self._other_memory[:rest] = self._memory[self._start : self._end]
            self._memory, self._other_memory, self._is_lent = self._other_memory, self._memory, False
        elif self._start:
            self._memory[:rest] = self._memory[self._start : self._end]
        self._offset += self._start
        self._start, self._end = 0, rest
        size = self._stream.readinto(self._memory.data[rest : rest + self._chunk_size])
        self._end += size
        if not size and (rest or self._stream.is_cut):
            self._report_cut(rest)
        return size > 0

    def _report_cut(self, rest: int) -> None:
        """Say that the data ends too early; `rest`: bytes there are of a record that is not whole."""
        record = self._format.next_record(self.packets + 1)
        what = f"is cut off {'in the middle of' if rest else 'before'} {record} (byte offset {self._offset})"
        if self._strict:
            raise InputError(what, str(self._stream.path), "the whole capture is needed, to the end of a packet")
        were_read = f"{counted(self.packets, 'packet')} {'was' if self.packets == 1 else 'were'} read"
        self._cut = f"{self._stream.path} {what}; {were_read}"


def _make_room(frames: int) -> FrameBlock:
    return FrameBlock(
        address=np.zeros(frames, np.uint64),
        captured=np.zeros(frames, np.uint32),
        wire=np.zeros(frames, np.uint32),
        time_ns=np.zeros(frames, np.uint64),
        link=np.zeros(frames, np.uint8),
        verdict=np.zeros(frames, np.uint8),
        link_number=np.zeros(frames, np.uint16),
    )


def _fill(stream: Stream, target: memoryview) -> int:
    """Read until `target` is full or the data ends; give how many bytes there are."""
    size = 0
    while size < len(target) and (more := stream.readinto(target[size:])):
        size += more
    return size


def _find_format(magic: bytes, stream: Stream) -> Format:
    # Imported here because both load numba, and a file that is no capture is told without.
    from fajita.io.pcap import VARIANTS, PcapFormat
    from fajita.io.pcapng import MAGIC, PcapngFormat

    if magic in VARIANTS:
        return PcapFormat(magic)
    if magic == MAGIC:
        return PcapngFormat()
    what = "is empty" if not magic else f"is not a capture: it begins with the bytes {magic.hex(' ')}"
    raise InputError(what, str(stream.path), RIGHT)


def open_capture(
    path: str | Path,
    strict: bool = False,
    *,
    limit: int | None = None,
    chunk_size: int = CHUNK_SIZE,
    block_frames: int = BLOCK_FRAMES,
) -> Capture:
    """Open a pcap or pcapng file, plain or compressed with gzip, xz or zstd; its first bytes tell which.

    strict: a file that is cut off in the middle of a packet is an InputError, not a warning.
    limit: frames after which to stop, at least 1; None is no limit.
    chunk_size: bytes read at a time. block_frames: frames in a block at most.
    Raises InputError if the file cannot be read or is no capture.
    """
    stream = open_stream(path)
    try:
        return Capture(stream, strict, limit, chunk_size, block_frames)
    except BaseException:
        stream.close()
        raise
