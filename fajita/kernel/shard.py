"""The bucket of each frame of a block: the low bits of the Toeplitz hash (fajita.rss) of what a chain's keys see.

The frame is parsed as the chain's kernel does it, and a later fragment finds the ports of its first in a memory of the
sharder's own. The hash is linear, so that it is the sum (modulo 2) of what each byte adds; tables have that.
"""

from dataclasses import dataclass
from typing import Any

from fajita.kernel import quoted, tunnel_quoted
from fajita.kernel.fields import start_of_ip, start_of_transport
from fajita.kernel.fragments import fragment_functions
from fajita.kernel.function import KernelFunction, burst_function, kernel_function, rare_function
from fajita.kernel.memory import load_u8, load_u16, load_u32, load_u64, prefetch, store_8, store_64
from fajita.kernel.operation import I64, Operation
from fajita.kernel.parse import parse
from fajita.kernel.tunnels import parse_inner
from fajita.packet import Layer
from fajita.rss import HashFields

#: Frames are asked for so far ahead, as in the chain's kernel.
_AHEAD = 48
#: Not a bucket.
UNKNOWN = 255
#: A table of one byte for each value of a byte that is hashed.
TABLE_BYTES = 256
_IPV4, _IPV6, _PORTS, _FRAGMENT = int(Layer.IPV4), int(Layer.IPV6), int(Layer.PORTS), int(Layer.FRAGMENT)
_ICMP = int(Layer.ICMP)


def _hash_bytes(count: int) -> Operation:
    """The operation `hash(tables, place, word)`: what the low `count` bytes of a word add, the first being number
    `place` of what is hashed."""

    def emit(builder: Any, tables: Any, place: Any, word: Any) -> Any:
        table, hashed = builder.add(tables, builder.mul(place, I64(TABLE_BYTES))), I64(0)
        for number in range(count):
            value = builder.and_(builder.lshr(word, I64(8 * number)), I64(0xFF))
            at = builder.add(builder.add(table, I64(TABLE_BYTES * number)), value)
            hashed = builder.xor(hashed, load_u8.emit(builder, at))
        return hashed

    return Operation(f"hash_{count}_bytes", emit)


#: By the number of bytes.
HASH_BYTES: dict[int, Operation] = {count: _hash_bytes(count) for count in (2, 4, 8)}
_hash_2_bytes, _hash_4_bytes, _hash_8_bytes = HASH_BYTES.values()


@dataclass(frozen=True)
class ShardFunctions:
    """hash_frames(address, captured, link, count, tables, buckets) gives `count` frames their buckets; a fragment whose
    bucket depends on what came before gets UNKNOWN. It can run anywhere in a block, and in several places at once.

    hash_fragments(address, captured, link, time_ns, tables, memory, found, indices, end, buckets) does those, whose
    indices (int64) lie from `indices` to before `end`, in their order. memory: what is remembered of first fragments;
    found: two words that it uses.

    hash_all(address, captured, link, count, tables, buckets, time_ns, memory, found, indices, end): both in turn.

    address, captured, link, time_ns: columns of a block. tables: of what the bytes that are hashed add, in their order.
    buckets: uint8, to be filled; 0 for a frame without an IP header.
    """

    hash_frames: KernelFunction
    hash_fragments: KernelFunction
    hash_all: KernelFunction


def shard_functions(
    fields: HashFields, *, inner: bool, datagrams: int, segments: int, fragments: str, errors: bool
) -> ShardFunctions:
    """The functions for these fields; inner, datagrams, segments and fragments are the plan's.

    errors: an ICMP error goes where the packet goes that it quotes.
    """
    parse_frame = parse_inner if inner else parse
    has_source, has_destination = fields.source, fields.destination
    has_source_port, has_destination_port = fields.source_port, fields.destination_port
    has_addresses, has_ports = has_source and has_destination, has_source_port or has_destination_port
    addresses = has_source + has_destination
    follows = datagrams != 0
    quoted_headers = (tunnel_quoted if inner else quoted).quoted_headers
    follow, ports_at, with_ports = fragment_functions(datagrams or 1, segments, fragments)

    @kernel_function
    def hash_ports(tables, place, transport):
        if has_source_port and has_destination_port:
            return _hash_4_bytes(tables, place, load_u32(transport))
        return _hash_2_bytes(tables, place, load_u16(transport + (0 if has_source_port else 2)))

    @kernel_function
    def hash_ipv6_address(tables, place, at):
        return _hash_8_bytes(tables, place, load_u64(at)) ^ _hash_8_bytes(tables, place + 8, load_u64(at + 8))

    @kernel_function
    def hash_ipv4(tables, ip):
        if has_addresses:
            return _hash_8_bytes(tables, 0, load_u64(ip + 12))
        if has_source:
            return _hash_4_bytes(tables, 0, load_u32(ip + 12))
        if has_destination:
            return _hash_4_bytes(tables, 0, load_u32(ip + 16))
        return 0

    @kernel_function
    def hash_ipv6(tables, ip):
        hashed = 0
        if has_source:
            hashed = hash_ipv6_address(tables, 0, ip + 8)
        if has_destination:
            hashed ^= hash_ipv6_address(tables, 16 * has_source, ip + 24)
        return hashed

    @burst_function
    def bucket_of_other(tables, frame, headers, transport):
        """The bucket of what is not IPv4."""
        if headers & _IPV6 == 0:
            return 0
        hashed = hash_ipv6(tables, start_of_ip(frame, headers))
        if has_ports and headers & _PORTS:
            hashed ^= hash_ports(tables, 16 * addresses, transport)
        return hashed

    @kernel_function
    def bucket_of(tables, frame, headers, transport):
        if headers & _IPV4:
            hashed = hash_ipv4(tables, start_of_ip(frame, headers))
            if has_ports and headers & _PORTS:
                hashed ^= hash_ports(tables, 4 * addresses, transport)
            return hashed
        return bucket_of_other(tables, frame, headers, transport)

    @rare_function
    def bucket_of_icmp(tables, frame, headers, captured):
        """The bucket of an ICMP packet; of an error that of what it quotes."""
        quotes = quoted_headers(frame, headers, captured)
        headers = quotes if quotes != 0 else headers
        return bucket_of(tables, frame, headers, start_of_transport(frame, headers))

    @rare_function
    def bucket_of_fragment(tables, frame, captured, time, index, memory, found):
        """The bucket of a fragment whose headers lie at `found`: that of its datagram's first."""
        follow(memory, frame, time, index, found, found + 8)
        headers, datagram = load_u64(found), load_u64(found + 8)
        transport = ports_at(0, frame, headers, datagram)
        if errors and headers & _ICMP:
            return bucket_of_icmp(tables, frame, headers, captured)
        return bucket_of(tables, frame, with_ports(headers, datagram), transport)

    @kernel_function
    def hash_frames(address, captured, link, count, tables, buckets):
        for index in range(count):
            if index + _AHEAD < count:
                prefetch(load_u64(address + 8 * (index + _AHEAD)))
            frame = load_u64(address + 8 * index)
            headers = parse_frame(frame, load_u32(captured + 4 * index), load_u8(link + index))
            if follows and headers & _FRAGMENT:
                bucket = UNKNOWN
            elif errors and headers & _ICMP:
                bucket = bucket_of_icmp(tables, frame, headers, load_u32(captured + 4 * index))
            else:
                bucket = bucket_of(tables, frame, headers, start_of_transport(frame, headers))
            store_8(buckets + index, bucket)

    @kernel_function
    def hash_fragments(address, captured, link, time_ns, tables, memory, found, indices, end, buckets):
        while indices < end:
            index = load_u64(indices)
            frame = load_u64(address + 8 * index)
            size = load_u32(captured + 4 * index)
            store_64(found, parse_frame(frame, size, load_u8(link + index)))
            time = load_u64(time_ns + 8 * index)
            store_8(buckets + index, bucket_of_fragment(tables, frame, size, time, index, memory, found))
            indices += 8

    @kernel_function
    def hash_all(address, captured, link, count, tables, buckets, time_ns, memory, found, indices, end):
        hash_frames(address, captured, link, count, tables, buckets)
        if follows:
            hash_fragments(address, captured, link, time_ns, tables, memory, found, indices, end, buckets)

    return ShardFunctions(hash_frames, hash_fragments, hash_all)
