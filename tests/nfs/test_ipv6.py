"""NFs on IPv6: keys with addresses as text, fields and checksums as scapy has them, IPv4 beside it."""

from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether

from fajita import NF, PASS, Chain, FrameBlock, Layer, Packet, five_tuple, u64
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.run import ENGINES

ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
HERE, THERE = "2001:db8::1", "fe80::2"
IPV4_FLOW = ("10.0.0.1", "10.0.0.2", 1, 53, 17)
every_engine = pytest.mark.parametrize("engine", ENGINES)


def ipv6(transport: Any, source: str = HERE, destination: str = THERE) -> bytes:
    return bytes(ETHERNET / IPv6(src=source, dst=destination, hlim=9) / transport / (b"x" * 21))


def ipv4(port: int = 1) -> bytes:
    return bytes(ETHERNET / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=port, dport=53) / (b"x" * 20))


@every_engine
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (
            "five_tuple",
            [("10.0.0.1", "10.0.0.2", 1, 53, 17, 1), (HERE, THERE, 1, 53, 17, 2), (THERE, HERE, 53, 1, 17, 1)],
        ),
        ("connection", [("10.0.0.1", "10.0.0.2", 1, 53, 17, 1), (HERE, THERE, 1, 53, 17, 3)]),
        ("source", [("10.0.0.1", 1), (HERE, 2), (THERE, 1)]),
        ("address_pair", [("10.0.0.1", "10.0.0.2", 1), (HERE, THERE, 2), (THERE, HERE, 1)]),
        ("source_prefix(8, 16)", [("10.0.0.0", 1), ("2001::", 2), ("fe80::", 1)]),
        ("source_prefix(24, 48)", [("10.0.0.0", 1), ("2001:db8::", 2), ("fe80::", 1)]),
        ("destination_prefix(32, 127)", [("10.0.0.2", 1), ("2001:db8::", 1), ("fe80::2", 2)]),
        ("dscp+src_high", [(0, 0x20010DB800000000, 2), (0, 0xFE80000000000000, 1)]),
        ("flow_label", [(0, 3)]),
        ("ttl", [(64, 1), (9, 3)]),
        ("destination_port", [(17, 1, 1), (17, 53, 3)]),
        ("all", [(4,)]),
    ],
)
def test_flows_of_both_families_in_one_table(key: str, expected: list[tuple[Any, ...]], engine: str) -> None:
    there = ipv6(UDP(sport=1, dport=53))
    frames = [there, ipv4(), ipv6(UDP(sport=53, dport=1), THERE, HERE), there]
    run = Chain([FlowCounter(key=key)]).run(FrameBlock.from_frames(frames), engine=engine)
    table = run.table("flow_counter").drop_columns(["bytes", "reverse_bytes", "first_ns", "last_ns"])
    rows = [tuple(row.values()) for row in table.to_pylist()]
    assert [(*row[:-2], row[-2] + row[-1]) for row in rows] == expected
    assert run.report["flows"]["created"] == len(expected)


class Rewrite(NF):
    """Changes everything that can be changed of an IPv6 header."""

    key = five_tuple
    about = Layer.IPV6

    class State:
        seen: u64

    def packet(self, pkt: Packet, state: Any) -> int:
        state.seen += 1
        pkt.src_high, pkt.src_low = pkt.src_high ^ 0x1234, pkt.src_low + 77
        pkt.dst_high, pkt.dst_low = 0x20010DB800000001, 0xFFFFFFFFFFFFFFFF
        pkt.ttl -= 1
        pkt.dscp, pkt.ecn, pkt.flow_label = 46, 1, 0x12345
        return PASS


@every_engine
@pytest.mark.parametrize("transport", [TCP(sport=1, dport=2), UDP(sport=1, dport=2), ICMPv6EchoRequest(id=7, seq=9)])
def test_rewritten_headers_are_those_that_scapy_builds(transport: Any, engine: str) -> None:
    block = FrameBlock.from_frames([ipv6(transport), ipv4()])
    run = Chain([Rewrite()]).run(block, engine=engine)
    expected = ETHERNET / IPv6(
        src="2001:db8:0:1234::4e", dst="2001:db8:0:1:ffff:ffff:ffff:ffff", hlim=8, tc=46 << 2 | 1, fl=0x12345
    )
    assert bytes(block.frame(0)) == bytes(expected / transport.copy() / (b"x" * 21))
    assert bytes(block.frame(1)) == ipv4()
    assert run.report["nfs"][0]["in"] == 1
    assert run.report["packets"]["other"] == 1


@every_engine
def test_a_load_balancer_leaves_ipv6_alone_and_the_others_see_it(engine: str) -> None:
    frames = [ipv6(UDP(sport=1, dport=53)), ipv4(1), ipv6(UDP(sport=2, dport=53)), ipv4(2)]
    block = FrameBlock.from_frames(frames)
    chain = Chain([FlowCounter(), LoadBalancer(servers=["10.9.9.9", "10.8.8.8"]), FlowCounter(name="after")])
    report = chain.run(block, engine=engine).report
    assert [nf["in"] for nf in report["nfs"]] == [4, 2, 4]
    assert report["nfs"][1]["summary"]["flows"] == {"10.9.9.9": 1, "10.8.8.8": 1}
    assert [bytes(block.frame(index)) for index in (0, 2)] == [frames[0], frames[2]]
    assert [Ether(bytes(block.frame(index)))[IP].dst for index in (1, 3)] == ["10.9.9.9", "10.8.8.8"]


@every_engine
def test_tables_of_ipv6_flows_grow_by_themselves(engine: str) -> None:
    header = bytes(ETHERNET / IPv6(src=HERE, dst=THERE) / UDP(sport=1, dport=53))
    frames = [header[:54] + port.to_bytes(2, "big") + header[56:] for port in range(3000)] * 2
    block = FrameBlock.from_frames([ipv4(), *frames, ipv4()])
    run = Chain([FlowCounter(), LoadBalancer(servers=["10.9.9.9"])]).run(block, engine=engine)
    rows = run.table("flow_counter").select(["src", "src_port", "packets"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [("10.0.0.1", 1, 2), *((HERE, port, 2) for port in range(3000))]
    assert run.table("load_balancer").num_rows == 1
    assert [nf["in"] for nf in run.report["nfs"]] == [6002, 2]


@every_engine
def test_idle_ipv6_flows_end(engine: str) -> None:
    flow, other = ipv6(UDP(sport=1, dport=53)), ipv6(UDP(sport=2, dport=53))
    second = 10**9
    frames = [flow, other, ipv4(), flow, other, *[flow] * 10]
    block = FrameBlock.from_frames(frames, [0, 0, 0, second - 1, second, *range(second, 2 * second, second // 10)])
    run = Chain([FlowCounter(timeout="1s")]).run(block, engine=engine)
    rows = run.table("flow_counter").select(["src_port", "packets"]).to_pylist()
    # One ended at its own packet, the IPv4 one at the end of the run: a search comes by before packet 16 only.
    assert [tuple(row.values()) for row in rows] == [(1, 12), (2, 1)]
    flows = run.report["flows"]
    assert (flows["created"], flows["expired"], flows["active"]) == (4, 2, 2)
