"""Frames that scapy builds, checksums included: IPv4 packets behind every kind of link header and tag."""

from collections.abc import Callable
from ipaddress import IPv4Address

from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_Timestamp
from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether, Loopback
from scapy.layers.ppp import HDLC, PPP, PPPoE
from scapy.layers.sctp import SCTP, SCTPChunkData
from scapy.packet import Packet, Raw

from fajita.io.frames import BSD_NULL, ETHERNET, LINUX_SLL, LINUX_SLL2, RAW_IP
from fajita.io.frames import PPP as PPP_LINK

SRC_MAC, DST_MAC = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
CLIENT, SERVICE = "192.0.2.7", "198.51.100.1"


def ethernet() -> Packet:
    """Addresses given, so that scapy asks no network for them."""
    return Ether(dst=DST_MAC, src=SRC_MAC)


def destination_of(frame: bytes) -> str:
    """Where a frame goes that is Ethernet and IPv4, without tags."""
    return str(IPv4Address(frame[30:34]))


#: By name: the link code, and the headers in front of an IP packet.
LINKS: dict[str, tuple[int, Callable[[Packet], Packet]]] = {
    "ethernet": (ETHERNET, lambda ip: ethernet() / ip),
    "vlan": (ETHERNET, lambda ip: ethernet() / Dot1Q(vlan=100) / ip),
    "qinq": (ETHERNET, lambda ip: ethernet() / Dot1AD(vlan=200) / Dot1Q(vlan=100) / ip),
    "mpls": (ETHERNET, lambda ip: ethernet() / MPLS(label=16, s=0) / MPLS(label=17, s=1) / ip),
    "pppoe": (ETHERNET, lambda ip: ethernet() / PPPoE(sessionid=1) / PPP(proto=0x21) / ip),
    "vlan and pppoe": (ETHERNET, lambda ip: ethernet() / Dot1Q(vlan=7) / PPPoE(sessionid=1) / PPP(proto=0x21) / ip),
    "sll": (LINUX_SLL, lambda ip: CookedLinux(proto=0x800) / ip),
    "sll2": (LINUX_SLL2, lambda ip: CookedLinuxV2(proto=0x800) / ip),
    "raw": (RAW_IP, lambda ip: ip),
    "null": (BSD_NULL, lambda ip: Loopback(type=2) / ip),
    "ppp": (PPP_LINK, lambda ip: HDLC() / PPP(proto=0x21) / ip),
}

#: By name: what an IP packet carries.
TRANSPORTS: dict[str, Packet] = {
    "tcp": TCP(sport=1024, dport=80, seq=7, flags="PA") / (b"GET / HTTP/1.1\r\n\r\n"),
    "tcp with options": TCP(sport=1024, dport=80, flags="S", options=[("MSS", 1460), ("Timestamp", (1, 2))]),
    "udp": UDP(sport=1024, dport=53) / (b"x" * 21),
    "udp without data": UDP(sport=1024, dport=53),
    "udp without checksum": UDP(sport=1024, dport=53, chksum=0) / (b"x" * 20),
    "icmp": ICMP(id=3, seq=4) / (b"x" * 20),
    "sctp": SCTP(sport=1024, dport=80) / SCTPChunkData(data=b"x" * 20),
}


def ip_packet(transport: Packet, *, dst: str = SERVICE, src: str = CLIENT, **fields: object) -> Packet:
    """An IPv4 packet from the client to the service."""
    return IP(src=src, dst=dst, id=77, **fields) / transport


def ip_variants(dst: str = SERVICE) -> dict[str, Packet]:
    """Packets to `dst` by name: each transport, IP options, another protocol."""
    options = [IPOption_NOP(), IPOption_NOP(), IPOption_NOP(), IPOption_NOP()]
    packets = {name: ip_packet(transport, dst=dst) for name, transport in TRANSPORTS.items()}
    packets |= {
        "options": ip_packet(TRANSPORTS["tcp"], dst=dst, options=options),
        "long options": ip_packet(TRANSPORTS["udp"], dst=dst, options=[IPOption_Timestamp(length=40)]),
        "protocol 253": ip_packet(Raw(b"x" * 20), dst=dst, proto=253),
    }
    return packets


def udp_frame(
    sport: int = 1024, dport: int = 53, *, src: str = CLIENT, dst: str = SERVICE, payload: bytes = b"x" * 20
) -> bytes:
    """A plain Ethernet frame."""
    return bytes(ethernet() / IP(src=src, dst=dst, id=77) / UDP(sport=sport, dport=dport) / payload)


def tcp_frame(
    sport: int = 1024, dport: int = 80, *, src: str = CLIENT, dst: str = SERVICE, payload: bytes = b"x" * 20
) -> bytes:
    """A plain Ethernet frame."""
    return bytes(ethernet() / IP(src=src, dst=dst, id=77) / TCP(sport=sport, dport=dport) / payload)
