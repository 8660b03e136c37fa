"""From a frame to its headers: what is there, where, or why nothing is.

Every offset is checked against the captured length here, once; whoever has a layer's bit may use its fields. The result
is one word: layers (bits 0-12), the frame's link code if the headers are those of a packet in a tunnel, else 0 (13-15),
offset of the IP header (16-31), of the transport header (32-47), where the frame has no 5-tuple, the index of the
reason in OTHER_REASONS (48-55), and the IP protocol (56-63).
"""

from fajita.io.frames import BSD_NULL, ETHERNET, LINUX_SLL, LINUX_SLL2, PPP, RAW_IP
from fajita.kernel.arithmetic import maximum, minimum
from fajita.kernel.function import burst_function, kernel_function, rare_function
from fajita.kernel.memory import load_be16, load_u8, load_u16, load_u64
from fajita.packet import (
    ARP,
    ARP_TYPE,
    AUTHENTICATION_EXTENSION,
    EXTENSIONS,
    FRAGMENT_EXTENSION,
    ICMP_PROTOCOL,
    ICMPV6_PROTOCOL,
    IPV4_FRAGMENT_BITS,
    IPV4_OFFSET_BITS,
    IPV4_TYPE,
    IPV6_FRAGMENT_BITS,
    IPV6_OFFSET_BITS,
    IPV6_TYPE,
    LATER_FRAGMENT,
    MALFORMED_IPV4,
    MALFORMED_IPV6,
    MAXIMUM_EXTENSIONS,
    MAXIMUM_TAGS,
    MPLS_TYPES,
    NOT_IP,
    PORT_PROTOCOLS,
    PORTS_NOT_CAPTURED,
    PPP_IPV4,
    PPP_IPV6,
    PPPOE_TYPE,
    TCP_PROTOCOL,
    TRUNCATED,
    UDP_PROTOCOL,
    UNKNOWN_LINK_TYPE,
    VLAN_TYPES,
    Layer,
)

TUNNEL_SHIFT, IP_SHIFT, TRANSPORT_SHIFT, REASON_SHIFT, PROTOCOL_SHIFT = 13, 16, 32, 48, 56
OFFSET_MASK = 0xFFFF

# A step over a header gives where it led to: the EtherType, and above it the offset of what follows. Or a fault: the
# negative number -1 - reason.
STEP_SHIFT = 16
_TYPE_MASK = 0xFFFF

_HAS_ETHERNET, _HAS_VLAN = int(Layer.ETHERNET), int(Layer.VLAN)
_HAS_IPV4, _HAS_IPV6 = int(Layer.IPV4 | Layer.IP), int(Layer.IPV6 | Layer.IP)
_HAS_FLOW, _HAS_PORTS = int(Layer.FLOW), int(Layer.PORTS)
_HAS_TCP, _HAS_UDP, _HAS_ICMP = int(Layer.TCP), int(Layer.UDP), int(Layer.ICMP)
_HAS_FRAGMENT = int(Layer.FRAGMENT)

#: AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS; AF_INET is 2 everywhere.
_IPV6_FAMILIES = (10, 24, 28, 30)

#: What the fast path finds: Ethernet, IPv4 without options at byte 14, and UDP or TCP at byte 34.
_PLAIN = _HAS_ETHERNET | _HAS_IPV4 | _HAS_FLOW | _HAS_PORTS | (14 << IP_SHIFT) | (34 << TRANSPORT_SHIFT)
PLAIN_UDP = _PLAIN | _HAS_UDP | (UDP_PROTOCOL << PROTOCOL_SHIFT)
PLAIN_TCP = _PLAIN | _HAS_TCP | (TCP_PROTOCOL << PROTOCOL_SHIFT)
_PLAIN_DIFFERENCES = PLAIN_UDP ^ PLAIN_TCP
#: And IPv6 at byte 14 without extension headers, UDP or TCP at byte 54.
_PLAIN_IPV6 = _HAS_ETHERNET | _HAS_IPV6 | _HAS_FLOW | _HAS_PORTS | (14 << IP_SHIFT) | (54 << TRANSPORT_SHIFT)
PLAIN_IPV6_UDP = _PLAIN_IPV6 | _HAS_UDP | (UDP_PROTOCOL << PROTOCOL_SHIFT)
PLAIN_IPV6_TCP = _PLAIN_IPV6 | _HAS_TCP | (TCP_PROTOCOL << PROTOCOL_SHIFT)
UNTAGGED_PLAIN_IPV4 = 0x450008  # EtherType 0x0800 and the byte 0x45 as a little-endian load sees them
TYPE_AND_VERSION = 0xFFFFFF
FRAGMENT_BITS = 0xFF3F  # more fragments and fragment offset, likewise
PLAIN_BYTES = 42  # as many as the headers of UDP in plain IPv4
PLAIN_IPV6_BYTES = 62


@kernel_function
def parse(frame, captured, link):
    """The headers word of a frame of `captured` bytes at address `frame`; link is a code of io.frames."""
    headers = parse_plain_ipv4(frame, captured, link)
    return headers if headers != 0 else parse_other(frame, captured, link)


@burst_function
def parse_other(frame, captured, link):
    """The same for frames that are not plain IPv4."""
    headers = parse_plain_ipv6(frame, captured, link)
    return headers if headers != 0 else parse_any(frame, captured, link)


@kernel_function
def parse_plain_ipv4(frame, captured, link):
    """The same for what most frames are: UDP or TCP in IPv4 without tags, options and faults; 0 for all others."""
    if link == ETHERNET and captured >= PLAIN_BYTES:
        start = load_u64(frame + 12)  # EtherType, version and header length, type of service, total length
        if (start & TYPE_AND_VERSION) == UNTAGGED_PLAIN_IPV4 and (load_u16(frame + 20) & FRAGMENT_BITS) == 0:
            total, protocol = load_be16(frame + 16), load_u8(frame + 23)
            if total + 14 <= captured:
                if protocol == UDP_PROTOCOL and total >= 28:
                    return PLAIN_UDP
                if protocol == TCP_PROTOCOL and total >= 40:
                    return PLAIN_TCP
    return 0


@kernel_function
def known_plain_ipv4(headers):
    """The headers word of plain IPv4 such that the compiler knows where what lies."""
    return (headers & _PLAIN_DIFFERENCES) | (PLAIN_UDP & ~_PLAIN_DIFFERENCES)


@kernel_function
def known_plain_ipv6(headers):
    """The same of plain IPv6."""
    return (headers & _PLAIN_DIFFERENCES) | (PLAIN_IPV6_UDP & ~_PLAIN_DIFFERENCES)


@kernel_function
def parse_plain_ipv6(frame, captured, link):
    """The same for UDP or TCP in IPv6 without tags, extension headers and faults."""
    if (
        link == ETHERNET
        and captured >= PLAIN_IPV6_BYTES
        and load_be16(frame + 12) == IPV6_TYPE
        and load_u8(frame + 14) >> 4 == 6
    ):
        payload, protocol = load_be16(frame + 18), load_u8(frame + 20)
        if payload + 54 <= captured:
            if protocol == UDP_PROTOCOL and payload >= 8:
                return PLAIN_IPV6_UDP
            if protocol == TCP_PROTOCOL and payload >= 20:
                return PLAIN_IPV6_TCP
    return 0


@rare_function
def parse_any(frame, captured, link):
    """The same for every frame, whatever its link type, tags, length and faults."""
    layers = 0
    if link == ETHERNET and captured >= 14:
        layers = _HAS_ETHERNET
        if captured >= 18 and load_be16(frame + 12) in VLAN_TYPES:
            layers |= _HAS_VLAN
    return layers | parse_typed(frame, captured, step_over_link(frame, captured, link))


@kernel_function
def parse_typed(frame, captured, step):
    """The same from where a step has led to."""
    if step >= 0:
        step = step_over_tags(frame, captured, step)
    if step < 0:
        return (-1 - step) << REASON_SHIFT
    kind = step & _TYPE_MASK
    if kind == IPV4_TYPE:
        return parse_ipv4(frame, captured, step >> STEP_SHIFT)
    if kind == IPV6_TYPE:
        return parse_ipv6(frame, captured, step >> STEP_SHIFT)
    return (ARP if kind == ARP_TYPE else NOT_IP) << REASON_SHIFT


@kernel_function
def step_over_link(frame, captured, link):
    """Past the link header."""
    kind, size = 0, 0
    if link == ETHERNET:
        size = 14
    elif link == RAW_IP:
        return ip_type(frame) if captured >= 1 else -1 - TRUNCATED
    elif link == LINUX_SLL:
        size = 16
    elif link == LINUX_SLL2:
        size = 20
    elif link in (BSD_NULL, PPP):
        size = 4
    else:
        return -1 - UNKNOWN_LINK_TYPE
    if captured < size:
        return -1 - TRUNCATED
    if link == BSD_NULL:
        # Written in the byte order of whoever captured: the family is the first or the last of the four bytes.
        family = maximum(load_u8(frame), load_u8(frame + 3))
        if family == 2:
            kind = IPV4_TYPE
        elif family in _IPV6_FAMILIES:
            kind = IPV6_TYPE
    elif link == PPP:
        # RFC 1662, 3.2: address and control bytes may be left out.
        size = 4 if load_u8(frame) == 0xFF else 2
        kind = ppp_type(frame + size - 2)
    else:
        kind = load_be16(frame + (0 if link == LINUX_SLL2 else size - 2))
    return kind | (size << STEP_SHIFT)


@kernel_function
def ppp_type(address):
    """The EtherType that a PPP protocol number stands for, or 0."""
    protocol = load_be16(address)
    return IPV4_TYPE if protocol == PPP_IPV4 else IPV6_TYPE if protocol == PPP_IPV6 else 0


@kernel_function
def ip_type(address):
    """The EtherType that the version in the first byte of an IP header stands for, or 0."""
    version = load_u8(address) >> 4
    return IPV4_TYPE if version == 4 else IPV6_TYPE if version == 6 else 0


@kernel_function
def step_over_tags(frame, captured, step):
    """Past VLAN tags, MPLS labels and PPPoE (RFC 2516, 4)."""
    for _ in range(MAXIMUM_TAGS):
        kind, offset = step & _TYPE_MASK, step >> STEP_SHIFT
        if kind in VLAN_TYPES:
            if offset + 4 > captured:
                return -1 - TRUNCATED
            step = load_be16(frame + offset + 2) | ((offset + 4) << STEP_SHIFT)
        elif kind in MPLS_TYPES:
            if offset + 5 > captured:
                return -1 - TRUNCATED
            is_last = load_u8(frame + offset + 2) & 1
            step = (ip_type(frame + offset + 4) if is_last else kind) | ((offset + 4) << STEP_SHIFT)
        elif kind == PPPOE_TYPE:
            if offset + 8 > captured:
                return -1 - TRUNCATED
            step = ppp_type(frame + offset + 6) | ((offset + 8) << STEP_SHIFT)
        else:
            break
    return step


@kernel_function
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
    protocol = load_u8(ip + 9)
    found = _HAS_IPV4 | (offset << IP_SHIFT) | (protocol << PROTOCOL_SHIFT)
    if load_be16(ip + 6) & IPV4_FRAGMENT_BITS:
        found |= _HAS_FRAGMENT
    if load_be16(ip + 6) & IPV4_OFFSET_BITS:
        return found | ((offset + header) << TRANSPORT_SHIFT) | (LATER_FRAGMENT << REASON_SHIFT)
    return found | parse_transport(protocol, offset + header, ip_end(ip, captured - offset) - header)


@kernel_function
def parse_ipv6(frame, captured, offset):
    """The same of an IPv6 header and its extensions (RFC 8200) at `offset`."""
    if offset + 40 > captured:
        return TRUNCATED << REASON_SHIFT
    ip = frame + offset
    if load_u8(ip) >> 4 != 6:
        return MALFORMED_IPV6 << REASON_SHIFT
    end, protocol, at = ip_end(ip, captured - offset), load_u8(ip + 6), 40
    found = _HAS_IPV6 | (offset << IP_SHIFT)
    for _ in range(MAXIMUM_EXTENSIONS):
        is_fragment = protocol == FRAGMENT_EXTENSION
        if not (is_fragment or protocol in EXTENSIONS or protocol == AUTHENTICATION_EXTENSION):
            break
        if at + 8 > end:
            return found | (TRUNCATED << REASON_SHIFT)
        size, protocol = extension_bytes(ip + at, protocol), load_u8(ip + at)
        if is_fragment and load_be16(ip + at + 2) & IPV6_FRAGMENT_BITS:
            found |= _HAS_FRAGMENT
            if load_be16(ip + at + 2) & IPV6_OFFSET_BITS:
                return found | (protocol << PROTOCOL_SHIFT) | (LATER_FRAGMENT << REASON_SHIFT)
        at += size
    if at > end:
        return found | (TRUNCATED << REASON_SHIFT)
    return found | (protocol << PROTOCOL_SHIFT) | parse_transport(protocol, offset + at, end - at)


@kernel_function
def extension_bytes(header, kind):
    """The size of an extension header of type `kind`."""
    length = load_u8(header + 1)
    return 8 if kind == FRAGMENT_EXTENSION else (length + 1) * 8 if kind in EXTENSIONS else (length + 2) * 4


@kernel_function
def parse_transport(protocol, transport, available):
    """Layers, offset and reason of a transport header, of which `available` bytes are there."""
    found = transport << TRANSPORT_SHIFT
    if protocol in PORT_PROTOCOLS:
        if available < 4:
            return found | (PORTS_NOT_CAPTURED << REASON_SHIFT)
        found |= _HAS_FLOW | _HAS_PORTS
        if protocol == TCP_PROTOCOL and available >= 20:
            found |= _HAS_TCP
        elif protocol == UDP_PROTOCOL and available >= 8:
            found |= _HAS_UDP
        return found
    is_icmp = protocol in (ICMP_PROTOCOL, ICMPV6_PROTOCOL) and available >= 8
    return found | _HAS_FLOW | (_HAS_ICMP if is_icmp else 0)


@kernel_function
def ip_end(ip, captured):
    """Where the packet ends, in bytes from its IP header, of which `captured` bytes are there.

    A length of 0 is segmentation offload (or an IPv6 jumbogram, RFC 2675): the frame's own length counts, as it does
    where it is the smaller one.
    """
    if load_u8(ip) >> 4 == 6:
        total = load_be16(ip + 4)
        return captured if total == 0 else minimum(total + 40, captured)
    total = load_be16(ip + 2)
    return captured if total == 0 else minimum(total, captured)
