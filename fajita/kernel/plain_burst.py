"""The headers of a burst's plain IPv4 packets, eight at a time: what parse_plain_ipv4 says of each, without a branch.

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
    PLAIN_TCP,
    PLAIN_UDP,
    TYPE_AND_VERSION,
    UNTAGGED_PLAIN_IPV4,
    parse_plain_ipv4,
)
from fajita.kernel.vectors import every, lanes_of, load_vector, store_vector
from fajita.packet import TCP_PROTOCOL, UDP_PROTOCOL

#: Frames that are parsed at once.
FRAMES = 8


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
        # EtherType, version and header length, type of service; total length, identification; fragment, TTL, protocol.
        starts.append(load_vector(builder, builder.add(frame, I64(12)), I32, 4))
    twos = [lanes_of(builder, starts[at], starts[at + 1], list(range(8))) for at in range(0, FRAMES, 2)]
    fours = [lanes_of(builder, twos[at], twos[at + 1], list(range(16))) for at in (0, 2)]
    kinds, lengths, protocols = (
        lanes_of(builder, *fours, [4 * number + word for number in range(FRAMES)]) for word in range(3)
    )
    total = builder.lshr(
        llvm_intrinsic(builder, f"llvm.bswap.v{FRAMES}i32", lengths.type, lengths), every(I32, FRAMES, 16)
    )
    store_vector(
        builder, _headers(builder, kinds, total, protocols, load_vector(builder, captured, I32, FRAMES)), target
    )


def _headers(builder: Any, kinds: Any, total: Any, protocols: Any, captured: Any) -> Any:
    def is_masked(value: Any, mask: int, wanted: int) -> Any:
        return builder.icmp_unsigned("==", builder.and_(value, every(I32, FRAMES, mask)), every(I32, FRAMES, wanted))

    def is_long(least: int) -> Any:
        return builder.icmp_unsigned(">=", total, every(I32, FRAMES, least))

    is_plain = builder.and_(
        is_masked(kinds, TYPE_AND_VERSION, UNTAGGED_PLAIN_IPV4), is_masked(protocols, FRAGMENT_BITS, 0)
    )
    end = builder.add(total, every(I32, FRAMES, 14))
    is_plain = builder.and_(is_plain, builder.icmp_unsigned("<=", end, captured))
    headers = every(I64, FRAMES, 0)
    protocol = builder.lshr(protocols, every(I32, FRAMES, 24))
    for number, least, word in ((UDP_PROTOCOL, 28, PLAIN_UDP), (TCP_PROTOCOL, 40, PLAIN_TCP)):
        is_one = builder.icmp_unsigned("==", protocol, every(I32, FRAMES, number))
        is_one = builder.and_(is_plain, builder.and_(is_one, is_long(least)))
        headers = builder.select(is_one, every(I64, FRAMES, word), headers)
    return headers


@kernel_function
def parse_plain_burst(address, captured, link, count, target):
    """parse_plain_ipv4 of a burst, stored at `target`; the others are where the columns of the burst lie."""
    j = 0
    while j + FRAMES <= count and are_long_ethernet(captured + 4 * j, link + j):
        parse_plain_frames(address + 8 * j, captured + 4 * j, target + 8 * j)
        j += FRAMES
    while j < count:
        frame = load_i64(address + 8 * j)
        store_64(target + 8 * j, parse_plain_ipv4(frame, load_u32(captured + 4 * j), load_u8(link + j)))
        j += 1
