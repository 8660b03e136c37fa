"""The compiled parser finds what the reference's does, on every frame."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings

from fajita.io.frames import ETHERNET
from fajita.kernel.bounds import allow_only
from fajita.kernel.entry import compiled
from fajita.kernel.parse import IP_SHIFT, REASON_SHIFT, TRANSPORT_SHIFT, ip_end, parse, parse_any
from fajita.packet import IPV4_TYPE, TCP_PROTOCOL, UDP_PROTOCOL, Layer
from fajita.reference.parse import parse as parse_by_reference
from tests.kernel.callees import Callees
from tests.traffic import LINKS, frames, ipv4_packet, tcp_segment, udp_datagram, with_link, with_tags

CALLEES = Callees({"parse": parse, "parse_any": parse_any, "ip_end": ip_end})
ENTER = CALLEES.enter

SRC, DST = 0x0A000001, 0xC0000201
UDP = ipv4_packet(SRC, DST, UDP_PROTOCOL, udp_datagram(SRC, DST, 53, 1024, b"abc"))
TCP = ipv4_packet(SRC, DST, TCP_PROTOCOL, tcp_segment(SRC, DST, 80, 1024, b"abc"))


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
    )


def assert_same(call, frame: bytes, link: int) -> None:
    memory = in_memory(frame)
    expected = expected_word(frame, link)
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


def test_the_fast_path_takes_the_plain_frame(call):
    """What `parse` knows at a glance is what it says of such a frame, to the bit."""
    layers = Layer.ETHERNET | Layer.IPV4 | Layer.FLOW | Layer.PORTS
    for packet, layer in ((TCP, Layer.TCP), (UDP, Layer.UDP)):
        frame = with_link(ETHERNET, IPV4_TYPE, packet)
        memory = in_memory(frame)
        word = int(layers | layer) | 14 << IP_SHIFT | 34 << TRANSPORT_SHIFT
        assert call("parse", memory.ctypes.data, len(frame), ETHERNET) == word
