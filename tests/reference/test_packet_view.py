"""Fields are read and written as scapy does it; scapy also says which checksums are right afterwards."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether

from fajita.io.frames import ETHERNET
from fajita.packet import FACTS, FIELDS, FLAGS, IPV4_TYPE, TCP_PROTOCOL, UDP_PROTOCOL, places
from fajita.reference.integer import Int64
from fajita.reference.packet_view import Dropped, PacketView
from fajita.reference.parse import parse
from tests.traffic import frames, icmp_echo, ipv4_packet, tcp_segment, udp_datagram, with_link

SRC, DST = 0x0A000001, 0x0A000002
#: Where scapy has what an NF calls by another name.
SCAPY = {
    "eth_dst": (Ether, "dst"),
    "eth_src": (Ether, "src"),
    "eth_type": (Ether, "type"),
    "dscp": (IP, "tos"),
    "ecn": (IP, "tos"),
    "total_length": (IP, "len"),
    "ip_id": (IP, "id"),
    "ttl": (IP, "ttl"),
    "protocol": (IP, "proto"),
    "src": (IP, "src"),
    "dst": (IP, "dst"),
    "src_port": (None, "sport"),
    "dst_port": (None, "dport"),
    "tcp_sequence": (TCP, "seq"),
    "tcp_acknowledgment": (TCP, "ack"),
    "tcp_flags": (TCP, "flags"),
    "tcp_window": (TCP, "window"),
    "tcp_data_offset": (TCP, "dataofs"),
    "udp_length": (UDP, "len"),
    "icmp_type": (ICMP, "type"),
    "icmp_code": (ICMP, "code"),
    "icmp_id": (ICMP, "id"),
    "icmp_sequence": (ICMP, "seq"),
}
WRITABLE = [name for name, field in FIELDS.items() if field.write_layer]


def _tcp(payload: bytes = b"abc", **header: int) -> bytes:
    segment = tcp_segment(SRC, DST, 80, 1024, payload, **header)
    return with_link(ETHERNET, IPV4_TYPE, ipv4_packet(SRC, DST, TCP_PROTOCOL, segment, tos=0xB9))


def _udp(payload: bytes = b"abc", *, checksum: bool = True) -> bytes:
    datagram = udp_datagram(SRC, DST, 53, 1024, payload, checksum=checksum)
    return with_link(ETHERNET, IPV4_TYPE, ipv4_packet(SRC, DST, UDP_PROTOCOL, datagram))


def _icmp(payload: bytes = b"abc") -> bytes:
    return with_link(ETHERNET, IPV4_TYPE, ipv4_packet(SRC, DST, 1, icmp_echo(7, 9, payload)))


def _view(frame: bytes, link: int = ETHERNET) -> tuple[PacketView, bytearray]:
    memory = bytearray(frame)
    return PacketView(memoryview(memory), parse(memory, link), len(frame) + 4, 1000), memory


def _as_number(value: object) -> int:
    text = str(value)
    if isinstance(value, str) and ":" in text:
        return int(text.replace(":", ""), 16)
    if isinstance(value, str):
        return int.from_bytes(bytes(map(int, text.split("."))), "big")
    return int(value)  # type: ignore[call-overload]


def _by_scapy(name: str, frame: bytes) -> int:
    if name not in SCAPY:  # of VLAN tags and IPv6, which these frames do not have
        return 0
    layer, scapy_name = SCAPY[name]
    packet = Ether(frame)
    transport = packet[IP].payload
    if layer in (TCP, UDP, ICMP) and not isinstance(transport, layer):
        return 0
    value = _as_number((packet[layer] if layer else transport).fields.get(scapy_name, 0))
    return {"dscp": value >> 2, "ecn": value & 3}.get(name, value)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("frame", [_tcp(), _udp(), _icmp()], ids=["tcp", "udp", "icmp"])
def test_fields_are_those_that_scapy_sees(name, frame):
    pkt, _ = _view(frame)
    assert getattr(pkt, name) == _by_scapy(name, frame)
    assert type(getattr(pkt, name)) is Int64


#: With data enough for scapy to take it for whatever type is written to it; a timestamp (13) has 12 bytes.
ICMP_OF_ANY_TYPE = _icmp(b"abc" * 5)


@pytest.mark.parametrize("name", WRITABLE)
@given(
    frame=st.sampled_from([_tcp(), _tcp(b""), _udp(), _udp(b""), _udp(checksum=False), ICMP_OF_ANY_TYPE]),
    value=st.integers(-1, 1 << 48),
)
def test_a_write_changes_the_field_alone_and_all_checksums_stay_right(name, frame, value):
    if name == "icmp_type":
        value &= 8  # an echo stays an echo: scapy finds no checksum in other types that are too short
    pkt, memory = _view(frame)
    writable = pkt._headers.layers & FIELDS[name].write_layer
    setattr(pkt, name, value)
    if writable:
        assert getattr(pkt, name) == value & FIELDS[name].value_mask
        for other in FIELDS:
            assert other == name or getattr(pkt, other) == _by_scapy(other, frame)
    # scapy computes every checksum that it finds deleted.
    expected = Ether(bytes(memory))
    del expected[IP].chksum
    transport = expected[IP].payload
    if not (isinstance(transport, UDP) and transport.chksum == 0):
        del transport.chksum
    assert bytes(expected) == bytes(memory)
    assert writable or bytes(memory) == frame


def test_fields_that_no_checksum_could_follow_cannot_be_written():
    pkt, _ = _view(_tcp())
    for name in set(FIELDS) - set(WRITABLE):
        with pytest.raises(AttributeError):
            setattr(pkt, name, 1)


def test_a_packet_has_no_other_attributes():
    pkt, _ = _view(_tcp())
    with pytest.raises(AttributeError):
        pkt.source = 1


@given(frame_and_link=frames)
def test_every_attribute_of_every_frame_can_be_read(frame_and_link):
    pkt, memory = _view(*frame_and_link)
    before = bytes(memory)
    values = {name: getattr(pkt, name) for name in (*FIELDS, *FACTS, *FLAGS)}
    for name in FIELDS:
        assert any(pkt.has(field.layer) for field in places(name)) or values[name] == 0
    assert bytes(memory) == before


@given(frame_and_link=frames, names=st.lists(st.sampled_from(WRITABLE)), value=st.integers())
def test_a_write_changes_neither_length_nor_layers(frame_and_link, names, value):
    frame, link = frame_and_link
    pkt, memory = _view(frame, link)
    before = parse(frame, link)
    for name in names:
        setattr(pkt, name, value)
    after = parse(memory, link)
    # Addresses and the identification say of what datagram a fragment is, as it came in.
    assert replace(after, datagram=None) == replace(before, datagram=None)
    assert (after.datagram is None) == (before.datagram is None)


def test_facts():
    pkt, memory = _view(_tcp(b"abcde"))
    assert (pkt.length, pkt.captured_length, pkt.time_ns) == (len(memory) + 4, len(memory), 1000)
    assert (pkt.is_ipv4, pkt.is_tcp, pkt.is_udp, pkt.is_icmp) == (True, True, False, False)


@pytest.mark.parametrize(
    ("frame", "payload"),
    [
        (_tcp(b"abc"), b"abc"),
        (_tcp(b"abc", words=8), b"abc"),
        (_tcp(b"abc", words=3), b"abc"),
        (_tcp(b"abc") + bytes(9), b"abc"),
        (_tcp(b"abc")[:-2], b"a"),
        (_tcp(b"abc", words=15)[:-10], b""),
        (_udp(b"abc"), b"abc"),
        (_icmp(), b"abc"),
        (_udp(b"abc")[:40], b""),
        (bytes(60), b""),
    ],
)
def test_the_payload_is_what_was_captured_after_the_transport_header(frame, payload):
    pkt, _ = _view(frame)
    assert [pkt.payload[index] for index in range(len(pkt.payload))] == list(payload)
    assert pkt.payload_length == len(payload)


def test_outside_the_payload_is_zero():
    pkt, _ = _view(_udp(b"abc") + b"padding")
    assert [pkt.payload[index] for index in (-1, 3, 1 << 40)] == [0, 0, 0]


def test_drop_gives_its_reason():
    pkt, _ = _view(_udp())
    assert pkt.drop("over rate") == Dropped("over rate")
