"""`pkt.checksum_valid` and `pkt.tcp_options`, of packets whose right values scapy knows."""

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import GRE
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

from fajita import NF, PASS, Array, Layer, Packet, key_of, u8, u64
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import ethernet


class Judges(NF):
    """Says in the source's MAC address whether the checksums are valid."""

    about = Layer.ETHERNET

    def packet(self, pkt: Packet) -> int:
        pkt.eth_src = 1 if pkt.checksum_valid else 0
        return PASS


class Options(NF):
    key = key_of("eth_src")

    class State:
        length: u64
        options: Array[u8, 44]
        before: u8
        after: u8

    def packet(self, pkt: Packet, state: Any) -> int:
        state.length = pkt.tcp_options_length
        for i in range(len(pkt.tcp_options)):
            state.options[i] = pkt.tcp_options[i]
        state.before = pkt.tcp_options[-1]
        state.after = pkt.tcp_options[len(pkt.tcp_options)]
        return PASS


IPV4, IPV6 = IP(src="10.0.0.1", dst="10.0.0.2"), IPv6(src="2001:db8::1", dst="2001:db8::2")
PACKETS = {
    "tcp": IPV4 / TCP(sport=1, dport=2) / Raw(b"odd"),
    "udp": IPV4 / UDP(sport=1, dport=2) / Raw(b"even"),
    "icmp": IPV4 / ICMP() / Raw(b"x" * 99),
    "options": IP(src="10.0.0.1", dst="10.0.0.2", options=[b"\x01\x01\x01\x00"]) / UDP(sport=1, dport=2),
    "tcp in ipv6": IPV6 / TCP(sport=1, dport=2) / Raw(b"odd"),
    "udp in ipv6": IPV6 / IPv6ExtHdrDestOpt() / UDP(sport=1, dport=2) / Raw(b"odd"),
    "icmpv6": IPV6 / ICMPv6EchoRequest(data=b"odd"),
}


def judged(engine: Any, frames: list[bytes], **settings: Any) -> list[bool]:
    return [frame[11] == 1 for frame in run(engine, Judges(), frames, **settings).frames]


def framed(packet: ScapyPacket) -> bytes:
    return bytes(ethernet() / packet)


@both_engines
@pytest.mark.parametrize("name", PACKETS)
def test_any_altered_bit_makes_a_checksum_wrong(engine: Any, name: str) -> None:
    frame = framed(PACKETS[name])
    # Not the lengths, which say where the packet ends, nor the fragment field, nor IPv6's version and headers.
    ipv6 = frame[12:14] == b"\x86\xdd"
    places = [*range(22, 54), *range(64, len(frame))] if ipv6 else [15, 18, 22, *range(24, len(frame))]
    if "udp" in name or name == "options":
        at = len(frame) - len(bytes(PACKETS[name][UDP]))
        places = [place for place in places if place not in (at + 4, at + 5)]
    if name == "tcp in ipv6":
        places = [*places, *range(54, 64)]
    altered = [bytearray(frame) for _ in places]
    for each, place in zip(altered, places, strict=True):
        each[place] ^= 0x10
    assert judged(engine, [frame, frame + b"padding"]) == [True, True]
    assert judged(engine, [bytes(each) for each in altered]) == [False] * len(places)


def with_bytes(frame: bytes, at: int, new: bytes) -> bytes:
    return frame[:at] + new + frame[at + len(new) :]


#: A wrong byte in the payload that no checksum tells, and where one tells.
WRONG = with_bytes(framed(PACKETS["udp"]), 42, b"X")
UNTELLABLE = {
    "truncated": WRONG[:-1],
    "no udp checksum": with_bytes(WRONG, 40, bytes(2)),
    "segmentation offload": framed(IP(src="10.0.0.1", dst="10.0.0.2", len=0) / TCP(chksum=1)),
    "of an ipv6 card": framed(IPv6(src="2001:db8::1", dst="2001:db8::2", plen=0) / TCP(chksum=1)),
    "udp without a length": framed(IPV4 / UDP(len=0, chksum=1)),
    "fragment": framed(IP(src="10.0.0.1", dst="10.0.0.2", flags="MF") / UDP(chksum=1) / Raw(b"12345678")),
    "another protocol": framed(IP(src="10.0.0.1", dst="10.0.0.2", proto=99) / Raw(b"12345678")),
    "not ip": framed(Raw(bytes(40))),
}


@both_engines
def test_what_cannot_be_told_counts_as_valid(engine: Any) -> None:
    assert judged(engine, [WRONG]) == [False]
    assert judged(engine, list(UNTELLABLE.values())) == [True] * len(UNTELLABLE)


@both_engines
def test_a_udp_length_that_cannot_be_true_is_not_valid(engine: Any) -> None:
    lengths = [framed(IPV4 / UDP(sport=1, dport=2, len=length) / Raw(b"abc")) for length in (7, 11, 12, 65535)]
    assert judged(engine, lengths) == [False, True, False, False]


@both_engines
def test_in_a_tunnel_the_checksums_are_those_of_the_packet_inside(engine: Any) -> None:
    inner = [PACKETS["udp"], IPV4 / UDP(chksum=1), PACKETS["tcp in ipv6"], IPV6 / TCP(chksum=1)]
    frames = [framed(IP(src="1.1.1.1", dst="2.2.2.2", chksum=7) / GRE() / packet) for packet in inner]
    assert judged(engine, frames, inner=True) == [True, False, True, False]


@both_engines
def test_tcp_options_are_those_that_were_captured(engine: Any) -> None:
    options = [("MSS", 1460), ("NOP", None), ("WScale", 7)]
    frame = framed(IPV4 / TCP(options=options) / Raw(b"abc"))
    known = bytes.fromhex("020405b4 01030307")
    mss = known[:4]
    frames = [frame, frame[: 34 + 24], frame[:34] + b"\0" + frame[35:46] + b"\xf0" + frame[47:]]
    frames += [frame[:46] + b"\x40" + frame[47:], framed(PACKETS["udp"])]
    expected = [(8, known), (4, mss), (11, known + b"abc"), (0, b""), (0, b"")]
    frames = [bytes([0] * 11 + [number]) + each[12:] for number, each in enumerate(frames)]
    result = run(engine, Options(), frames)
    assert [(row[1], bytes(row[4][: row[1]])) for row in result.rows()] == expected
    assert [row[2:4] for row in result.rows()] == [(0, 0)] * 5
