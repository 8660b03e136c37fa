"""Reading and writing header fields in the frame, with checksums repaired as RFC 1624 (eqn. 3) says.

A one's complement sum does not depend on byte order (RFC 1071, 2B), so checksums and the words they cover are loaded as
the machine has them. A UDP checksum of 0 means none and stays; one that becomes 0 is sent as all ones (RFC 768).
"""

from collections.abc import Callable
from typing import Any

from numba import njit

from fajita.kernel.memory import (
    load_be16,
    load_be32,
    load_u8,
    load_u16,
    load_u64,
    store_8,
    store_16,
    store_be16,
    store_be32,
)
from fajita.kernel.parse import IP_SHIFT, OFFSET_MASK, TRANSPORT_SHIFT, ip_end
from fajita.packet import FIELDS, Field, Layer

_TCP, _UDP, _ICMP = int(Layer.TCP), int(Layer.UDP), int(Layer.ICMP)


@njit
def _load_be48(address):
    return (load_be16(address) << 32) | load_be32(address + 2)


@njit
def _store_be48(address, value):
    store_be16(address, value >> 32)
    store_be32(address + 2, value)


_LOADS: dict[int, Callable[..., Any]] = {8: load_u8, 16: load_be16, 32: load_be32, 48: _load_be48}
_STORES: dict[int, Callable[..., Any]] = {8: store_8, 16: store_be16, 32: store_be32, 48: _store_be48}


@njit
def start_of_frame(frame, headers):
    """Where the link header begins."""
    return frame


@njit
def start_of_ip(frame, headers):
    """Where the IP header begins."""
    return frame + ((headers >> IP_SHIFT) & OFFSET_MASK)


@njit
def start_of_transport(frame, headers):
    """Where the transport header begins."""
    return frame + ((headers >> TRANSPORT_SHIFT) & OFFSET_MASK)


_STARTS: dict[str, Callable[..., Any]] = {
    "frame": start_of_frame,
    "ip": start_of_ip,
    "transport": start_of_transport,
}


@njit
def _repair(address, change):
    """Add `change` (the sum of ~old and new words) to the checksum at an address."""
    total = (load_u16(address) ^ 0xFFFF) + change
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    store_16(address, total ^ 0xFFFF)


@njit
def _repair_udp(address, change):
    if load_u16(address) != 0:
        _repair(address, change)
        if load_u16(address) == 0:
            store_16(address, 0xFFFF)


@njit
def _repair_pseudo(transport, headers, change):
    """After a change of what the pseudo header of TCP and UDP covers."""
    if headers & _UDP:
        _repair_udp(transport + 6, change)
    elif headers & _TCP:
        _repair(transport + 16, change)


@njit
def _repair_transport(transport, headers, change):
    """After a change inside the transport header."""
    _repair_pseudo(transport, headers, change)
    if headers & _ICMP:
        _repair(transport + 2, change)


@njit
def _words(address, size):
    """The sum of the 16-bit words at an even offset that hold `size` bytes."""
    return load_u16(address) + (load_u16(address + 2) if size == 4 else 0)


def _reader(field: Field) -> Callable[..., Any]:
    load, start, offset = _LOADS[field.bits], _STARTS[field.start], field.offset
    layer, shift, mask = int(field.layer), field.shift, field.value_mask

    @njit
    def read(frame, headers):
        if (headers & layer) != layer:
            return 0
        return (load(start(frame, headers) + offset) >> shift) & mask

    return read


def _writer(field: Field) -> Callable[..., Any]:
    load, store, start, offset = _LOADS[field.bits], _STORES[field.bits], _STARTS[field.start], field.offset
    layer, shift, mask = int(field.write_layer), field.shift, field.value_mask
    kept = ((1 << field.bits) - 1) & ~(mask << shift)
    word, size = offset & ~1, max(2, field.bits // 8)
    inverted = 0xFFFF * (size // 2)
    repairs_ip, repairs_pseudo = "ip" in field.repairs, "pseudo" in field.repairs
    repairs_transport = "transport" in field.repairs

    @njit
    def write(frame, headers, value):
        if (headers & layer) == 0:
            return
        header = start(frame, headers)
        change = inverted - _words(header + word, size) if size < 6 else 0
        if kept:
            store(header + offset, (load(header + offset) & kept) | ((value & mask) << shift))
        else:
            store(header + offset, value)
        if size < 6:
            change += _words(header + word, size)
        if repairs_ip:
            _repair(header + 10, change)
        if repairs_pseudo:
            _repair_pseudo(start_of_transport(frame, headers), headers, change)
        if repairs_transport:
            _repair_transport(header, headers, change)

    return write


@njit
def payload_start(frame, headers):
    """Bytes from the transport header to the payload, or -1 where there is none to speak of."""
    if headers & _TCP:
        return max(20, (load_u8(start_of_transport(frame, headers) + 12) >> 4) * 4)
    return 8 if headers & (_UDP | _ICMP) else -1


@njit
def payload_length(frame, headers, captured):
    """Captured bytes of payload: after the TCP, UDP or ICMP header, up to the end of the IP packet."""
    start = payload_start(frame, headers)
    if start < 0:
        return 0
    ip_offset = (headers >> IP_SHIFT) & OFFSET_MASK
    end = ip_offset + ip_end(frame + ip_offset, captured - ip_offset)
    return max(0, end - ((headers >> TRANSPORT_SHIFT) & OFFSET_MASK) - start)


@njit
def read_payload(frame, headers, captured, index):
    """Byte `index` of the payload; 0 outside it."""
    if index < 0 or index >= payload_length(frame, headers, captured):
        return 0
    return load_u8(start_of_transport(frame, headers) + payload_start(frame, headers) + index)


@njit
def read_list(address, length, index):
    """Element `index` of a list of int64; 0 outside it."""
    return load_u64(address + 8 * index) if 0 <= index < length else 0


#: By the name they have in generated code.
READERS: dict[str, Callable[..., Any]] = {f"read_{field.name}": _reader(field) for field in FIELDS.values()}
WRITERS: dict[str, Callable[..., Any]] = {
    f"write_{field.name}": _writer(field) for field in FIELDS.values() if field.write_layer
}
globals().update(READERS | WRITERS)
