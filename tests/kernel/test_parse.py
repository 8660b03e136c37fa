"""The compiled parser finds what the reference's does, on every frame."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings

from fajita.io.frames import ETHERNET
from fajita.kernel.bounds import allow_only
from fajita.kernel.entry import compiled
from fajita.kernel.parse import IP_SHIFT, PROTOCOL_SHIFT, REASON_SHIFT, TRANSPORT_SHIFT, ip_end, parse, parse_any
from fajita.packet import (
    AUTHENTICATION_EXTENSION,
    EXTENSIONS,
    FRAGMENT_EXTENSION,
    IPV4_TYPE,
    IPV6_TYPE,
    MAXIMUM_EXTENSIONS,
    TCP_PROTOCOL,
    UDP_PROTOCOL,
    Layer,
)
from fajita.reference.integer import wrap
from fajita.reference.parse import parse as parse_by_reference
from tests.kernel.callees import Callees
from tests.traffic import (
    IPV6_ADDRESSES,
    LINKS,
    frames,
    ipv4_packet,
    ipv6_packet,
    tcp_segment,
    udp_datagram,
    with_link,
    with_tags,
)

CALLEES = Callees({"parse": parse, "parse_any": parse_any, "ip_end": ip_end})
ENTER = CALLEES.enter

SRC, DST = 0x0A000001, 0xC0000201
UDP = ipv4_packet(SRC, DST, UDP_PROTOCOL, udp_datagram(SRC, DST, 53, 1024, b"abc"))
TCP = ipv4_packet(SRC, DST, TCP_PROTOCOL, tcp_segment(SRC, DST, 80, 1024, b"abc"))

#: Fragment offset and flags: a first one, with and without more to come, reserved bits, and later ones.
FRAGMENT_BYTES = ((0, 0), (0, 0), (0, 1), (0, 6), (0, 8), (0xFF, 0xF8))
EXTENSION_KINDS = (*EXTENSIONS, FRAGMENT_EXTENSION, AUTHENTICATION_EXTENSION)
#: The parser reads no checksum, so that of IPv4 in these transport headers does no harm.
IPV6_PACKETS = {
    "tcp": ipv6_packet(*IPV6_ADDRESSES[:2], TCP_PROTOCOL, tcp_segment(SRC, DST, 80, 1024, b"abc")),
    "extensions": ipv6_packet(
        *IPV6_ADDRESSES[:2], UDP_PROTOCOL, udp_datagram(SRC, DST, 53, 1024, b"abc"), extensions=(0, 43, 44, 60)
    ),
    "authentication": ipv6_packet(*IPV6_ADDRESSES[:2], 58, bytes(12), extensions=(51, 60), units=2),
    "later fragment": ipv6_packet(*IPV6_ADDRESSES[:2], 132, bytes(12), extensions=(0, 44), fragment=0xFFF8),
    "no next header": ipv6_packet(*IPV6_ADDRESSES[:2], 59, b"", extensions=(135, 139, 140)),
    "as many as may be": ipv6_packet(*IPV6_ADDRESSES[:2], 17, bytes(8), extensions=(60,) * MAXIMUM_EXTENSIONS),
    "one too many": ipv6_packet(*IPV6_ADDRESSES[:2], 17, bytes(8), extensions=(60,) * (MAXIMUM_EXTENSIONS + 1)),
    "of length 0": ipv6_packet(*IPV6_ADDRESSES[:2], 17, bytes(8), extensions=(44,), payload_length=0),
    "ends within an extension": ipv6_packet(*IPV6_ADDRESSES[:2], 17, bytes(8), extensions=(0,), payload_length=7),
}


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


def in_memory(frame: bytes) -> np.ndarray:
    """The frame's bytes and none after it, which kernels built with bounds checks are then held to."""
    memory = np.frombuffer(frame or b"\0", np.uint8)
    allow_only([], [(memory.ctypes.data, len(frame))])
    return memory


def expected_word(frame: bytes, link: int) -> int:
    headers = parse_by_reference(frame, link)
    return (
        int(headers.layers)
        | headers.ip << IP_SHIFT
        | headers.transport << TRANSPORT_SHIFT
        | headers.reason << REASON_SHIFT
        | headers.protocol << PROTOCOL_SHIFT
    )


def assert_same(call, frame: bytes, link: int) -> None:
    memory = in_memory(frame)
    expected = wrap(expected_word(frame, link))
    assert call("parse", memory.ctypes.data, len(frame), link) == expected, (frame.hex(), link)
    assert call("parse_any", memory.ctypes.data, len(frame), link) == expected, (frame.hex(), link)


@settings(max_examples=300)
@given(frame_and_link=frames)
def test_headers_are_those_of_the_reference(call, frame_and_link):
    assert_same(call, *frame_and_link)


@pytest.mark.parametrize("packet", [TCP, UDP], ids=["tcp", "udp"])
@pytest.mark.parametrize("link", LINKS)
def test_every_length_of_a_frame(call, link, packet):
    frame = with_link(link, IPV4_TYPE, packet)
    for size in range(len(frame) + 1):
        assert_same(call, frame[:size], link)


@pytest.mark.parametrize("packet", [TCP, UDP], ids=["tcp", "udp"])
def test_every_byte_of_the_headers_altered(call, packet):
    frame = with_link(ETHERNET, IPV4_TYPE, packet)
    for at in range(12, 14 + 20 + 20):
        for value in (0, 1, 2, 6, 8, 17, 0x1F, 0x20, 0x3F, 0x40, 0x44, 0x45, 0x4F, 0x65, 0x80, 0x86, 0xFF):
            altered = frame[:at] + bytes((value,)) + frame[at + 1 :]
            assert_same(call, altered, ETHERNET)


@pytest.mark.parametrize("packet", IPV6_PACKETS.values(), ids=IPV6_PACKETS)
@pytest.mark.parametrize("link", LINKS)
def test_every_length_of_an_ipv6_frame(call, link, packet):
    frame = with_link(link, IPV6_TYPE, packet)
    for size in range(len(frame) + 1):
        assert_same(call, frame[:size], link)


@pytest.mark.parametrize("packet", IPV6_PACKETS.values(), ids=IPV6_PACKETS)
def test_every_byte_of_ipv6_headers_altered(call, packet):
    """Among the values are all extension headers, so that one becomes another and lengths become wrong."""
    frame = with_link(ETHERNET, IPV6_TYPE, packet)
    # Not the addresses, which say nothing about where a header ends.
    for at in (*range(12, 22), *range(54, len(frame))):
        for value in {*EXTENSION_KINDS, 1, 2, 3, 6, 7, 8, 17, 58, 0x45, 0x50, 0x60, 0x80, 0xFF}:
            assert_same(call, frame[:at] + bytes((value,)) + frame[at + 1 :], ETHERNET)


def test_random_chains_of_ipv6_extension_headers(call):
    """Each header says which comes next and how long it is, as the frame that ends somewhere in them need not be."""
    random = Random(2)
    kinds = (*EXTENSION_KINDS, *EXTENSION_KINDS, TCP_PROTOCOL, UDP_PROTOCOL, 58, 59, 132)
    for _ in range(3000):
        length = random.choice((0, 8, 24, 60, 100, 65535))
        head = bytes((0x60, 0, 0, 0)) + length.to_bytes(2, "big") + bytes((random.choice(kinds), 64)) + bytes(32)
        body = b"".join(
            bytes((random.choice(kinds), random.choice((0, 0, 0, 1, 2, 255)), *random.choice(FRAGMENT_BYTES)))
            + random.randbytes(4)
            for _ in range(12)
        )
        assert_same(call, with_link(ETHERNET, IPV6_TYPE, head + body[: random.randrange(len(body) + 1)]), ETHERNET)


def test_frames_of_random_bytes_behind_real_types(call):
    random = Random(1)
    tags = ("vlan", "qinq", "mpls", "pppoe")
    for _ in range(2000):
        link, depth = random.choice(LINKS), random.randrange(10)
        kind, packet = with_tags(IPV4_TYPE, random.randbytes(random.randrange(48)), random.choices(tags, k=depth))
        if packet and random.random() < 0.7:
            packet = packet[:-1] + b"\x45"
        assert_same(call, with_link(link, kind, packet), link)


@pytest.mark.parametrize(
    ("total", "captured", "end"), [(0, 100, 100), (60, 100, 60), (60, 60, 60), (60, 40, 40), (65535, 21, 21)]
)
def test_where_the_ip_packet_ends(call, total, captured, end):
    memory = in_memory(ipv4_packet(SRC, DST, UDP_PROTOCOL, b"", total_length=total))
    assert call("ip_end", memory.ctypes.data, captured) == end


@pytest.mark.parametrize(
    ("payload", "captured", "end"),
    [(0, 100, 100), (1, 100, 41), (60, 100, 100), (60, 101, 100), (60, 99, 99), (65535, 40, 40), (65535, 70000, 65575)],
)
def test_where_the_ipv6_packet_ends(call, payload, captured, end):
    memory = in_memory(ipv6_packet(*IPV6_ADDRESSES[:2], UDP_PROTOCOL, b"", payload_length=payload))
    assert call("ip_end", memory.ctypes.data, captured) == end


def test_the_fast_path_takes_the_plain_frame(call):
    """What `parse` knows at a glance is what it says of such a frame, to the bit."""
    layers = Layer.ETHERNET | Layer.IPV4 | Layer.IP | Layer.FLOW | Layer.PORTS
    for packet, layer, protocol in ((TCP, Layer.TCP, TCP_PROTOCOL), (UDP, Layer.UDP, UDP_PROTOCOL)):
        frame = with_link(ETHERNET, IPV4_TYPE, packet)
        memory = in_memory(frame)
        word = int(layers | layer) | 14 << IP_SHIFT | 34 << TRANSPORT_SHIFT | protocol << PROTOCOL_SHIFT
        assert call("parse", memory.ctypes.data, len(frame), ETHERNET) == word
