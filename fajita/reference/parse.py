"""From a frame to its headers: the rules, written to be read.

`parse` is what decides which layers of a frame an NF may look at. A header counts only if it is wholly captured and
well formed; nothing that a frame says about lengths is believed before it is compared with what was captured.
"""

from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from fajita import packet
from fajita.io.frames import BSD_NULL, ETHERNET, LINUX_SLL, LINUX_SLL2, PPP, RAW_IP
from fajita.packet import Layer
from fajita.reference.checksum import EnclosingChecksum

Bytes = bytes | memoryview


class Datagram(NamedTuple):
    """What the fragments of one datagram have in common. protocol: of IPv4 (RFC 791, 3.2); of IPv6 None.

    In IPv6 (RFC 8200, 4.5) the protocol is no part of it: what follows the fragment header may differ from fragment to
    fragment, and only the first's counts.
    """

    family: int
    source: bytes
    destination: bytes
    protocol: int | None
    identification: int


@dataclass(frozen=True)
class Headers:
    """What a frame has. ip, transport: offsets in bytes, 0 where there is none; ip_end: where the IP packet ends.

    protocol: what the last header before the transport's says that it is; 0 where that is not known.
    reason: index in OTHER_REASONS of why the frame has no 5-tuple; OTHER_TRAFFIC if it has one.
    datagram: of a fragment; is_later: it is not the first.
    enclosing: of a packet in tunnels, their checksums, those of the innermost tunnel first; end: where what is around
    it ends, None if it is in no tunnel.
    """

    layers: Layer
    ip: int = 0
    transport: int = 0
    ip_end: int = 0
    protocol: int = 0
    reason: int = packet.OTHER_TRAFFIC
    datagram: Datagram | None = None
    is_later: bool = False
    enclosing: tuple[EnclosingChecksum, ...] = ()
    end: int | None = None


class _NoIPError(Exception):
    """There is no IP header to be found in the frame."""

    def __init__(self, reason: int) -> None:
        self.reason = reason


def parse(frame: Bytes, link: int) -> Headers:
    """The headers of a frame; link is a code of fajita.io.frames."""
    layers = Layer.ETHERNET if link == ETHERNET and len(frame) >= 14 else Layer(0)
    if layers and len(frame) >= 18 and _u16(frame, 12) in packet.VLAN_TYPES:
        layers |= Layer.VLAN
    try:
        kind, offset = _after_link(frame, link)
    except _NoIPError as fault:
        return Headers(layers, reason=fault.reason)
    return parse_typed(frame, kind, offset, layers)


def parse_typed(frame: Bytes, kind: int, offset: int, layers: Layer) -> Headers:
    """The headers from `offset` on, where something of EtherType `kind` begins; layers: what was found before."""
    try:
        for _ in range(packet.MAXIMUM_TAGS):
            if kind in packet.VLAN_TYPES:
                kind, offset = _after_vlan(frame, offset)
            elif kind in packet.MPLS_TYPES:
                kind, offset = _after_mpls(frame, kind, offset)
            elif kind == packet.PPPOE_TYPE:
                kind, offset = _after_pppoe(frame, offset)
            else:
                break
        if kind == packet.IPV4_TYPE:
            return _parse_ipv4(frame, offset, layers)
        if kind == packet.IPV6_TYPE:
            return _parse_ipv6(frame, offset, layers)
        _refuse(packet.ARP if kind == packet.ARP_TYPE else packet.NOT_IP)
    except _NoIPError as fault:
        return Headers(layers, reason=fault.reason)


#: EtherTypes by what PPP (www.iana.org/assignments/ppp-numbers) and the IP version call the same protocols.
_OF_PPP = {packet.PPP_IPV4: packet.IPV4_TYPE, packet.PPP_IPV6: packet.IPV6_TYPE}
_OF_VERSION = {4: packet.IPV4_TYPE, 6: packet.IPV6_TYPE}
#: AF_INET everywhere; AF_INET6 of Linux, of NetBSD and OpenBSD, of FreeBSD, and of macOS.
_OF_FAMILY = {2: packet.IPV4_TYPE} | dict.fromkeys((10, 24, 28, 30), packet.IPV6_TYPE)
_UNKNOWN_TYPE = 0

#: Link headers that end in or hold an EtherType: bytes of the header, offset of the type.
_TYPED_LINKS = {ETHERNET: (14, 12), LINUX_SLL: (16, 14), LINUX_SLL2: (20, 0)}


def _need(frame: Bytes, end: int) -> None:
    """The frame has to be captured up to byte `end`."""
    if len(frame) < end:
        _refuse(packet.TRUNCATED)


def _refuse(reason: int) -> NoReturn:
    raise _NoIPError(reason)


def _u16(frame: Bytes, offset: int) -> int:
    return int.from_bytes(frame[offset : offset + 2], "big")


def _after_link(frame: Bytes, link: int) -> tuple[int, int]:
    """EtherType of what the link header carries, and the offset at which it begins."""
    if link in _TYPED_LINKS:
        size, type_offset = _TYPED_LINKS[link]
        _need(frame, size)
        return _u16(frame, type_offset), size
    if link == RAW_IP:
        _need(frame, 1)
        return _OF_VERSION.get(frame[0] >> 4, _UNKNOWN_TYPE), 0
    if link == BSD_NULL:
        _need(frame, 4)
        # A number of four bytes in the byte order of the capturing host, so the family is in the first or the last.
        return _OF_FAMILY.get(max(frame[0], frame[3]), _UNKNOWN_TYPE), 4
    if link == PPP:
        _need(frame, 4)
        # RFC 1661, 6.6: address 0xff and control 0x03 may be left out; no protocol number begins with 0xff.
        start = 2 if frame[0] == 0xFF else 0
        return _OF_PPP.get(_u16(frame, start), _UNKNOWN_TYPE), start + 2
    _refuse(packet.UNKNOWN_LINK_TYPE)


def _after_vlan(frame: Bytes, offset: int) -> tuple[int, int]:
    """IEEE 802.1Q, 9.6: two bytes of tag control information, then the type of what follows."""
    _need(frame, offset + 4)
    return _u16(frame, offset + 2), offset + 4


def _after_mpls(frame: Bytes, kind: int, offset: int) -> tuple[int, int]:
    """RFC 3032, 2.1: four bytes a label, the last one marked; the first nibble after it tells IPv4 from IPv6.

    That first byte has to be captured as well.
    """
    _need(frame, offset + 5)
    is_last = frame[offset + 2] & 1
    return (_OF_VERSION.get(frame[offset + 4] >> 4, _UNKNOWN_TYPE) if is_last else kind), offset + 4


def _after_pppoe(frame: Bytes, offset: int) -> tuple[int, int]:
    """RFC 2516, 4: six bytes of PPPoE, then the PPP protocol number."""
    _need(frame, offset + 8)
    return _OF_PPP.get(_u16(frame, offset + 6), _UNKNOWN_TYPE), offset + 8


_IPV4, _IPV6 = Layer.IPV4 | Layer.IP, Layer.IPV6 | Layer.IP
_FLOW_WITH_PORTS = Layer.FLOW | Layer.PORTS


def _parse_ipv4(frame: Bytes, offset: int, layers: Layer) -> Headers:
    """RFC 791, 3.1. A total length of 0 is a packet that the card was to cut up (segmentation offload)."""
    _need(frame, offset + 20)
    version, header_bytes = frame[offset] >> 4, (frame[offset] & 0xF) * 4
    total_bytes = _u16(frame, offset + 2)
    if version != 4 or header_bytes < 20 or 0 < total_bytes < header_bytes:
        _refuse(packet.MALFORMED_IPV4)
    transport = offset + header_bytes
    _need(frame, transport)
    ip_end = min(offset + total_bytes, len(frame)) if total_bytes else len(frame)
    layers |= _IPV4
    protocol, fragment_field, datagram = frame[offset + 9], _u16(frame, offset + 6), None
    if fragment_field & packet.IPV4_FRAGMENT_BITS:
        layers |= Layer.FRAGMENT
        source, destination = bytes(frame[offset + 12 : offset + 16]), bytes(frame[offset + 16 : offset + 20])
        datagram = Datagram(4, source, destination, protocol, _u16(frame, offset + 4))
    if fragment_field & packet.IPV4_OFFSET_BITS:
        return Headers(layers, offset, transport, ip_end, protocol, packet.LATER_FRAGMENT, datagram, True)
    found, reason = _transport_layers(protocol, ip_end - transport)
    return Headers(layers | found, offset, transport, ip_end, protocol, reason, datagram)


def _parse_ipv6(frame: Bytes, offset: int, layers: Layer) -> Headers:
    """RFC 8200, 3 and 4. A payload length of 0 is a jumbogram (RFC 2675) or segmentation offload."""
    _need(frame, offset + 40)
    if frame[offset] >> 4 != 6:
        _refuse(packet.MALFORMED_IPV6)
    payload_bytes = _u16(frame, offset + 4)
    ip_end = min(offset + 40 + payload_bytes, len(frame)) if payload_bytes else len(frame)
    layers |= _IPV6
    protocol, at, datagram = frame[offset + 6], offset + 40, None
    for _ in range(packet.MAXIMUM_EXTENSIONS):
        if protocol not in (*packet.EXTENSIONS, packet.FRAGMENT_EXTENSION, packet.AUTHENTICATION_EXTENSION):
            break
        if at + 8 > ip_end:
            return Headers(layers, offset, 0, ip_end, 0, packet.TRUNCATED)
        following, length = frame[at], frame[at + 1]
        if protocol == packet.FRAGMENT_EXTENSION:
            fragment_field = _u16(frame, at + 2)
            # One that is the whole datagram (RFC 6946) is no fragment.
            if fragment_field & packet.IPV6_FRAGMENT_BITS:
                layers |= Layer.FRAGMENT
                source, destination = bytes(frame[offset + 8 : offset + 24]), bytes(frame[offset + 24 : offset + 40])
                identification = int.from_bytes(frame[at + 4 : at + 8], "big")
                datagram = Datagram(6, source, destination, None, identification)
            if fragment_field & packet.IPV6_OFFSET_BITS:
                return Headers(layers, offset, 0, ip_end, following, packet.LATER_FRAGMENT, datagram, True)
            at += 8
        elif protocol == packet.AUTHENTICATION_EXTENSION:
            at += 4 * (length + 2)
        else:
            at += 8 * (length + 1)
        protocol = following
    if at > ip_end:
        return Headers(layers, offset, 0, ip_end, 0, packet.TRUNCATED)
    found, reason = _transport_layers(protocol, ip_end - at)
    return Headers(layers | found, offset, at, ip_end, protocol, reason, datagram)


#: Bytes of the fixed header, and its layer.
_FIXED_HEADERS = {
    packet.TCP_PROTOCOL: (20, Layer.TCP),  # RFC 9293, 3.1
    packet.UDP_PROTOCOL: (8, Layer.UDP),  # RFC 768
    packet.ICMP_PROTOCOL: (8, Layer.ICMP),  # RFC 792
    packet.ICMPV6_PROTOCOL: (8, Layer.ICMP),  # RFC 4443
}


def _transport_layers(protocol: int, available: int) -> tuple[Layer, int]:
    """What is known of a transport header of which `available` bytes are there; and why there is no 5-tuple."""
    found = Layer.FLOW
    if protocol in packet.PORT_PROTOCOLS:
        if available < 4:
            return Layer(0), packet.PORTS_NOT_CAPTURED
        found = _FLOW_WITH_PORTS
    size, layer = _FIXED_HEADERS.get(protocol, (0, Layer(0)))
    return (found | layer if available >= size else found), packet.OTHER_TRAFFIC
