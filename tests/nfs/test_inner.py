"""Chains about the packets inside tunnels: keys, rewrites with every checksum, and what is not followed."""

from typing import Any

import pytest
from scapy.contrib.geneve import GENEVE
from scapy.contrib.gtp import GTP_U_Header
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, GRE, Dot1Q
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from fajita import NF, PASS, Chain, FrameBlock, Packet, five_tuple, u64
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from fajita.run import ENGINES
from tests.nfs.scapy_frames import ethernet, ip_variants
from tests.nfs.scapy_tunnels import ALL_OF_GRE, TUNNELS, geneve, gtp, inner_ethernet, outer_ipv4, outer_ipv6, vxlan

every_engine = pytest.mark.parametrize("engine", ENGINES)
every_tunnel = pytest.mark.parametrize("tunnel", TUNNELS)

HERE, THERE = "10.1.2.3", "10.3.2.1"
HERE_6, THERE_6 = "2001:db8:1:2:3:4:5:6", "fe80::ffff:0:1"
FLOW = {"src": HERE, "dst": THERE, "src_port": 1, "dst_port": 2}
OUTER_FLOW = {"src": "203.0.113.1", "dst": "203.0.113.2"}


def flows(engine: str, *frames: bytes, **settings: Any) -> list[dict[str, Any]]:
    run = Chain([FlowCounter()], **{"inner": True} | settings).run(FrameBlock.from_frames(frames), engine=engine)
    return run.table("flow_counter").to_pylist()


def udp_packet(data: bytes = b"abc", **fields: Any) -> ScapyPacket:
    return IP(src=HERE, dst=THERE, **fields) / UDP(sport=1, dport=2) / data


@every_engine
@every_tunnel
def test_the_key_is_that_of_the_packet_inside(tunnel: str, engine: str) -> None:
    frames = [bytes(TUNNELS[tunnel](udp_packet())), bytes(TUNNELS[tunnel](IPv6(src=HERE_6, dst=THERE_6) / TCP()))]
    ipv4, ipv6 = flows(engine, *frames)
    expected = FLOW | {"protocol": 17, "packets": 1, "bytes": len(frames[0])}
    assert {name: ipv4[name] for name in expected} == expected
    assert (ipv6["src"], ipv6["dst"], ipv6["protocol"], ipv6["bytes"]) == (HERE_6, THERE_6, 6, len(frames[1]))


@every_engine
def test_without_the_setting_it_is_that_of_the_packet_around(engine: str) -> None:
    (row,) = flows(engine, bytes(TUNNELS["vxlan"](udp_packet())), inner=False)
    assert (row["src"], row["dst_port"]) == (OUTER_FLOW["src"], 4789)


class WriteAsTold(NF):
    """Writes one field: payload byte 0 says which, bytes 1 to 8 what."""

    def packet(self, pkt: Packet) -> int:
        which = pkt.payload[0]
        value = 0
        for index in range(1, 9):
            value = value << 8 | pkt.payload[index]
        if which == 1:
            pkt.dst = value
        elif which == 2:
            pkt.dst_low = value
        elif which == 3:
            pkt.src_high = value
        elif which == 4:
            pkt.ttl = value
        elif which == 5:
            pkt.dst_port = value
        elif which == 6:
            pkt.flow_label = value
        elif which == 7:
            pkt.tcp_flags = value
        elif which == 8:
            pkt.icmp_id = value
        return PASS


def told(which: int, value: int) -> bytes:
    """The payload for WriteAsTold."""
    return bytes((which,)) + value.to_bytes(8, "big")


def ipv4(transport: ScapyPacket, data: bytes, **fields: Any) -> ScapyPacket:
    return IP(**{"src": HERE, "dst": THERE, "ttl": 9} | fields) / transport / data


def ipv6(transport: ScapyPacket, data: bytes, **fields: Any) -> ScapyPacket:
    return IPv6(**{"src": HERE_6, "dst": THERE_6, "hlim": 9, "fl": 5} | fields) / transport / data


def rewrites() -> dict[str, tuple[ScapyPacket, ScapyPacket]]:
    """Packets that tell WriteAsTold what to write, and as scapy makes them with that written."""
    made = {}
    for name, transport in {
        "tcp": TCP(sport=1, dport=2),
        "udp": UDP(sport=1, dport=2),
        "udp without checksum": UDP(sport=1, dport=2, chksum=0),
        "icmp": ICMP(id=3),
    }.items():
        data = told(1, 0xC0A80102)
        made[f"dst, {name}"] = ipv4(transport, data), ipv4(transport, data, dst="192.168.1.2")
        data = told(4, 0xFFFF)
        made[f"ttl, {name}"] = ipv4(transport, data), ipv4(transport, data, ttl=255)
        if name.startswith("icmp"):
            data = told(8, 0xABCD)
            made["icmp_id"] = ipv4(transport, data), ipv4(ICMP(id=0xABCD), data)
        else:
            data, changed = told(5, 0xFF00), transport.copy()
            changed.dport = 0xFF00
            made[f"dst_port, {name}"] = ipv4(transport, data), ipv4(changed, data)
    for name, transport in {
        "tcp": TCP(sport=1, dport=2),
        "udp": UDP(sport=1, dport=2),
        "udp without checksum": UDP(sport=1, dport=2, chksum=0),
        "icmpv6": ICMPv6EchoRequest(id=3),
        "udp in a first fragment": IPv6ExtHdrFragment(m=1, id=6) / UDP(sport=1, dport=2),
    }.items():
        data = told(2, 0x0123456789ABCDEF)
        made[f"dst_low, {name}"] = ipv6(transport, data), ipv6(transport, data, dst="fe80::123:4567:89ab:cdef")
        data = told(3, 0xFFFF << 48)
        made[f"src_high, {name}"] = ipv6(transport, data), ipv6(transport, data, src="ffff::3:4:5:6")
        data = told(4, 0xFF)
        made[f"hop limit, {name}"] = ipv6(transport, data), ipv6(transport, data, hlim=255)
        data = told(6, 0xABCDE)
        made[f"flow_label, {name}"] = ipv6(transport, data), ipv6(transport, data, fl=0xABCDE)
    data = told(7, 0x12)
    made["tcp_flags"] = ipv6(TCP(sport=1, dport=2), data), ipv6(TCP(sport=1, dport=2, flags="SA"), data)
    return made


@every_engine
@every_tunnel
def test_all_checksums_are_those_that_scapy_computes(tunnel: str, engine: str) -> None:
    cases = rewrites()
    block = FrameBlock.from_frames([bytes(TUNNELS[tunnel](packet)) for packet, _ in cases.values()])
    Chain([WriteAsTold()], inner=True).run(block, engine=engine)
    written = {name: bytes(block.frame(index)) for index, name in enumerate(cases)}
    for name, (_, expected) in cases.items():
        assert written[name] == bytes(TUNNELS[tunnel](expected)), name


@every_engine
@every_tunnel
def test_a_balanced_packet_is_as_scapy_makes_it(tunnel: str, engine: str) -> None:
    """Of every protocol; also later fragments, of which no checksum but the IP header's is there."""
    server = "192.0.2.200"
    packets, expected = ip_variants(), ip_variants(server)
    for made, dst in ((packets, "198.51.100.1"), (expected, server)):
        made["later fragment"] = IP(src=HERE, dst=dst, frag=100, proto=17) / Raw(b"x" * 24)
    block = FrameBlock.from_frames([bytes(TUNNELS[tunnel](packet)) for packet in packets.values()])
    chain = Chain([LoadBalancer(servers=[server], key="source")], inner=True)
    assert chain.run(block, engine=engine).report["nfs"][0]["in"] == len(packets)
    for index, (name, packet) in enumerate(expected.items()):
        assert bytes(block.frame(index)) == bytes(TUNNELS[tunnel](packet)), name


def to_dst_port(value: int) -> bytes:
    """A payload that writes the port, and with all such payloads the checksum around it is the same."""
    high, low = value.to_bytes(2, "big")
    return told(5, value) + bytes((0xFF - high, 0xFF - low))


@every_engine
def test_a_checksum_of_the_tunnel_that_becomes_zero_is_sent_as_all_ones(engine: str) -> None:
    def frame(port: int, value: int) -> bytes:
        inner = IP(src=HERE, dst=THERE) / UDP(sport=1, dport=port, chksum=0) / to_dst_port(value)
        return bytes(TUNNELS["vxlan"](inner))

    # With a port of 0, so that the same number as port makes the sum come out as 0.
    last = int.from_bytes(frame(0, 0)[40:42], "big")
    block = FrameBlock.from_frames([frame(2, last)])
    Chain([WriteAsTold()], inner=True).run(block, engine=engine)
    assert bytes(block.frame(0))[40:42] == b"\xff\xff"
    assert bytes(block.frame(0)) == frame(last, last)


@every_engine
def test_addresses_of_the_link_and_the_vlan_are_the_frames_own(engine: str) -> None:
    frame = bytes(TUNNELS["vxlan in a vlan"](udp_packet()))
    block = FrameBlock.from_frames([frame])
    run = Chain([FlowCounter(key="vlan+eth_src"), MacSwap()], inner=True).run(block, engine=engine)
    assert bytes(block.frame(0)) == frame[6:12] + frame[:6] + frame[12:]
    (row,) = run.table("flow_counter").to_pylist()
    assert (row["vlan"], row["eth_src"]) == (100, "02:00:00:00:00:0a")


def around(*headers: ScapyPacket) -> bytes:
    frame = ethernet()
    for header in headers:
        frame /= header
    return bytes(frame)


def with_bytes(frame: bytes, at: int, new: bytes) -> bytes:
    return frame[:at] + new + frame[at + len(new) :]


def udp_to(port: int, header: ScapyPacket) -> ScapyPacket:
    return outer_ipv4() / UDP(sport=5, dport=port) / header


INNER = udp_packet()
IN_VXLAN = bytes(TUNNELS["vxlan"](INNER))
#: Byte 64 is the first of the inner IP header, 14 + 20 + 4 the length of the UDP datagram.
NOT_FOLLOWED: dict[str, bytes] = {
    "gre of version 1": around(outer_ipv4(), GRE(version=1), INNER),
    "gre with routing": around(outer_ipv4(), Raw(b"\x40\0\x08\0" + bytes(4)), INNER),
    "gre cut off before its key": around(outer_ipv4(), GRE(key_present=1))[:-2],
    "vxlan without a network": around(udp_to(4789, VXLAN(flags=0)), inner_ethernet(), INNER),
    "vxlan from its port": around(outer_ipv4(), UDP(sport=4789, dport=4790), VXLAN(), inner_ethernet(), INNER),
    "geneve of version 1": around(udp_to(6081, GENEVE(version=1)), INNER),
    "geneve for control": around(udp_to(6081, GENEVE(oam=1)), INNER),
    "gtp echo": around(udp_to(2152, GTP_U_Header(gtp_type=1)), INNER),
    "gtp prime": around(udp_to(2152, GTP_U_Header(gtp_type=255, PT=0)), INNER),
    "gtp of version 2": around(udp_to(2152, GTP_U_Header(gtp_type=255, version=2)), INNER),
    "gtp that ends before its packet": around(udp_to(2152, GTP_U_Header(gtp_type=255, length=19)), INNER),
    "gtp with an extension of no length": around(
        udp_to(2152, Raw(b"\x34\xff\0\x40" + bytes(4) + b"\0\0\0\x85\0\0\0\0")), INNER
    ),
    "arp": around(outer_ipv4(), vxlan(), ARP(psrc=HERE, pdst=THERE)),
    "another version than the protocol says": around(outer_ipv4(proto=41), Raw(bytes(INNER) + bytes(40))),
    "a packet of version 5": with_bytes(IN_VXLAN, 64, b"\x55"),
    "a header of less than five words": with_bytes(IN_VXLAN, 64, b"\x44"),
    "a header that is not all captured": IN_VXLAN[: 64 + 19],
    "a header beyond the end of the datagram": with_bytes(IN_VXLAN, 38, (8 + 8 + 14 + 19).to_bytes(2, "big")),
    "a header beyond the end of the outer packet": with_bytes(IN_VXLAN, 16, (20 + 8 + 8 + 14 + 19).to_bytes(2, "big")),
}


@every_engine
@pytest.mark.parametrize("name", NOT_FOLLOWED)
def test_a_tunnel_that_cannot_be_followed_counts_as_what_is_around(name: str, engine: str) -> None:
    frame = NOT_FOLLOWED[name]
    (row,) = flows(engine, frame)
    assert {field: row[field] for field in OUTER_FLOW} == OUTER_FLOW
    assert row == flows(engine, frame, inner=False)[0]


@every_engine
def test_a_later_fragment_of_the_packet_around_has_no_flow(engine: str) -> None:
    frame = around(outer_ipv4(frag=2, proto=4), INNER)
    run = Chain([FlowCounter()], inner=True).run(FrameBlock.from_frames([frame]), engine=engine)
    assert run.report["other"] == {"fragment": 1}


@every_engine
def test_a_later_fragment_inside_has_addresses_alone(engine: str) -> None:
    inner = IP(src=HERE, dst=THERE, frag=2, proto=17) / Raw(b"x" * 24)
    run = Chain([FlowCounter(), FlowCounter(name="pairs", key="address_pair")], inner=True).run(
        FrameBlock.from_frames([bytes(TUNNELS["gre"](inner))]), engine=engine
    )
    assert run.table("flow_counter").num_rows == 0
    assert run.table("pairs")["src"].to_pylist() == [HERE]


@every_engine
def test_a_fifth_tunnel_is_not_followed(engine: str) -> None:
    inner = outer_ipv6() / GRE() / INNER
    (row,) = flows(engine, bytes(TUNNELS["four tunnels"](inner)))
    assert (row["src"], row["protocol"]) == ("2001:db8:ffff::1", 47)


@every_engine
def test_many_extension_headers_of_gtp(engine: str) -> None:
    for count, is_followed in ((8, True), (9, False)):
        extensions = b"\x01\0\0\x85" * (count - 1) + b"\x01\0\0\0"
        header = b"\x34\xff" + (4 + len(extensions + bytes(INNER))).to_bytes(2, "big") + bytes(4) + b"\0\0\0\x85"
        (row,) = flows(engine, around(udp_to(2152, Raw(header + extensions)), INNER))
        assert (row["src"] == HERE) == is_followed


class KeepPayload(NF):
    """Keeps what it reads of the payload."""

    key = five_tuple

    class State:
        length: u64
        total: u64

    def packet(self, pkt: Packet, state: Any) -> int:
        state.length = pkt.payload_length
        for index in range(-1, 200):
            state.total += pkt.payload[index]
        return PASS


@every_engine
@pytest.mark.parametrize(
    ("inner_length", "seen"), [(28 + 8, 8), (28 + 5, 5), (28 + 60, 8), (0, 8)], ids=["right", "less", "more", "none"]
)
@pytest.mark.parametrize(
    "frame",
    [
        lambda inner: ethernet() / outer_ipv4() / vxlan() / inner,
        lambda inner: ethernet() / Dot1Q(vlan=1) / outer_ipv6() / GRE(**ALL_OF_GRE) / inner,
        lambda inner: ethernet() / outer_ipv4() / gtp() / outer_ipv6() / geneve() / inner,
    ],
    ids=["vxlan", "gre", "gtp and geneve"],
)
def test_the_payload_ends_where_what_is_around_it_does(frame: Any, inner_length: int, seen: int, engine: str) -> None:
    """Also where the inner packet says that it is longer, and the frame is: with padding, or a trailer."""
    made = bytes(frame(udp_packet(b"\x01" * 8, len=inner_length))) + b"\x01" * 18
    run = Chain([KeepPayload()], inner=True).run(FrameBlock.from_frames([made]), engine=engine)
    (row,) = run.table("keep_payload").to_pylist()
    assert (row["length"], row["total"]) == (seen, seen)
