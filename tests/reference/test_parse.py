"""The rules of parsing, each on a frame made for it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.io.frames import BSD_NULL, ETHERNET, LINUX_SLL, LINUX_SLL2, PPP, RAW_IP, UNKNOWN_LINK
from fajita.packet import (
    ARP,
    ARP_TYPE,
    AUTHENTICATION_EXTENSION,
    EXTENSIONS,
    FRAGMENT_EXTENSION,
    ICMPV6_PROTOCOL,
    IPV4_TYPE,
    IPV6_TYPE,
    LATER_FRAGMENT,
    MALFORMED_IPV4,
    MALFORMED_IPV6,
    MAXIMUM_EXTENSIONS,
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
from fajita.reference.parse import Datagram, Headers, parse
from tests.traffic import (
    IPV6_ADDRESSES,
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
WITH_PORTS = Layer.IPV4 | Layer.IP | Layer.FLOW | Layer.PORTS
IPV6_UDP = ipv6_packet(*IPV6_ADDRESSES[:2], UDP_PROTOCOL, udp_datagram(SRC, DST, 53, 1024, b"abc"))


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
    assert Layer.IPV6 in parse(bytes((0, 0, 0, 30)) + IPV6_UDP, BSD_NULL).layers


def test_an_unknown_link_has_no_headers():
    assert parse(UDP, UNKNOWN_LINK).layers == 0
    assert _reason(UDP, UNKNOWN_LINK) == UNKNOWN_LINK_TYPE


@pytest.mark.parametrize(
    "tags",
    [["vlan"], ["qinq", "vlan"], ["mpls"], ["mpls", "mpls"], ["pppoe"], ["vlan", "pppoe"], ["vlan"] * MAXIMUM_TAGS],
)
def test_tags_are_stepped_over(tags):
    kind, packet = with_tags(IPV4_TYPE, UDP, tags)
    ethernet = Layer.ETHERNET | (Layer.VLAN if tags[0] in ("vlan", "qinq") else Layer(0))
    assert parse(_ethernet(packet, kind), ETHERNET).layers == ethernet | WITH_PORTS | Layer.UDP


def test_at_most_so_many_tags_are_stepped_over():
    kind, packet = with_tags(IPV4_TYPE, UDP, ["vlan"] * (MAXIMUM_TAGS + 1))
    assert _reason(_ethernet(packet, kind)) == NOT_IP


@pytest.mark.parametrize(
    ("kind", "packet", "reason"),
    [(ARP_TYPE, bytes(28), ARP), (IPV6_TYPE, b"\x50" + IPV6_UDP[1:], MALFORMED_IPV6), (0x88CC, bytes(40), NOT_IP)],
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
    assert parse(_ethernet(later), ETHERNET).layers == Layer.ETHERNET | Layer.IPV4 | Layer.IP | Layer.FRAGMENT
    assert _reason(_ethernet(later)) == LATER_FRAGMENT


def test_the_fragments_of_a_datagram_say_which():
    def headers(fragment: int, **other: int) -> Headers:
        return parse(_ethernet(ipv4_packet(SRC, DST, UDP_PROTOCOL, bytes(16), fragment=fragment, **other)), ETHERNET)

    addresses = SRC.to_bytes(4, "big"), DST.to_bytes(4, "big")
    expected = Datagram(4, *addresses, UDP_PROTOCOL, 0xABCD)
    for fragment, is_later in ((0x2000, False), (0x2001, True), (0x1FFF, True), (0x6000, False), (0xA000, False)):
        found = headers(fragment, identification=0xABCD)
        assert (found.datagram, found.is_later) == (expected, is_later)
        assert found.layers & Layer.FRAGMENT
    for fragment in (0, 0x4000, 0x8000, 0xC000):
        assert headers(fragment).datagram is None
        assert not headers(fragment).layers & Layer.FRAGMENT


@pytest.mark.parametrize(("packet", "whole"), [(TCP, 20), (UDP, 8)])
def test_ports_without_the_rest_of_the_header(packet, whole):
    frame = _ethernet(packet)
    for size in range(4, whole):
        assert parse(frame[: 34 + size], ETHERNET).layers == Layer.ETHERNET | WITH_PORTS
    for size in range(4):
        assert parse(frame[: 34 + size], ETHERNET).layers == Layer.ETHERNET | Layer.IPV4 | Layer.IP
        assert _reason(frame[: 34 + size]) == PORTS_NOT_CAPTURED


def test_protocols_without_a_checksum_to_repair():
    sctp = ipv4_packet(SRC, DST, SCTP_PROTOCOL, bytes(12))
    gre = ipv4_packet(SRC, DST, 47, b"")
    assert parse(_ethernet(sctp), ETHERNET).layers == Layer.ETHERNET | WITH_PORTS
    assert parse(_ethernet(gre), ETHERNET).layers == Layer.ETHERNET | Layer.IPV4 | Layer.IP | Layer.FLOW


def test_icmp():
    frame = _ethernet(ipv4_packet(SRC, DST, 1, icmp_echo(1, 2)))
    assert parse(frame, ETHERNET).layers == Layer.ETHERNET | Layer.IPV4 | Layer.IP | Layer.FLOW | Layer.ICMP
    assert parse(frame[:-1], ETHERNET).layers == Layer.ETHERNET | Layer.IPV4 | Layer.IP | Layer.FLOW


@given(frame_and_link=frames, size=st.integers(0, 200))
def test_whatever_a_frame_says_its_headers_lie_within_it(frame_and_link, size):
    frame, link = frame_and_link
    headers = parse(frame[:size], link)
    captured = len(frame[:size])
    if headers.layers & Layer.IPV4:
        assert headers.ip + 20 <= headers.transport <= captured
        assert headers.transport <= headers.ip_end <= captured
    if headers.layers & Layer.IPV6:
        assert headers.ip + 40 <= headers.ip_end <= captured
        assert headers.transport == 0 or headers.ip + 40 <= headers.transport <= headers.ip_end
    assert bool(headers.layers & Layer.IP) == bool(headers.layers & (Layer.IPV4 | Layer.IPV6))
    for layer, length in ((Layer.PORTS, 4), (Layer.TCP, 20), (Layer.UDP, 8), (Layer.ICMP, 8)):
        if headers.layers & layer:
            assert headers.transport + length <= headers.ip_end
    assert (headers.reason == OTHER_TRAFFIC) == (Layer.FLOW in headers.layers)


def _ipv6(protocol: int, body: bytes, **header: Any) -> bytes:
    return with_link(ETHERNET, IPV6_TYPE, ipv6_packet(*IPV6_ADDRESSES[:2], protocol, body, **header))


WITH_IPV6 = Layer.ETHERNET | Layer.IPV6 | Layer.IP
DATAGRAM = udp_datagram(SRC, DST, 53, 1024, b"abc")


@pytest.mark.parametrize("kind", [*EXTENSIONS, AUTHENTICATION_EXTENSION])
@pytest.mark.parametrize("units", [0, 1, 5])
def test_ipv6_extension_headers_are_stepped_over(kind, units):
    size = 4 * (units + 2) if kind == AUTHENTICATION_EXTENSION else 8 * (units + 1)
    headers = parse(_ipv6(UDP_PROTOCOL, DATAGRAM, extensions=[kind], units=units), ETHERNET)
    assert headers.layers == WITH_IPV6 | Layer.FLOW | Layer.PORTS | Layer.UDP
    assert (headers.transport, headers.protocol) == (14 + 40 + size, UDP_PROTOCOL)


def test_a_later_ipv6_fragment_has_no_ports_and_a_first_one_has():
    first = _ipv6(UDP_PROTOCOL, DATAGRAM, extensions=[FRAGMENT_EXTENSION], fragment=1)
    later = _ipv6(UDP_PROTOCOL, DATAGRAM, extensions=[FRAGMENT_EXTENSION], fragment=8)
    assert parse(first, ETHERNET).layers == WITH_IPV6 | Layer.FRAGMENT | Layer.FLOW | Layer.PORTS | Layer.UDP
    assert parse(later, ETHERNET).layers == WITH_IPV6 | Layer.FRAGMENT
    assert _reason(later) == LATER_FRAGMENT
    assert parse(later, ETHERNET).protocol == UDP_PROTOCOL


def test_what_follows_the_header_of_a_later_ipv6_fragment_is_not_looked_at():
    for before in ([], [0], [60, AUTHENTICATION_EXTENSION]):
        extensions = [*before, FRAGMENT_EXTENSION, 60]
        headers = parse(_ipv6(UDP_PROTOCOL, DATAGRAM, extensions=extensions, fragment=0xFFF8), ETHERNET)
        assert (headers.layers, headers.reason) == (WITH_IPV6 | Layer.FRAGMENT, LATER_FRAGMENT)
        assert (headers.protocol, headers.transport) == (60, 0)


def test_the_fragments_of_an_ipv6_datagram_say_which_whatever_follows_their_fragment_header():
    def headers(extensions: list[int], fragment: int, identification: int = 0xABCDEF01) -> Headers:
        frame = _ipv6(UDP_PROTOCOL, DATAGRAM, extensions=extensions, fragment=fragment, identification=identification)
        return parse(frame, ETHERNET)

    expected = Datagram(6, *IPV6_ADDRESSES[:2], None, 0xABCDEF01)
    for extensions in ([44], [0, 44], [44, 60], [44, 44]):
        for fragment, is_later in ((1, False), (7, False), (8, True), (0xFFF8, True)):
            found = headers(extensions, fragment)
            assert (found.datagram, found.is_later) == (expected, is_later)
        for fragment in (0, 6):
            assert headers(extensions, fragment).datagram is None


def test_a_fragment_header_is_8_bytes_long_whatever_its_reserved_bits_say():
    frame = bytearray(_ipv6(UDP_PROTOCOL, DATAGRAM, extensions=[FRAGMENT_EXTENSION], fragment=6))
    frame[14 + 40 + 1] = 255  # where other extension headers have their length
    headers = parse(frame, ETHERNET)
    assert headers.layers == WITH_IPV6 | Layer.FLOW | Layer.PORTS | Layer.UDP
    assert headers.transport == 14 + 40 + 8


def test_extension_headers_end_within_the_ipv6_packet_not_only_within_the_frame():
    for payload_length in range(1, 16):
        frame = _ipv6(UDP_PROTOCOL, DATAGRAM, extensions=[0, 60], payload_length=payload_length)
        headers = parse(frame, ETHERNET)
        assert (headers.layers, headers.reason) == (WITH_IPV6, TRUNCATED)
        assert (headers.protocol, headers.transport) == (0, 0)
    frame = _ipv6(59, DATAGRAM, extensions=[0, 60], payload_length=16)
    headers = parse(frame, ETHERNET)
    assert (headers.layers, headers.protocol) == (WITH_IPV6 | Layer.FLOW, 59)
    assert headers.transport == headers.ip_end == 14 + 40 + 16


def test_a_cut_within_an_ipv6_extension_header_leaves_the_ipv6_header():
    frame = _ipv6(UDP_PROTOCOL, DATAGRAM, extensions=[0, 60])
    for size in range(14 + 40):
        assert Layer.IPV6 not in parse(frame[:size], ETHERNET).layers
    for size in range(14 + 40, 14 + 40 + 16):
        headers = parse(frame[:size], ETHERNET)
        assert (headers.layers, headers.ip, headers.ip_end, headers.protocol) == (WITH_IPV6, 14, size, 0)
    assert _reason(frame[: 14 + 40 + 16]) == PORTS_NOT_CAPTURED


@pytest.mark.parametrize(
    ("link", "ip_offset"), [(ETHERNET, 14), (RAW_IP, 0), (LINUX_SLL, 16), (LINUX_SLL2, 20), (BSD_NULL, 4), (PPP, 4)]
)
def test_ipv6_is_found_behind_every_link_header(link, ip_offset):
    headers = parse(with_link(link, IPV6_TYPE, IPV6_UDP), link)
    ethernet = Layer.ETHERNET if link == ETHERNET else Layer(0)
    assert headers.layers == ethernet | Layer.IPV6 | Layer.IP | Layer.FLOW | Layer.PORTS | Layer.UDP
    assert (headers.ip, headers.transport, headers.ip_end) == (ip_offset, ip_offset + 40, ip_offset + len(IPV6_UDP))
    assert (headers.protocol, headers.reason) == (UDP_PROTOCOL, OTHER_TRAFFIC)


@pytest.mark.parametrize("tags", [["vlan"], ["qinq", "vlan"], ["mpls", "mpls"], ["pppoe"], ["vlan", "pppoe"]])
def test_ipv6_is_found_behind_tags(tags):
    kind, packet = with_tags(IPV6_TYPE, IPV6_UDP, tags)
    headers = parse(_ethernet(packet, kind), ETHERNET)
    assert headers.layers & ~Layer.VLAN == WITH_IPV6 | Layer.FLOW | Layer.PORTS | Layer.UDP


@pytest.mark.parametrize("version", [0, 4, 5, 7, 15])
def test_an_ipv6_header_of_another_version_is_malformed(version):
    frame = _ethernet(bytes((version << 4,)) + IPV6_UDP[1:], IPV6_TYPE)
    assert parse(frame, ETHERNET).layers == Layer.ETHERNET
    assert _reason(frame) == MALFORMED_IPV6


def test_an_ipv6_header_that_is_cut_off_is_truncated():
    frame = _ipv6(UDP_PROTOCOL, DATAGRAM, extensions=[0, 60])
    for size in range(14, 14 + 40 + 16):
        assert _reason(frame[:size]) == TRUNCATED
    assert _reason(_ipv6(UDP_PROTOCOL, DATAGRAM, extensions=[0], units=255)[: 14 + 40 + 8]) == TRUNCATED


def test_ipv6_payload_length():
    assert parse(_ipv6(UDP_PROTOCOL, DATAGRAM, payload_length=0), ETHERNET).ip_end == 14 + 40 + len(DATAGRAM)
    assert parse(_ipv6(UDP_PROTOCOL, DATAGRAM, payload_length=65535), ETHERNET).ip_end == 14 + 40 + len(DATAGRAM)
    short = _ipv6(UDP_PROTOCOL, DATAGRAM, payload_length=3)
    assert parse(short, ETHERNET).ip_end == 14 + 43
    assert _reason(short) == PORTS_NOT_CAPTURED


def test_at_most_so_many_ipv6_extension_headers_are_stepped_over():
    chain = [0] * MAXIMUM_EXTENSIONS
    assert Layer.UDP in parse(_ipv6(UDP_PROTOCOL, DATAGRAM, extensions=chain), ETHERNET).layers
    deeper = parse(_ipv6(UDP_PROTOCOL, DATAGRAM, extensions=[*chain, 0]), ETHERNET)
    assert (deeper.layers, deeper.protocol) == (WITH_IPV6 | Layer.FLOW, 0)


def test_icmpv6():
    layers = parse(_ipv6(ICMPV6_PROTOCOL, bytes(8)), ETHERNET).layers
    assert layers == WITH_IPV6 | Layer.FLOW | Layer.ICMP
