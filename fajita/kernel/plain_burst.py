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
def find_plain_ipv4(builder: Any, address: Any, captured: Any, target: Any) -> Any:
    """The headers words of those of so many long frames that are plain IPv4, 0 of the others, stored at `target`;
    whether there are others.

    address, captured: where the columns of their addresses and captured lengths lie.
    """
    frames = _Frames(builder, address, captured)
    is_plain = frames.has(frames.words[0], TYPE_AND_VERSION, UNTAGGED_PLAIN_IPV4)
    is_plain = builder.and_(is_plain, frames.has(frames.words[2], FRAGMENT_BITS, 0))
    total = builder.lshr(frames.swapped, every(I32, FRAMES, 16))
    is_plain = builder.and_(is_plain, frames.are_there(total, 14))
    protocol = builder.lshr(frames.words[2], every(I32, FRAMES, 24))
    of_protocols = {UDP_PROTOCOL: (28, PLAIN_UDP), TCP_PROTOCOL: (40, PLAIN_TCP)}
    found = frames.of_protocols(is_plain, protocol, total, of_protocols, every(I64, FRAMES, 0))
    store_vector(builder, found, target)
    others = builder.bitcast(builder.icmp_unsigned("==", found, every(I64, FRAMES, 0)), I8)
    return builder.icmp_unsigned("!=", others, I8(0))


@operation
def find_plain_ipv6(builder: Any, address: Any, captured: Any, target: Any) -> None:
    """Those of plain IPv6 put in their places between those that were found."""
    frames = _Frames(builder, address, captured)
    is_plain = frames.has(frames.words[0], _TYPE_AND_VERSION_OF_IPV6, _UNTAGGED_IPV6)
    is_long = builder.icmp_unsigned(">=", frames.captured, every(I32, FRAMES, PLAIN_IPV6_BYTES))
    payload = builder.and_(frames.swapped, every(I32, FRAMES, 0xFFFF))
    is_plain = builder.and_(builder.and_(is_plain, is_long), frames.are_there(payload, 54))
    protocol = builder.and_(frames.words[2], every(I32, FRAMES, 0xFF))
    of_protocols = {UDP_PROTOCOL: (8, PLAIN_IPV6_UDP), TCP_PROTOCOL: (20, PLAIN_IPV6_TCP)}
    found = load_vector(builder, target, I64, FRAMES)
    store_vector(builder, frames.of_protocols(is_plain, protocol, payload, of_protocols, found), target)


class _Frames:
    """The start of so many frames, each of which has PLAIN_BYTES, and comparisons with all of them at once.

    words: bytes 12 to 15, 16 to 19 and 20 to 23, as little-endian loads see them: of IPv4 EtherType, version, header
    length, type of service; total length, identification; fragment, TTL, protocol; of IPv6 EtherType, version, traffic
    class; flow label, payload length; next header, hop limit. swapped: the second one in network byte order.
    """

    def __init__(self, builder: Any, address: Any, captured: Any) -> None:
        starts = []
        for number in range(FRAMES):
            frame = load_i64.emit(builder, builder.add(address, I64(8 * number)))
            starts.append(load_vector(builder, builder.add(frame, I64(12)), I32, 4))
        twos = [lanes_of(builder, starts[at], starts[at + 1], list(range(8))) for at in range(0, FRAMES, 2)]
        fours = [lanes_of(builder, twos[at], twos[at + 1], list(range(16))) for at in (0, 2)]
        self.words = [
            lanes_of(builder, fours[0], fours[1], [4 * number + word for number in range(FRAMES)]) for word in range(3)
        ]
        self.swapped = llvm_intrinsic(builder, f"llvm.bswap.v{FRAMES}i32", self.words[1].type, self.words[1])
        self.captured = load_vector(builder, captured, I32, FRAMES)
        self._builder = builder

    def has(self, word: Any, mask: int, wanted: int) -> Any:
        """Whether some bits of a word are as wanted."""
        masked = self._builder.and_(word, every(I32, FRAMES, mask))
        return self._builder.icmp_unsigned("==", masked, every(I32, FRAMES, wanted))

    def are_there(self, length: Any, start: int) -> Any:
        """Whether so many bytes from `start` on were captured."""
        end = self._builder.add(length, every(I32, FRAMES, start))
        return self._builder.icmp_unsigned("<=", end, self.captured)

    def of_protocols(
        self, is_plain: Any, protocol: Any, length: Any, protocols: dict[int, tuple[int, int]], found: Any
    ) -> Any:
        """`found`, and where a frame is plain and of one of some protocols that one's headers word, if it has the least
        length that goes with it."""
        builder = self._builder
        for number, (least, word) in protocols.items():
            is_one = builder.icmp_unsigned("==", protocol, every(I32, FRAMES, number))
            is_long = builder.icmp_unsigned(">=", length, every(I32, FRAMES, least))
            is_taken = builder.and_(is_plain, builder.and_(is_one, is_long))
            found = builder.select(is_taken, every(I64, FRAMES, word), found)
        return found


@kernel_function
def parse_plain_burst(address, captured, link, count, target):
    """The headers words of a burst, 0 of what is not plain, stored at `target`; the others are where the columns of the
    burst lie."""
    j = 0
    while j + FRAMES <= count and are_long_ethernet(captured + 4 * j, link + j):
        if find_plain_ipv4(address + 8 * j, captured + 4 * j, target + 8 * j):
            find_plain_ipv6(address + 8 * j, captured + 4 * j, target + 8 * j)
        j += FRAMES
    while j < count:
        frame, length, kind = load_i64(address + 8 * j), load_u32(captured + 4 * j), load_u8(link + j)
        headers = parse_plain_ipv4(frame, length, kind)
        store_64(target + 8 * j, headers if headers != 0 else parse_plain_ipv6(frame, length, kind))
        j += 1
