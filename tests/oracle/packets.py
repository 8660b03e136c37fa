"""Packets of captures, made so that a router forwards them whatever they are, and as they are in all that it tracks.

Addresses become others, one for one, as routers take care with some (loopback, multicast, 0.0.0.0); so do those that
ICMP errors quote. IP options become as many that do nothing, the time to live is 64, DSCP is 0. What was not captured
is filled with zeros: no checksum beyond the IP header's is right.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

#: Where the IPv4 header (RFC 791, 3.1) has what it has.
IDENTIFICATION = slice(4, 6)
_SOURCE, _DESTINATION = slice(12, 16), slice(16, 20)
_NO_OPERATION = 1
_ICMP, _ICMP_ERRORS = 1, (3, 4, 5, 11, 12)
#: No two captures have an address in common, so that nothing of one is taken for another's.
_FREE_ADDRESSES = count(0x0A000001)
_MORE_FRAGMENTS, _OFFSET = 0x2000, 0x1FFF


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of data with 0 in its place."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def header_length(packet: bytes) -> int:
    """Bytes of the IPv4 header."""
    return (packet[0] & 15) * 4


def with_header_checksum(packet: bytes) -> bytes:
    """The packet with the right checksum of the IPv4 header."""
    end = header_length(packet)
    right = checksum(packet[:10] + b"\0\0" + packet[12:end])
    return packet[:10] + right.to_bytes(2, "big") + packet[12:]


def with_identification(packet: bytes, number: int) -> bytes:
    """The packet with another identification."""
    return with_header_checksum(packet[:4] + number.to_bytes(2, "big") + packet[6:])


def dscp(packet: bytes) -> int:
    """The differentiated services code point."""
    return packet[1] >> 2


def is_fragment(packet: bytes) -> bool:
    """Whether it is a part of a datagram."""
    return bool(int.from_bytes(packet[6:8], "big") & (_MORE_FRAGMENTS | _OFFSET))


def ipv4_of(frame: bytes, on_wire: int) -> bytes | None:
    """The IPv4 packet of an Ethernet frame, VLAN tags stepped over, as long as it says; None if a host would not
    take it for one."""
    at = 12
    while frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    if frame[at : at + 2] != b"\x08\x00" or len(frame) < at + 22:
        return None
    packet = frame[at + 2 :]
    length = int.from_bytes(packet[2:4], "big")
    end = header_length(packet)
    if packet[0] >> 4 != 4 or end < 20 or not end <= length <= on_wire - at - 2 or len(packet) < end:
        return None
    return packet[:length].ljust(length, b"\0")


@dataclass
class Renamer:
    """Renames the packets of one capture. What it has been given so far."""

    addresses: dict[bytes, bytes] = field(default_factory=dict)
    datagrams: dict[bytes, int] = field(default_factory=dict)
    given: int = 0

    def forwardable(self, packets: Iterable[bytes]) -> list[bytes]:
        """The packets, each (or each datagram) with an identification of its own."""
        return [self._made(packet) for packet in packets]

    def _made(self, packet: bytes) -> bytes:
        end = header_length(packet)
        header = bytearray(packet[:20]) + bytes([_NO_OPERATION]) * (end - 20)
        header[1], header[8] = 0, 64
        header[IDENTIFICATION] = self._identification(packet).to_bytes(2, "big")
        self._rename(header)
        body = bytearray(packet[end:])
        first = not int.from_bytes(packet[6:8], "big") & _OFFSET
        if first and header[9] == _ICMP and len(body) >= 28 and body[0] in _ICMP_ERRORS:
            quoted = body[8:28]
            self._rename(quoted)
            body[8:28] = quoted
        return with_header_checksum(bytes(header + body))

    def _rename(self, header: bytearray) -> None:
        for where in (_SOURCE, _DESTINATION):
            address = bytes(header[where])
            if address not in self.addresses:
                self.addresses[address] = next(_FREE_ADDRESSES).to_bytes(4, "big")
            header[where] = self.addresses[address]

    def _identification(self, packet: bytes) -> int:
        if not is_fragment(packet):
            return self._next()
        datagram = packet[IDENTIFICATION] + packet[9:10] + packet[12:20]
        if datagram not in self.datagrams:
            self.datagrams[datagram] = self._next()
        return self.datagrams[datagram]

    def _next(self) -> int:
        self.given = self.given % 65535 + 1
        return self.given
