"""The headers of a burst's plain packets, eight at a time: what parse_plain_ipv4 or parse_plain_ipv6 says of each,
without a branch.

Most frames are plain, and which of them are TCP and which UDP no processor foresees.
"""

from typing import Any

from fajita.io.frames import ETHERNET
from fajita.kernel.function import kernel_function
from fajita.kernel.memory import load_i64, load_u8, load_u32, store_64
from fajita.kernel.operation import I8, I32, I64, llvm_intrinsic, operation
from fajita.kernel.parse import (
    FRAGMENT_BITS,
    PLAIN_BYTES,
    PLAIN_IPV6_BYTES,
    PLAIN_IPV6_TCP,
    PLAIN_IPV6_UDP,
    PLAIN_TCP,
    PLAIN_UDP,
    TYPE_AND_VERSION,
    UNTAGGED_PLAIN_IPV4,
    parse_plain_ipv4,
    parse_plain_ipv6,
)
from fajita.kernel.vectors import every, lanes_of, load_vector, store_vector
from fajita.packet import TCP_PROTOCOL, UDP_PROTOCOL

#: Frames that are parsed at once.
FRAMES = 8
#: EtherType 0x86DD and version 6, as a little-endian load sees them.
_TYPE_AND_VERSION_OF_IPV6, _UNTAGGED_IPV6 = 0xF0FFFF, 0x60DD86


@operation
def are_long_ethernet(builder: Any, captured: Any, link: Any) -> Any:
    """Whether all of so many frames are Ethernet's and have the bytes that plain IPv4 has."""
    lengths = load_vector(builder, captured, I32, FRAMES)
    are_long = builder.icmp_unsigned(">=", lengths, every(I32, FRAMES, PLAIN_BYTES))
    links = load_vector(builder, link, I8, FRAMES)
    are_ethernet = builder.icmp_unsigned("==", links, every(I8, FRAMES, ETHERNET))
    both = builder.bitcast(builder.and_(are_long, are_ethernet), I8)
    return builder.icmp_unsigned("==", both, I8(0xFF))


@operation
def parse_plain_frames(builder: Any, address: Any, captured: Any, target: Any) -> None:
    """The headers words of so many frames that are long enough, 0 of one that is not plain, stored at `target`.

    address, captured: where the columns of their addresses and captured lengths lie.
    """
    starts = []
    for number in range(FRAMES):
        frame = load_i64.emit(builder, builder.add(address, I64(8 * number)))
        starts.append(load_vector(builder, builder.add(frame, I64(12)), I32, 4))
    twos = [lanes_of(builder, starts[at], starts[at + 1], list(range(8))) for at in range(0, FRAMES, 2)]
    fours = [lanes_of(builder, twos[at], twos[at + 1], list(range(16))) for at in (0, 2)]
    # Of each frame bytes 12 to 15, 16 to 19 and 20 to 23.
    words = [lanes_of(builder, *fours, [4 * number + word for number in range(FRAMES)]) for word in range(3)]
    lengths = load_vector(builder, captured, I32, FRAMES)
    headers = _Headers(builder, words, lengths)
    headers.find_ipv4()
    headers.find_ipv6()
    store_vector(builder, headers.found, target)


class _Headers:
    """Writes the comparisons, each of all frames at once. found: the headers words so far."""

    def __init__(self, builder: Any, words: list[Any], captured: Any) -> None:
        self._builder, self._captured, self.found = builder, captured, every(I64, FRAMES, 0)
        self._kind, self._second, self._third = words
        # What the second word has in network byte order.
        self._swapped = llvm_intrinsic(builder, f"llvm.bswap.v{FRAMES}i32", words[1].type, words[1])

    def find_ipv4(self) -> None:
        """EtherType, version and header length, type of service; total length, identification; fragment, TTL, protocol."""
        is_plain = self._all(
            self._has(self._kind, TYPE_AND_VERSION, UNTAGGED_PLAIN_IPV4), self._has(self._third, FRAGMENT_BITS, 0)
        )
        total, protocol = (
            self._builder.lshr(word, every(I32, FRAMES, bits))
            for word, bits in ((self._swapped, 16), (self._third, 24))
        )
        is_plain = self._all(is_plain, self._is_there(total, 14))
        self._take(is_plain, protocol, total, {UDP_PROTOCOL: (28, PLAIN_UDP), TCP_PROTOCOL: (40, PLAIN_TCP)})

    def find_ipv6(self) -> None:
        """EtherType, version, traffic class; flow label, payload length; next header, hop limit, source."""
        is_plain = self._has(self._kind, _TYPE_AND_VERSION_OF_IPV6, _UNTAGGED_IPV6)
        is_long = self._builder.icmp_unsigned(">=", self._captured, every(I32, FRAMES, PLAIN_IPV6_BYTES))
        payload, protocol = (
            self._builder.and_(word, every(I32, FRAMES, mask))
            for word, mask in ((self._swapped, 0xFFFF), (self._third, 0xFF))
        )
        is_plain = self._all(is_plain, is_long, self._is_there(payload, 54))
        self._take(is_plain, protocol, payload, {UDP_PROTOCOL: (8, PLAIN_IPV6_UDP), TCP_PROTOCOL: (20, PLAIN_IPV6_TCP)})

    def _all(self, first: Any, *others: Any) -> Any:
        for other in others:
            first = self._builder.and_(first, other)
        return first

    def _has(self, word: Any, mask: int, wanted: int) -> Any:
        return self._builder.icmp_unsigned(
            "==", self._builder.and_(word, every(I32, FRAMES, mask)), every(I32, FRAMES, wanted)
        )

    def _is_there(self, length: Any, start: int) -> Any:
        """Whether so many bytes from `start` on were captured."""
        return self._builder.icmp_unsigned("<=", self._builder.add(length, every(I32, FRAMES, start)), self._captured)

    def _take(self, is_plain: Any, protocol: Any, length: Any, protocols: dict[int, tuple[int, int]]) -> None:
        """Those of some protocols; of each the least length, and the headers word."""
        for number, (least, word) in protocols.items():
            is_one = self._builder.icmp_unsigned("==", protocol, every(I32, FRAMES, number))
            is_long = self._builder.icmp_unsigned(">=", length, every(I32, FRAMES, least))
            is_taken = self._all(is_plain, is_one, is_long)
            self.found = self._builder.select(is_taken, every(I64, FRAMES, word), self.found)


@kernel_function
def parse_plain_burst(address, captured, link, count, target):
    """The headers words of a burst, 0 of what is not plain, stored at `target`; the others are where the columns of the
    burst lie."""
    j = 0
    while j + FRAMES <= count and are_long_ethernet(captured + 4 * j, link + j):
        parse_plain_frames(address + 8 * j, captured + 4 * j, target + 8 * j)
        j += FRAMES
    while j < count:
        frame, length, kind = load_i64(address + 8 * j), load_u32(captured + 4 * j), load_u8(link + j)
        headers = parse_plain_ipv4(frame, length, kind)
        store_64(target + 8 * j, headers if headers != 0 else parse_plain_ipv6(frame, length, kind))
        j += 1
