"""Frames that no NF is about: counted each under its reason, unaltered, passed or dropped as the chain says."""

from random import Random

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1Q
from scapy.packet import Raw

from fajita.io.frames import ETHERNET, LINUX_SLL, LINUX_SLL2, RAW_IP, UNKNOWN_LINK
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.packet import MAXIMUM_TAGS, OTHER_REASONS
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import CLIENT, SERVICE, SRC_MAC, ethernet, udp_frame


def ip(transport=None, **fields) -> bytes:
    """An Ethernet frame with an IPv4 header as it is told, and 20 bytes of data after its transport header."""
    fields = {"src": CLIENT, "dst": SERVICE} | fields
    return bytes(ethernet() / IP(**fields) / (UDP(sport=1, dport=2) if transport is None else transport) / (b"x" * 20))


def tagged(depth: int) -> bytes:
    packet = ethernet()
    for _ in range(depth):
        packet /= Dot1Q(vlan=1)
    return bytes(packet / IP(src=CLIENT, dst=SERVICE) / UDP(sport=1, dport=2))


OTHER = [
    ("unknown link type", udp_frame(), UNKNOWN_LINK),
    ("unknown link type", b"", UNKNOWN_LINK),
    ("truncated", b"", ETHERNET),
    ("truncated", udp_frame()[:13], ETHERNET),
    ("truncated", udp_frame()[:14], ETHERNET),
    ("truncated", udp_frame()[:33], ETHERNET),
    ("truncated", udp_frame()[14:33], RAW_IP),
    ("truncated", bytes(15), LINUX_SLL),
    ("truncated", bytes(19), LINUX_SLL2),
    ("truncated", tagged(1)[:17], ETHERNET),
    ("truncated", ip(ihl=15, len=60), ETHERNET),
    ("arp", bytes(ethernet() / ARP(hwsrc=SRC_MAC, psrc=CLIENT, pdst=SERVICE)), ETHERNET),
    ("malformed ipv6", bytes(ethernet() / IPv6(version=5, src="2001:db8::1", dst="2001:db8::2", nh=59)), ETHERNET),
    ("truncated", bytes(IPv6(src="2001:db8::1", dst="2001:db8::2", nh=59))[:39], RAW_IP),
    ("fragment", bytes(ethernet() / IPv6() / IPv6ExtHdrFragment(offset=1) / (b"x" * 20)), ETHERNET),
    ("not ip", bytes(ethernet() / Raw(bytes(46))), ETHERNET),
    ("not ip", tagged(MAXIMUM_TAGS + 1), ETHERNET),
    ("not ip", b"\x00" + udp_frame()[15:], RAW_IP),
    ("malformed ipv4", ip(ihl=0), ETHERNET),
    ("malformed ipv4", ip(ihl=4), ETHERNET),
    ("malformed ipv4", ip(version=5), ETHERNET),
    ("malformed ipv4", ip(ihl=15), ETHERNET),
    ("malformed ipv4", ip(len=1), ETHERNET),
    ("malformed ipv4", ip(len=19), ETHERNET),
    ("malformed ipv4", ip(ihl=6, len=23), ETHERNET),
    ("fragment", ip(frag=1), ETHERNET),
    ("fragment", ip(frag=8191, flags="MF"), ETHERNET),
    ("ports not captured", udp_frame()[:34], ETHERNET),
    ("ports not captured", udp_frame()[:37], ETHERNET),
    ("ports not captured", ip(len=20), ETHERNET),
    ("ports not captured", ip(len=23), ETHERNET),
    ("ports not captured", ip(ihl=12, len=48), ETHERNET),
]

#: Odd, but with a 5-tuple.
KNOWN = {
    "no options where the header says so": ip(ihl=7),
    "total length beyond the frame": ip(len=65535),
    "total length of segmentation offload": ip(len=0),
    "total length of the ports alone": ip(len=24),
    "reserved bit": ip(flags="evil"),
    "do not fragment": ip(flags="DF"),
    "first fragment": ip(flags="MF"),
    "data offset of 0": ip(TCP(sport=1, dport=2, dataofs=0)),
    "data offset beyond the frame": ip(TCP(sport=1, dport=2, dataofs=15)),
    "ports alone captured": udp_frame()[:38],
    "time to live of 0": ip(ttl=0),
    "as many tags as may be": tagged(MAXIMUM_TAGS),
}


@both_engines
@pytest.mark.parametrize("other", ["pass", "drop"])
def test_every_frame_is_counted_under_its_reason(engine, other):
    frames = [frame for _, frame, _ in OTHER]
    reasons = [reason for reason, _, _ in OTHER]
    balancer = LoadBalancer(servers=["10.0.0.1"])
    result = run(engine, balancer, frames, links=[link for _, _, link in OTHER], other=other)
    assert result.counters.other == {reason: reasons.count(reason) for reason in set(reasons)}
    assert result.verdicts == [int(other == "pass")] * len(frames)
    assert result.frames == frames
    counters = result.counters
    assert counters.packets_in == len(frames)
    assert counters.packets_out == (len(frames) if other == "pass" else 0)
    assert counters.bytes_out == (sum(map(len, frames)) if other == "pass" else 0)
    assert counters.nfs[0].received == counters.tables[0].created == 0


@both_engines
@pytest.mark.parametrize(("reason", "frame", "link"), OTHER, ids=range(len(OTHER)))
def test_each_alone(engine, reason, frame, link):
    assert run(engine, FlowCounter(), [frame], links=link).counters.other == {reason: 1}


def test_every_reason_but_the_general_one_is_met():
    assert {reason for reason, _, _ in OTHER} == set(OTHER_REASONS[1:])


@both_engines
def test_odd_frames_with_a_flow_are_not_other(engine):
    result = run(engine, FlowCounter(), list(KNOWN.values()), other="drop")
    assert dict(zip(KNOWN, result.verdicts, strict=True)) == dict.fromkeys(KNOWN, 1)
    assert result.counters.other == {}


@both_engines
def test_noise_of_every_length_passes_unharmed(engine):
    random = Random(1)
    links = [random.randrange(8) for _ in range(61 * 8)]
    noise = [random.randbytes(size) for size in range(61) for _ in range(8)]
    ones = [b"\xff" * size for size in range(61)]
    zeros = [bytes(size) for size in range(61)]
    frames = noise + ones + zeros
    result = run(engine, FlowCounter(), frames, links=links + [ETHERNET] * 122)
    assert result.frames == frames
    assert sum(result.counters.other.values()) + result.counters.nfs[0].received == len(frames)
    assert result.verdicts == [1] * len(frames)
