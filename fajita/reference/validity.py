"""Whether a packet's checksums are right, as far as that can be told: the rules, written to be read.

The checksum of an IPv4 header can always be told. That of TCP, UDP, ICMP or ICMPv6 cannot where the packet is a
fragment, was not captured up to the end that its IP header states, or states none (segmentation offload, an IPv6
jumbogram); nor where UDP has none, or no length. A UDP length that cannot be true has no checksum that is.
"""

import struct

from fajita.packet import ICMP_PROTOCOL, Layer
from fajita.reference.checksum import Bytes, fold, words
from fajita.reference.parse import Headers

_UDP_HEADER_BYTES = 8


def are_checksums_valid(frame: Bytes, headers: Headers) -> bool:
    """Whether none of the packet's checksums is known to be wrong. frame: up to where the packet may go at most."""
    ip = headers.ip
    if Layer.IPV4 in headers.layers and not _is_right(frame[ip : ip + 4 * (frame[ip] & 0xF)]):
        return False
    segment = _whole_segment(frame, headers)
    if segment is None:
        return True
    if Layer.UDP in headers.layers:
        length, checksum = struct.unpack_from(">HH", segment, 4)
        if length == 0 or checksum == 0:
            return True
        if not _UDP_HEADER_BYTES <= length <= len(segment):
            return False
        segment = segment[:length]
    return _is_right(_pseudo_header(frame, headers, len(segment)) + bytes(segment))


def _whole_segment(frame: Bytes, headers: Headers) -> Bytes | None:
    """The transport header and what follows; None where it is not wholly there, or none of those with a checksum."""
    if Layer.FRAGMENT in headers.layers or not headers.layers & (Layer.TCP | Layer.UDP | Layer.ICMP):
        return None
    is_ipv4 = Layer.IPV4 in headers.layers
    (stated,) = struct.unpack_from(">H", frame, headers.ip + (2 if is_ipv4 else 4))
    end = headers.ip + stated + (0 if is_ipv4 else 40)
    return None if stated == 0 or end > len(frame) else frame[headers.transport : end]


def _pseudo_header(frame: Bytes, headers: Headers, length: int) -> bytes:
    """RFC 9293, 3.1, RFC 768, and of IPv6 RFC 8200, 8.1; ICMP has none (RFC 792)."""
    ip = headers.ip
    if Layer.IPV6 in headers.layers:
        return bytes(frame[ip + 8 : ip + 40]) + struct.pack(">II", length, headers.protocol)
    if headers.protocol == ICMP_PROTOCOL:
        return b""
    return bytes(frame[ip + 12 : ip + 20]) + struct.pack(">HH", headers.protocol, length)


def _is_right(data: Bytes) -> bool:
    return fold(sum(words(data))) == 0xFFFF
