"""The compiled parser finds the packet inside tunnels that the reference's finds, on every frame."""

import pytest
from hypothesis import given, settings
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from fajita.io.frames import ETHERNET, LINK_CODES
from fajita.kernel.entry import compiled
from fajita.kernel.parse import IP_SHIFT, PROTOCOL_SHIFT, REASON_SHIFT, TRANSPORT_SHIFT, TUNNEL_SHIFT
from fajita.kernel.tunnels import TUNNEL_MASK, parse_inner
from fajita.packet import IPV6_PROTOCOL, IPV6_TYPE, MAXIMUM_INNER_OFFSET, Layer
from fajita.reference.integer import wrap
from fajita.reference.parse import parse as parse_outer
from fajita.reference.tunnels import parse_inner as parse_by_reference
from tests.kernel.callees import Callees
from tests.kernel.test_parse import in_memory
from tests.nfs.scapy_tunnels import TUNNELS
from tests.traffic import IPV6_ADDRESSES, extension, frames, ipv6_packet, with_link

CALLEES = Callees({"parse_inner": parse_inner})
ENTER = CALLEES.enter

INSIDE = {
    "ipv4 udp": IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / b"abc",
    "ipv6 tcp": IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=1, dport=2) / b"abc",
}


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


def expected_word(frame: bytes, link: int) -> int:
    headers = parse_by_reference(frame, link)
    is_inside = headers.ip != parse_outer(frame, link).ip
    return (
        int(headers.layers)
        | (link if is_inside else 0) << TUNNEL_SHIFT
        | headers.ip << IP_SHIFT
        | headers.transport << TRANSPORT_SHIFT
        | headers.reason << REASON_SHIFT
        | headers.protocol << PROTOCOL_SHIFT
    )


def assert_same(call, frame: bytes, link: int = ETHERNET) -> None:
    found = call("parse_inner", in_memory(frame).ctypes.data, len(frame), link)
    assert found == wrap(expected_word(frame, link)), (frame.hex(), link)


@settings(max_examples=500)
@given(frame_and_link=frames)
def test_headers_are_those_of_the_reference(call, frame_and_link):
    assert_same(call, *frame_and_link)


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_every_length_of_a_frame(call, tunnel, inside):
    frame = bytes(TUNNELS[tunnel](INSIDE[inside]))
    assert parse_by_reference(frame, ETHERNET).ip > parse_outer(frame, ETHERNET).ip
    for size in range(len(frame) + 1):
        assert_same(call, frame[:size])


@pytest.mark.parametrize("tunnel", TUNNELS)
def test_every_byte_altered(call, tunnel):
    frame = bytes(TUNNELS[tunnel](INSIDE["ipv4 udp"]))
    for at in range(12, len(frame)):
        for value in {0, 1, 4, 5, 17, 41, 47, 0x30, 0x34, 0x40, 0x45, 0x60, 0x65, 0x80, 0x85, 0xFF}:
            assert_same(call, frame[:at] + bytes((value,)) + frame[at + 1 :])


@pytest.mark.parametrize(("units", "is_followed"), [(255, False), (244, False), (243, True)])
def test_offsets_stay_within_their_bits(call, units, is_followed):
    """Behind two IPv6 headers with all the extensions that may be, a packet is too far away; units: of the last one."""
    far = ipv6_packet(*IPV6_ADDRESSES[:2], 59, b"", extensions=(60,) * 8, units=255)
    last = extension(60, IPV6_PROTOCOL, units=units)
    second = ipv6_packet(*IPV6_ADDRESSES[:2], 60, last + far, extensions=(60,) * 7, units=255)
    first = ipv6_packet(*IPV6_ADDRESSES[:2], IPV6_PROTOCOL, second, extensions=(60,) * 8, units=255, payload_length=0)
    frame = with_link(ETHERNET, IPV6_TYPE, first)
    assert_same(call, frame)
    offset = len(frame) - len(far)
    assert is_followed == (offset <= MAXIMUM_INNER_OFFSET)
    assert parse_by_reference(frame, ETHERNET).ip == (offset if is_followed else len(frame) - len(second))


def test_a_link_code_fits_its_bits_and_no_layer_has_them():
    assert max(LINK_CODES.values()) << TUNNEL_SHIFT & ~TUNNEL_MASK == 0
    assert all(not layer & TUNNEL_MASK for layer in Layer)
    assert TUNNEL_MASK < 1 << IP_SHIFT
