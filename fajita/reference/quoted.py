"""The packet that an ICMP error is about: the rules, written to be read.

An error (RFC 792; RFC 4443) quotes the beginning of the packet that it is about, from its IP header on: of the same
family, and as much of it as was sent, captured, and is its own by both IP headers. It counts if its 5-tuple is known,
as that of any packet is: the IP header is whole and well formed, it is no later fragment, and its ports are there if
its protocol has any.
"""

from dataclasses import replace

from fajita import packet
from fajita.packet import Layer, QuotedField
from fajita.reference.checksum import updated, updated_udp, words
from fajita.reference.parse import Bytes, Headers, parse_typed

_ICMP_HEADER_BYTES = 8
_LINK_LAYERS = Layer.ETHERNET | Layer.VLAN
#: By protocol, where in its header the checksum is, and how it follows a change.
_CHECKSUMS = {
    packet.TCP_PROTOCOL: (16, updated),
    packet.UDP_PROTOCOL: (6, updated_udp),
    packet.ICMP_PROTOCOL: (2, updated),
    packet.ICMPV6_PROTOCOL: (2, updated),
}


def quoted_headers(frame: Bytes, headers: Headers) -> Headers | None:
    """The headers of the packet that a packet quotes; None if it is no error, or what it quotes does not count."""
    if Layer.ICMP not in headers.layers:
        return None
    is_ipv4 = Layer.IPV4 in headers.layers
    protocol = packet.ICMP_PROTOCOL if is_ipv4 else packet.ICMPV6_PROTOCOL
    kinds = packet.ICMP_ERRORS if is_ipv4 else packet.ICMPV6_ERRORS
    offset = headers.transport + _ICMP_HEADER_BYTES
    if headers.protocol != protocol or frame[headers.transport] not in kinds or offset > packet.MAXIMUM_INNER_OFFSET:
        return None
    kind = packet.IPV4_TYPE if is_ipv4 else packet.IPV6_TYPE
    quoted = parse_typed(frame[: headers.ip_end], kind, offset, headers.layers & _LINK_LAYERS)
    # As the packet was when somebody found fault with it: nothing around it counts.
    return replace(quoted, datagram=None) if Layer.FLOW in quoted.layers else None


def write_quoted(frame: memoryview, headers: Headers, quoted: Headers, field: QuotedField, value: int) -> None:
    """Store the low bits of a value in a field of the quoted packet, and repair the checksums that were captured."""
    where = field.field
    if where.layer not in quoted.layers:
        return
    if Layer.PORTS in where.layer and quoted.protocol not in (packet.TCP_PROTOCOL, packet.UDP_PROTOCOL):
        return
    is_address = where.start == "ip"
    at, size = (quoted.ip if is_address else quoted.transport) + where.offset, where.bits // 8
    before, old = _words_of_packet(frame, quoted), words(frame[at : at + size])
    frame[at : at + size] = (value & where.value_mask).to_bytes(size, "big")
    new = words(frame[at : at + size])
    if where.layer == Layer.IPV4:
        _update(frame, quoted.ip + 10, updated, old, new)
    offset, rule = _CHECKSUMS.get(quoted.protocol, (0, updated))
    if offset and quoted.transport + offset + 2 <= quoted.ip_end and (not is_address or _has_pseudo_header(quoted)):
        _update(frame, quoted.transport + offset, rule, old, new)
    after = _words_of_packet(frame, quoted)
    if (sum(after) - sum(before)) % 0xFFFF != 0:
        _update(frame, headers.transport + 2, updated, before, after)


def _has_pseudo_header(quoted: Headers) -> bool:
    if quoted.protocol == packet.ICMPV6_PROTOCOL:
        return Layer.IPV6 in quoted.layers
    return quoted.protocol in (packet.TCP_PROTOCOL, packet.UDP_PROTOCOL)


def _words_of_packet(frame: Bytes, quoted: Headers) -> list[int]:
    return words(frame[quoted.ip : quoted.ip_end])


def _update(frame: memoryview, at: int, rule, old: list[int], new: list[int]) -> None:  # type: ignore[no-untyped-def]
    checksum = int.from_bytes(frame[at : at + 2], "big")
    frame[at : at + 2] = rule(checksum, old, new).to_bytes(2, "big")
