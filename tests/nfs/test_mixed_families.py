"""Packets of all kinds in any order: the engines agree wherever in a burst one family follows the other."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from fajita import NF, Chain, FrameBlock
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.verify import verify_blocks
from tests.nfs.scapy_frames import ethernet

FOUR, SIX = IP(src="10.0.0.1", dst="10.0.0.2"), IPv6(src="2001:db8::1", dst="2001:db8::2")
PORTS, OTHERS = UDP(sport=1, dport=53), UDP(sport=2, dport=53)
FRAGMENTS = [
    *fragment(FOUR / PORTS / bytes(64), fragsize=32),
    *fragment6(SIX / IPv6ExtHdrFragment(id=9) / PORTS / bytes(1500), 1280),
]
KINDS = [
    bytes(packet if isinstance(packet, Ether) else ethernet() / packet)
    for packet in (
        FOUR / PORTS / bytes(32),
        FOUR / TCP(sport=3, dport=80) / bytes(32),
        SIX / PORTS / bytes(32),
        SIX / OTHERS / bytes(32),
        SIX / TCP(sport=3, dport=80) / bytes(32),
        SIX / IPv6ExtHdrDestOpt() / PORTS / bytes(32),
        ethernet() / Dot1Q(vlan=7) / SIX / PORTS / bytes(32),
        ethernet() / Dot1Q(vlan=7) / FOUR / PORTS / bytes(32),
        ARP(),
        *FRAGMENTS,
    )
]
#: Runs of one kind, so that some are longer than a burst and end anywhere in one.
RUNS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 40)), min_size=1, max_size=12)
CHAINS: dict[str, list[NF]] = {
    "one table": [
        FlowCounter(timeout="1ms"),
        LoadBalancer(servers=["10.9.9.9"]),
        RateLimiter(rate="1Gbps", burst="2kB"),
    ],
    "ipv6 in no load balancer": [LoadBalancer(servers=["10.9.9.9"])],
    "linked tables": [FlowCounter(), SourceCounter()],
    "another lookup": [LoadBalancer(servers=["10.9.9.9"]), FlowCounter(key="connection", name="after")],
}


@pytest.mark.parametrize("name", CHAINS)
@settings(max_examples=20, deadline=None)
@given(runs=RUNS)
def test_engines_agree_on_runs_of_every_kind(name: str, runs: list[tuple[bytes, int]]) -> None:
    frames = [frame for frame, times in runs for _ in range(times)]
    blocks = [FrameBlock.from_frames(part, range(len(part))) for part in (frames, frames[::-1])]
    assert verify_blocks(Chain(CHAINS[name]).plan, blocks).difference is None
