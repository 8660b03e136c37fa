"""From a frame to the packet inside its tunnels: see reference.tunnels, which says what counts as one.

The headers word of a packet in a tunnel has the code of the frame's link (TUNNEL_SHIFT), by which the few functions
that need to know what is around the packet go the same way again from the beginning of the frame.
"""

from fajita.kernel.arithmetic import minimum
from fajita.kernel.fields import start_of_transport
from fajita.kernel.function import kernel_function, rare_function
from fajita.kernel.headers_word import offset_of_ip, offset_of_transport, protocol_of
from fajita.kernel.memory import load_be16, load_u8, load_u16
from fajita.kernel.parse import (
    STEP_SHIFT,
    TUNNEL_SHIFT,
    ip_end,
    ip_type,
    parse,
    parse_any,
    parse_typed,
)
from fajita.packet import (
    BRIDGING_TYPE,
    GENEVE_CONTROL,
    GENEVE_OPTIONS,
    GENEVE_PORT,
    GENEVE_VERSION,
    GRE_CHECKSUM,
    GRE_KEY,
    GRE_PROTOCOL,
    GRE_SEQUENCE,
    GRE_ZEROS,
    GTP_EXTENSION,
    GTP_KIND,
    GTP_KIND_BITS,
    GTP_OPTIONAL,
    GTP_PORT,
    GTP_USER_PACKET,
    IPV4_PROTOCOL,
    IPV4_TYPE,
    IPV6_PROTOCOL,
    IPV6_TYPE,
    MAXIMUM_GTP_EXTENSIONS,
    MAXIMUM_INNER_OFFSET,
    MAXIMUM_TUNNELS,
    TUNNEL_PORTS,
    TUNNEL_PROTOCOLS,
    VXLAN_PORT,
    VXLAN_VALID,
    Layer,
)

TUNNEL_MASK = 7 << TUNNEL_SHIFT
#: A bound for where the way to a packet that is known to be in the frame is gone again: more than any frame has.
ANYWHERE = 1 << 40

_IP, _FLOW, _UDP = int(Layer.IP), int(Layer.FLOW), int(Layer.UDP)
_LINK = int(Layer.ETHERNET | Layer.VLAN)

#: What `enclosing` gives: the offset of a checksum or 0, whether it is UDP's, and the end of what is around a packet.
CHECKSUM_MASK, IS_UDP, END_SHIFT = 0xFFFF, 1 << 16, 17


@kernel_function
def parse_inner(frame, captured, link):
    """The headers word of a frame, as `parse` gives it; of a tunnel that of the packet inside."""
    headers = parse(frame, captured, link)
    if may_be_tunnel(frame, headers):
        return parse_tunnels(frame, captured, headers, link)
    return headers


@kernel_function
def may_be_tunnel(frame, headers):
    """Whether a packet's protocol or port is a tunnel's."""
    if headers & _UDP:
        return load_be16(start_of_transport(frame, headers) + 2) in TUNNEL_PORTS
    return headers & _FLOW != 0 and protocol_of(headers) in TUNNEL_PROTOCOLS


@rare_function
def parse_tunnels(frame, captured, outer, link):
    """The headers word of the innermost packet that can be reached."""
    headers, end = outer, captured
    for _ in range(MAXIMUM_TUNNELS):
        end = carried_end(frame, headers, end)
        inner = parse_carried(frame, headers, end)
        if inner & _IP == 0:
            break
        headers = inner | (outer & _LINK) | (link << TUNNEL_SHIFT)
    return headers


@rare_function
def enclosing(frame, headers, captured):
    """What is around a packet in a tunnel: the innermost checksum that covers it, and where at most it ends.

    Whatever is read on the way was found to be captured when the frame was parsed.
    """
    headers_now, end, found = parse_any(frame, captured, (headers & TUNNEL_MASK) >> TUNNEL_SHIFT), captured, 0
    for _ in range(MAXIMUM_TUNNELS):
        if offset_of_ip(headers_now) == offset_of_ip(headers):
            break
        checksum = checksum_of(frame, headers_now)
        found = checksum if checksum != 0 else found
        end = carried_end(frame, headers_now, end)
        headers_now = parse_carried(frame, headers_now, end)
    return (end << END_SHIFT) | found


@kernel_function
def checksum_of(frame, headers):
    """The offset of the checksum that a tunnel has over what it carries, with IS_UDP if it is UDP's; 0: it has none."""
    at = offset_of_transport(headers)
    if headers & _UDP:
        return (at + 6) | IS_UDP if load_u16(frame + at + 6) != 0 else 0
    if protocol_of(headers) == GRE_PROTOCOL and load_be16(frame + at) & GRE_CHECKSUM:
        return at + 4
    return 0


@kernel_function
def carried_end(frame, headers, end):
    """Where what a packet may carry ends, in a frame that ends at `end`: by the IP header, and UDP's and GTP-U's."""
    ip, at = offset_of_ip(headers), offset_of_transport(headers)
    end = ip + ip_end(frame + ip, end - ip)
    if headers & _UDP:
        length = load_be16(frame + at + 4)
        if length != 0:
            end = minimum(end, at + length)
        if load_be16(frame + at + 2) == GTP_PORT and at + 16 <= end:
            end = minimum(end, at + 16 + load_be16(frame + at + 10))
    return end


@kernel_function
def parse_carried(frame, headers, end):
    """The headers of the packet in a tunnel that ends at `end`; no IP among them where it cannot be followed."""
    step = step_into_tunnel(frame, headers, end)
    if step < 0 or step >> STEP_SHIFT > MAXIMUM_INNER_OFFSET:
        return 0
    return parse_typed(frame, end, step)


@kernel_function
def step_into_tunnel(frame, headers, end):
    """The EtherType of what a tunnel carries, and its offset, as other steps of `parse` have them; -1: it is none."""
    at, protocol = offset_of_transport(headers), protocol_of(headers)
    if headers & _FLOW == 0:
        return -1
    if protocol == IPV4_PROTOCOL:
        return IPV4_TYPE | (at << STEP_SHIFT)
    if protocol == IPV6_PROTOCOL:
        return IPV6_TYPE | (at << STEP_SHIFT)
    if protocol == GRE_PROTOCOL:
        return step_over_gre(frame, at, end)
    if headers & _UDP == 0 or at + 16 > end:
        return -1
    port = load_be16(frame + at + 2)
    if port == VXLAN_PORT:
        return step_over_type(frame, BRIDGING_TYPE, at + 16, end) if load_u8(frame + at + 8) & VXLAN_VALID else -1
    if port == GENEVE_PORT:
        return step_over_geneve(frame, at + 8, end)
    return step_over_gtp(frame, at + 8, end) if port == GTP_PORT else -1


@kernel_function
def step_over_gre(frame, at, end):
    """Past a GRE header at `at`, with whatever it has of checksum, key and sequence number."""
    if at + 4 > end:
        return -1
    flags, size = load_be16(frame + at), 4
    if flags & GRE_ZEROS:
        return -1
    size += (4 if flags & GRE_CHECKSUM else 0) + (4 if flags & GRE_KEY else 0) + (4 if flags & GRE_SEQUENCE else 0)
    return step_over_type(frame, load_be16(frame + at + 2), at + size, end)


@kernel_function
def step_over_geneve(frame, at, end):
    """Past a GENEVE header and its options."""
    first = load_u8(frame + at)
    if first & GENEVE_VERSION or load_u8(frame + at + 1) & GENEVE_CONTROL:
        return -1
    return step_over_type(frame, load_be16(frame + at + 2), at + 8 + 4 * (first & GENEVE_OPTIONS), end)


@kernel_function
def step_over_type(frame, kind, offset, end):
    """To what has an EtherType at an offset; past the header of an Ethernet frame."""
    if kind != BRIDGING_TYPE:
        return kind | (offset << STEP_SHIFT)
    return load_be16(frame + offset + 12) | ((offset + 14) << STEP_SHIFT) if offset + 14 <= end else -1


@kernel_function
def step_over_gtp(frame, start, end):
    """Past a GTP-U header with its optional fields and extension headers."""
    flags = load_u8(frame + start)
    if flags & GTP_KIND_BITS != GTP_KIND or load_u8(frame + start + 1) != GTP_USER_PACKET:
        return -1
    at, kind = start + 8, 0
    if flags & GTP_OPTIONAL:
        at += 4
        if at > end:
            return -1
        kind = load_u8(frame + at - 1) if flags & GTP_EXTENSION else 0
    for _ in range(MAXIMUM_GTP_EXTENSIONS):
        if kind == 0:
            break
        size = 4 * load_u8(frame + at) if at < end else 0
        if size == 0 or at + size > end:
            return -1
        at += size
        kind = load_u8(frame + at - 1)
    if kind != 0 or at >= end:
        return -1
    return ip_type(frame + at) | (at << STEP_SHIFT)
