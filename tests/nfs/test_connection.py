"""An NF keyed by both directions of a connection: one entry, and it sees which way a packet goes."""

from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from fajita import NF, PASS, Chain, FrameBlock, Packet, connection, u64
from fajita.run import ENGINES

ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


class BothWays(NF):
    """Packets each way."""

    key = connection

    class State:
        forward: u64
        backward: u64

    def packet(self, pkt: Packet, state: Any) -> int:
        if pkt.forward:
            state.forward += 1
        else:
            state.backward += 1
        return PASS


def segment(source: str, destination: str, source_port: int, destination_port: int, layer: Any = TCP) -> bytes:
    network = IPv6 if ":" in source else IP
    return bytes(ETHERNET / network(src=source, dst=destination) / layer(sport=source_port, dport=destination_port))


def turned(flow: tuple[str, str, int, int]) -> tuple[str, str, int, int]:
    source, destination, source_port, destination_port = flow
    return destination, source, destination_port, source_port


TO_SERVER = ("10.0.0.9", "10.0.0.1", 40000, 80)
TO_CLIENT = turned(TO_SERVER)
#: IPv6 addresses that differ in the upper half, in the lower one alone, or not at all.
IPV6_FLOWS = [
    ("2001:db8::9", "fe80::1", 40000, 80),
    ("2001:db8::ff", "2001:db8:0:0:1::", 40000, 80),
    ("fe80::", "fe80::", 40000, 80),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("first", [TO_SERVER, TO_CLIENT, *IPV6_FLOWS, *map(turned, IPV6_FLOWS)])
def test_both_directions_are_one_connection_that_begins_with_its_first_packet(first: Any, engine: str) -> None:
    second = turned(first)
    frames = [segment(*first), segment(*second), segment(*first), segment(*first)]
    table = Chain([BothWays()]).run(FrameBlock.from_frames(frames), engine=engine).table("both_ways")
    source, destination, source_port, destination_port = first
    assert table.to_pylist() == [
        {
            "src": source,
            "dst": destination,
            "src_port": source_port,
            "dst_port": destination_port,
            "protocol": 6,
            "forward": 3,
            "backward": 1,
        }
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_connection_that_was_idle_may_begin_the_other_way(engine: str) -> None:
    block = FrameBlock.from_frames([segment(*TO_SERVER), segment(*TO_CLIENT)], time_ns=[0, 10**9])
    table = Chain([BothWays(timeout="1s")]).run(block, engine=engine).table("both_ways")
    assert table.select(["src", "forward", "backward"]).to_pylist() == [
        {"src": "10.0.0.1", "forward": 1, "backward": 0}
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_host_that_talks_to_itself_is_told_apart_by_ports(engine: str) -> None:
    there, back = ("10.0.0.1", "10.0.0.1", 1, 2), ("10.0.0.1", "10.0.0.1", 2, 1)
    frames = [segment(*there, UDP), segment(*back, UDP), segment("10.0.0.1", "10.0.0.1", 5, 5, UDP)]
    table = Chain([BothWays()]).run(FrameBlock.from_frames(frames), engine=engine).table("both_ways")
    assert table.select(["src_port", "forward", "backward"]).to_pylist() == [
        {"src_port": 1, "forward": 1, "backward": 1},
        {"src_port": 5, "forward": 1, "backward": 0},
    ]
