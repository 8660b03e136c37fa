"""Writes the frames that an engine lets pass to a pcap file with nanoseconds; the formatting itself is compiled."""

import contextlib
import errno
import os
import stat
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fajita.errors import InputError
from fajita.io.format_pcap import BAD_TIME, DONE, FULL, OTHER_LINK, RECORD_HEADER_SIZE, format_records
from fajita.io.frames import LINK_CODES, UNKNOWN_LINK, FrameBlock
from fajita.kernel.bounds import CHECKED, allow_only
from fajita.protocols import MAXIMUM_FRAME

#: Magic, version 2.4, two fields that are 0, the longest frame, the link type (draft-ietf-opsawg-pcap, section 3).
FILE_HEADER = struct.Struct("<IHHIIII")
MAGIC_NS, VERSION = 0xA1B23C4D, (2, 4)

#: More than the longest record, and small enough to stay in the cache on its way to the kernel.
BUFFER_BYTES = 1 << 20

LINKTYPE_ETHERNET, LINKTYPE_USER0 = 1, 147
#: For frames that come without the number of their link type, the first number that LINK_CODES has for it; those of an
#: unknown one get a number of private use.
_LINK_NUMBERS = {code: number for number, code in reversed(LINK_CODES.items())} | {UNKNOWN_LINK: LINKTYPE_USER0}
_LINK_NUMBER_OF_CODE = np.array([_LINK_NUMBERS[code] for code in range(len(_LINK_NUMBERS))], np.uint16)

_REMEDIES = {
    errno.ENOSPC: "make room, or write to a place with enough space",
    errno.EDQUOT: "make room, or write to a place with enough space",
    errno.EFBIG: "write to a place that takes files of this size",
    errno.EPIPE: "let the reader of the output read to its end",
}

_STANDARD_INPUT, _STANDARD_OUTPUT = 0, 1


class CaptureWriter:
    """A pcap file in the making; as a context manager it leaves a valid file, whatever ends the block.

    packets: records in the file or in the buffer on its way there, bytes_written: bytes handed to the system, with
    headers. The file's link type is that of the first frame that passes. An existing file is kept until the first bytes
    of the new one are written. After an error in writing, a regular file is cut back to its last whole record; a pipe
    or standard output cannot be.
    """

    def __init__(self, path: str | Path, input_path: str | Path | None = None) -> None:
        """Open `path`; `-` is standard output.

        InputError if the path cannot be written or is the file at input_path.
        """
        self.path = str(path)
        self.packets = 0
        self.bytes_written = 0
        self._link_number = LINKTYPE_ETHERNET  # of a file without any frame
        self._has_header = False
        self._failed = False
        self._buffer = np.empty(BUFFER_BYTES, np.uint8)
        self._used = 0
        self._is_standard_output = self.path == "-"
        self._file = _STANDARD_OUTPUT if self._is_standard_output else _open(self.path)
        status = os.fstat(self._file)
        self._is_regular = stat.S_ISREG(status.st_mode) and not self._is_standard_output
        if stat.S_ISREG(status.st_mode) and input_path is not None and _is_file(str(input_path), status):
            self._close_file()
            raise InputError("the output is the input", self.path, "write to another file")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def write(self, block: FrameBlock) -> None:
        """Append the block's frames with verdict 1, in order.

        InputError, with the packet's number from 1, for a frame that the file cannot hold (those before it are kept),
        and if the system does not take what is written.
        """
        if not len(block):
            return
        numbers = _link_numbers(block)
        if not self._has_header:
            # argmax: the first frame that passes, or the block's first if none does.
            first = int(np.argmax(block.verdict == 1))
            self._link_number = int(numbers[first])
            if block.verdict[first] == 1:
                self._add_header()
        columns = (
            np.ascontiguousarray(block.address, np.uint64),
            np.ascontiguousarray(block.captured, np.uint32),
            np.ascontiguousarray(block.wire, np.uint32),
            np.ascontiguousarray(block.time_ns, np.uint64),
            np.ascontiguousarray(block.verdict, np.uint8),
            np.ascontiguousarray(numbers, np.uint16),
        )
        addresses = tuple(column.ctypes.data for column in columns)
        start = self._buffer.ctypes.data
        frames = list(zip(block.address.tolist(), block.captured.tolist(), strict=True)) if CHECKED else ()
        frame, outcome = 0, FULL
        results = np.zeros(3, np.int64)
        while outcome == FULL:
            allow_only([*columns, results, self._buffer], frames)
            outcome = format_records(
                results.ctypes.data, *addresses, self._link_number, frame, len(block), start, self._used, BUFFER_BYTES
            )
            frame, used, records = results.tolist()
            self._used = used
            self.packets += records
            if outcome == FULL:
                self._flush()
        if outcome != DONE:
            raise self._refusal(block, frame, outcome, int(numbers[frame]))

    def close(self) -> None:
        """Write what is still in the buffer, and the file header if there was no frame; InputError if that fails."""
        if self._file < 0:
            return
        try:
            if not self._failed:
                if not self._has_header:
                    self._add_header()
                self._flush()
        finally:
            self._close_file()

    def _add_header(self) -> None:
        header = FILE_HEADER.pack(MAGIC_NS, *VERSION, 0, 0, MAXIMUM_FRAME, self._link_number)
        self._buffer[: len(header)] = np.frombuffer(header, np.uint8)
        self._used, self._has_header = len(header), True

    def _flush(self) -> None:
        """Hand the buffer to the system.

        A regular file is written at a given place, so that an interrupted flush can be repeated.
        """
        content = self._buffer.data[: self._used]
        done = 0
        try:
            if self._is_regular and self.bytes_written == 0:
                os.ftruncate(self._file, 0)
            while done < len(content):
                if self._is_regular:
                    done += os.pwrite(self._file, content[done:], self.bytes_written + done)
                else:
                    done += os.write(self._file, content[done:])
        except OSError as error:
            raise self._give_up(error, done) from None
        except BaseException:
            # How much of it a pipe took is unknown, so nothing can follow.
            self._failed = not self._is_regular
            raise
        # No call lies between the two, so no signal handler can run there.
        self.bytes_written, self._used = self.bytes_written + done, 0

    def _give_up(self, error: OSError, done: int) -> InputError:
        """End the file with the last whole record of the `done` bytes of the buffer that were written."""
        self._failed = True
        whole, complete, total = _whole_records(self._buffer, self._used, done, self.bytes_written == 0)
        self.packets -= total - complete
        self._used = 0
        self.bytes_written += done
        if self._is_regular:
            self.bytes_written += whole - done
            # A device that failed may refuse this too; that it failed is what the user has to know.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self.bytes_written)
        what = f"cannot write: {_reason(error)}, after {self.packets} packets"
        return InputError(what, self._name, _REMEDIES.get(error.errno or 0, ""))

    def _refusal(self, block: FrameBlock, frame: int, outcome: int, link_number: int) -> InputError:
        where = f"{self._name}: packet {block.first + frame + 1}"
        if outcome == OTHER_LINK:
            return InputError(
                f"link type {link_number} after packets of link type {self._link_number}",
                where,
                "a pcap file holds one link type; split the input by interface first",
            )
        if outcome == BAD_TIME:
            time_ns = int(block.time_ns[frame])
            return InputError(f"time {time_ns} ns", where, "a pcap file holds times before 2106-02-07 06:28:16 UTC")
        return InputError(
            f"{block.captured[frame]} captured bytes", where, f"a pcap record holds at most {MAXIMUM_FRAME}"
        )

    @property
    def _name(self) -> str:
        return "standard output" if self._is_standard_output else self.path

    def _close_file(self) -> None:
        file, self._file = self._file, -1
        if self._is_standard_output:
            return
        try:
            os.close(file)
        except OSError as error:
            # Network file systems report a full disk only here.
            raise InputError(f"cannot write: {_reason(error)}", self._name) from None


def _open(path: str) -> int:
    """A file descriptor to write `path`; what an existing file holds is still there."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise InputError(f"cannot write: {_reason(error)}", path, "name a file that can be written") from None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _is_file(path: str, status: os.stat_result) -> bool:
    """Whether `path`, `-` for standard input, is the file with that status."""
    try:
        return os.path.samestat(os.fstat(_STANDARD_INPUT) if path == "-" else os.stat(path), status)
    except OSError:
        return False


def _link_numbers(block: FrameBlock) -> NDArray[np.uint16]:
    return block.link_number if block.link_number is not None else _LINK_NUMBER_OF_CODE[block.link]


def _whole_records(buffer: NDArray[np.uint8], used: int, done: int, has_file_header: bool) -> tuple[int, int, int]:
    """Of the first `done` bytes of a buffer: bytes and number of whole records; and the number in all `used` bytes."""
    end = FILE_HEADER.size if has_file_header else 0
    whole, complete, total = (end if done >= end else 0), 0, 0
    while end < used:
        (size,) = struct.unpack_from("<I", buffer.data, end + 8)
        end += RECORD_HEADER_SIZE + size
        total += 1
        if end <= done:
            whole, complete = end, complete + 1
    return whole, complete, total
