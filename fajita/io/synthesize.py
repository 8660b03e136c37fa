"""The frame of a flow, compiled: a template of its protocol with addresses, ports and checksums filled in."""

from fajita.kernel.entry import compiled, entry
from fajita.kernel.function import kernel_function
from fajita.kernel.memory import copy, load_i64, load_u32, store_be16, store_be32

#: Byte offsets in a frame of Ethernet, IPv4 without options, and TCP or UDP.
IP_CHECKSUM, IP_SOURCE, IP_DESTINATION = 24, 26, 30
SOURCE_PORT, DESTINATION_PORT = 34, 36
TCP_CHECKSUM, UDP_CHECKSUM = 50, 40

#: A client is an address of 10.0.0.0/8 with 16 flows; a server one of 4,096 addresses from 198.18.0.0 (RFC 2544).
CLIENT_NETWORK, CLIENT_BITS, CLIENT_HALF_BITS, FLOWS_OF_A_CLIENT_BITS = 10 << 24, 24, 12, 4
SERVER_NETWORK, SERVER_BITS = 198 << 24 | 18 << 16, 12
HTTPS, HTTP, OTHER_HTTPS, OTHER_HTTP = 443, 80, 8443, 8080
#: Source ports are ephemeral (RFC 6335): 32768 to 65535; those of one client are this far apart, so that they differ.
EPHEMERAL_PORTS, PORT_STEP = 1 << 15, 2039

_CLIENT_MASK = (1 << CLIENT_BITS) - 1
_CLIENT_FLOWS_MASK = (1 << FLOWS_OF_A_CLIENT_BITS) - 1


@kernel_function
def write_slots(flows, count, frames, slot, templates, ip_sums, transport_sums, udp_of_four):
    """Write the frame of each of `count` flows (uint32 at address `flows`) into a slot, from address `frames` on.

    templates: where a TCP and a UDP frame of `slot` bytes lie, with addresses, ports and checksums 0. ip_sums,
    transport_sums: where two int64 lie, the sums of 16-bit words of their IP header and of their segment with its
    pseudo-header (RFC 1071). udp_of_four: of four flows, so many are UDP. A flow is below 2**28; different flows get
    different 5-tuples, as the client and its port are a bijection of the flow.
    """
    for index in range(count):
        flow = load_u32(flows + index * 4)
        client = spread_client(flow >> FLOWS_OF_A_CLIENT_BITS)
        draw = spread_flow(flow)
        source = CLIENT_NETWORK | client
        source_port = EPHEMERAL_PORTS | ((client + (flow & _CLIENT_FLOWS_MASK) * PORT_STEP) & (EPHEMERAL_PORTS - 1))
        destination = SERVER_NETWORK | (draw & ((1 << SERVER_BITS) - 1))
        destination_port = service_port((draw >> SERVER_BITS) & 3)
        is_udp = (draw >> (SERVER_BITS + 2)) & 3 < udp_of_four

        frame = frames + index * slot
        copy(frame, templates + is_udp * slot, slot)
        store_be32(frame + IP_SOURCE, source)
        store_be32(frame + IP_DESTINATION, destination)
        store_be16(frame + SOURCE_PORT, source_port)
        store_be16(frame + DESTINATION_PORT, destination_port)
        addresses = (source >> 16) + (source & 0xFFFF) + (destination >> 16) + (destination & 0xFFFF)
        store_be16(frame + IP_CHECKSUM, checksum(load_i64(ip_sums + 8 * is_udp) + addresses))
        transport = checksum(load_i64(transport_sums + 8 * is_udp) + addresses + source_port + destination_port)
        if is_udp and transport == 0:
            transport = 0xFFFF  # 0 would say that there is no checksum (RFC 768)
        store_be16(frame + (UDP_CHECKSUM if is_udp else TCP_CHECKSUM), transport)


@kernel_function
def spread_client(client):
    """A bijection of 24-bit numbers, so that neighbouring flows' clients are spread over the network."""
    client = (client * 0x9E3779) & _CLIENT_MASK
    client ^= client >> CLIENT_HALF_BITS
    return (client * 0x85EBCB) & _CLIENT_MASK


@kernel_function
def spread_flow(flow):
    """16 well mixed bits of a flow's number, from which its server, service and protocol are taken."""
    flow = (flow * 0x9E3779B1) & 0xFFFFFFFF
    flow ^= flow >> 15
    return ((flow * 0x85EBCA6B) & 0xFFFFFFFF) >> 16


@kernel_function
def checksum(total):
    """The Internet checksum (RFC 1071) of a sum of less than 2**32 of 16-bit words."""
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


@kernel_function
def service_port(service):
    """The port of one of the four services."""
    if service < 2:
        return HTTPS if service == 0 else HTTP
    return OTHER_HTTPS if service == 2 else OTHER_HTTP


_enter = entry(write_slots)


@compiled(_enter)
def write_frames(arguments):
    """Call write_slots."""
    return _enter(arguments)
