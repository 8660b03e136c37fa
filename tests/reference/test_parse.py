"""The rules of parsing, each on a frame made for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.io.frames import BSD_NULL, ETHERNET, LINUX_SLL, LINUX_SLL2, PPP, RAW_IP, UNKNOWN_LINK
from fajita.packet import (
    ARP,
    ARP_TYPE,
    IPV4_TYPE,
    IPV6,
    IPV6_TYPE,
    LATER_FRAGMENT,
    MALFORMED_IPV4,
    MAXIMUM_TAGS,
    NOT_IP,
    OTHER_TRAFFIC,
    PORTS_NOT_CAPTURED,
    SCTP_PROTOCOL,
    TCP_PROTOCOL,
    TRUNCATED,
    UDP_PROTOCOL,
    UNKNOWN_LINK_TYPE,
    Layer,
)
from fajita.reference.parse import parse
from tests.traffic import (
    LINKS,
    frames,
    icmp_echo,
    ipv4_packet,
    ipv6_packet,
    tcp_segment,
    udp_datagram,
    with_link,
    with_tags,
)

SRC, DST = 0x0A000001, 0x0A000002
UDP = ipv4_packet(SRC, DST, UDP_PROTOCOL, udp_datagram(SRC, DST, 53, 1024, b"abc"))
TCP = ipv4_packet(SRC, DST, TCP_PROTOCOL, tcp_segment(SRC, DST, 80, 1024, b"abc"))
WITH_PORTS = Layer.IPV4 | Layer.FLOW | Layer.PORTS


def _ethernet(packet: bytes, kind: int = IPV4_TYPE) -> bytes:
    return with_link(ETHERNET, kind, packet)


def _reason(frame: bytes, link: int = ETHERNET) -> int:
    headers = parse(frame, link)
    assert Layer.FLOW not in headers.layers
    return headers.reason


@pytest.mark.parametrize(
    ("link", "ip_offset"), [(ETHERNET, 14), (RAW_IP, 0), (LINUX_SLL, 16), (LINUX_SLL2, 20), (BSD_NULL, 4), (PPP, 4)]
)
def test_ip_is_found_behind_every_link_header(link, ip_offset):
    headers = parse(with_link(link, IPV4_TYPE, UDP), link)
    ethernet = Layer.ETHERNET if link == ETHERNET else Layer(0)
    assert headers.layers == ethernet | WITH_PORTS | Layer.UDP
    assert (headers.ip, headers.transport, headers.ip_end) == (ip_offset, ip_offset + 20, ip_offset + len(UDP))
    assert headers.reason == OTHER_TRAFFIC


def test_ppp_may_leave_out_address_and_control():
    assert parse(with_link(PPP, IPV4_TYPE, UDP)[2:], PPP).ip == 2


def test_bsd_null_in_the_byte_order_of_either_host():
    assert parse(bytes((0, 0, 0, 2)) + UDP, BSD_NULL).ip == 4
    assert _reason(bytes((0, 0, 0, 30)) + ipv6_packet(b""), BSD_NULL) == IPV6


def test_an_unknown_link_has_no_headers():
    assert parse(UDP, UNKNOWN_LINK).layers == 0
    assert _reason(UDP, UNKNOWN_LINK) == UNKNOWN_LINK_TYPE


@pytest.mark.parametrize(
    "tags",
    [["vlan"], ["qinq", "vlan"], ["mpls"], ["mpls", "mpls"], ["pppoe"], ["vlan", "pppoe"], ["vlan"] * MAXIMUM_TAGS],
)
def test_tags_are_stepped_over(tags):
    kind, packet = with_tags(IPV4_TYPE, UDP, tags)
    assert parse(_ethernet(packet, kind), ETHERNET).layers == Layer.ETHERNET | WITH_PORTS | Layer.UDP


def test_at_most_so_many_tags_are_stepped_over():
    kind, packet = with_tags(IPV4_TYPE, UDP, ["vlan"] * (MAXIMUM_TAGS + 1))
    assert _reason(_ethernet(packet, kind)) == NOT_IP


@pytest.mark.parametrize(
    ("kind", "packet", "reason"),
    [(ARP_TYPE, bytes(28), ARP), (IPV6_TYPE, ipv6_packet(b""), IPV6), (0x88CC, bytes(40), NOT_IP)],
)
def test_other_protocols_are_named(kind, packet, reason):
    assert _reason(_ethernet(packet, kind)) == reason
    assert _reason(_ethernet(*reversed(with_tags(kind, packet, ["vlan"])))) == reason


@pytest.mark.parametrize("link", [link for link in LINKS if link != UNKNOWN_LINK])
def test_a_frame_that_ends_within_link_or_ip_header_is_truncated(link):
    frame = with_link(link, IPV4_TYPE, UDP)
    for size in range(len(frame) - len(UDP) + 20):
        assert _reason(frame[:size], link) == TRUNCATED


@pytest.mark.parametrize("tags", [["qinq", "vlan"], ["mpls", "mpls"], ["vlan", "pppoe"]])
def test_a_frame_that_ends_within_a_tag_is_truncated(tags):
    kind, packet = with_tags(IPV4_TYPE, UDP, tags)
    for size in range(len(packet) - len(UDP) + 20):
        assert _reason(_ethernet(packet[:size], kind)) == TRUNCATED


def test_options_must_be_captured():
    packet = ipv4_packet(SRC, DST, UDP_PROTOCOL, udp_datagram(SRC, DST, 1, 2), options=bytes(8))
    assert parse(_ethernet(packet), ETHERNET).transport == 14 + 28
    assert _reason(_ethernet(packet)[: 14 + 27]) == TRUNCATED


@pytest.mark.parametrize(
    ("first_byte", "total"), [(0x44, 31), (0x40, 31), (0x65, 31), (0x55, 31), (0x45, 19), (0x45, 1), (0x46, 20)]
)
def test_impossible_ip_headers_are_malformed(first_byte, total):
    packet = bytearray(UDP)
    packet[0], packet[2:4] = first_byte, total.to_bytes(2, "big")
    assert _reason(_ethernet(bytes(packet))) == MALFORMED_IPV4


def test_total_length_zero_is_segmentation_offload():
    packet = ipv4_packet(SRC, DST, TCP_PROTOCOL, tcp_segment(SRC, DST, 1, 2, bytes(100)), total_length=0)
    headers = parse(_ethernet(packet), ETHERNET)
    assert headers.layers & Layer.TCP
    assert headers.ip_end == 14 + len(packet)


def test_padding_is_not_part_of_the_ip_packet():
    assert parse(_ethernet(UDP) + bytes(15), ETHERNET).ip_end == 14 + len(UDP)
    short = ipv4_packet(SRC, DST, UDP_PROTOCOL, b"", total_length=20)
    assert _reason(_ethernet(short) + bytes(26)) == PORTS_NOT_CAPTURED


def test_a_first_fragment_has_its_ports_and_a_later_one_has_not():
    first = ipv4_packet(SRC, DST, UDP_PROTOCOL, udp_datagram(SRC, DST, 1, 2), fragment=0x2000)
    later = ipv4_packet(SRC, DST, UDP_PROTOCOL, udp_datagram(SRC, DST, 1, 2), fragment=0x0001)
    assert parse(_ethernet(first), ETHERNET).layers & Layer.UDP
    assert parse(_ethernet(later), ETHERNET).layers == Layer.ETHERNET | Layer.IPV4
    assert _reason(_ethernet(later)) == LATER_FRAGMENT


@pytest.mark.parametrize(("packet", "whole"), [(TCP, 20), (UDP, 8)])
def test_ports_without_the_rest_of_the_header(packet, whole):
    frame = _ethernet(packet)
    for size in range(4, whole):
        assert parse(frame[: 34 + size], ETHERNET).layers == Layer.ETHERNET | WITH_PORTS
    for size in range(4):
        assert parse(frame[: 34 + size], ETHERNET).layers == Layer.ETHERNET | Layer.IPV4
        assert _reason(frame[: 34 + size]) == PORTS_NOT_CAPTURED


def test_protocols_without_a_checksum_to_repair():
    sctp = ipv4_packet(SRC, DST, SCTP_PROTOCOL, bytes(12))
    gre = ipv4_packet(SRC, DST, 47, b"")
    assert parse(_ethernet(sctp), ETHERNET).layers == Layer.ETHERNET | WITH_PORTS
    assert parse(_ethernet(gre), ETHERNET).layers == Layer.ETHERNET | Layer.IPV4 | Layer.FLOW


def test_icmp():
    frame = _ethernet(ipv4_packet(SRC, DST, 1, icmp_echo(1, 2)))
    assert parse(frame, ETHERNET).layers == Layer.ETHERNET | Layer.IPV4 | Layer.FLOW | Layer.ICMP
    assert parse(frame[:-1], ETHERNET).layers == Layer.ETHERNET | Layer.IPV4 | Layer.FLOW


@given(frame_and_link=frames, size=st.integers(0, 200))
def test_whatever_a_frame_says_its_headers_lie_within_it(frame_and_link, size):
    frame, link = frame_and_link
    headers = parse(frame[:size], link)
    captured = len(frame[:size])
    if headers.layers & Layer.IPV4:
        assert headers.ip + 20 <= headers.transport <= captured
        assert headers.transport <= headers.ip_end <= captured
    for layer, length in ((Layer.PORTS, 4), (Layer.TCP, 20), (Layer.UDP, 8), (Layer.ICMP, 8)):
        if headers.layers & layer:
            assert headers.transport + length <= headers.ip_end
    assert (headers.reason == OTHER_TRAFFIC) == (Layer.FLOW in headers.layers)
