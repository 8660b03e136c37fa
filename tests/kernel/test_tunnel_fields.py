"""In tunnels, fields are written and the payload is read as the reference's packet view does it."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fajita.io.frames import ETHERNET
from fajita.kernel import fields
from fajita.kernel.bounds import allow_only
from fajita.kernel.entry import compiled
from fajita.kernel.tunnel_fields import WRITERS, payload_length, read_payload
from fajita.kernel.tunnels import parse_inner
from fajita.packet import FIELDS
from fajita.reference.packet_view import PacketView
from fajita.reference.tunnels import parse_inner as parse_by_reference
from tests.kernel.callees import Callees
from tests.kernel.test_tunnels import INSIDE
from tests.nfs.scapy_tunnels import TUNNELS
from tests.traffic import frames

OTHERS = (parse_inner, payload_length, read_payload)
CALLEES = Callees(fields.READERS | fields.WRITERS | WRITERS | {kernel.name: kernel for kernel in OTHERS})
ENTER = CALLEES.enter
WRITABLE = [name for name, field in FIELDS.items() if field.write_layer]


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
        self.headers = call("parse_inner", self.address, self.size, link)
        self.copy = bytearray(frame)
        self.view = PacketView(memoryview(self.copy), parse_by_reference(self.copy, link), len(frame), 0)

    def assert_same(self) -> None:
        assert bytes(self.memory[: self.size]) == bytes(self.copy)


def test_what_lies_before_the_ip_header_has_no_writer_of_its_own():
    assert set(WRITABLE) - {name.removeprefix("write_") for name in WRITERS} == {
        "eth_dst",
        "eth_src",
        "vlan",
        "vlan_priority",
    }


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
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


@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("tunnel", TUNNELS)
def test_every_write_into_every_length_of_a_frame(call, tunnel, inside):
    whole = bytes(TUNNELS[tunnel](INSIDE[inside]))
    for size in range(40, len(whole) + 1, 3):
        frame = Frame(call, whole[:size], ETHERNET)
        for name in WRITABLE:
            call(f"write_{name}", frame.address, frame.headers, 0x123456789ABCDEF)
            setattr(frame.view, name, 0x123456789ABCDEF)
        frame.assert_same()


@settings(max_examples=400)
@given(frame_and_link=frames)
def test_fields_and_payload_are_the_same(call, frame_and_link):
    frame = Frame(call, *frame_and_link)
    for name in FIELDS:
        assert call(f"read_{name}", frame.address, frame.headers) == getattr(frame.view, name), name
    length = len(frame.view.payload)
    assert call("payload_length", frame.address, frame.headers, frame.size) == length
    for index in (-(1 << 63), -1, 0, 1, length - 1, length, length + 1, 1 << 40):
        found = call("read_payload", frame.address, frame.headers, frame.size, index)
        assert found == frame.view.payload[index], index
