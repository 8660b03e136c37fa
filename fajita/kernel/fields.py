"""Reading and writing header fields in the frame, with checksums repaired as RFC 1624 (eqn. 3) says.

A one's complement sum does not depend on byte order (RFC 1071, 2B), so checksums and the words they cover are loaded as
the machine has them. A UDP checksum of 0 means none and stays; one that becomes 0 is sent as all ones (RFC 768).
"""

from typing import Any

from fajita.kernel.arithmetic import maximum
from fajita.kernel.function import KernelFunction, kernel_function
from fajita.kernel.memory import (
    load_be16,
    load_be32,
    load_u8,
    load_u16,
    load_u32,
    load_u64,
    store_8,
    store_16,
    store_be16,
    store_be32,
)
from fajita.kernel.operation import I32, I64, Callee, llvm_intrinsic, operation
from fajita.kernel.parse import IP_SHIFT, OFFSET_MASK, TRANSPORT_SHIFT, ip_end
from fajita.packet import FIELDS, Field, Layer

_TCP, _UDP, _ICMP = int(Layer.TCP), int(Layer.UDP), int(Layer.ICMP)


@kernel_function
def _load_be48(address):
    return (load_be16(address) << 32) | load_be32(address + 2)


@kernel_function
def _store_be48(address, value):
    store_be16(address, value >> 32)
    store_be32(address + 2, value)


_LOADS: dict[int, Callee] = {8: load_u8, 16: load_be16, 32: load_be32, 48: _load_be48}
_STORES: dict[int, Callee] = {8: store_8, 16: store_be16, 32: store_be32, 48: _store_be48}


@kernel_function
def start_of_frame(frame, headers):
    """Where the link header begins."""
    return frame


@kernel_function
def start_of_ip(frame, headers):
    """Where the IP header begins."""
    return frame + ((headers >> IP_SHIFT) & OFFSET_MASK)


@kernel_function
def start_of_transport(frame, headers):
    """Where the transport header begins."""
    return frame + ((headers >> TRANSPORT_SHIFT) & OFFSET_MASK)


_STARTS: dict[str, KernelFunction] = {
    "frame": start_of_frame,
    "ip": start_of_ip,
    "transport": start_of_transport,
}


@operation
def _fold(builder: Any, total: Any) -> Any:
    """A one's complement sum of less than 2**32 in 16 bits: both halves added at once to each other, with the carry."""
    low = builder.trunc(total, I32)
    turned = llvm_intrinsic(builder, "llvm.fshl.i32", I32, low, low, I32(16))
    return builder.zext(builder.lshr(builder.add(low, turned), I32(16)), I64)


@kernel_function
def _change(inverted_old, new):
    """The sum of ~old and new words, each of up to 32 bits, in 16 bits."""
    total = inverted_old + new
    return _fold((total & 0xFFFFFFFF) + (total >> 32))


@kernel_function
def _repair(address, change):
    """Add `change` to the checksum at an address."""
    store_16(address, _fold((load_u16(address) ^ 0xFFFF) + change) ^ 0xFFFF)


@kernel_function
def _repair_udp(address, change):
    if load_u16(address) != 0:
        _repair(address, change)
        if load_u16(address) == 0:
            store_16(address, 0xFFFF)


@kernel_function
def _repair_pseudo(transport, headers, change):
    """After a change of what the pseudo header of TCP and UDP covers."""
    if headers & _UDP:
        _repair_udp(transport + 6, change)
    elif headers & _TCP:
        _repair(transport + 16, change)


@kernel_function
def _repair_transport(transport, headers, change):
    """After a change inside the transport header."""
    _repair_pseudo(transport, headers, change)
    if headers & _ICMP:
        _repair(transport + 2, change)


@kernel_function
def _word(address, size):
    """The 16-bit word, or the two as one of 32 bits (2**16 is 1 to a one's complement sum), of a field of `size`."""
    return load_u32(address) if size == 4 else load_u16(address)


def _reader(field: Field) -> KernelFunction:
    load, start, offset = _LOADS[field.bits], _STARTS[field.start], field.offset
    layer, shift, mask = int(field.layer), field.shift, field.value_mask

    @kernel_function
    def read(frame, headers):
        if (headers & layer) != layer:
            return 0
        return (load(start(frame, headers) + offset) >> shift) & mask

    return read


def _writer(field: Field) -> KernelFunction:
    load, store, start, offset = _LOADS[field.bits], _STORES[field.bits], _STARTS[field.start], field.offset
    layer, shift, mask = int(field.write_layer), field.shift, field.value_mask
    kept = ((1 << field.bits) - 1) & ~(mask << shift)
    word, size = offset & ~1, max(2, field.bits // 8)
    inverted = (1 << 8 * size) - 1
    repairs_ip, repairs_pseudo = "ip" in field.repairs, "pseudo" in field.repairs
    repairs_transport = "transport" in field.repairs

    @kernel_function
    def write(frame, headers, value):
        if (headers & layer) == 0:
            return
        header = start(frame, headers)
        inverted_old = inverted - _word(header + word, size) if size < 6 else 0
        if kept:
            store(header + offset, (load(header + offset) & kept) | ((value & mask) << shift))
        else:
            store(header + offset, value)
        if size < 6:
            change = _change(inverted_old, _word(header + word, size))
        if repairs_ip:
            _repair(header + 10, change)
        if repairs_pseudo:
            _repair_pseudo(start_of_transport(frame, headers), headers, change)
        if repairs_transport:
            _repair_transport(header, headers, change)

    return write


@kernel_function
def payload_start(frame, headers):
    """Bytes from the transport header to the payload, or -1 where there is none to speak of."""
    if headers & _TCP:
        return maximum(20, (load_u8(start_of_transport(frame, headers) + 12) >> 4) * 4)
    return 8 if headers & (_UDP | _ICMP) else -1


@kernel_function
def payload_length(frame, headers, captured):
    """Captured bytes of payload: after the TCP, UDP or ICMP header, up to the end of the IP packet."""
    start = payload_start(frame, headers)
    if start < 0:
        return 0
    ip_offset = (headers >> IP_SHIFT) & OFFSET_MASK
    end = ip_offset + ip_end(frame + ip_offset, captured - ip_offset)
    return maximum(0, end - ((headers >> TRANSPORT_SHIFT) & OFFSET_MASK) - start)


@kernel_function
def read_payload(frame, headers, captured, index):
    """Byte `index` of the payload; 0 outside it."""
    if index < 0 or index >= payload_length(frame, headers, captured):
        return 0
    return load_u8(start_of_transport(frame, headers) + payload_start(frame, headers) + index)


@kernel_function
def read_list(address, length, index):
    """Element `index` of a list of int64; 0 outside it."""
    return load_u64(address + 8 * index) if 0 <= index < length else 0


#: By the name they have in generated code.
READERS: dict[str, KernelFunction] = {f"read_{field.name}": _reader(field) for field in FIELDS.values()}
WRITERS: dict[str, KernelFunction] = {
    f"write_{field.name}": _writer(field) for field in FIELDS.values() if field.write_layer
}
globals().update(READERS | WRITERS)
