"""What a chain about the packets inside tunnels takes instead of the functions of `fields` that have these names.

The checksums of a packet in a tunnel follow a write as those of any packet do. What is around it has checksums over
it: of these the innermost is repaired, after which the next ones have the sum that they had. The change is that of the
packet's headers, its own checksums included. It is often none, as those make up for the field.
"""

from fajita.kernel import fields, validity
from fajita.kernel.checksum import fold, halves, repair, repair_udp
from fajita.kernel.fields import start_of_ip, start_of_transport
from fajita.kernel.function import KernelFunction, kernel_function, rare_function
from fajita.kernel.memory import load_u32
from fajita.kernel.tunnels import ANYWHERE, CHECKSUM_MASK, END_SHIFT, IS_UDP, TUNNEL_MASK, enclosing
from fajita.packet import FIELDS, Layer

_IPV6, _TCP, _UDP_OR_ICMP = int(Layer.IPV6), int(Layer.TCP), int(Layer.UDP | Layer.ICMP)
_plain_payload_length, _plain_read_payload = fields.payload_length, fields.read_payload
_plain_tcp_options_length, _plain_read_tcp_options = fields.tcp_options_length, fields.read_tcp_options
_plain_checksum_valid = validity.checksum_valid

#: More than any sum of headers; 0 to a one's complement sum, which with it comes out as 0xFFFF rather than 0.
_ZERO = 0xFFFF << 40


@kernel_function
def sum_of(address, size):
    """The sum of so many bytes, a multiple of four, in words of 32 bits."""
    total = 0
    for offset in range(0, size, 4):
        total += load_u32(address + offset)
    return total


@kernel_function
def sum_of_headers(frame, headers):
    """The sum of all that a write may change: the IP header without options, the transport header without options."""
    total = sum_of(start_of_ip(frame, headers), 40 if headers & _IPV6 else 20)
    size = 20 if headers & _TCP else 8 if headers & _UDP_OR_ICMP else 0
    return total + sum_of(start_of_transport(frame, headers), size)


@rare_function
def repair_enclosing(frame, headers, before):
    """After a write in a tunnel: `before` is what `sum_of_headers` gave before it."""
    change = fold(halves(halves(_ZERO - before + sum_of_headers(frame, headers))))
    if change == 0xFFFF:  # none
        return
    around = enclosing(frame, headers, ANYWHERE)
    address = frame + (around & CHECKSUM_MASK)
    if around & IS_UDP:
        repair_udp(address, change)
    elif address != frame:
        repair(address, change)


def _writer(name: str) -> KernelFunction:
    """`write(frame, headers, value)`, with the checksums around the packet."""
    write_plain = fields.WRITERS[name]

    @rare_function
    def write_in_tunnel(frame, headers, value):
        before = sum_of_headers(frame, headers)
        write_plain(frame, headers, value)
        repair_enclosing(frame, headers, before)

    @kernel_function
    def write(frame, headers, value):
        if headers & TUNNEL_MASK:
            write_in_tunnel(frame, headers, value)
        else:
            write_plain(frame, headers, value)

    return write


@kernel_function
def captured_inside(frame, headers, captured):
    """Where the captured bytes end that may belong to a packet: in a tunnel, where what is around it does."""
    if headers & TUNNEL_MASK:
        return enclosing(frame, headers, captured) >> END_SHIFT
    return captured


@kernel_function
def payload_length(frame, headers, captured):
    """Captured bytes of payload, none of them beyond what is around the packet."""
    return _plain_payload_length(frame, headers, captured_inside(frame, headers, captured))


@kernel_function
def read_payload(frame, headers, captured, index):
    """Byte `index` of the payload; 0 outside it."""
    return _plain_read_payload(frame, headers, captured_inside(frame, headers, captured), index)


@kernel_function
def tcp_options_length(frame, headers, captured):
    """Captured bytes of TCP options, likewise."""
    return _plain_tcp_options_length(frame, headers, captured_inside(frame, headers, captured))


@kernel_function
def read_tcp_options(frame, headers, captured, index):
    """Byte `index` of them; 0 outside them."""
    return _plain_read_tcp_options(frame, headers, captured_inside(frame, headers, captured), index)


@kernel_function
def checksum_valid(frame, headers, captured):
    """Whether the packet's checksums are right, not those around it."""
    return _plain_checksum_valid(frame, headers, captured_inside(frame, headers, captured))


#: By the name they have in generated code; what lies before the IP header is not in the tunnel.
WRITERS: dict[str, KernelFunction] = {
    f"write_{name}": _writer(f"write_{name}")
    for name, field in FIELDS.items()
    if field.write_layer and field.start != "frame"
}
globals().update(WRITERS)
