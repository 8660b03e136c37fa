"""The pcapng format (draft-ietf-opsawg-pcapng): sections, interfaces, and the three kinds of packet blocks."""

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fajita.io.frames import LINK_CODES, UNKNOWN_LINK, FrameBlock
from fajita.io.index_pcapng import (
    BAD_BYTE_ORDER,
    BAD_CAPTURED,
    BAD_INTERFACE,
    BAD_LENGTH,
    BAD_ROOM,
    BAD_TRAILER,
    BYTE_ORDER_MAGIC,
    DESCRIPTION,
    INTERFACE,
    LATEST_NS,
    MAXIMUM_BLOCK,
    SECTION_HEADER,
    index_pcapng,
)
from fajita.kernel.bounds import allow_only
from fajita.protocols import MAXIMUM_FRAME

#: The first four bytes of a file: the type of a section header block, the same in both byte orders.
MAGIC = struct.pack(">I", SECTION_HEADER)
#: Bytes of a section header and of an interface description without options, and of the end of every block.
_SECTION_HEADER_SIZE, _INTERFACE_SIZE, _TRAILER_SIZE = 28, 20, 4
#: Options of an interface description (section 4.2): the resolution of times, and the seconds to add to each.
_TIME_RESOLUTION, _TIME_OFFSET = 9, 14
_NS_PER_SECOND = 10**9

#: What is said of a block where the walk stopped, and what would be right.
_BLOCK_FAULTS = {
    BAD_BYTE_ORDER: ("no byte order magic in a section header", "1a2b3c4d is needed there, in either byte order"),
    BAD_LENGTH: (
        "impossible length",
        f"a multiple of 4 is needed, enough for what a block of its type has, and at most {MAXIMUM_BLOCK}",
    ),
    BAD_TRAILER: ("the length at its start and that at its end differ", "they must be the same"),
}
_PACKET_FAULTS = {
    BAD_INTERFACE: ("its interface was not described", "an interface's description must come before its packets"),
    BAD_ROOM: ("record claims more captured bytes than its block has", "the file is damaged here or before"),
    BAD_CAPTURED: (f"record claims more than {MAXIMUM_FRAME} captured bytes", "the file is damaged here or before"),
}


class _BlockError(Exception):
    """A section header or interface description cannot be read: what is wrong, and what would be right."""

    def __init__(self, what: str, right: str) -> None:
        super().__init__(what)
        self.what, self.right = what, right


class PcapngFormat:
    """Reads one pcapng file, piece by piece."""

    maximum_record = MAXIMUM_BLOCK

    def __init__(self) -> None:
        self.fault: tuple[str, str] | None = None
        self.clamped_times = 0
        self._order = "<"  # until the first section header
        #: The interfaces of the section are the first _described of these.
        self._interfaces = np.zeros(1, INTERFACE)
        self._described = 0
        self._last_ns = 0
        self._results = np.zeros(3, np.int64)

    def index(self, room: FrameBlock, memory: NDArray[np.uint8], start: int, end: int) -> tuple[int, int]:
        """Note the frames in memory[start:end] from the front of `room`; give where to go on and how many."""
        base = memory.ctypes.data
        count, stop = 0, DESCRIPTION
        assert room.link_number is not None
        while stop == DESCRIPTION:
            columns = (room.address, room.captured, room.wire, room.time_ns, room.link, room.link_number)
            allow_only([self._results, memory[start:end], self._interfaces[: self._described], *columns])
            stop = index_pcapng(
                self._results.ctypes.data,
                base + start,
                base + end,
                self._order == ">",
                self._interfaces.ctypes.data,
                self._described,
                count,
                self._last_ns,
                len(room),
                *(column.ctypes.data for column in columns),
            )
            block, count, clamped = self._results.tolist()
            start = block - base
            self.clamped_times += clamped
            if count:
                self._last_ns = int(room.time_ns[count - 1])
            if stop == DESCRIPTION:
                try:
                    start += self._describe(memory[start:end])
                except _BlockError as error:
                    self.fault = f"{self.next_record(room.first + count + 1)}: {error.what}", error.right
                    return start, count
        if stop in _BLOCK_FAULTS:
            what, right = _BLOCK_FAULTS[stop]
            self.fault = f"{self.next_record(room.first + count + 1)}: {what}", right
        elif stop in _PACKET_FAULTS:
            what, right = _PACKET_FAULTS[stop]
            self.fault = f"packet {room.first + count + 1}: {what}", right
        return start, count

    def next_record(self, number: int) -> str:
        """What an error calls the next bytes of the file; `number`: that of the next packet, from 1."""
        return f"the block after packet {number - 1}" if number > 1 else "a block before the first packet"

    def _describe(self, memory: NDArray[np.uint8]) -> int:
        """Take in the section header or interface description at the front; give its length.

        The block is whole, and its two lengths are right.
        """
        if memory[:4].tobytes() == MAGIC:
            self._order = ">" if memory[8:12].tobytes() == struct.pack(">I", BYTE_ORDER_MAGIC) else "<"
        kind, length = struct.unpack_from(f"{self._order}II", memory.data)
        block = memory[:length].tobytes()
        if kind == SECTION_HEADER:
            self._begin_section(block)
        else:
            self._add_interface(block)
        return length

    def _begin_section(self, block: bytes) -> None:
        if len(block) < _SECTION_HEADER_SIZE:
            raise _BlockError(f"section header of {len(block)} bytes", f"at least {_SECTION_HEADER_SIZE} are needed")
        major, minor = struct.unpack_from(f"{self._order}HH", block, 12)
        if major != 1:
            raise _BlockError(f"section of pcapng version {major}.{minor}", "version 1 is needed")
        self._described = 0

    def _add_interface(self, block: bytes) -> None:
        if len(block) < _INTERFACE_SIZE:
            raise _BlockError(f"interface description of {len(block)} bytes", f"at least {_INTERFACE_SIZE} are needed")
        number, snap_length = struct.unpack_from(f"{self._order}HxxI", block, 8)
        resolution, offset_seconds = 6, 0
        for code, value in self._options(block[_INTERFACE_SIZE - _TRAILER_SIZE : -_TRAILER_SIZE]):
            if code == _TIME_RESOLUTION and len(value) == 1:
                resolution = value[0]
            elif code == _TIME_OFFSET and len(value) == 8:
                (offset_seconds,) = struct.unpack(f"{self._order}q", value)
        if self._described == len(self._interfaces):
            self._interfaces = np.concatenate([self._interfaces, np.zeros_like(self._interfaces)])
        link = LINK_CODES.get(number, UNKNOWN_LINK)
        # Clamped, because such an offset moves every time that fits 63 bits out of range anyway.
        offset_ns = max(-LATEST_NS, min(offset_seconds * _NS_PER_SECOND, LATEST_NS))
        self._interfaces[self._described] = (link, number, snap_length, *_time_scale(resolution), offset_ns)
        self._described += 1

    def _options(self, options: bytes) -> Iterator[tuple[int, bytes]]:
        """The options of a block (section 3.5), code and value, up to the one that ends them."""
        position = 0
        while position + 4 <= len(options):
            code, size = struct.unpack_from(f"{self._order}HH", options, position)
            if code == 0:
                return
            if position + 4 + size > len(options):
                raise _BlockError(f"option {code} claims {size} bytes", "an option must lie in its block")
            yield code, options[position + 4 : position + 4 + size]
            position += 4 + (size + 3 & ~3)


def _time_scale(resolution: int) -> tuple[int, int, int]:
    """How if_tsresol turns ticks into nanoseconds: multiplier, shift, divisor, as in INTERFACE.

    With the top bit set a tick is 2**-exponent seconds, else 10**-exponent.
    """
    exponent = resolution & 0x7F
    if resolution & 0x80:
        return _NS_PER_SECOND, min(exponent, 95), 1  # of 94 bits a shift by 95 leaves nothing, like any above
    if exponent <= 9:
        return 10 ** (9 - exponent), 0, 1
    if exponent <= 27:
        return 1, 0, 10 ** (exponent - 9)
    return 0, 0, 1  # 64 bits of such ticks are less than 19 nanoseconds: all times are 0
