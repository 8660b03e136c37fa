"""Where messages of IPFIX go: a file, or a collector that listens at a UDP port."""

import os
import re
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from fajita.errors import InputError
from fajita.output_file import check_folder

#: The longest message (RFC 7011, 3.1), and one that with the headers of IP and UDP fits what the Internet carries
#: unfragmented nearly everywhere (RFC 7011, 10.3.3 would have 512 bytes where nobody knows).
LONGEST, LONGEST_DATAGRAM = 65_535, 1_400
#: Where collectors listen (RFC 7011, 10.3.4).
USUAL_PORT = 4739
#: A collector gets so many datagrams at once and the next this much later, so that what waits for it to read them
#: fits what Linux keeps for a socket.
_AT_ONCE, _PAUSE_S = 32, 0.001
_COLLECTOR = re.compile(r"udp://(?:\[([^\]]*)\]|([^:/\[\]]*))(?::([^:/]*))?/?")


class Destination(Protocol):
    """longest: bytes of a message at most. forgets: templates have to be sent again now and then."""

    longest: int
    forgets: bool

    def now(self, latest_second: int) -> int:
        """The export time of a message, seconds since 1970. latest_second: of what it is about."""

    def send(self, message: bytes) -> None:
        """Give a message away; InputError if that cannot be."""

    def close(self) -> None:
        """No more come; InputError if those that came are not all there."""


def find_destination(text: str) -> Destination:
    """A collector for udp://HOST:PORT, else a file; InputError for what is neither, or cannot be opened."""
    if text == "-":
        raise InputError("--ipfix -", right="a file, which /dev/stdout is, too, or udp://HOST:PORT")
    if "://" not in text:
        return MessageFile(text)
    match = _COLLECTOR.fullmatch(text)
    host, port = (match[1] or match[2], match[3]) if match else (None, None)
    if not host or (port is not None and not (port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16)):
        right = f"a file, or udp://HOST or udp://HOST:PORT (port {USUAL_PORT} if left out), such as udp://[::1]:9995"
        raise InputError(f"--ipfix {text}", right=right)
    return Collector(text, host, USUAL_PORT if port is None else int(port))


class MessageFile:
    """A file of messages one behind the other (RFC 5655), whole ones whatever happens.

    What was in it before is gone with the first message, before which there is no new file either.
    """

    longest, forgets = LONGEST, False

    def __init__(self, path: str) -> None:
        self.path = path
        self._bytes, self._file, self._is_regular = 0, -1, False
        if os.path.exists(path):
            self._open()
        else:
            check_folder(os.path.dirname(path) or ".", "write a file")

    def _open(self) -> None:
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise InputError(f"cannot write: {error.strerror}", self.path, "name a file that can be written") from None
        self._is_regular = stat.S_ISREG(os.fstat(self._file).st_mode)

    def now(self, latest_second: int) -> int:
        """The time of what it is about, so that the same packets make the same file."""
        return latest_second

    def send(self, message: bytes) -> None:
        """Append it."""
        if self._file < 0:
            self._open()
        left = memoryview(message)
        try:
            if self._bytes == 0 and self._is_regular:
                os.ftruncate(self._file, 0)
            while left:
                left = left[os.write(self._file, left) :]
        except BaseException as error:
            if self._is_regular:
                os.ftruncate(self._file, self._bytes)
                os.lseek(self._file, self._bytes, os.SEEK_SET)
            if isinstance(error, OSError):
                raise InputError(f"cannot write: {error.strerror}", self.path, "name a file with room") from None
            raise
        self._bytes += len(message)

    def close(self) -> None:
        """All is written."""
        file, self._file = self._file, -1
        if file >= 0:
            try:
                os.close(file)
            except OSError as error:
                raise InputError(f"cannot write: {error.strerror}", self.path, "name a file with room") from None


class Collector:
    """A collector. It may lose what comes too fast, and nobody hears of that; so it comes no faster than it has to."""

    longest, forgets = LONGEST_DATAGRAM, True

    def __init__(self, text: str, host: str, port: int) -> None:
        self.text = text
        self._sent = 0
        self._paused_at = 0.0
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        except (OSError, UnicodeError) as error:
            what = error.strerror if isinstance(error, OSError) else str(error)
            raise InputError(f"cannot find {host}: {what}", text, "the name or address of a collector") from None
        self._socket = socket.socket(family, kind, protocol)
        with self._told():
            self._socket.connect(address)

    def now(self, latest_second: int) -> int:
        """The time of the clock."""
        return int(time.time())

    def send(self, message: bytes) -> None:
        """Send it as a datagram; InputError if it was heard that the one before found nobody."""
        self._sent += 1
        if self._sent % _AT_ONCE == 0:
            time.sleep(max(0.0, self._paused_at + _PAUSE_S - time.monotonic()))
            self._paused_at = time.monotonic()
        with self._told():
            self._socket.send(message)

    def close(self) -> None:
        """InputError if it was heard that the last one found nobody."""
        if self._socket.fileno() < 0:
            return
        failure = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._socket.close()
        with self._told():
            if failure:
                raise OSError(failure, os.strerror(failure))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            right = "the address of a collector that listens"
            raise InputError(f"cannot send: {error.strerror}", self.text, right) from None
