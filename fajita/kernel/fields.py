"""Reading and writing header fields in the frame, with the checksums that cover them repaired."""

from collections.abc import Sequence
from dataclasses import replace

from fajita.kernel.arithmetic import maximum, minimum
from fajita.kernel.checksum import fold, halves, repair, repair_udp
from fajita.kernel.function import KernelFunction, kernel_function
from fajita.kernel.headers_word import offset_of_ip, offset_of_transport, protocol_of
from fajita.kernel.memory import (
    load_be16,
    load_be32,
    load_be64,
    load_u8,
    load_u16,
    load_u32,
    load_u64,
    store_8,
    store_be16,
    store_be32,
    store_be64,
)
from fajita.kernel.operation import Callee
from fajita.kernel.parse import ip_end
from fajita.packet import FIELDS, Field, Layer, places

_TCP, _UDP, _ICMP = int(Layer.TCP), int(Layer.UDP), int(Layer.ICMP)
_ICMPV6 = int(Layer.ICMP | Layer.IPV6)
_IPV4, _IPV6 = int(Layer.IPV4), int(Layer.IPV6)


@kernel_function
def _load_be48(address):
    return (load_be16(address) << 32) | load_be32(address + 2)


@kernel_function
def _store_be48(address, value):
    store_be16(address, value >> 32)
    store_be32(address + 2, value)


_LOADS: dict[int, Callee] = {8: load_u8, 16: load_be16, 32: load_be32, 48: _load_be48, 64: load_be64}
_STORES: dict[int, Callee] = {8: store_8, 16: store_be16, 32: store_be32, 48: _store_be48, 64: store_be64}


@kernel_function
def start_of_frame(frame, headers):
    """Where the link header begins."""
    return frame


@kernel_function
def start_of_ip(frame, headers):
    """Where the IP header begins."""
    return frame + offset_of_ip(headers)


@kernel_function
def start_of_transport(frame, headers):
    """Where the transport header begins."""
    return frame + offset_of_transport(headers)


_STARTS: dict[str, KernelFunction] = {
    "frame": start_of_frame,
    "ip": start_of_ip,
    "transport": start_of_transport,
}


@kernel_function
def _repair_pseudo(transport, headers, change):
    """After a change of what the pseudo header of TCP and UDP covers."""
    if headers & _UDP:
        repair_udp(transport + 6, change)
    elif headers & _TCP:
        repair(transport + 16, change)
    elif (headers & _ICMPV6) == _ICMPV6:  # RFC 4443, 2.3; ICMP has no pseudo header
        repair(transport + 2, change)


@kernel_function
def _repair_transport(transport, headers, change):
    """After a change inside the transport header."""
    if headers & _UDP:
        repair_udp(transport + 6, change)
    elif headers & _TCP:
        repair(transport + 16, change)
    elif headers & _ICMP:
        repair(transport + 2, change)


@kernel_function
def _words(address, size):
    """The sum of the 16-bit words of a field of `size` bytes; 2**16 is 1 to a one's complement sum."""
    if size == 8:
        return load_u32(address) + load_u32(address + 4)
    return load_u32(address) if size == 4 else load_u16(address)


def _place_reader(field: Field) -> KernelFunction:
    """`read(frame, headers)` of a field whose layer is there."""
    load, start, offset = _LOADS[field.bits], _STARTS[field.start], field.offset
    shift, mask = field.shift, field.value_mask

    @kernel_function
    def read(frame, headers):
        return (load(start(frame, headers) + offset) >> shift) & mask

    return read


def _place_setter(field: Field) -> KernelFunction:
    """`set(frame, headers, value)` of a field whose layer is there: gives by what the sum of its words changes, if a
    checksum covers it."""
    load, store, start, offset = _LOADS[field.bits], _STORES[field.bits], _STARTS[field.start], field.offset
    shift, mask = field.shift, field.value_mask
    kept = ((1 << field.bits) - 1) & ~(mask << shift)
    word, size = offset & ~1, max(2, field.bits // 8)
    inverted = 0xFFFFFFFF * (size // 4) if size >= 4 else 0xFFFF
    is_covered = bool(field.repairs)

    @kernel_function
    def set_field(frame, headers, value):
        header = start(frame, headers)
        if is_covered:
            inverted_old = inverted - _words(header + word, size)
        if kept:
            store(header + offset, (load(header + offset) & kept) | ((value & mask) << shift))
        else:
            store(header + offset, value)
        if is_covered:
            total = halves(inverted_old + _words(header + word, size))
            if size == 8:
                total = halves(total)
            return fold(total)
        return 0

    return set_field


def _place_writer(field: Field) -> KernelFunction:
    """`write(frame, headers, value)` of a field whose layer is there, with the checksums that cover it."""
    set_field, start = _place_setter(field), _STARTS[field.start]
    repairs_ip, repairs_pseudo = "ip" in field.repairs, "pseudo" in field.repairs
    repairs_transport = "transport" in field.repairs

    @kernel_function
    def write(frame, headers, value):
        change = set_field(frame, headers, value)
        if repairs_ip:
            repair(start(frame, headers) + 10, change)
        if repairs_pseudo:
            _repair_pseudo(start_of_transport(frame, headers), headers, change)
        if repairs_transport:
            _repair_transport(start(frame, headers), headers, change)

    return write


def _place_patcher(field: Field) -> KernelFunction:
    """`patch(frame, headers, value)`: the same, but gives what to change the checksum of the transport header by."""
    set_field, start = _place_setter(field), _STARTS[field.start]
    repairs_ip, repairs_pseudo = "ip" in field.repairs, "pseudo" in field.repairs

    @kernel_function
    def patch(frame, headers, value):
        change = set_field(frame, headers, value)
        if repairs_ip:
            repair(start(frame, headers) + 10, change)
        if repairs_pseudo and headers & (_TCP | _UDP) == 0 and (headers & _ICMPV6) != _ICMPV6:
            return 0
        return change

    return patch


@kernel_function
def repair_segment(frame, headers, change):
    """The checksum of the transport header, after several changes, summed, of what it covers."""
    _repair_transport(start_of_transport(frame, headers), headers, fold(change))


def _poker(name: str) -> KernelFunction:
    """`poke(frame, headers, value)`: the same without the checksums, for what is put back before anybody sees it."""
    bare = [replace(field, repairs="") for field in places(name)]
    return _writer_of(bare)


def _reader(name: str) -> KernelFunction:
    """`read(frame, headers)`: the field wherever it is, 0 where it is not."""
    first, *others = places(name)
    first_layer, read_first = int(first.layer), _place_reader(first)
    other_layer, read_other = (int(others[0].layer), _place_reader(others[0])) if others else (0, read_first)

    @kernel_function
    def read(frame, headers):
        if (headers & first_layer) == first_layer:
            return read_first(frame, headers)
        if other_layer and headers & other_layer:
            return read_other(frame, headers)
        return 0

    return read


def _writer(name: str) -> KernelFunction:
    """`write(frame, headers, value)`: the field wherever it is; nothing happens where it is not."""
    return _writer_of(places(name))


def _patcher(name: str) -> KernelFunction:
    """`patch(frame, headers, value)`: the field wherever it is; nothing happens where it is not, so nothing changes."""
    first, *others = places(name)
    first_layer, patch_first = int(first.write_layer), _place_patcher(first)
    other_layer, patch_other = (int(others[0].write_layer), _place_patcher(others[0])) if others else (0, patch_first)

    @kernel_function
    def patch(frame, headers, value):
        if headers & first_layer:
            return patch_first(frame, headers, value)
        if other_layer and headers & other_layer:
            return patch_other(frame, headers, value)
        return 0

    return patch


def _writer_of(where: Sequence[Field]) -> KernelFunction:
    first, *others = where
    first_layer, write_first = int(first.write_layer), _place_writer(first)
    other_layer, write_other = (int(others[0].write_layer), _place_writer(others[0])) if others else (0, write_first)

    @kernel_function
    def write(frame, headers, value):
        if headers & first_layer:
            write_first(frame, headers, value)
        elif other_layer and headers & other_layer:
            write_other(frame, headers, value)

    return write


@kernel_function
def read_protocol(frame, headers):
    """The IP protocol, of IPv6 after the extension headers; 0 where there is none."""
    return protocol_of(headers)


@kernel_function
def ip_length(frame, headers, length):
    """Bytes of the IP packet: what its header states, or the rest of the frame of `length` bytes; 0: there is none."""
    ip_offset = offset_of_ip(headers)
    if headers & _IPV4:
        stated = load_be16(frame + ip_offset + 2)
    elif headers & _IPV6:
        stated = load_be16(frame + ip_offset + 4)
        if stated != 0:
            stated += 40
    else:
        return 0
    return stated if stated != 0 else maximum(0, length - ip_offset)


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
    ip_offset = offset_of_ip(headers)
    end = ip_offset + ip_end(frame + ip_offset, captured - ip_offset)
    return maximum(0, end - offset_of_transport(headers) - start)


@kernel_function
def read_payload(frame, headers, captured, index):
    """Byte `index` of the payload; 0 outside it."""
    if index < 0 or index >= payload_length(frame, headers, captured):
        return 0
    return load_u8(start_of_transport(frame, headers) + payload_start(frame, headers) + index)


@kernel_function
def tcp_options_length(frame, headers, captured):
    """Captured bytes between the fixed TCP header and the payload."""
    if headers & _TCP == 0:
        return 0
    ip_offset = offset_of_ip(headers)
    end = ip_offset + ip_end(frame + ip_offset, captured - ip_offset) - offset_of_transport(headers)
    return minimum(payload_start(frame, headers), end) - 20


@kernel_function
def read_tcp_options(frame, headers, captured, index):
    """Byte `index` of the TCP options; 0 outside them."""
    if index < 0 or index >= tcp_options_length(frame, headers, captured):
        return 0
    return load_u8(start_of_transport(frame, headers) + 20 + index)


@kernel_function
def frame_length(frame, headers, captured):
    """Captured bytes of the frame."""
    return captured


@kernel_function
def read_frame(frame, headers, captured, index):
    """Byte `index` of the frame; 0 outside what was captured."""
    return load_u8(frame + index) if 0 <= index < captured else 0


@kernel_function
def write_frame(value, frame, captured, index):
    """Set byte `index` of the frame; nothing happens outside what was captured."""
    if 0 <= index < captured:
        store_8(frame + index, value)


@kernel_function
def read_list(address, length, index):
    """Element `index` of a list of int64; 0 outside it."""
    return load_u64(address + 8 * index) if 0 <= index < length else 0


#: By the name they have in generated code.
READERS: dict[str, KernelFunction] = {
    f"read_{name}": _reader(name) for name, field in FIELDS.items() if field.start in _STARTS
}
WRITERS: dict[str, KernelFunction] = {
    f"write_{name}": _writer(name) for name, field in FIELDS.items() if field.write_layer
}
POKERS: dict[str, KernelFunction] = {
    f"poke_{name}": _poker(name) for name, field in FIELDS.items() if field.write_layer
}
#: Of fields that the checksum of the transport header covers.
PATCHERS: dict[str, KernelFunction] = {
    f"patch_{name}": _patcher(name)
    for name, field in FIELDS.items()
    if field.write_layer and {"pseudo", "transport"} & set(field.repairs.split())
}
READERS["read_protocol"] = read_protocol
globals().update(READERS | WRITERS | POKERS | PATCHERS)
