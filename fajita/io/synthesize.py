"""The frame of a flow, compiled: a template of its protocol with addresses, ports and checksums filled in."""

from numba import njit

from fajita.kernel.cache import cache_folder
from fajita.kernel.memory import copy, load_u32, store_be16, store_be32

#: Byte offsets in a frame of Ethernet, IPv4 without options, and TCP or UDP.
IP_CHECKSUM, IP_SOURCE, IP_DESTINATION = 24, 26, 30
SOURCE_PORT, DESTINATION_PORT = 34, 36
#: By index of the template: TCP, UDP.
TCP_TEMPLATE, UDP_TEMPLATE = 0, 1
TRANSPORT_CHECKSUM = (50, 40)

#: A client is an address of 10.0.0.0/8 with 16 flows; a server one of 4,096 addresses from 198.18.0.0 (RFC 2544).
CLIENT_NETWORK, CLIENT_BITS, FLOWS_OF_A_CLIENT_BITS = 10 << 24, 24, 4
SERVER_NETWORK, SERVER_BITS = 198 << 24 | 18 << 16, 12
SERVICE_PORTS = (443, 80, 8443, 8080)
#: Source ports are ephemeral (RFC 6335): 32768 to 65535; those of one client are this far apart, so that they differ.
EPHEMERAL_PORTS, PORT_STEP = 1 << 15, 2039

_CLIENT_MASK = (1 << CLIENT_BITS) - 1
_CLIENT_FLOWS_MASK = (1 << FLOWS_OF_A_CLIENT_BITS) - 1


cache_folder()  # tells numba where to keep what is compiled below


@njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)
def write_frames(flows, count, frames, slot, templates, ip_sums, transport_sums):
    """Write the frame of each of `count` flows (uint32 at address `flows`) into a slot, from address `frames` on.

    flows, count, frames, slot: int64. templates: uint8 (2, slot), a TCP and a UDP frame whose addresses, ports and
    checksums are 0. ip_sums, transport_sums: int64 (2,), the sums of 16-bit words of their IP header and of their
    segment with its pseudo-header (RFC 1071). A flow is below 2**28; different flows get different 5-tuples, as the
    client and its port are a bijection of the flow.
    """
    for index in range(count):
        flow = load_u32(flows + index * 4)
        client = spread_client(flow >> FLOWS_OF_A_CLIENT_BITS)
        draw = spread_flow(flow)
        source = CLIENT_NETWORK | client
        source_port = EPHEMERAL_PORTS | ((client + (flow & _CLIENT_FLOWS_MASK) * PORT_STEP) & (EPHEMERAL_PORTS - 1))
        destination = SERVER_NETWORK | (draw & ((1 << SERVER_BITS) - 1))
        destination_port = SERVICE_PORTS[(draw >> SERVER_BITS) & 3]
        kind = UDP_TEMPLATE if (draw >> (SERVER_BITS + 2)) & 3 == 0 else TCP_TEMPLATE

        frame = frames + index * slot
        copy(frame, templates.ctypes.data + kind * slot, slot)
        store_be32(frame + IP_SOURCE, source)
        store_be32(frame + IP_DESTINATION, destination)
        store_be16(frame + SOURCE_PORT, source_port)
        store_be16(frame + DESTINATION_PORT, destination_port)
        addresses = (source >> 16) + (source & 0xFFFF) + (destination >> 16) + (destination & 0xFFFF)
        store_be16(frame + IP_CHECKSUM, checksum(ip_sums[kind] + addresses))
        transport = checksum(transport_sums[kind] + addresses + source_port + destination_port)
        if kind == UDP_TEMPLATE and transport == 0:
            transport = 0xFFFF  # 0 would say that there is no checksum (RFC 768)
        store_be16(frame + TRANSPORT_CHECKSUM[kind], transport)


@njit
def spread_client(client):
    """A bijection of 24-bit numbers, so that neighbouring flows' clients are spread over the network."""
    client = (client * 0x9E3779) & _CLIENT_MASK
    client ^= client >> (CLIENT_BITS // 2)
    return (client * 0x85EBCB) & _CLIENT_MASK


@njit
def spread_flow(flow):
    """16 well mixed bits of a flow's number, from which its server, service and protocol are taken."""
    flow = (flow * 0x9E3779B1) & 0xFFFFFFFF
    flow ^= flow >> 15
    return ((flow * 0x85EBCA6B) & 0xFFFFFFFF) >> 16


@njit
def checksum(total):
    """The Internet checksum (RFC 1071) of a sum of less than 2**32 of 16-bit words."""
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
