"""Header fields of IPv6, each read and written by itself: as scapy reads them, and with the checksums it computes."""

import socket
from typing import Any

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet as ScapyPacket

from fajita import NF, PASS, Chain, FrameBlock, Layer, Packet, five_tuple, flag, u8, u16, u32, u64
from fajita.run import ENGINES

ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
HERE, THERE = "2001:db8:1:2:3:4:5:6", "fe80::ffff:0:1"
EXTENSIONS = {
    "": (),
    "hop-by-hop, destination options": (IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt()),
    "first fragment": (IPv6ExtHdrFragment(id=5, m=1),),
}
TRANSPORTS = {
    "tcp": TCP(sport=1, dport=2),
    "udp": UDP(sport=1, dport=2),
    "icmpv6": ICMPv6EchoRequest(id=7, seq=9),
}
every_engine = pytest.mark.parametrize("engine", ENGINES)


class WriteAsTold(NF):
    """Writes one field: payload byte 0 says which, bytes 1 to 8 what."""

    about = Layer.IPV6

    def packet(self, pkt: Packet) -> int:
        which = pkt.payload[0]
        value = 0
        for index in range(1, 9):
            value = value << 8 | pkt.payload[index]
        if which == 0:
            pkt.src_high = value
        elif which == 1:
            pkt.src_low = value
        elif which == 2:
            pkt.dst_high = value
        elif which == 3:
            pkt.dst_low = value
        elif which == 4:
            pkt.ttl = value
        elif which == 5:
            pkt.dscp = value
        elif which == 6:
            pkt.ecn = value
        elif which == 7:
            pkt.flow_label = value
        elif which == 8:
            pkt.src = value  # there is none in IPv6
        return PASS


#: The fields of WriteAsTold, in the order of its numbers.
WRITTEN = ("src_high", "src_low", "dst_high", "dst_low", "ttl", "dscp", "ecn", "flow_label", "src")
#: Among them what carries through a whole sum, and what leaves it as it was.
VALUES = (0, 1, 0xFFFF, 0xFFFFFFFF, 0x0123456789ABCDEF, 0xFFFFFFFFFFFF0000, (1 << 64) - 1)


def packet(transport: str, extensions: str, payload: bytes, **header: Any) -> ScapyPacket:
    made: ScapyPacket = ETHERNET / IPv6(**{"src": HERE, "dst": THERE, "tc": 0xB9, "fl": 0xABCDE, "hlim": 7} | header)
    for extension in EXTENSIONS[extensions]:
        made /= extension.copy()
    return made / TRANSPORTS[transport].copy() / payload


def with_half(address: str, first: int, value: int) -> str:
    """The address with 8 bytes from `first` on replaced."""
    raw = socket.inet_pton(socket.AF_INET6, address)
    return socket.inet_ntop(socket.AF_INET6, raw[:first] + value.to_bytes(8, "big") + raw[first + 8 :])


def expected_header(field: str, value: int) -> dict[str, Any]:
    """The fields of scapy's IPv6 that differ after the write."""
    return {
        "src_high": {"src": with_half(HERE, 0, value)},
        "src_low": {"src": with_half(HERE, 8, value)},
        "dst_high": {"dst": with_half(THERE, 0, value)},
        "dst_low": {"dst": with_half(THERE, 8, value)},
        "ttl": {"hlim": value & 0xFF},
        "dscp": {"tc": (value & 0x3F) << 2 | 1},
        "ecn": {"tc": 0xB8 | value & 3},
        "flow_label": {"fl": value & 0xFFFFF},
        "src": {},
    }[field]


@every_engine
@pytest.mark.parametrize("extensions", EXTENSIONS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_write_changes_the_field_alone_and_the_checksum_is_scapys(transport: str, extensions: str, engine: str):
    frames, expected = [], []
    for which, field in enumerate(WRITTEN):
        for value in VALUES:
            payload = bytes((which,)) + value.to_bytes(8, "big") + b"odd!"
            frames.append(bytes(packet(transport, extensions, payload)))
            expected.append(
                (field, value, bytes(packet(transport, extensions, payload, **expected_header(field, value))))
            )
    block = FrameBlock.from_frames(frames)
    run = Chain([WriteAsTold()]).run(block, engine=engine)
    assert run.report["nfs"][0]["in"] == len(frames)
    written = [(field, value, bytes(block.frame(index))) for index, (field, value, _) in enumerate(expected)]
    assert written == expected


def to_dst_low(value: int) -> bytes:
    """A payload that writes `value` of 16 bits, and with all such payloads the checksum is the same."""
    high, low = value.to_bytes(2, "big")
    return bytes((WRITTEN.index("dst_low"), *bytes(6), high, low, 0xFF - high, 0xFF - low))


@every_engine
def test_a_checksum_of_zero_stays_and_one_that_becomes_zero_is_all_ones(engine: str) -> None:
    """In IPv6 a UDP checksum of 0 is not valid (RFC 8200, 8.1), but that is no reason to invent one."""
    without = packet("udp", "", to_dst_low(0))
    without[UDP].chksum = 0
    # The checksum with a lower half of 0, so that the same number in the lower half makes the sum come out as 0.
    last = Ether(bytes(packet("udp", "", to_dst_low(0), dst=with_half(THERE, 8, 0))))[UDP].chksum
    block = FrameBlock.from_frames([bytes(without), bytes(packet("udp", "", to_dst_low(last)))])
    Chain([WriteAsTold()]).run(block, engine=engine)
    first, second = (Ether(bytes(block.frame(index))) for index in range(2))
    assert (first[IPv6].dst, first[UDP].chksum) == ("fe80::", 0)
    assert second[UDP].chksum == 0xFFFF
    del second[UDP].chksum
    assert bytes(second) == bytes(block.frame(1))


class ReadAll(NF):
    """Keeps what it reads."""

    key = five_tuple

    class State:
        src_high: u64
        src_low: u64
        dst_high: u64
        dst_low: u64
        hops: u8
        dscp: u8
        ecn: u8
        flow_label: u32
        after: u8
        ipv4_fields: u64
        udp_length: u16
        icmp_id: u16
        payload: u16
        is_ipv6: flag
        is_ipv4: flag
        is_icmp: flag

    def packet(self, pkt: Packet, state: Any) -> int:
        state.src_high = pkt.src_high
        state.src_low = pkt.src_low
        state.dst_high = pkt.dst_high
        state.dst_low = pkt.dst_low
        state.hops = pkt.ttl
        state.dscp = pkt.dscp
        state.ecn = pkt.ecn
        state.flow_label = pkt.flow_label
        state.after = pkt.protocol
        state.ipv4_fields = pkt.src | pkt.dst | pkt.ip_id | pkt.total_length
        state.udp_length = pkt.udp_length
        state.icmp_id = pkt.icmp_id
        state.payload = pkt.payload_length
        state.is_ipv6 = pkt.is_ipv6
        state.is_ipv4 = pkt.is_ipv4
        state.is_icmp = pkt.is_icmp
        return PASS


@every_engine
@pytest.mark.parametrize("extensions", EXTENSIONS)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_fields_are_those_that_scapy_was_told(transport: str, extensions: str, engine: str) -> None:
    untagged = packet(transport, extensions, b"abc")
    tagged = ETHERNET / Dot1Q(vlan=9) / untagged[IPv6]
    for frame in (bytes(untagged) + bytes(7), bytes(tagged)):  # what follows the IP packet is padding
        table = Chain([ReadAll()]).run(FrameBlock.from_frames([frame]), engine=engine).table("read_all")
        assert table.drop_columns(["src", "dst", "src_port", "dst_port"]).to_pylist() == [
            {
                "protocol": {"tcp": 6, "udp": 17, "icmpv6": 58}[transport],
                "src_high": 0x20010DB800010002,
                "src_low": 0x0003000400050006,
                "dst_high": 0xFE80000000000000,
                "dst_low": 0x0000FFFF00000001,
                "hops": 7,
                "dscp": 46,
                "ecn": 1,
                "flow_label": 0xABCDE,
                "after": {"tcp": 6, "udp": 17, "icmpv6": 58}[transport],
                "ipv4_fields": 0,
                "udp_length": 11 if transport == "udp" else 0,
                "icmp_id": 7 if transport == "icmpv6" else 0,
                "payload": 3,
                "is_ipv6": True,
                "is_ipv4": False,
                "is_icmp": transport == "icmpv6",
            }
        ]
