"""From a frame to its headers: what is there, where, or why nothing is.

Every offset is checked against the captured length here, once; whoever has a layer's bit may use its fields. The result
is one word: layers (bits 0-15), offset of the IP header (16-31), of the transport header (32-47), and, where the frame
has no 5-tuple, the index of the reason in OTHER_REASONS (48-55).
"""

from numba import njit

from fajita.io.frames import BSD_NULL, ETHERNET, LINUX_SLL, LINUX_SLL2, PPP, RAW_IP
from fajita.kernel.memory import load_be16, load_u8, load_u16
from fajita.packet import (
    ARP,
    ARP_TYPE,
    ICMP_PROTOCOL,
    IPV4_TYPE,
    IPV6,
    IPV6_TYPE,
    LATER_FRAGMENT,
    MALFORMED_IPV4,
    MAXIMUM_TAGS,
    MPLS_TYPES,
    NOT_IP,
    PORTS_NOT_CAPTURED,
    PPP_IPV4,
    PPP_IPV6,
    PPPOE_TYPE,
    SCTP_PROTOCOL,
    TCP_PROTOCOL,
    TRUNCATED,
    UDP_PROTOCOL,
    UNKNOWN_LINK_TYPE,
    VLAN_TYPES,
    Layer,
)

IP_SHIFT, TRANSPORT_SHIFT, REASON_SHIFT = 16, 32, 48
OFFSET_MASK = 0xFFFF

_HAS_ETHERNET, _HAS_IPV4, _HAS_FLOW = int(Layer.ETHERNET), int(Layer.IPV4), int(Layer.FLOW)
_HAS_PORTS, _HAS_TCP, _HAS_UDP, _HAS_ICMP = int(Layer.PORTS), int(Layer.TCP), int(Layer.UDP), int(Layer.ICMP)
_VLAN_C, _VLAN_S, _VLAN_OLD, _VLAN_OLDER = VLAN_TYPES
_MPLS, _MPLS_MULTICAST = MPLS_TYPES

#: What the fast path finds: Ethernet, IPv4 without options at byte 14, and UDP or TCP at byte 34.
_PLAIN = _HAS_ETHERNET | _HAS_IPV4 | _HAS_FLOW | _HAS_PORTS | (14 << IP_SHIFT) | (34 << TRANSPORT_SHIFT)
_PLAIN_UDP, _PLAIN_TCP = _PLAIN | _HAS_UDP, _PLAIN | _HAS_TCP
_UNTAGGED_IPV4 = 0x0008  # EtherType 0x0800 as a little-endian load sees it
_FRAGMENT_BITS = 0xFF3F  # more fragments and fragment offset, likewise


@njit
def parse(frame, captured, link):
    """The headers word of a frame of `captured` bytes at address `frame`; link is a code of io.frames."""
    if (
        link == ETHERNET
        and captured >= 42
        and load_u16(frame + 12) == _UNTAGGED_IPV4
        and load_u8(frame + 14) == 0x45
        and (load_u16(frame + 20) & _FRAGMENT_BITS) == 0
    ):
        total, protocol = load_be16(frame + 16), load_u8(frame + 23)
        if total + 14 <= captured:
            if protocol == UDP_PROTOCOL and total >= 28:
                return _PLAIN_UDP
            if protocol == TCP_PROTOCOL and total >= 40:
                return _PLAIN_TCP
    return parse_any(frame, captured, link)


@njit
def parse_any(frame, captured, link):
    """The same for every frame, whatever its link type, tags, length and faults."""
    layers = _HAS_ETHERNET if link == ETHERNET and captured >= 14 else 0
    kind, offset = step_over_link(frame, captured, link)
    if offset >= 0:
        kind, offset = step_over_tags(frame, captured, kind, offset)
    if offset < 0:
        return layers | (kind << REASON_SHIFT)
    if kind == IPV4_TYPE:
        return layers | parse_ipv4(frame, captured, offset)
    reason = ARP if kind == ARP_TYPE else IPV6 if kind == IPV6_TYPE else NOT_IP
    return layers | (reason << REASON_SHIFT)


@njit
def step_over_link(frame, captured, link):
    """EtherType and offset of what the link header carries; on a fault the reason and -1."""
    if link == ETHERNET:
        return (load_be16(frame + 12), 14) if captured >= 14 else (TRUNCATED, -1)
    if link == RAW_IP:
        return (version_type(frame), 0) if captured >= 1 else (TRUNCATED, -1)
    if link == LINUX_SLL:
        return (load_be16(frame + 14), 16) if captured >= 16 else (TRUNCATED, -1)
    if link == LINUX_SLL2:
        return (load_be16(frame), 20) if captured >= 20 else (TRUNCATED, -1)
    if link == BSD_NULL:
        if captured < 4:
            return TRUNCATED, -1
        # Written in the byte order of whoever captured: the family is the first or the last of the four bytes.
        family = max(load_u8(frame), load_u8(frame + 3))
        if family == 2:
            return IPV4_TYPE, 4
        return (IPV6_TYPE if family in (10, 24, 28, 30) else 0), 4
    if link == PPP:
        return step_over_ppp(frame, captured)
    return UNKNOWN_LINK_TYPE, -1


@njit
def step_over_ppp(frame, captured):
    """The same for PPP (RFC 1661, 1662): address and control bytes may be left out."""
    if captured < 4:
        return TRUNCATED, -1
    offset = 2 if load_u8(frame) == 0xFF else 0
    protocol = load_be16(frame + offset)
    if protocol == PPP_IPV4:
        return IPV4_TYPE, offset + 2
    return (IPV6_TYPE if protocol == PPP_IPV6 else 0), offset + 2


@njit
def version_type(address):
    """The EtherType that the version in the first byte of an IP header stands for, or 0."""
    version = load_u8(address) >> 4
    return IPV4_TYPE if version == 4 else IPV6_TYPE if version == 6 else 0


@njit
def step_over_tags(frame, captured, kind, offset):
    """Past VLAN tags, MPLS labels and PPPoE: EtherType and offset; on a fault the reason and -1."""
    for _ in range(MAXIMUM_TAGS):
        if kind == _VLAN_C or kind == _VLAN_S or kind == _VLAN_OLD or kind == _VLAN_OLDER:
            if offset + 4 > captured:
                return TRUNCATED, -1
            kind, offset = load_be16(frame + offset + 2), offset + 4
        elif kind == _MPLS or kind == _MPLS_MULTICAST:
            if offset + 5 > captured:
                return TRUNCATED, -1
            is_last = load_u8(frame + offset + 2) & 1
            offset += 4
            if is_last:
                kind = version_type(frame + offset)
        elif kind == PPPOE_TYPE:
            if offset + 8 > captured:
                return TRUNCATED, -1
            protocol = load_be16(frame + offset + 6)
            offset += 8
            kind = IPV4_TYPE if protocol == PPP_IPV4 else IPV6_TYPE if protocol == PPP_IPV6 else 0
        else:
            break
    return kind, offset


@njit
def parse_ipv4(frame, captured, offset):
    """Layers, offsets and reason of an IPv4 header (RFC 791) at `offset`."""
    if offset + 20 > captured:
        return TRUNCATED << REASON_SHIFT
    ip = frame + offset
    header, total = (load_u8(ip) & 15) * 4, load_be16(ip + 2)
    if load_u8(ip) >> 4 != 4 or header < 20 or (total != 0 and total < header):
        return MALFORMED_IPV4 << REASON_SHIFT
    if offset + header > captured:
        return TRUNCATED << REASON_SHIFT
    transport = offset + header
    found = _HAS_IPV4 | (offset << IP_SHIFT) | (transport << TRANSPORT_SHIFT)
    if load_be16(ip + 6) & 0x1FFF != 0:
        return found | (LATER_FRAGMENT << REASON_SHIFT)
    available = ip_end(ip, captured - offset) - header
    protocol = load_u8(ip + 9)
    if protocol == TCP_PROTOCOL or protocol == UDP_PROTOCOL or protocol == SCTP_PROTOCOL:
        if available < 4:
            return found | (PORTS_NOT_CAPTURED << REASON_SHIFT)
        found |= _HAS_FLOW | _HAS_PORTS
        if protocol == TCP_PROTOCOL and available >= 20:
            found |= _HAS_TCP
        elif protocol == UDP_PROTOCOL and available >= 8:
            found |= _HAS_UDP
        return found
    return found | _HAS_FLOW | (_HAS_ICMP if protocol == ICMP_PROTOCOL and available >= 8 else 0)


@njit
def ip_end(ip, captured):
    """Where the packet ends, in bytes from its IP header, of which `captured` bytes are there.

    A total length of 0 is segmentation offload: the frame's own length counts, as it does where it is the smaller one.
    """
    total = load_be16(ip + 2)
    return captured if total == 0 else min(total, captured)
