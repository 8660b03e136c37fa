"""Frames that are parsed eight at a time have the headers that each has by itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.io.frames import ETHERNET, RAW_IP
from fajita.kernel.bounds import allow_only
from fajita.kernel.entry import compiled
from fajita.kernel.parse import parse_plain_ipv4, parse_plain_ipv6
from fajita.kernel.plain_burst import FRAMES, parse_plain_burst
from fajita.packet import IPV4_TYPE, IPV6_TYPE, TCP_PROTOCOL, UDP_PROTOCOL
from tests.kernel.callees import Callees

CALLEES = Callees({"burst": parse_plain_burst, "ipv4": parse_plain_ipv4, "ipv6": parse_plain_ipv6})
ENTER = CALLEES.enter
PROTOCOLS = st.sampled_from((TCP_PROTOCOL, UDP_PROTOCOL, 1))


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


def near(*lengths: int) -> st.SearchStrategy[int]:
    """Lengths about which it is decided whether a frame is plain."""
    return st.sampled_from(lengths).flatmap(lambda length: st.integers(length - 1, length + 1))


@st.composite
def ipv4_frames(draw: st.DrawFn) -> bytes:
    """Frames of IPv4, most of them plain or nearly so."""
    total = draw(near(28, 40, 46))
    start = draw(st.sampled_from((0x45, 0x45, 0x45, 0x46, 0x55)))
    fragment = draw(st.sampled_from((0, 0, 0, 0x4000, 0x2000, 0x0001, 0x8000)))
    ip = bytes((start, draw(st.integers(0, 255)))) + total.to_bytes(2) + b"\0\1" + fragment.to_bytes(2)
    frame = bytes(12) + IPV4_TYPE.to_bytes(2) + ip + bytes((64, draw(PROTOCOLS))) + bytes(60)
    return frame[: draw(near(14 + total, 42, 60))]


@st.composite
def ipv6_frames(draw: st.DrawFn) -> bytes:
    """The same of IPv6."""
    payload = draw(near(8, 20, 32))
    ip = bytes((draw(st.sampled_from((0x60, 0x6F, 0x50))), 1, 2, 3)) + payload.to_bytes(2)
    frame = bytes(12) + IPV6_TYPE.to_bytes(2) + ip + bytes((draw(PROTOCOLS), 64)) + bytes(80)
    return frame[: draw(near(54 + payload, 62, 42))]


any_frames = st.one_of(
    ipv4_frames(), ipv6_frames(), st.binary(max_size=80), st.sampled_from((b"", bytes(12) + b"\x81\0" + bytes(60)))
)
bursts = st.one_of(
    *(st.lists(some, max_size=2 * FRAMES + 3) for some in (any_frames, ipv4_frames(), ipv6_frames())),
    st.lists(st.one_of(ipv4_frames(), ipv6_frames()), min_size=FRAMES, max_size=3 * FRAMES),
)


@given(burst=bursts, odd_link=st.integers(0, 40))
def test_a_burst_has_the_headers_of_each_of_its_frames(call, burst, odd_link):
    memory = [np.frombuffer(frame or b"\0", np.uint8) for frame in burst]
    address = np.array([each.ctypes.data for each in memory], np.uint64)
    captured = np.array([len(frame) for frame in burst], np.uint32)
    link = np.array([RAW_IP if number == odd_link else ETHERNET for number in range(len(burst))], np.uint8)
    found = np.full(len(burst) + 1, -1, np.int64)
    columns = [address, captured, link, found]
    of_frames = [(each.ctypes.data, len(frame)) for each, frame in zip(memory, burst, strict=True)]
    allow_only(columns, of_frames)
    call("burst", address.ctypes.data, captured.ctypes.data, link.ctypes.data, len(burst), found.ctypes.data)
    alone = []
    for place, length, kind in zip(address, captured, link, strict=True):
        headers = call("ipv4", int(place), int(length), int(kind))
        alone.append(headers or call("ipv6", int(place), int(length), int(kind)))
    assert found.tolist() == [*alone, -1]


@pytest.mark.parametrize("protocol", [TCP_PROTOCOL, UDP_PROTOCOL])
@pytest.mark.parametrize("family", [4, 6])
def test_plain_frames_are_found(call, family, protocol):
    four = IPV4_TYPE.to_bytes(2) + b"\x45\0\0\x28" + bytes(5) + bytes((protocol,)) + bytes(30)
    six = IPV6_TYPE.to_bytes(2) + b"\x60\0\0\0\0\x14" + bytes((protocol,)) + bytes(53)
    frame = np.frombuffer(bytes(12) + (four if family == 4 else six), np.uint8)
    address = np.full(FRAMES, frame.ctypes.data, np.uint64)
    captured, link = np.full(FRAMES, len(frame), np.uint32), np.full(FRAMES, ETHERNET, np.uint8)
    found = np.zeros(FRAMES, np.int64)
    allow_only([address, captured, link, found], [(frame.ctypes.data, len(frame))])
    call("burst", address.ctypes.data, captured.ctypes.data, link.ctypes.data, FRAMES, found.ctypes.data)
    assert (found >> 56 & 0xFF).tolist() == [protocol] * FRAMES
