"""The bytes of a capture file as one stream, plain or decompressed, read straight into the caller's memory.

Nothing here seeks, so a FIFO works like a file. What a file is compressed with is told by its first bytes.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

from fajita.errors import InputError

#: What open_capture reads, for every message that says what would be right.
RIGHT = "a pcap or pcapng capture is needed, plain or compressed with gzip, xz or zstd"

#: Compressed bytes read from the file at a time.
_CHUNK = 256 << 10
#: Compressed bytes given to a decompressor at a time. Four bytes of zstd can stand for 128 KiB of zeros, so this
#: bounds what a hostile file makes us hold at once: 128 MiB.
_PIECE = 4 << 10
#: Memory an xz file may ask for its dictionary; `xz -9` asks for 65 MiB.
_XZ_MEMORY = 1 << 30


class Decompressor(Protocol):
    """What zlib, lzma and zstandard have in common: one compressed member (gzip), stream (xz) or frame (zstd)."""

    @property
    def eof(self) -> bool:
        """Whether the end of the member was reached."""

    @property
    def unused_data(self) -> bytes:
        """Bytes given that lie behind that end."""

    def decompress(self, data: Any, /) -> bytes:
        """All the output these bytes give."""


def _gzip() -> tuple[Callable[[], Decompressor], type[Exception]]:
    import zlib

    return lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS), zlib.error


def _xz() -> tuple[Callable[[], Decompressor], type[Exception]]:
    import lzma

    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), lzma.LZMAError


def _zstd() -> tuple[Callable[[], Decompressor], type[Exception]]:
    import zstandard

    return lambda: zstandard.ZstdDecompressor().decompressobj(), zstandard.ZstdError


@dataclass(frozen=True)
class Compression:
    """A compression format: the first bytes of its files; `load` gives what makes a decompressor and its error."""

    name: str
    magic: bytes
    load: Callable[[], tuple[Callable[[], Decompressor], type[Exception]]]


_COMPRESSIONS = (
    Compression("gzip", b"\x1f\x8b\x08", _gzip),
    Compression("xz", b"\xfd7zXZ\x00", _xz),
    Compression("zstd", b"\x28\xb5\x2f\xfd", _zstd),
)
_LONGEST_MAGIC = max(len(compression.magic) for compression in _COMPRESSIONS)


class Stream:
    """The bytes of a file as they are.

    position: bytes read from the file so far. total: its size, None if it is not a regular file.
    is_cut: whether the data ended where it says that more follows (only compressed data can tell).
    """

    is_cut = False

    def __init__(self, file: FileIO, path: Path, head: bytes = b"") -> None:
        """`head`: bytes already read from the file, handed out first."""
        status = os.fstat(file.fileno())
        self.path = path
        self.position = len(head)
        self.total = status.st_size if stat.S_ISREG(status.st_mode) else None
        self._file = file
        self._head = head

    def readinto(self, target: memoryview) -> int:
        """Fill the front of `target` (writable bytes, at least one); give how many, 0 at the end of the data.

        Raises InputError if the file cannot be read or its compressed data is corrupt.
        """
        if self._head:
            size = min(len(self._head), len(target))
            target[:size] = self._head[:size]
            self._head = self._head[size:]
            return size
        try:
            size = self._file.readinto(target) or 0
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", str(self.path), RIGHT) from error
        self.position += size
        return size

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class CompressedStream(Stream):
    """What a compressed file holds; members, streams or frames that follow each other are one."""

    def __init__(self, file: FileIO, path: Path, head: bytes, compression: Compression) -> None:
        super().__init__(file, path, head)
        self._name = compression.name
        self._make, self._error = compression.load()
        self._decompressor: Decompressor | None = None
        #: Compressed bytes; those from _next to _end are not decompressed yet.
        self._chunk = memoryview(bytearray(_CHUNK))
        self._next = self._end = 0
        self._output = memoryview(b"")
        self._fault: InputError | None = None

    def readinto(self, target: memoryview) -> int:
        """As Stream.readinto; fills `target` unless the data ends, and gives what lies before a fault first."""
        filled = 0
        while filled < len(target) and (self._output or self._refill()):
            size = min(len(self._output), len(target) - filled)
            target[filled : filled + size] = self._output[:size]
            self._output = self._output[size:]
            filled += size
        if not filled and self._fault:
            raise self._fault
        return filled

    def _refill(self) -> bool:
        """Decompress a piece, whose output may be empty; False at the end of the data and at a fault, kept."""
        try:
            if self._next == self._end and not self._read_chunk():
                self.is_cut = self._decompressor is not None
                return False
            self._output = memoryview(self._decompress_piece())
        except InputError as error:
            self._fault = error
        except self._error as error:
            offset = self.position - (self._end - self._next)
            what = f"the {self._name} data is corrupt near byte offset {offset} ({error})"
            self._fault = InputError(what, str(self.path), RIGHT)
        return self._fault is None

    def _read_chunk(self) -> int:
        self._next, self._end = 0, super().readinto(self._chunk)
        return self._end

    def _decompress_piece(self) -> bytes:
        if self._decompressor is None:
            if self._chunk[self._next] == 0:  # padding, which gzip and xz allow between and behind members
                self._next = self._end - len(bytes(self._chunk[self._next : self._end]).lstrip(b"\0"))
                return b""
            self._decompressor = self._make()
        stop = min(self._next + _PIECE, self._end)
        output = self._decompressor.decompress(self._chunk[self._next : stop])
        self._next = stop - len(self._decompressor.unused_data)
        if self._decompressor.eof:
            self._decompressor = None
        return output


#: Its file descriptor.
_STANDARD_INPUT = 0


def open_stream(path: str | Path) -> Stream:
    """Open a file for reading, decompressed if its first bytes say that it is compressed; `-` is standard input.

    Raises InputError if there is no such file, if it is a directory, or if it may not be read.
    """
    path = Path(path)
    try:
        file = FileIO(_STANDARD_INPUT, closefd=False) if str(path) == "-" else FileIO(path)
        try:
            return _recognise(file, path)
        except BaseException:
            file.close()
            raise
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", str(path), RIGHT) from error


def _recognise(file: FileIO, path: Path) -> Stream:
    head = b""
    # A FIFO may give fewer bytes than asked for.
    while len(head) < _LONGEST_MAGIC and (more := file.read(_LONGEST_MAGIC - len(head))):
        head += more
    for compression in _COMPRESSIONS:
        if head.startswith(compression.magic):
            return CompressedStream(file, path, head, compression)
    return Stream(file, path, head)
