"""Frames and traffic for tests: hand-packed headers with right checksums, and hypothesis strategies around them.

Few addresses and ports, so that flows repeat. Frames may be tagged, fragmented, cut off, altered or noise.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from itertools import accumulate, pairwise

import numpy as np
from hypothesis import strategies as st

from fajita.io.frames import (
    BSD_NULL,
    ETHERNET,
    LINUX_SLL,
    LINUX_SLL2,
    PPP,
    RAW_IP,
    UNKNOWN_LINK,
    FrameBlock,
)
from fajita.packet import (
    ARP_TYPE,
    AUTHENTICATION_EXTENSION,
    EXTENSIONS,
    FRAGMENT_EXTENSION,
    GRE_PROTOCOL,
    ICMP_PROTOCOL,
    ICMPV6_PROTOCOL,
    IPV4_PROTOCOL,
    IPV4_TYPE,
    IPV6_PROTOCOL,
    IPV6_TYPE,
    MAXIMUM_EXTENSIONS,
    MAXIMUM_TAGS,
    MAXIMUM_TUNNELS,
    PPP_IPV4,
    PPP_IPV6,
    PPPOE_TYPE,
    SCTP_PROTOCOL,
    TCP_PROTOCOL,
    UDP_PROTOCOL,
)
from tests.tunnels import gre_bodies, udp_bodies

LINKS = (ETHERNET, RAW_IP, LINUX_SLL, LINUX_SLL2, BSD_NULL, PPP, UNKNOWN_LINK)

ADDRESSES = tuple(int(IPv4Address(text)) for text in ("10.0.0.1", "10.0.0.2", "192.0.2.7", "255.255.255.255"))
PORTS = (0, 53, 443, 65535)


def internet_checksum(data: bytes) -> int:
    """RFC 1071, of bytes in network order; an odd last byte is followed by a zero."""
    words = struct.unpack(f">{len(data) // 2 + len(data) % 2}H", data + bytes(len(data) % 2))
    total = sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _pseudo_header(src: int, dst: int, protocol: int, length: int) -> bytes:
    return struct.pack(">IIBBH", src, dst, 0, protocol, length)


def tcp_segment(
    src: int, dst: int, src_port: int, dst_port: int, payload: bytes = b"", *, flags: int = 0x18, words: int = 5
) -> bytes:
    """A TCP segment with its checksum; `words` is the data offset, with options of zeros above 5."""
    options = bytes(4 * max(0, words - 5))
    head = struct.pack(">HHIIBBH", src_port, dst_port, 0x01020304, 0xFFFFFFF0, words << 4, flags, 0xFAF0)
    length = 20 + len(options) + len(payload)
    covered = _pseudo_header(src, dst, TCP_PROTOCOL, length) + head + bytes(4) + options + payload
    return head + struct.pack(">HH", internet_checksum(covered), 0) + options + payload


def udp_datagram(
    src: int, dst: int, src_port: int, dst_port: int, payload: bytes = b"", *, checksum: bool = True
) -> bytes:
    """A UDP datagram; without checksum it carries 0."""
    head = struct.pack(">HHH", src_port, dst_port, 8 + len(payload))
    if not checksum:
        return head + bytes(2) + payload
    covered = _pseudo_header(src, dst, UDP_PROTOCOL, 8 + len(payload)) + head + bytes(2) + payload
    return head + struct.pack(">H", internet_checksum(covered) or 0xFFFF) + payload


def icmp_echo(identifier: int, sequence: int, payload: bytes = b"") -> bytes:
    """An ICMP echo request with its checksum."""
    rest = struct.pack(">HH", identifier, sequence) + payload
    return struct.pack(">BBH", 8, 0, internet_checksum(b"\x08\x00\x00\x00" + rest)) + rest


def ipv4_packet(
    src: int,
    dst: int,
    protocol: int,
    body: bytes,
    *,
    options: bytes = b"",
    fragment: int = 0,
    identification: int = 0x1234,
    total_length: int | None = None,
    tos: int = 0,
    ttl: int = 64,
) -> bytes:
    """An IPv4 packet with its header checksum. fragment: flags and offset; options: a multiple of four bytes."""
    words = 5 + len(options) // 4
    length = 4 * words + len(body) if total_length is None else total_length
    addresses = struct.pack(">II", src, dst) + options
    head = struct.pack(">BBHHHBB", 0x40 | words, tos, length, identification, fragment, ttl, protocol)
    checksum = internet_checksum(head + bytes(2) + addresses)
    return head + struct.pack(">H", checksum) + addresses + body


def extension(kind: int, following: int, *, units: int = 0, fragment: int = 0, identification: int = 7) -> bytes:
    """An IPv6 extension header of type `kind`; units: its length field; fragment: offset and flags (RFC 8200, 4.5)."""
    if kind == FRAGMENT_EXTENSION:
        return struct.pack(">BBHI", following, 0, fragment, identification)
    size = 4 * (units + 2) if kind == AUTHENTICATION_EXTENSION else 8 * (units + 1)
    return struct.pack(">BB", following, units) + bytes(max(0, size - 2))


def ipv6_packet(
    src: bytes,
    dst: bytes,
    protocol: int,
    body: bytes,
    *,
    extensions: Sequence[int] = (),
    units: int = 0,
    fragment: int = 0,
    identification: int = 7,
    payload_length: int | None = None,
    hop_limit: int = 64,
) -> bytes:
    """An IPv6 packet with extension headers of these types before its body of type `protocol`."""
    chain = [*extensions, protocol]
    headers = b"".join(
        extension(kind, following, units=units, fragment=fragment, identification=identification)
        for kind, following in pairwise(chain)
    )
    length = len(headers) + len(body) if payload_length is None else payload_length
    return struct.pack(">IHBB", 6 << 28 | 0xABCDE, length, chain[0], hop_limit) + src + dst + headers + body


def ipv6_checksum(src: bytes, dst: bytes, protocol: int, segment: bytes) -> int:
    """The Internet checksum with IPv6's pseudo header (RFC 8200, 8.1) of a segment whose own checksum is 0."""
    return internet_checksum(src + dst + struct.pack(">II", len(segment), protocol) + segment)


MAC_ADDRESSES = bytes.fromhex("02000000000a 02000000000b")
_TAG_TYPES = {"vlan": 0x8100, "qinq": 0x88A8, "mpls": 0x8847}


def with_tags(kind: int, packet: bytes, tags: Sequence[str]) -> tuple[int, bytes]:
    """EtherType and bytes of a packet of EtherType `kind` behind tags, the outermost first: vlan, qinq, mpls, pppoe."""
    inner = None
    for tag in reversed(tags):
        if tag == "pppoe":
            protocol = {IPV4_TYPE: PPP_IPV4, IPV6_TYPE: PPP_IPV6}.get(kind, kind)
            packet = struct.pack(">BBHHH", 0x11, 0, 1, len(packet) + 2, protocol) + packet
            kind = PPPOE_TYPE
        elif tag == "mpls":
            is_last = inner != "mpls"
            packet = struct.pack(">I", 0x12345 << 12 | is_last << 8 | 64) + packet
            kind = _TAG_TYPES[tag]
        else:
            packet = struct.pack(">HH", 0x2064, kind) + packet
            kind = _TAG_TYPES[tag]
        inner = tag
    return kind, packet


def with_link(link: int, kind: int, packet: bytes) -> bytes:
    """A frame of a link type (code of io.frames) around a packet of an EtherType."""
    if link == ETHERNET:
        return MAC_ADDRESSES + struct.pack(">H", kind) + packet
    if link == LINUX_SLL:
        return struct.pack(">HHH8sH", 0, 1, 6, MAC_ADDRESSES, kind) + packet
    if link == LINUX_SLL2:
        return struct.pack(">HHIHBB8s", kind, 0, 1, 1, 0, 6, MAC_ADDRESSES) + packet
    if link == BSD_NULL:
        return struct.pack("<I", {IPV4_TYPE: 2, IPV6_TYPE: 30}.get(kind, 7)) + packet
    if link == PPP:
        return struct.pack(">HH", 0xFF03, {IPV4_TYPE: PPP_IPV4, IPV6_TYPE: PPP_IPV6}.get(kind, kind)) + packet
    return packet


@dataclass(frozen=True)
class Traffic:
    """Frames with their times (nanoseconds), bytes on the wire and link codes, cut into blocks before these indexes."""

    frames: list[bytes]
    times_ns: list[int]
    wire: list[int]
    links: list[int]
    cuts: list[int]

    def blocks(self) -> Iterator[FrameBlock]:
        """Fresh blocks, their frames to be rewritten at will."""
        edges = sorted({0, len(self.frames), *(cut for cut in self.cuts if cut < len(self.frames))})
        for start, end in pairwise(edges):
            block = FrameBlock.from_frames(
                self.frames[start:end], self.times_ns[start:end], self.wire[start:end], first=start
            )
            block.link[:] = np.array(self.links[start:end], np.uint8)
            yield block


@lru_cache(maxsize=None, typed=True)
def _among(*values: object) -> st.SearchStrategy:
    """One of some values. Made once, as hypothesis looks into every new strategy."""
    return st.sampled_from(values)


@lru_cache(maxsize=None, typed=True)
def _usually(value: object, *others: object) -> st.SearchStrategy:
    """A value, and one time in eight one of the others."""
    return st.sampled_from([value] * (7 * len(others)) + list(others))


@st.composite
def ipv4_packets(draw: st.DrawFn) -> bytes:
    """Well-formed IPv4 packets; some fragments, some of length 0 (segmentation offload), some with options."""
    src, dst = draw(_among(*ADDRESSES)), draw(_among(*ADDRESSES))
    ports = draw(_among(*PORTS)), draw(_among(*PORTS))
    payload = draw(st.sampled_from((b"", b"a", b"GET / HTTP/1.1\r\n", bytes(64))))
    protocol = draw(_among(TCP_PROTOCOL, TCP_PROTOCOL, UDP_PROTOCOL, UDP_PROTOCOL, ICMP_PROTOCOL, SCTP_PROTOCOL, 47))
    if protocol == TCP_PROTOCOL:
        body = tcp_segment(src, dst, *ports, payload, words=draw(_usually(5, 4, 6, 15)))
    elif protocol == UDP_PROTOCOL:
        body = udp_datagram(src, dst, *ports, payload, checksum=draw(_usually(True, False)))
    elif protocol == ICMP_PROTOCOL:
        body = icmp_echo(*ports, payload)
    else:
        body = struct.pack(">HH", *ports) + payload
    return ipv4_packet(
        src,
        dst,
        protocol,
        body,
        options=draw(_usually(b"", b"\x01" * 4, b"\x01" * 40)),
        fragment=draw(_usually(0, 0x4000, 0x2000, 0x2001, 0x0010)),
        total_length=draw(_usually(None, 0, 19, 20, 24, 65535)),
        ttl=draw(_among(64, 1, 0)),
        tos=draw(_among(0, 0xFF)),
    )


IPV6_ADDRESSES = (bytes(15) + b"\x01", bytes.fromhex("20010db8" + "00" * 11 + "02"), bytes.fromhex("fe80" + "ff" * 14))


@st.composite
def ipv6_packets(draw: st.DrawFn) -> bytes:
    """Well-formed IPv6 packets, some with extension headers, some fragments, some of length 0."""
    src, dst = draw(_among(*IPV6_ADDRESSES)), draw(_among(*IPV6_ADDRESSES))
    ports = struct.pack(">HH", draw(_among(*PORTS)), draw(_among(*PORTS)))
    payload = draw(st.sampled_from((b"", b"a", bytes(64))))
    protocol = draw(_among(TCP_PROTOCOL, TCP_PROTOCOL, UDP_PROTOCOL, ICMPV6_PROTOCOL, SCTP_PROTOCOL, 59))
    if protocol == TCP_PROTOCOL:
        body = bytearray(ports + struct.pack(">IIBBHHH", 1, 2, 5 << 4, 0x10, 0xFAF0, 0, 0) + payload)
        checksum_at = 16
    elif protocol == UDP_PROTOCOL:
        body, checksum_at = bytearray(ports + struct.pack(">HH", 8 + len(payload), 0) + payload), 6
    else:
        body, checksum_at = bytearray(b"\x80\x00\x00\x00" + ports + payload), 2
    struct.pack_into(">H", body, checksum_at, ipv6_checksum(src, dst, protocol, bytes(body)))
    kinds = (*EXTENSIONS[:4], FRAGMENT_EXTENSION, AUTHENTICATION_EXTENSION)
    return ipv6_packet(
        src,
        dst,
        protocol,
        bytes(body),
        extensions=draw(st.lists(st.sampled_from(kinds), max_size=draw(_usually(0, 1, 3, MAXIMUM_EXTENSIONS + 1)))),
        units=draw(_usually(0, 1, 255)),
        fragment=draw(_usually(0, 1, 8)),
        payload_length=draw(_usually(None, 0, 3, 65535)),
        hop_limit=draw(_among(64, 1, 0)),
    )


@st.composite
def tunnelled(draw: st.DrawFn, kind: int, packet: bytes) -> tuple[int, bytes]:
    """EtherType and bytes of a packet around another one."""
    is_ipv6, payload_length = draw(st.booleans()), draw(_usually(None, 0, 24, 65535))
    tagged = with_tags(kind, packet, draw(_usually((), ("vlan",), ("mpls",))))
    frame = with_link(ETHERNET, *tagged)
    src, dst, ipv6_src, ipv6_dst = *ADDRESSES[1:3], *IPV6_ADDRESSES[1:]
    protocol = draw(_among(IPV4_PROTOCOL, GRE_PROTOCOL, UDP_PROTOCOL, UDP_PROTOCOL))
    if protocol == GRE_PROTOCOL:
        body = draw(gre_bodies(*tagged, frame))
    elif protocol == UDP_PROTOCOL:
        port, carried = draw(udp_bodies(kind, packet, frame))
        body = udp_datagram(src, dst, 50000, port, carried, checksum=draw(st.booleans()))
        if is_ipv6 and body[6:8] != bytes(2):
            checksum = ipv6_checksum(ipv6_src, ipv6_dst, protocol, body[:6] + bytes(2) + body[8:]) or 0xFFFF
            body = body[:6] + checksum.to_bytes(2, "big") + body[8:]
    else:
        protocol, body = IPV6_PROTOCOL if kind == IPV6_TYPE else IPV4_PROTOCOL, packet
    if is_ipv6:
        extensions = draw(_usually((), (60,), (44,)))
        return IPV6_TYPE, ipv6_packet(
            ipv6_src, ipv6_dst, protocol, body, extensions=extensions, payload_length=payload_length
        )
    options, fragment = draw(_usually(b"", b"\x01" * 4)), draw(_usually(0, 0x2000, 1))
    return IPV4_TYPE, ipv4_packet(
        src, dst, protocol, body, options=options, fragment=fragment, total_length=payload_length
    )


_PACKETS, _OTHER_PACKETS = {IPV4_TYPE: ipv4_packets(), IPV6_TYPE: ipv6_packets()}, st.just(bytes(28))


@st.composite
def linked_frames(draw: st.DrawFn) -> tuple[bytes, int]:
    """A frame that is what its headers say, and its link code."""
    link = draw(_usually(ETHERNET, *LINKS))
    kind = draw(st.sampled_from((IPV4_TYPE,) * 9 + (IPV6_TYPE,) * 5 + (ARP_TYPE, 0x88CC)))
    packet = draw(_PACKETS.get(kind, _OTHER_PACKETS))
    for _ in range(draw(st.sampled_from((0,) * 9 + (1, 1, 1, 1, 2, MAXIMUM_TUNNELS + 1)))):
        kind, packet = draw(tunnelled(kind, packet))
    if link in (ETHERNET, LINUX_SLL, LINUX_SLL2):
        depth = draw(_usually(0, 1, 2, MAXIMUM_TAGS, MAXIMUM_TAGS + 1))
        tags = [draw(_among("vlan", "qinq", "mpls", "pppoe")) for _ in range(depth)]
        kind, packet = with_tags(kind, packet, tags)
    return with_link(link, kind, packet) + bytes(draw(_usually(0, 1, 18))), link


@st.composite
def damaged_frames(draw: st.DrawFn) -> tuple[bytes, int]:
    """A frame with some bytes altered, mostly among its headers, or its end cut off."""
    frame, link = draw(linked_frames())
    if draw(st.booleans()):
        return frame[: draw(st.integers(0, len(frame)))], link
    altered = bytearray(frame)
    for _ in range(draw(st.integers(1, 3))):
        if altered:
            altered[draw(st.integers(0, min(draw(_among(60, 160)), len(altered)) - 1))] = draw(st.integers(0, 255))
    return bytes(altered), link


@st.composite
def datagrams(draw: st.DrawFn) -> list[tuple[bytes, int]]:
    """Fragments with one identification, more than are of one datagram: first ones with several ports, later ones."""
    link, tags = draw(_usually(ETHERNET, RAW_IP)), draw(_among((), ("vlan",)))
    protocols = (UDP_PROTOCOL, TCP_PROTOCOL, ICMP_PROTOCOL, 60)
    parts = st.tuples(
        _among(0, 0, 1, 2),  # offset in units of 8 bytes
        st.booleans(),  # more fragments
        _among(*PORTS),
        st.sampled_from(protocols[: draw(st.integers(1, len(protocols)))]),
        _usually(0, 1),  # whether from another host
    )
    is_ipv6, identification = draw(st.booleans()), draw(_among(0, 0x1234, 0xFFFF))
    made = []
    for offset, more, port, protocol, host in draw(st.lists(parts, min_size=2, max_size=8)):
        body = struct.pack(">HHHH", port, 53, 8 + 16, 0) + bytes(16)
        if is_ipv6:
            source, destination, fragment = IPV6_ADDRESSES[host], IPV6_ADDRESSES[2], offset << 3 | more
            extensions = draw(_usually((44,), (0, 44), (44, 44), (44, 60)))
            packet = ipv6_packet(
                source,
                destination,
                protocol,
                body,
                extensions=extensions,
                fragment=fragment,
                identification=identification,
            )
        else:
            fragment = more << 13 | offset
            packet = ipv4_packet(
                ADDRESSES[host], ADDRESSES[2], protocol, body, fragment=fragment, identification=identification
            )
        kind, packet = with_tags(IPV6_TYPE if is_ipv6 else IPV4_TYPE, packet, tags if link == ETHERNET else ())
        made.append((with_link(link, kind, packet), link))
    return made


@st.composite
def errors_about(draw: st.DrawFn, frame: bytes, link: int) -> tuple[bytes, int]:
    """An ICMP error that quotes the packet in a frame: some of it or all, sometimes altered."""
    start = {ETHERNET: 14, LINUX_SLL: 16, LINUX_SLL2: 20, BSD_NULL: 4, PPP: 4}.get(link, 0)
    quoted = bytearray(frame[start:][: draw(_usually(None, 0, 19, 20, 24, 28, 31, 36, 40, 48))])
    if quoted and draw(_usually(False, True)):
        quoted[draw(st.integers(0, min(28, len(quoted)) - 1))] = draw(st.integers(0, 255))
    is_ipv6 = frame[start : start + 1] >= b"\x60"
    body = bytes([draw(_usually(1 if is_ipv6 else 3, *range(14))), 1]) + bytes(6) + bytes(quoted)
    if is_ipv6:
        source, destination = draw(_among(*IPV6_ADDRESSES)), draw(_among(*IPV6_ADDRESSES))
        body = body[:2] + struct.pack(">H", ipv6_checksum(source, destination, ICMPV6_PROTOCOL, body)) + body[4:]
        packet = ipv6_packet(source, destination, ICMPV6_PROTOCOL, body, extensions=draw(_usually((), (0,), (44,))))
    else:
        src, dst = draw(_among(*ADDRESSES)), draw(_among(*ADDRESSES))
        body = body[:2] + struct.pack(">H", internet_checksum(body)) + body[4:]
        options, fragment = draw(_usually(b"", b"\x01" * 4)), draw(_usually(0, 0x2000, 0x2001))
        packet = ipv4_packet(src, dst, ICMP_PROTOCOL, body, options=options, fragment=fragment)
    kind = IPV6_TYPE if is_ipv6 else IPV4_TYPE
    if draw(_usually(False, True)):
        kind, packet = draw(tunnelled(kind, packet))
    kind, packet = with_tags(kind, packet, draw(_usually((), ("vlan",))))
    return with_link(ETHERNET, kind, packet) + bytes(draw(_usually(0, 7))), ETHERNET


_DATAGRAMS = st.lists(datagrams(), max_size=2)

noise = st.tuples(st.binary(max_size=60), st.sampled_from(LINKS))

#: A frame and its link code: mostly sound, as flows need repeating packets.
frames = st.one_of(linked_frames(), linked_frames(), linked_frames(), damaged_frames(), noise)

#: From one packet to the next, nanoseconds. Chains of `chains` have timeouts between these.
_STEPS_NS = (0, 1, 1_000, 10_000, 1_000_000, 2_000_000_000, 31_000_000_000, -1_000, -5_000_000)
#: When traffic begins: today; where times turn negative to an NF, in 2262; and at the beginning of time.
_FIRST_TIMES_NS = (1_700_000_000_000_000_000, 1_700_000_000_000_000_000, (1 << 63) - 1_000_000, 0)


@st.composite
def traffic(draw: st.DrawFn, max_packets: int = 48) -> Traffic:
    """Some packets, many of them again and again, over more than one burst, in one or more blocks."""
    distinct = draw(st.lists(frames, min_size=draw(_among(1, 3, 8)), max_size=10))
    for fragments in draw(_DATAGRAMS):
        distinct += fragments
    for frame, link in draw(st.lists(st.sampled_from(distinct), max_size=4)):
        distinct.append(draw(errors_about(frame, link)))
    least = draw(_among(0, max_packets // 2, max_packets))
    # One draw of bytes, not one of each number: hypothesis takes most of the time of a test.
    order = draw(st.binary(min_size=least, max_size=max_packets))
    steps = draw(st.binary(min_size=len(order), max_size=len(order)))
    first_ns = draw(_among(*_FIRST_TIMES_NS))
    times_ns = accumulate((_STEPS_NS[step % len(_STEPS_NS)] for step in steps), initial=first_ns)
    chosen = [distinct[index % len(distinct)] for index in order]
    extra = draw(_among(0, 0, 4, 1400))
    return Traffic(
        frames=[frame for frame, _ in chosen],
        times_ns=[time % (1 << 64) for time in times_ns][1:],
        wire=[len(frame) + extra for frame, _ in chosen],
        links=[link for _, link in chosen],
        cuts=draw(st.lists(st.integers(0, max_packets), max_size=2)),
    )


def many_flows(flows: int, repeats: int) -> Traffic:
    """UDP frames of so many 5-tuples, each `repeats` times, a microsecond apart."""
    addresses = [(0x0A000000 + flow % 4096, 0xC0000200 + flow // 7) for flow in range(flows)]
    frames = [
        with_link(ETHERNET, IPV4_TYPE, ipv4_packet(src, dst, UDP_PROTOCOL, udp_datagram(src, dst, flow & 0xFFFF, 53)))
        for flow, (src, dst) in enumerate(addresses)
    ] * repeats
    count = len(frames)
    return Traffic(frames, [1000 * index for index in range(count)], [64] * count, [ETHERNET] * count, [1000])
