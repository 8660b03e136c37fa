"""From a frame to the packet inside its tunnels: the rules, written to be read.

A packet in a tunnel counts instead of the packet around it if its IP header is wholly there and well formed, within
the end that each header around it states. Else the packet around it is what the frame is about: one that is no tunnel,
that belongs to a version of a tunnel that is not known, that was cut off, or that carries something other than IP. Of a
packet cut into fragments the first may be followed, as far as it goes; the later ones are no tunnels.
"""

from dataclasses import replace
from typing import NamedTuple

from fajita import packet
from fajita.packet import Layer
from fajita.reference.checksum import EnclosingChecksum, updated, updated_udp
from fajita.reference.parse import Bytes, Headers, parse, parse_typed

#: What stays that of the frame, however deep the packet is.
_LINK_LAYERS = Layer.ETHERNET | Layer.VLAN


class Carried(NamedTuple):
    """What a tunnel carries: something of EtherType `kind` from byte `offset` to `end`; and the tunnel's checksum."""

    kind: int
    offset: int
    end: int
    checksum: EnclosingChecksum | None = None


def parse_inner(frame: Bytes, link: int) -> Headers:
    """The headers of the packet inside the tunnels of a frame; link is a code of fajita.io.frames."""
    headers = parse(frame, link)
    for _ in range(packet.MAXIMUM_TUNNELS):
        inner = _inside(frame, headers)
        if inner is None:
            break
        headers = inner
    return headers


def _inside(frame: Bytes, outer: Headers) -> Headers | None:
    """The headers of the packet in a tunnel, or None where there is no tunnel or it cannot be followed."""
    carried = _carried(frame[: outer.ip_end], outer)
    if carried is None or carried.offset > packet.MAXIMUM_INNER_OFFSET:
        return None
    inner = parse_typed(frame[: carried.end], carried.kind, carried.offset, outer.layers & _LINK_LAYERS)
    if Layer.IP not in inner.layers:
        return None
    checksums = () if carried.checksum is None else (carried.checksum,)
    return replace(inner, enclosing=checksums + outer.enclosing, end=carried.end)


def _carried(frame: Bytes, outer: Headers) -> Carried | None:
    """What a packet that ends where `frame` does carries, if it is a tunnel."""
    if Layer.FLOW not in outer.layers:
        return None
    if outer.protocol == packet.IPV4_PROTOCOL:
        return Carried(packet.IPV4_TYPE, outer.transport, len(frame))
    if outer.protocol == packet.IPV6_PROTOCOL:
        return Carried(packet.IPV6_TYPE, outer.transport, len(frame))
    if outer.protocol == packet.GRE_PROTOCOL:
        return _in_gre(frame, outer.transport)
    return _in_udp(frame, outer.transport) if Layer.UDP in outer.layers else None


def _in_gre(frame: Bytes, start: int) -> Carried | None:
    """RFC 2784, 2 and RFC 2890, 2: flags and type, then four bytes for each of checksum, key and sequence number."""
    if len(frame) < start + 4:
        return None
    flags = _u16(frame, start)
    if flags & packet.GRE_ZEROS:
        return None
    optional = sum(flags & bit != 0 for bit in (packet.GRE_CHECKSUM, packet.GRE_KEY, packet.GRE_SEQUENCE))
    has_checksum = flags & packet.GRE_CHECKSUM != 0
    checksum = EnclosingChecksum(start + 4, start, updated) if has_checksum else None
    return _typed(frame, _u16(frame, start + 2), start + 4 + 4 * optional, checksum)


def _in_udp(frame: Bytes, start: int) -> Carried | None:
    """A datagram may end before the IP packet does; a length of 0 is segmentation offload, as in the IP header."""
    length = _u16(frame, start + 4)
    if length != 0:
        frame = frame[: start + length]
    tunnel = {packet.VXLAN_PORT: _in_vxlan, packet.GENEVE_PORT: _in_geneve, packet.GTP_PORT: _in_gtp}.get(
        _u16(frame, start + 2)
    )
    if tunnel is None or len(frame) < start + 16:  # each has a header of 8 bytes
        return None
    return tunnel(frame, start + 8, EnclosingChecksum(start + 6, start, updated_udp))


def _in_vxlan(frame: Bytes, start: int, checksum: EnclosingChecksum) -> Carried | None:
    """RFC 7348, 5: eight bytes, then an Ethernet frame."""
    if not frame[start] & packet.VXLAN_VALID:
        return None
    return _typed(frame, packet.BRIDGING_TYPE, start + 8, checksum)


def _in_geneve(frame: Bytes, start: int, checksum: EnclosingChecksum) -> Carried | None:
    """RFC 8926, 3.4: eight bytes and options."""
    if frame[start] & packet.GENEVE_VERSION or frame[start + 1] & packet.GENEVE_CONTROL:
        return None
    options = 4 * (frame[start] & packet.GENEVE_OPTIONS)
    return _typed(frame, _u16(frame, start + 2), start + 8 + options, checksum)


def _in_gtp(frame: Bytes, start: int, checksum: EnclosingChecksum) -> Carried | None:
    """3GPP TS 29.281, 5.1: eight bytes, four more if a flag says so, extension headers; the length is that after eight.

    An extension header begins with its length in units of four bytes and ends with the type of the next (5.2.1).
    """
    flags, message = frame[start], frame[start + 1]
    if flags & packet.GTP_KIND_BITS != packet.GTP_KIND or message != packet.GTP_USER_PACKET:
        return None
    frame, at, kind = frame[: start + 8 + _u16(frame, start + 2)], start + 8, 0
    if flags & packet.GTP_OPTIONAL:
        if len(frame) < start + 12:
            return None
        at, kind = start + 12, frame[start + 11] if flags & packet.GTP_EXTENSION else 0
    for _ in range(packet.MAXIMUM_GTP_EXTENSIONS):
        if kind == 0:
            break
        size = 4 * frame[at] if at < len(frame) else 0
        if size == 0 or len(frame) < at + size:
            return None
        at += size
        kind = frame[at - 1]
    if kind != 0 or at >= len(frame):
        return None
    version = frame[at] >> 4
    inner = {4: packet.IPV4_TYPE, 6: packet.IPV6_TYPE}.get(version)
    return None if inner is None else Carried(inner, at, len(frame), checksum)


def _typed(frame: Bytes, kind: int, offset: int, checksum: EnclosingChecksum | None) -> Carried | None:
    """What has an EtherType; of an Ethernet frame, what that carries."""
    if kind == packet.BRIDGING_TYPE:
        if len(frame) < offset + 14:
            return None
        kind, offset = _u16(frame, offset + 12), offset + 14
    return Carried(kind, offset, len(frame), checksum)


def _u16(frame: Bytes, offset: int) -> int:
    return int.from_bytes(frame[offset : offset + 2], "big")
