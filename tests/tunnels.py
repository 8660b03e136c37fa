"""Tunnels around packets, hand-packed: for the traffic of differential tests."""

import struct

from hypothesis import strategies as st

from fajita.packet import (
    BRIDGING_TYPE,
    GENEVE_PORT,
    GRE_CHECKSUM,
    GRE_KEY,
    GRE_SEQUENCE,
    GTP_EXTENSION,
    GTP_KIND,
    GTP_PORT,
    GTP_USER_PACKET,
    MAXIMUM_GTP_EXTENSIONS,
    VXLAN_PORT,
)


def gre(kind: int, body: bytes, flags: int, checksum: int) -> bytes:
    """A GRE packet with what its flags say."""
    optional = [checksum << 16] if flags & GRE_CHECKSUM else []
    optional += [7] * ((flags & GRE_KEY != 0) + (flags & GRE_SEQUENCE != 0))
    return struct.pack(f">HH{len(optional)}I", flags, kind, *optional) + body


def vxlan(frame: bytes, flags: int = 8) -> bytes:
    """A VXLAN header before an Ethernet frame."""
    return struct.pack(">II", flags << 24, 7 << 8) + frame


def geneve(kind: int, body: bytes, words: int = 0, version: int = 0, flags: int = 0) -> bytes:
    """A GENEVE header with so many words of options."""
    return struct.pack(">BBHI", version << 6 | words, flags, kind, 7 << 8) + bytes(4 * words) + body


def gtp(packet: bytes, extensions: int = 0, flags: int = 0, message: int = GTP_USER_PACKET, cut: int = 0) -> bytes:
    """A GTP-U header with so many extension headers; its length is `cut` less than it should be."""
    flags |= GTP_KIND | (GTP_EXTENSION if extensions else 0)
    optional = struct.pack(">HBB", 1, 0, 0x85 if extensions else 0) if flags & 7 else b""
    for left in range(extensions, 0, -1):
        optional += bytes((1, 0, 0, 0x85 if left > 1 else 0))
    body = optional + packet
    return struct.pack(">BBHI", flags, message, max(0, len(body) - cut), 9) + body


@st.composite
def gre_bodies(draw: st.DrawFn, kind: int, packet: bytes, frame: bytes) -> bytes:
    """GRE around a packet of EtherType `kind`, or around a frame that has it."""
    carried = draw(st.sampled_from(((kind, packet), (BRIDGING_TYPE, frame))))
    flags = draw(st.sampled_from((0, GRE_CHECKSUM, GRE_KEY, GRE_CHECKSUM | GRE_KEY | GRE_SEQUENCE, 0x4000, 1)))
    return gre(*carried, flags, draw(st.sampled_from((0, 0x1234, 0xFFFF))))


@st.composite
def udp_bodies(draw: st.DrawFn, kind: int, packet: bytes, frame: bytes) -> tuple[int, bytes]:
    """A port and a tunnel's header around a packet of EtherType `kind`, or around a frame that has it."""
    port = draw(st.sampled_from((VXLAN_PORT, GENEVE_PORT, GTP_PORT)))
    if port == VXLAN_PORT:
        return port, vxlan(frame, draw(st.sampled_from((8, 8, 8, 0xFF, 0))))
    if port == GENEVE_PORT:
        words = draw(st.sampled_from((0, 1, 63)))
        if draw(st.booleans()):
            kind, packet = BRIDGING_TYPE, frame
        return port, geneve(kind, packet, words, *draw(st.sampled_from(((0, 0),) * 4 + ((1, 0), (0, 0x80), (0, 0x40)))))
    extensions = draw(st.sampled_from((0, 0, 1, 2, MAXIMUM_GTP_EXTENSIONS, MAXIMUM_GTP_EXTENSIONS + 1)))
    message = draw(st.sampled_from((GTP_USER_PACKET,) * 5 + (1,)))
    return port, gtp(
        packet, extensions, draw(st.sampled_from((0, 0, 2, 7, 0x08))), message, draw(st.sampled_from((0, 0, 0, 2)))
    )
