"""Fields are read and written in the frame as the reference's packet view does it."""

from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fajita.io.frames import ETHERNET
from fajita.kernel.bounds import allow_only
from fajita.kernel.entry import compiled
from fajita.kernel.fields import (
    PATCHERS,
    READERS,
    WRITERS,
    ip_length,
    payload_length,
    read_list,
    read_payload,
    repair_segment,
)
from fajita.kernel.parse import parse
from fajita.packet import FIELDS, IPV4_TYPE, TCP_PROTOCOL, UDP_PROTOCOL
from fajita.reference.packet_view import PacketView
from fajita.reference.parse import parse as parse_by_reference
from tests.kernel.callees import Callees
from tests.traffic import frames, ipv4_packet, tcp_segment, udp_datagram, with_link

OTHERS = (parse, ip_length, payload_length, read_payload, read_list, repair_segment)
CALLEES = Callees(READERS | WRITERS | PATCHERS | {kernel.name: kernel for kernel in OTHERS})
ENTER = CALLEES.enter
WRITABLE = [name for name, field in FIELDS.items() if field.write_layer]

SRC, DST = 0x0A000001, 0xC0000201


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


class Frame:
    """The same frame twice: at an address, for kernels, and behind the reference's view."""

    def __init__(self, call, frame: bytes, link: int) -> None:
        self.memory = np.frombuffer(bytearray(frame or b"\0"), np.uint8)
        self.size, self.address = len(frame), self.memory.ctypes.data
        allow_only([], [(self.address, self.size)])
        self.headers = call("parse", self.address, self.size, link)
        self.copy = bytearray(frame)
        self.view = PacketView(memoryview(self.copy), parse_by_reference(self.copy, link), len(frame), 0)

    def assert_same(self) -> None:
        assert bytes(self.memory[: self.size]) == bytes(self.copy)


@settings(max_examples=200)
@given(frame_and_link=frames)
def test_every_field_of_every_frame_reads_the_same(call, frame_and_link):
    frame = Frame(call, *frame_and_link)
    for name in FIELDS:
        assert call(f"read_{name}", frame.address, frame.headers) == getattr(frame.view, name), name


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    frame_and_link=frames,
    writes=st.lists(
        st.tuples(
            st.sampled_from(WRITABLE),
            st.one_of(st.integers(0, 1 << 48), st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from((0, 0xFFFF))),
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_writes_change_the_frame_in_the_same_way(call, frame_and_link, writes):
    frame = Frame(call, *frame_and_link)
    for name, value in writes:
        call(f"write_{name}", frame.address, frame.headers, value)
        setattr(frame.view, name, value)
        frame.assert_same()


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    frame_and_link=frames,
    writes=st.lists(
        st.tuples(
            st.sampled_from([name.removeprefix("patch_") for name in PATCHERS]),
            st.one_of(st.integers(0, 1 << 48), st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from((0, 0xFFFF))),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_writes_with_one_repair_at_the_end_come_to_the_same(call, frame_and_link, writes):
    frame = Frame(call, *frame_and_link)
    change = 0
    for name, value in writes:
        change += call(f"patch_{name}", frame.address, frame.headers, value)
        setattr(frame.view, name, value)
    call("repair_segment", frame.address, frame.headers, change)
    frame.assert_same()


@pytest.mark.parametrize("name", WRITABLE)
def test_a_field_written_reads_as_the_bits_that_fit(call, name):
    frame = Frame(call, tcp_frame(DST), ETHERNET)
    for value in (0, 1, -1, 0x123456789ABC):
        call(f"write_{name}", frame.address, frame.headers, value)
        setattr(frame.view, name, value)
        frame.assert_same()
        assert call(f"read_{name}", frame.address, frame.headers) == getattr(frame.view, name)


def tcp_frame(dst: int) -> bytes:
    packet = ipv4_packet(SRC, dst, TCP_PROTOCOL, tcp_segment(SRC, dst, 80, 1024, b"abc"))
    return with_link(ETHERNET, IPV4_TYPE, packet)


def udp_frame(dst: int, *, checksum: bool = True) -> bytes:
    packet = ipv4_packet(SRC, dst, UDP_PROTOCOL, udp_datagram(SRC, dst, 53, 1024, b"abc", checksum=checksum))
    return with_link(ETHERNET, IPV4_TYPE, packet)


@pytest.mark.parametrize(
    ("make", "checksum_at"), [(tcp_frame, 50), (udp_frame, 40), (partial(udp_frame, checksum=False), 40)]
)
def test_checksums_are_right_after_any_destination(call, make, checksum_at):
    # Of the addresses 192.0.x.y one makes the sum come out as 0, which UDP sends as all ones: the one whose last two
    # bytes are the checksum that 192.0.0.0 has.
    last = int.from_bytes(make(0xC0000000)[checksum_at : checksum_at + 2], "big")
    for low in (*range(0, 1 << 16, 37), last - 1 & 0xFFFF, last, last + 1 & 0xFFFF, 0xFFFF):
        frame = Frame(call, make(DST), ETHERNET)
        call("write_dst", frame.address, frame.headers, 0xC0000000 | low)
        assert bytes(frame.memory) == make(0xC0000000 | low)


def test_a_udp_checksum_that_becomes_zero_is_sent_as_all_ones(call):
    last = int.from_bytes(udp_frame(0xC0000000)[40:42], "big")
    frame = Frame(call, udp_frame(DST), ETHERNET)
    call("write_dst", frame.address, frame.headers, 0xC0000000 | last)
    assert bytes(frame.memory[40:42]) == b"\xff\xff"


@settings(max_examples=200)
@given(frame_and_link=frames)
def test_the_payload_is_the_same(call, frame_and_link):
    frame = Frame(call, *frame_and_link)
    length = len(frame.view.payload)
    assert call("payload_length", frame.address, frame.headers, frame.size) == length
    for index in (-(1 << 63), -1, 0, 1, length - 1, length, length + 1, 1 << 40):
        found = call("read_payload", frame.address, frame.headers, frame.size, index)
        assert found == frame.view.payload[index], index


@settings(max_examples=200)
@given(frame_and_link=frames, wire=st.integers(0, (1 << 32) - 1))
def test_the_length_of_the_ip_packet_is_the_same(call, frame_and_link, wire):
    frame = Frame(call, *frame_and_link)
    view = PacketView(frame.view.made[0], frame.view._headers, wire, 0)
    assert call("ip_length", frame.address, frame.headers, wire) == view.ip_length


def test_an_index_outside_a_list_reads_zero(call):
    values = np.array([5, -6, 7], np.int64)
    allow_only([values])
    at = values.ctypes.data
    assert [call("read_list", at, 3, index) for index in (-(1 << 63), -1, 0, 1, 2, 3, 1 << 61)] == [
        0,
        0,
        5,
        -6,
        7,
        0,
        0,
    ]
    assert call("read_list", 0, 0, 0) == 0
