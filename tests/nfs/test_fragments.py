"""Fragments in both engines: later ones are of the flow of their first, but have no transport header."""

from collections.abc import Callable
from itertools import chain as concatenated
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, defragment, fragment
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from fajita import DROP, NF, PASS, FrameBlock, Layer, Packet, connection, destination_port, five_tuple, u64
from fajita.engine.counters import FragmentCounters
from fajita.key import find_key
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.source_counter import SourceCounter
from fajita.nfs.virtual_server import VirtualServer
from fajita.packet import MAXIMUM_DATAGRAMS, REMEMBERED_NS
from fajita.reference import ReferenceEngine
from tests.nfs.running import Result, both_engines, run
from tests.nfs.scapy_frames import CLIENT, SERVICE, ethernet

CLIENT_6, SERVICE_6 = "2001:db8::7", "2001:db8:1::1"
SERVER = "10.0.0.1"
DATA = bytes(range(256)) * 2

TRANSPORTS = {
    "udp": UDP(sport=1024, dport=53),
    "tcp": TCP(sport=1024, dport=53, flags="PA"),
    "icmp": ICMP(id=1024, seq=53),
}


def parts_of(
    transport: ScapyPacket = TRANSPORTS["udp"],
    *,
    src: str = CLIENT,
    dst: str = SERVICE,
    number: int = 9,
    link: Callable[[], ScapyPacket] = ethernet,
) -> list[bytes]:
    """The fragments of a datagram, as frames in order."""
    whole = IP(src=src, dst=dst, id=number) / transport.copy() / DATA
    return [bytes(link() / part) for part in fragment(whole, fragsize=128)]


def parts_of_ipv6(
    transport: ScapyPacket = TRANSPORTS["udp"], *, src: str = CLIENT_6, dst: str = SERVICE_6, number: int = 9
) -> list[bytes]:
    """The same of IPv6, ICMPv6 in the place of ICMP."""
    transport = ICMPv6EchoRequest(id=1024, seq=53) if isinstance(transport, ICMP) else transport
    whole = IPv6(src=src, dst=dst) / IPv6ExtHdrFragment(id=number) / transport.copy() / DATA
    return [bytes(ethernet() / part) for part in fragment6(whole, 256)]


class WithoutFirsts(NF):
    """Drops first fragments."""

    def packet(self, pkt: Packet) -> int:
        return DROP if pkt.is_fragment and pkt.is_udp else PASS


SERVERS = [f"10.0.0.{n}" for n in range(1, 6)]
BALANCERS = {
    "load_balancer, hash": lambda: LoadBalancer(servers=SERVERS, algorithm="hash"),
    "load_balancer, maglev": lambda: LoadBalancer(servers=SERVERS, algorithm="maglev"),
    "virtual_server, hash": lambda: VirtualServer(services=[SERVED | {"algorithm": "hash"}]),
    "virtual_server, maglev": lambda: VirtualServer(services=[SERVED | {"algorithm": "maglev"}]),
}
SERVED = {"address": SERVICE, "port": 53, "protocol": "udp", "servers": [{"address": each} for each in SERVERS]}


@both_engines
@pytest.mark.parametrize("name", BALANCERS)
def test_a_flow_that_a_later_fragment_begins_goes_where_its_first_would(engine: Any, name: str) -> None:
    ports = range(1024, 1044)
    transports = [UDP(sport=port, dport=53) for port in ports]
    whole = run(
        engine, BALANCERS[name](), [bytes(ethernet() / IP(src=CLIENT, dst=SERVICE) / each) for each in transports]
    )
    datagrams = [parts_of(each, number=number) for number, each in enumerate(transports)]
    result = run(engine, [WithoutFirsts(), BALANCERS[name]()], [*concatenated(*datagrams)])
    later = [frame[30:34] for frame, out in zip(result.frames, result.verdicts, strict=True) if out]
    count = len(later) // len(ports)
    assert later == [frame[30:34] for frame in whole.frames for _ in range(count)]
    assert count == len(datagrams[0]) - 1


def packets_by_flow(result: Result, nf: int = 0) -> dict[tuple[Any, ...], int]:
    """Packets that a flow_counter has of each source port, destination port and protocol."""
    return {tuple(row[2:5]): row[5] for row in result.rows(nf)}


@both_engines
@pytest.mark.parametrize("name", TRANSPORTS)
@pytest.mark.parametrize("make", [parts_of, parts_of_ipv6], ids=["ipv4", "ipv6"])
def test_all_fragments_in_order_are_one_flow(engine: Any, make: Any, name: str) -> None:
    transport = TRANSPORTS[name]
    parts = make(transport)
    assert len(parts) >= 3
    result = run(engine, FlowCounter(), parts)
    ports = (0, 0) if name == "icmp" else (1024, 53)
    protocol = {"udp": 17, "tcp": 6, "icmp": 1 if make is parts_of else 58}[name]
    assert packets_by_flow(result) == {(*ports, protocol): len(parts)}
    assert result.counters.fragments == FragmentCounters(followed=len(parts) - 1)
    assert result.counters.other == {}
    assert result.frames == parts


@both_engines
def test_fragments_behind_a_vlan_tag(engine: Any) -> None:
    parts = parts_of(link=lambda: ethernet() / Dot1Q(vlan=100))
    assert packets_by_flow(run(engine, FlowCounter(), parts)) == {(1024, 53, 17): len(parts)}


@both_engines
@pytest.mark.parametrize("make", [parts_of, parts_of_ipv6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("setting", ["pass", "flow", "drop"])
def test_what_becomes_of_fragments_before_their_first(engine: Any, make: Any, setting: str) -> None:
    parts = make()[::-1]
    early = len(parts) - 1
    result = run(engine, [FlowCounter(), SourceCounter()], parts, fragments=setting)
    flow = {(1024, 53, 17): 1} | ({(0, 0, 17): early} if setting == "flow" else {})
    assert packets_by_flow(result) == flow
    assert result.rows(1)[0][1] == (1 if setting == "drop" else len(parts))
    assert result.verdicts == [0 if setting == "drop" else 1] * early + [1]
    assert result.counters.fragments == FragmentCounters(early=early)
    assert result.counters.other == {}


@both_engines
@pytest.mark.parametrize(("other", "verdict"), [("pass", 1), ("drop", 0)])
def test_a_fragment_before_its_first_that_no_nf_is_about_is_other(engine: Any, other: str, verdict: int) -> None:
    parts = parts_of()[::-1]
    result = run(engine, FlowCounter(), parts, other=other)
    assert result.counters.other == {"fragment": len(parts) - 1}
    assert result.verdicts == [verdict] * (len(parts) - 1) + [1]


@both_engines
def test_dropped_fragments_are_a_stage_of_their_own_in_the_report(engine: Any) -> None:
    parts = parts_of()[::-1]
    result = run(engine, [SourceCounter(), Everything(), Fragments()], parts, fragments="drop", other="drop")
    assert result.verdicts == [0] * (len(parts) - 1) + [1]
    assert [nf.received for nf in result.counters.nfs] == [1, 1, 1]
    assert result.counters.packets_out == 1
    assert result.counters.other == {}
    name = "reference" if engine is ReferenceEngine else "compiled"
    report = result.chain.run(FrameBlock.from_frames(parts), engine=name).report
    assert report["drops"] == {"fragments": {"before its first": len(parts) - 1}}
    assert report["fragments"] == {"followed": 0, "early": len(parts) - 1}
    assert report["packets"] == {"in": len(parts), "out": 1, "dropped": len(parts) - 1, "other": 0}


class Everything(NF):
    """Asks a frame for nothing."""

    about = Layer(0)

    def packet(self, pkt: Packet) -> int:
        return PASS


class Fragments(NF):
    """Is about fragments alone."""

    about = Layer.FRAGMENT

    def packet(self, pkt: Packet) -> int:
        return PASS


@both_engines
def test_fragments_of_several_datagrams_in_between_each_other(engine: Any) -> None:
    trains = [
        parts_of(UDP(sport=1, dport=53), number=1),
        parts_of(UDP(sport=2, dport=53), number=2),
        parts_of(TCP(sport=3, dport=53), number=1),
        parts_of(UDP(sport=4, dport=53), number=1, src="192.0.2.8"),
        parts_of(UDP(sport=5, dport=53), number=1, dst="192.0.2.8"),
        parts_of_ipv6(UDP(sport=6, dport=53), number=1),
        parts_of_ipv6(UDP(sport=7, dport=53), number=1 << 31),
        parts_of_ipv6(UDP(sport=8, dport=53), number=1, src="2001:db8::8"),
    ]
    frames = list(concatenated.from_iterable(zip(*trains, strict=False)))
    per_train = len(frames) // len(trains)
    counted = packets_by_flow(run(engine, FlowCounter(), frames))
    assert counted == {(port, 53, 6 if port == 3 else 17): per_train for port in range(1, 9)}


@both_engines
@pytest.mark.parametrize("make", [parts_of, parts_of_ipv6], ids=["ipv4", "ipv6"])
def test_of_several_first_fragments_the_latest_counts(engine: Any, make: Any) -> None:
    old, new = make(UDP(sport=1, dport=53)), make(UDP(sport=2, dport=53))
    result = run(engine, FlowCounter(), [old[0], old[1], new[0], old[1], new[1], old[0], new[2]])
    assert packets_by_flow(result) == {(1, 53, 17): 4, (2, 53, 17): 3}


@both_engines
@pytest.mark.parametrize(
    ("after_ns", "followed"), [(REMEMBERED_NS - 1, 1), (REMEMBERED_NS, 0), (-1, 1), (-(10**12), 1)]
)
def test_a_first_fragment_is_remembered_for_thirty_seconds(engine: Any, after_ns: int, followed: int) -> None:
    first, later, *_ = parts_of()
    start = 10**15
    result = run(engine, FlowCounter(), [first, later], [start, start + after_ns])
    assert result.counters.fragments == FragmentCounters(followed, 1 - followed)


@both_engines
def test_an_identification_that_is_used_again_is_of_the_new_datagram(engine: Any) -> None:
    old, new = parts_of(UDP(sport=1, dport=53)), parts_of(UDP(sport=2, dport=53))
    minute = 60 * 10**9
    times = [0, 1, minute, minute + 1, minute + 2]
    result = run(engine, FlowCounter(), [old[0], old[1], new[1], new[0], new[2]], times)
    assert packets_by_flow(result) == {(1, 53, 17): 2, (2, 53, 17): 2}
    assert result.counters.fragments == FragmentCounters(followed=2, early=1)


@both_engines
def test_a_fragmented_datagram_that_is_balanced_is_whole_and_right_at_its_server(engine: Any) -> None:
    parts = parts_of()
    result = run(engine, [LoadBalancer(servers=[SERVER]), DestinationCounter()], parts)
    (received,) = defragment([Ether(frame)[IP] for frame in result.frames])
    assert bytes(received[UDP].payload) == DATA
    checked = received.copy()
    del checked[UDP].chksum, checked.chksum
    assert bytes(IP(bytes(checked))) == bytes(received)
    assert received.dst == SERVER
    assert [row[1] for row in result.rows(1)] == [len(parts)]


class Translator(NF):
    """Gives each flow another source: a NAT of a kind."""

    key = five_tuple
    keys = (connection,)

    class Params:
        first_port: int

    class State:
        port: u64

    class Core:
        flows: u64

    def new_flow(self, pkt: Packet, state: State) -> None:
        state.port = self.first_port + self.core.flows
        self.core.flows += 1

    def packet(self, pkt: Packet, state: State) -> int:
        pkt.src = 0x0A000001
        pkt.src_low = 0x99
        pkt.src_port = state.port
        return PASS


@both_engines
@pytest.mark.parametrize("make", [parts_of, parts_of_ipv6], ids=["ipv4", "ipv6"])
def test_later_fragments_follow_ports_that_are_rewritten(engine: Any, make: Any) -> None:
    nfs = [
        FlowCounter(),
        Translator(first_port=2000),
        FlowCounter(name="after", key="connection"),
        Translator(name="again", first_port=3000, key="connection"),
        FlowCounter(name="last", key="src_port"),
    ]
    other, parts = make(UDP(sport=7, dport=53), number=1), make()
    result = run(engine, nfs, [other[0], *parts, *other[1:]])
    assert len(result.chain.plan.segments) == 3
    assert packets_by_flow(result, 0) == {(port, 53, 17): len(parts) for port in (7, 1024)}
    assert packets_by_flow(result, 2) == {(port, 53, 17): len(parts) for port in (2000, 2001)}
    assert [row[:2] for row in result.rows(4)] == [(port, len(parts)) for port in (3000, 3001)]
    # Of what a later fragment carries, nothing is changed.
    assert [frame[-8:] for frame in result.frames[2 : 1 + len(parts)]] == [frame[-8:] for frame in parts[1:]]


class LooksAtPorts(NF):
    """What an NF sees and writes of a packet that has its flow."""

    key = five_tuple
    keys = (destination_port, find_key("src+dst_port"))

    class State:
        ports: u64
        transport: u64
        payload: u64

    def packet(self, pkt: Packet, state: State) -> int:
        state.ports += pkt.src_port + pkt.dst_port
        if pkt.is_udp or pkt.is_tcp or pkt.is_icmp:
            state.transport += 1
        state.payload += pkt.payload_length
        pkt.src_port = 1
        pkt.dst_port = 1
        return PASS


@both_engines
@pytest.mark.parametrize("key", ["five_tuple", "destination_port", "src+dst_port"])
@pytest.mark.parametrize("make", [parts_of, parts_of_ipv6], ids=["ipv4", "ipv6"])
def test_a_later_fragment_has_no_transport_header_to_an_nf(engine: Any, make: Any, key: str) -> None:
    parts = make()
    result = run(engine, [LooksAtPorts(key=key), FlowCounter(name="counter")], parts)
    (row,) = result.rows()
    first = Ether(parts[0])
    assert row[-3:] == (1024 + 53, 1, len(first[UDP].payload))
    assert result.frames[1:] == parts[1:]
    assert result.frames[0] != parts[0]


@both_engines
def test_keys_of_ports_are_those_of_the_first_or_none(engine: Any) -> None:
    udp, icmp = parts_of(), parts_of(TRANSPORTS["icmp"], number=1)
    nfs = [FlowCounter(name="services", key="destination_port"), FlowCounter(name="ports", key="src_port+ttl")]
    result = run(engine, nfs, [*udp, *icmp])
    assert [row[:3] for row in result.rows(0)] == [(17, 53, len(udp))]
    assert [row[:3] for row in result.rows(1)] == [(1024, 64, len(udp))]
    assert result.counters.other == {"not an NF's traffic": len(icmp)}


class BothWays(NF):
    """Packets each way."""

    key = connection

    class State:
        forward: u64
        backward: u64

    def packet(self, pkt: Packet, state: State) -> int:
        if pkt.forward:
            state.forward += 1
        else:
            state.backward += 1
        return PASS


@both_engines
@pytest.mark.parametrize("make", [parts_of, parts_of_ipv6], ids=["ipv4", "ipv6"])
def test_later_fragments_go_the_way_of_their_first(engine: Any, make: Any) -> None:
    there = make(UDP(sport=1024, dport=53), number=1)
    hosts = (SERVICE, CLIENT) if make is parts_of else (SERVICE_6, CLIENT_6)
    back = make(UDP(sport=53, dport=1024), number=2, src=hosts[0], dst=hosts[1])
    result = run(engine, BothWays(), [*there, *back, *back])
    assert [row[-2:] for row in result.rows()] == [(len(there), 2 * len(back))]


class AboutFlows(NF):
    """Without state."""

    about = Layer.FLOW

    class Core:
        packets: u64

    def packet(self, pkt: Packet) -> int:
        self.core.packets += 1
        return PASS


@both_engines
def test_an_nf_without_a_key_may_ask_for_the_flow_as_well(engine: Any) -> None:
    first, *later = parts_of()
    result = run(engine, AboutFlows(), [*later, first, *later])
    assert result.engine.core(result.chain.plan.nfs[0]) == {"packets": [len(later) + 1]}
    assert result.counters.other == {"fragment": len(later)}


@both_engines
def test_a_chain_that_asks_for_no_flow_remembers_nothing(engine: Any) -> None:
    parts = parts_of()
    result = run(engine, [SourceCounter(), DestinationCounter()], parts)
    assert result.chain.plan.datagrams == 0
    assert result.counters.fragments == FragmentCounters()
    assert [row[1] for row in result.rows()] == [len(parts)]


@both_engines
def test_the_oldest_of_too_many_datagrams_is_forgotten(engine: Any) -> None:
    first, later, *_ = parts_of()

    def numbered(frame: bytes, number: int) -> bytes:
        return frame[:18] + number.to_bytes(2, "big") + frame[20:]

    firsts = [numbered(first, number) for number in range(MAXIMUM_DATAGRAMS + 1)]
    laters = [numbered(later, number) for number in (0, 1, MAXIMUM_DATAGRAMS)]
    counted = run(engine, FlowCounter(), [*firsts, *laters]).counters.fragments
    assert counted == FragmentCounters(followed=2, early=1)
    # One that comes again counts twice among the latest.
    again = run(engine, FlowCounter(), [*firsts[:-1], firsts[5], *laters]).counters.fragments
    assert again == FragmentCounters(followed=1, early=2)


@both_engines
def test_a_first_fragment_without_its_ports_tells_nothing(engine: Any) -> None:
    first, later, *_ = parts_of()
    cut = [first[: 34 + size] for size in (0, 3)]
    for frame in cut:
        result = run(engine, FlowCounter(), [frame, later])
        assert result.counters.fragments == FragmentCounters(early=1)
        assert result.counters.other == {"ports not captured": 1, "fragment": 1}
    assert run(engine, FlowCounter(), [first[:38], later]).counters.fragments == FragmentCounters(followed=1)


@both_engines
def test_a_later_fragment_of_any_length_is_followed_if_its_header_is_there(engine: Any) -> None:
    first, later, *_ = parts_of()
    first_6, later_6, *_ = parts_of_ipv6()
    sizes = range(len(later))
    result = run(engine, FlowCounter(), [first, *(later[:size] for size in sizes)])
    assert result.counters.fragments == FragmentCounters(followed=len(later) - 34)
    result = run(engine, FlowCounter(), [first_6, *(later_6[:size] for size in sizes)])
    assert result.counters.fragments == FragmentCounters(followed=len(later) - 62)


@both_engines
def test_only_the_first_ipv6_fragment_says_what_the_datagram_carries(engine: Any) -> None:
    """RFC 8200, 4.5: the next header of other fragments does not count. Here options stand before the UDP header."""
    head = IPv6(src=CLIENT_6, dst=SERVICE_6)
    options = bytes(IPv6ExtHdrDestOpt(nh=17))
    first = head / IPv6ExtHdrFragment(id=1, m=1, nh=60) / Raw(options + bytes(UDP(sport=1, dport=2, len=64)) + bytes(8))
    later = [head / IPv6ExtHdrFragment(id=1, offset=3, nh=nh) / Raw(bytes(40)) for nh in (60, 17, 6)]
    result = run(engine, FlowCounter(), [bytes(ethernet() / packet) for packet in (first, *later)])
    assert packets_by_flow(result) == {(1, 2, 17): 4}


@both_engines
def test_a_fragment_header_around_a_whole_datagram_is_no_fragment(engine: Any) -> None:
    """RFC 6946."""
    whole = IPv6(src=CLIENT_6, dst=SERVICE_6) / IPv6ExtHdrFragment(id=9) / UDP(sport=5, dport=6) / b"abc"
    later = parts_of_ipv6()[1]
    result = run(engine, FlowCounter(), [bytes(ethernet() / whole), later])
    assert result.counters.fragments == FragmentCounters(early=1)
    assert packets_by_flow(result) == {(5, 6, 17): 1}
