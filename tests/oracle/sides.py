"""Packets of captures as those of hosts on two sides of a translator: who begins is inside.

An inside host sends as itself; to what comes from outside the packet's destination is the inside host, too, until
`translation` puts the address and port there that the translator has given it. Checksums are right.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

from tests.oracle.packets import header_length, is_fragment, with_header_checksum
from tests.oracle.router import INSIDE, OUTSIDE, Sent
from tests.oracle.traffic import ICMP, TCP, UDP, transport_checksum, with_icmp_checksum

ICMP_ERRORS = (3, 4, 5, 11, 12)
#: First addresses inside and outside, and what is added: no two captures have one in common, so that the kernel puts no
#: fragment of one to those of another.
_FIRST = (0x0A000001, 0x14000001)
_GIVEN = count()
_CHECKSUM_AT = {TCP: 16, UDP: 6}


@dataclass(frozen=True)
class Endpoints:
    """What tells a session: protocol, addresses, ports; of ICMP queries the identifier is both ports."""

    protocol: int
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int

    @property
    def turned(self) -> "Endpoints":
        """As the other end has it."""
        return Endpoints(self.protocol, self.destination, self.destination_port, self.source, self.source_port)


def endpoints(packet: bytes) -> Endpoints:
    """Of a packet, or as much of one as an ICMP error quotes; ports that are not there are 0."""
    body = packet[header_length(packet) :]
    if packet[9] == ICMP:
        ports = body[4:6] * 2
    else:
        ports = body[:4] if packet[9] in (TCP, UDP) else b""
    ports = ports.ljust(4, b"\0")
    source_port, destination_port = int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")
    return Endpoints(packet[9], packet[12:16], source_port, packet[16:20], destination_port)


def with_endpoints(packet: bytes, to: Endpoints) -> bytes:
    """The packet from and to other endpoints; no checksum follows."""
    end = header_length(packet)
    body = packet[end:]
    ports = to.source_port.to_bytes(2, "big") + to.destination_port.to_bytes(2, "big")
    if to.protocol == ICMP:
        body = body[:4] + ports[:2] + body[6:] if len(body) >= 6 else body
    elif to.protocol in (TCP, UDP) and len(body) >= 4:
        body = ports + body[4:]
    return packet[:12] + to.source + to.destination + packet[20:end] + body


def is_error(packet: bytes) -> bool:
    """Whether it is an ICMP error with a quoted header."""
    body = packet[header_length(packet) :]
    is_icmp = packet[9] == ICMP and not int.from_bytes(packet[6:8], "big") & 0x1FFF
    return is_icmp and len(body) >= 28 and body[0] in ICMP_ERRORS and body[8] >> 4 == 4


def quoted(error: bytes) -> bytes:
    """What an ICMP error quotes."""
    return error[header_length(error) + 8 :]


def with_quoted(error: bytes, packet: bytes) -> bytes:
    """The error with another quoted packet; no checksum follows."""
    return error[: header_length(error) + 8] + packet


def transport_sum(packet: bytes) -> bytes:
    """What the checksum of TCP, UDP or ICMP has to be; of UDP 0xFFFF instead of 0 (RFC 768)."""
    body = packet[header_length(packet) :]
    if packet[9] == ICMP:
        return with_icmp_checksum(body)[2:4]
    at = _CHECKSUM_AT[packet[9]]
    right = transport_checksum(packet[9], packet[12:16], packet[16:20], body[:at] + b"\0\0" + body[at + 2 :])
    return (0xFFFF if right == 0 and packet[9] == UDP else right).to_bytes(2, "big")


def sum_place(packet: bytes) -> slice | None:
    """Where the transport checksum of a whole packet is; None if there is none, or none that counts."""
    end = header_length(packet)
    least = {TCP: 20, UDP: 8, ICMP: 8}.get(packet[9])
    if least is None or len(packet) - end < least or is_fragment(packet):
        return None
    at = end + _CHECKSUM_AT.get(packet[9], 2)
    if packet[9] == UDP and packet[at : at + 2] == b"\0\0":
        return None
    return slice(at, at + 2)


def with_checksums(packet: bytes) -> bytes:
    """The packet with all checksums right."""
    place = sum_place(packet)
    if place is not None:
        packet = packet[: place.start] + transport_sum(packet) + packet[place.stop :]
    return with_header_checksum(packet)


@dataclass
class Sides:
    """Which hosts are inside and which outside, and what they are called there."""

    side: dict[bytes, int] = field(default_factory=dict)
    names: dict[bytes, bytes] = field(default_factory=dict)

    def sent(self, packets: Iterable[bytes]) -> Iterator[Sent]:
        """The packets that go from one side to the other."""
        listed = list(packets)
        for packet in listed:
            if not is_error(packet):
                self._place(packet[12:16], INSIDE)
                self._place(packet[16:20], OUTSIDE)
        for packet in listed:
            side = self.side.get(packet[12:16], OUTSIDE)
            if side == 1 - self.side.get(packet[16:20], OUTSIDE):
                yield Sent(self._renamed(packet), side)

    def _place(self, address: bytes, side: int) -> None:
        if address not in self.side:
            self.side[address] = side

    def _renamed(self, packet: bytes) -> bytes:
        named = self._with_names(packet)
        if is_error(named):
            named = with_quoted(named, with_header_checksum(self._with_names(quoted(named))))
        return with_checksums(named)

    def _with_names(self, packet: bytes) -> bytes:
        return packet[:12] + self._name(packet[12:16]) + self._name(packet[16:20]) + packet[20:]

    def _name(self, address: bytes) -> bytes:
        if address not in self.names:
            first = _FIRST[self.side.get(address, OUTSIDE)]
            self.names[address] = (first + next(_GIVEN)).to_bytes(4, "big")
        return self.names[address]
