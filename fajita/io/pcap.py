"""The pcap format (draft-ietf-opsawg-pcap), in both byte orders, with microseconds or nanoseconds, or Kuznetzov's."""

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fajita.io.frames import LINK_CODES, UNKNOWN_LINK, FrameBlock
from fajita.io.index_pcap import BAD_CAPTURED, index_pcap
from fajita.kernel.bounds import allow_only
from fajita.protocols import MAXIMUM_FRAME

FILE_HEADER_SIZE = 24
#: The longest record: the longer record header and the longest frame.
MAXIMUM_RECORD = 24 + MAXIMUM_FRAME


class Variant(NamedTuple):
    """What a file's magic number says: `order` is struct's sign for the byte order, `unit_ns` the subsecond field's."""

    order: str
    unit_ns: int
    record_header_size: int


#: The variants by the first four bytes of the file. Kuznetzov's has 8 bytes more in a record header.
VARIANTS = {
    struct.pack(f"{order}I", magic): Variant(order, unit_ns, record_header_size)
    for order in "<>"
    for magic, unit_ns, record_header_size in (
        (0xA1B2C3D4, 1000, 16),
        (0xA1B23C4D, 1, 16),
        (0xA1B2CD34, 1000, 24),
    )
}


class PcapFormat:
    """Reads one pcap file, piece by piece."""

    maximum_record = MAXIMUM_RECORD
    clamped_times = 0  # 32 bits of seconds always fit

    def __init__(self, magic: bytes) -> None:
        """`magic`: the file's first four bytes, a key of VARIANTS."""
        self._variant = VARIANTS[magic]
        self.fault: tuple[str, str] | None = None
        self._captured_at = self._link_number = 0  # until the file header was read
        self._results = np.zeros(2, np.int64)

    def index(self, room: FrameBlock, memory: NDArray[np.uint8], start: int, end: int) -> tuple[int, int]:
        """Note the frames in memory[start:end] from the front of `room`; give where to go on and how many."""
        if not self._captured_at:
            if end - start < FILE_HEADER_SIZE:
                return start, 0
            self._read_file_header(memory[start : start + FILE_HEADER_SIZE].tobytes())
            start += FILE_HEADER_SIZE
        assert room.link_number is not None
        room.link_number[:], room.link[:] = self._link_number, LINK_CODES.get(self._link_number, UNKNOWN_LINK)
        base = memory.ctypes.data
        allow_only([self._results, memory[start:end], room.address, room.captured, room.wire, room.time_ns])
        stop = index_pcap(
            self._results.ctypes.data,
            base + start,
            base + end,
            self._variant.order == ">",
            self._variant.record_header_size,
            self._captured_at,
            self._variant.unit_ns,
            len(room),
            room.address.ctypes.data,
            room.captured.ctypes.data,
            room.wire.ctypes.data,
            room.time_ns.ctypes.data,
        )
        record, count = self._results.tolist()
        position = record - base
        if stop == BAD_CAPTURED:
            (length,) = struct.unpack_from(f"{self._variant.order}I", memory.data, position + self._captured_at)
            what = f"packet {room.first + count + 1}: record claims {length} bytes"
            self.fault = what, f"at most {MAXIMUM_FRAME} are possible, so the file is damaged here or before"
        return position, count

    def next_record(self, number: int) -> str:
        """What an error calls the next bytes of the file; `number`: that of the next packet, from 1."""
        return f"packet {number}" if self._captured_at else "the file header"

    def _read_file_header(self, header: bytes) -> None:
        order = self._variant.order
        minor_version, link_field = struct.unpack_from(f"{order}6xH12xI", header)
        # Up to version 2.2 a record has the wire length first (libpcap, sf-pcap.c).
        self._captured_at = 8 if minor_version > 2 else 12
        # Bits 16 and up tell how long a frame check sequence is; it stays part of the frame.
        self._link_number = link_field & 0xFFFF
