"""Synthetic frames: valid to an independent parser, one 5-tuple per flow, the same bytes every time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, in4_chksum
from scapy.layers.l2 import Ether
from scapy.utils import checksum

from fajita.errors import InputError
from fajita.io.flow_order import MAXIMUM_FLOWS, FlowOrder
from fajita.io.frames import ETHERNET
from fajita.io.synthetic import MAXIMUM_SIZE, MINIMUM_SIZE, START_NS, Synthesizer, make_frames, synthetic_block

FLOW = st.integers(0, MAXIMUM_FLOWS - 1)


def frame_of(flow, size=MINIMUM_SIZE):
    return make_frames(np.array([flow], np.uint32), size)[0, :size].tobytes()


def five_tuples(flows):
    """Protocol, addresses and ports, 13 bytes in network byte order a flow."""
    frames = make_frames(np.asarray(flows, np.uint32))
    return np.hstack([frames[:, 23:24], frames[:, 26:38]])


def assert_valid(frame, size):
    """Take the frame apart with scapy; every length and checksum must be right."""
    parsed = Ether(frame)
    ip = parsed[IP]
    assert len(frame) == size
    assert ip.len == size - 14
    assert checksum(frame[14:34]) == 0
    segment = frame[34:]
    assert in4_chksum(ip.proto, ip, segment) == 0
    if ip.proto == 17:
        assert parsed[UDP].len == size - 34
        assert parsed[UDP].chksum != 0
        payload = bytes(parsed[UDP].payload)
    else:
        assert parsed[TCP].flags == "A"
        assert parsed[TCP].dataofs == 5
        payload = bytes(parsed[TCP].payload)
    assert payload == bytes(index & 0xFF for index in range(len(payload)))


@settings(max_examples=200, deadline=None)
@given(flow=FLOW, size=st.integers(MINIMUM_SIZE, MAXIMUM_SIZE))
def test_frame_is_valid_and_always_the_same(flow, size):
    frame = frame_of(flow, size)
    assert_valid(frame, size)
    assert frame == frame_of(flow, size)


def test_smallest_and_largest_frames_are_valid():
    for size in (MINIMUM_SIZE, MINIMUM_SIZE + 1, 63, 64, 65, MAXIMUM_SIZE):
        for flow in range(40):
            assert_valid(frame_of(flow, size), size)


def test_checksums_of_many_flows_are_right():
    """Every sum of 16-bit words with its checksum is 0xFFFF, also where the sum itself is 0 or 0xFFFF (RFC 1071)."""
    frames = make_frames(np.arange(300_000, dtype=np.uint32))[:, :60]
    words = frames[:, 14:].copy().view(">u2").astype(np.int64)
    protocol = frames[:, 23].astype(np.int64)
    ip = words[:, :10].sum(axis=1)
    transport = words[:, 6:].sum(axis=1) + protocol + 26
    for total in (ip, transport):
        assert (total % 0xFFFF == 0).all()
    udp = protocol == 17
    assert (words[udp, 13] != 0).all()
    assert 0.2 < udp.mean() < 0.3
    assert (protocol[~udp] == 6).all()


def test_flows_have_distinct_five_tuples():
    tuples = five_tuples(np.arange(1 << 20))
    assert len(np.unique(np.ascontiguousarray(tuples).view("V13"))) == 1 << 20


@settings(deadline=None)
@given(first=FLOW, second=FLOW)
def test_two_flows_differ_exactly_if_their_numbers_do(first, second):
    one, other = five_tuples([first, second])
    assert np.array_equal(one, other) == (first == second)


@settings(deadline=None)
@given(client=st.integers(0, (MAXIMUM_FLOWS >> 4) - 1))
def test_a_client_has_sixteen_flows(client):
    tuples = five_tuples(np.arange(client * 16, client * 16 + 16))
    sources, ports = tuples[:, 1:5], tuples[:, 9:11].copy().view(">u2")
    assert len(np.unique(sources, axis=0)) == 1
    assert sources[0, 0] == 10
    assert len(np.unique(ports)) == 16
    assert ports.min() >= 32768


def test_a_million_flows_spread_over_clients_and_servers():
    tuples = five_tuples(np.arange(1_000_000))
    sources = tuples[:, 1:5].copy().view(">u4")
    servers, flows_of_server = np.unique(tuples[:, 5:9].copy().view(">u4"), return_counts=True)
    assert len(np.unique(sources)) == 62_500
    assert len(servers) == 4096
    assert servers[0] == 0xC6120000
    assert flows_of_server.max() < 2 * flows_of_server.mean()


def test_block_holds_the_frames_of_its_order_at_equal_distances():
    block = synthetic_block(FlowOrder("roundrobin", 3, 1), 5, size=100, gap_ns=20)
    assert len(block) == 5
    assert (block.captured == 100).all()
    assert (block.wire == 100).all()
    assert (block.link == ETHERNET).all()
    assert (np.diff(block.address.astype(np.int64)) == 128).all()
    assert block.time_ns.tolist() == [START_NS + 20 * index for index in range(5)]
    assert [bytes(block.frame(index)) for index in range(5)] == [frame_of(index % 3, 100) for index in range(5)]


def test_start_is_the_first_moment_of_2026():
    assert np.datetime64(START_NS, "ns") == np.datetime64("2026-01-01")


@pytest.mark.parametrize("size", [-1, 0, MINIMUM_SIZE - 1, MAXIMUM_SIZE + 1])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(InputError, match=f"frames of {size} bytes; 60 to 9014 bytes"):
        Synthesizer(size)


@pytest.mark.parametrize(
    ("flows", "slots"),
    [
        (np.zeros(2, np.uint32), np.zeros((1, 64), np.uint8)),
        (np.zeros(1, np.uint32), np.zeros((1, 60), np.uint8)),
        (np.zeros(1, np.uint32), np.zeros((1, 128), np.uint8)[:, ::2]),
        (np.zeros(1, np.int64), np.zeros((1, 64), np.uint8)),
        (np.zeros(4, np.uint32)[::2], np.zeros((2, 64), np.uint8)),
        (np.array([MAXIMUM_FLOWS], np.uint32), np.zeros((1, 64), np.uint8)),
    ],
)
def test_areas_that_do_not_fit_are_refused(flows, slots):
    with pytest.raises(ValueError, match="must be a"):
        Synthesizer(60).write(flows, slots)


@pytest.mark.parametrize(("traffic", "protocols"), [("udp", {17}), ("tcp", {6}), ("mixed", {6, 17})])
def test_traffic_of_one_protocol_or_both(traffic, protocols):
    frames = make_frames(np.arange(200, dtype=np.uint32), 64, traffic)
    assert set(frames[:, 23].tolist()) == protocols


def test_traffic_that_there_is_not():
    with pytest.raises(InputError, match="no traffic 'icmp'; one of mixed, udp, tcp"):
        make_frames(np.arange(1, dtype=np.uint32), 64, "icmp")
