"""The packet that an ICMP error quotes: found, read and written. See reference.quoted, which says what counts as one.

Of the quoted packet there is a headers word, as `parse` makes them, with offsets from the beginning of the frame. A
write repairs what covers the field in the quoted packet, as far as that was captured, and then the error's own checksum
by the change of all that. The sum of the whole error stays what it was, and so do checksums of tunnels around it.
"""

from fajita.kernel.arithmetic import minimum
from fajita.kernel.checksum import fold, halves, repair, repair_udp
from fajita.kernel.fields import READERS, start_of_ip, start_of_transport
from fajita.kernel.function import KernelFunction, kernel_function, rare_function
from fajita.kernel.headers_word import offset_of_ip, offset_of_transport, protocol_of
from fajita.kernel.memory import load_u8, store_be16, store_be32, store_be64
from fajita.kernel.operation import Callee
from fajita.kernel.parse import (
    ip_end,
    parse_ipv4,
    parse_ipv6,
)
from fajita.kernel.validity import sum_of_bytes
from fajita.packet import (
    ICMP_ERRORS,
    ICMP_PROTOCOL,
    ICMPV6_ERRORS,
    ICMPV6_PROTOCOL,
    MAXIMUM_INNER_OFFSET,
    QUOTED,
    TCP_PROTOCOL,
    UDP_PROTOCOL,
    Field,
    Layer,
)

_IPV4, _IPV6, _FLOW, _ICMP = int(Layer.IPV4), int(Layer.IPV6), int(Layer.FLOW), int(Layer.ICMP)
_LINK = int(Layer.ETHERNET | Layer.VLAN)
_ICMP_HEADER_BYTES, _TRANSPORT_BYTES = 8, 20
_STORES: dict[int, Callee] = {16: store_be16, 32: store_be32, 64: store_be64}

#: More than any sum of headers; 0 to a one's complement sum, which with it comes out as 0xFFFF rather than 0.
_ZERO = 0xFFFF << 40


@kernel_function
def _is_error(frame, headers):
    """Whether a packet is an ICMP error, by its type."""
    if headers & _ICMP == 0:
        return 0
    kind = load_u8(start_of_transport(frame, headers))
    if headers & _IPV4:
        return protocol_of(headers) == ICMP_PROTOCOL and kind in ICMP_ERRORS
    return protocol_of(headers) == ICMPV6_PROTOCOL and kind in ICMPV6_ERRORS


@kernel_function
def _end_of(frame, headers, end):
    """The offset at which a packet ends, in a frame of which it may have the bytes up to `end`."""
    ip = offset_of_ip(headers)
    return ip + ip_end(frame + ip, end - ip)


@kernel_function
def _sum_of_quoted(frame, quoted, end):
    """The sum of all that a write may change in a quoted packet that ends at offset `end`."""
    transport = start_of_transport(frame, quoted)
    size = minimum(_TRANSPORT_BYTES, frame + end - transport)
    return sum_of_bytes(start_of_ip(frame, quoted), 40 if quoted & _IPV6 else 20) + sum_of_bytes(transport, size)


@kernel_function
def _repair_segment(transport, protocol, size, change):
    """The checksum of a transport header of which `size` bytes are there, after a change of a field that it covers."""
    if protocol == TCP_PROTOCOL:
        if size >= 18:
            repair(transport + 16, change)
    elif protocol == UDP_PROTOCOL:
        if size >= 8:
            repair_udp(transport + 6, change)
    elif size >= 4:
        repair(transport + 2, change)


def _places(field: Field) -> tuple[int, int, KernelFunction]:
    """Layer, bytes, and the header that a field is in."""
    return int(field.layer), field.bits // 8, start_of_ip if field.start == "ip" else start_of_transport


def quoted_functions(captured_of: Callee) -> dict[str, KernelFunction]:
    """All functions, by the names that they have in generated code. captured_of(frame, headers, captured): where the
    captured bytes end that may belong to the packet."""

    @rare_function
    def quoted_headers(frame, headers, captured):
        """The headers word of the packet that a packet quotes; 0: it is no error, or its quote has no 5-tuple."""
        if _is_error(frame, headers) == 0:
            return 0
        end = _end_of(frame, headers, captured_of(frame, headers, captured))
        offset = offset_of_transport(headers) + _ICMP_HEADER_BYTES
        if offset > MAXIMUM_INNER_OFFSET:
            return 0
        quoted = parse_ipv4(frame, end, offset) if headers & _IPV4 else parse_ipv6(frame, end, offset)
        return quoted | (headers & _LINK) if quoted & _FLOW else 0

    @kernel_function
    def is_error(frame, headers, captured):
        return headers & _ICMP != 0 and quoted_headers(frame, headers, captured) != 0

    def reader(name: str) -> KernelFunction:
        read_plain = READERS[f"read_{name}"]

        @rare_function
        def read(frame, headers, captured):
            quoted = quoted_headers(frame, headers, captured)
            return read_plain(frame, quoted) if quoted != 0 else 0

        return read

    def writer(field: Field) -> KernelFunction:
        layer, size, start = _places(field)
        store, offset, is_address = _STORES[field.bits], field.offset, int(field.start == "ip")
        is_port = int(bool(field.layer & Layer.PORTS))
        is_ipv4 = int(field.layer == Layer.IPV4)
        inverted = 0xFFFFFFFF * (size // 4) if size >= 4 else 0xFFFF  # the bits of the field are taken from it

        @rare_function
        def write(frame, headers, captured, value):
            quoted = quoted_headers(frame, headers, captured)
            protocol = protocol_of(quoted)
            if (quoted & layer) != layer or (is_port and protocol != TCP_PROTOCOL and protocol != UDP_PROTOCOL):
                return
            end = _end_of(frame, quoted, _end_of(frame, headers, captured_of(frame, headers, captured)))
            before = _sum_of_quoted(frame, quoted, end)
            at, transport = start(frame, quoted) + offset, start_of_transport(frame, quoted)
            old = sum_of_bytes(at, size)
            store(at, value)
            change = fold(halves(halves(inverted - old + sum_of_bytes(at, size))))
            if is_ipv4:
                repair(start_of_ip(frame, quoted) + 10, change)
            if is_address == 0 or has_pseudo_header(quoted, protocol):
                _repair_segment(transport, protocol, frame + end - transport, change)
            total = fold(halves(halves(_ZERO - before + _sum_of_quoted(frame, quoted, end))))
            if total != 0xFFFF:  # none
                repair(start_of_transport(frame, headers) + 2, total)

        return write

    functions = {"quoted_headers": quoted_headers, "is_error": is_error}
    functions |= {f"read_{name}": reader(each.field.name) for name, each in QUOTED.items()}
    functions |= {f"write_{name}": writer(each.field) for name, each in QUOTED.items() if each.is_writable}
    return functions


@kernel_function
def has_pseudo_header(quoted, protocol):
    """Whether a pseudo header has the addresses: of TCP, UDP and ICMPv6 (RFC 4443, 2.3)."""
    if protocol == ICMPV6_PROTOCOL:
        return quoted & _IPV6 != 0
    return protocol in (TCP_PROTOCOL, UDP_PROTOCOL)


@kernel_function
def _all_captured(frame, headers, captured):
    return captured


globals().update(quoted_functions(_all_captured))
