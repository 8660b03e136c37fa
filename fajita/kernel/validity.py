"""Whether a packet's checksums are right: see reference.validity, which says where that can be told."""

from fajita.kernel.checksum import fold, halves
from fajita.kernel.fields import start_of_ip, start_of_transport
from fajita.kernel.function import burst_function, kernel_function, rare_function
from fajita.kernel.headers_word import protocol_of
from fajita.kernel.memory import load_be16, load_u8, load_u16, load_u32, load_u64
from fajita.packet import Layer

_IPV4, _IPV6, _FRAGMENT = int(Layer.IPV4), int(Layer.IPV6), int(Layer.FRAGMENT)
_UDP, _TRANSPORT = int(Layer.UDP), int(Layer.TCP | Layer.UDP | Layer.ICMP)
_ICMP_IN_IPV4 = int(Layer.ICMP | Layer.IPV4)
_UDP_HEADER_BYTES = 8


@kernel_function
def _swapped(number):
    """16 bits as they lie in memory in network byte order."""
    return ((number & 0xFF) << 8) | (number >> 8)


@kernel_function
def _sum_of_eight(address):
    """The sum of 8 bytes as two words of 32 bits."""
    return halves(load_u64(address))


@kernel_function
def _sum_of_bytes(address, size):
    total, at = 0, 0
    while at + 8 <= size:
        total += _sum_of_eight(address + at)
        at += 8
    if at + 4 <= size:
        total += load_u32(address + at)
        at += 4
    if at + 2 <= size:
        total += load_u16(address + at)
        at += 2
    return total + load_u8(address + at) if at < size else total


@rare_function
def sum_of_bytes(address, size):
    """The sum of words of 32 bits; an odd last byte is followed by a zero (RFC 1071, 1)."""
    return _sum_of_bytes(address, size)


@kernel_function
def _sum_of_ipv4_header(ip):
    size = (load_u8(ip) & 15) * 4
    if size != 20:
        return sum_of_bytes(ip, size)
    return _sum_of_eight(ip) + _sum_of_eight(ip + 8) + load_u32(ip + 16)


@kernel_function
def is_right(total):
    """Whether what a checksum covers, with it, has the sum that it must have."""
    return fold(halves(halves(total))) == 0xFFFF


@kernel_function
def stated_end(ip, headers):
    """Where a packet ends by its own header, in bytes from there; 0: it does not say."""
    if headers & _IPV4:
        return load_be16(ip + 2)
    payload = load_be16(ip + 4)
    return payload + 40 if payload != 0 else 0


@kernel_function
def _sum_of_pseudo(ip, headers, length):
    """The sum of what the pseudo header covers, of a segment of `length` bytes; ICMP has none (RFC 792)."""
    if headers & _ICMP_IN_IPV4 == _ICMP_IN_IPV4:
        return 0
    total = _swapped(length) + _swapped(protocol_of(headers))
    if headers & _IPV6:
        return total + _sum_of_bytes(ip + 8, 32)
    return total + _sum_of_eight(ip + 12)


@kernel_function
def is_segment_right(frame, headers, captured):
    """Whether the checksum of the transport header is right, as far as that can be told."""
    ip, transport = start_of_ip(frame, headers), start_of_transport(frame, headers)
    end = stated_end(ip, headers)
    if headers & _TRANSPORT == 0 or headers & _FRAGMENT or end == 0 or ip + end > frame + captured:
        return 1
    length = ip + end - transport
    if headers & _UDP:
        stated = load_be16(transport + 4)
        if load_u16(transport + 6) == 0 or stated == 0:
            return 1
        if stated < _UDP_HEADER_BYTES or stated > length:
            return 0
        length = stated
    return is_right(_sum_of_pseudo(ip, headers, length) + _sum_of_bytes(transport, length))


@burst_function
def checksum_valid(frame, headers, captured):
    """Whether the checksums of the IP packet and of what it carries are right, as far as that can be told."""
    if headers & (_IPV4 | _IPV6) == 0:
        return 1
    ip = start_of_ip(frame, headers)
    if headers & _IPV4 and is_right(_sum_of_ipv4_header(ip)) == 0:
        return 0
    return is_segment_right(frame, headers, captured)
