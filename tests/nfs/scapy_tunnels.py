"""Tunnels that scapy builds, with all their checksums, around any IP packet."""

from collections.abc import Callable

from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet

from tests.nfs.scapy_frames import ethernet


def outer_ipv4(**fields: object) -> Packet:
    """An IPv4 header between the ends of a tunnel."""
    return IP(src="203.0.113.1", dst="203.0.113.2", id=5, **fields)


def outer_ipv6(**fields: object) -> Packet:
    """An IPv6 header between the ends of a tunnel."""
    return IPv6(src="2001:db8:ffff::1", dst="2001:db8:ffff::2", **fields)


def inner_ethernet() -> Packet:
    """Addresses other than the frame's own."""
    return Ether(dst="02:00:00:00:00:1b", src="02:00:00:00:00:1a")


def vxlan(**fields: object) -> Packet:
    """From the UDP header to that of the frame in it."""
    return UDP(sport=50000, dport=4789, **fields) / VXLAN(vni=7) / inner_ethernet()


def geneve(**fields: object) -> Packet:
    """The same, with options."""
    options = [GeneveOptions(data=b"\x08" * 8), GeneveOptions(data=b"\0" * 4)]
    return UDP(sport=50000, dport=6081, **fields) / GENEVE(vni=7, options=options) / inner_ethernet()


def gtp(*extensions: Packet, **fields: object) -> Packet:
    """From the UDP header to the IP packet."""
    header = GTP_U_Header(teid=9, gtp_type=255, E=bool(extensions), S=1, seq=3)
    if extensions:
        header.next_ex = 0x85
    for extension in extensions:
        header /= extension
    return UDP(sport=2152, dport=2152, **fields) / header


ALL_OF_GRE = {"chksum_present": 1, "key_present": 1, "key": 0xABCDEF, "seqnum_present": 1, "sequence_number": 4}

#: By name: the frame around an IP packet.
TUNNELS: dict[str, Callable[[Packet], Packet]] = {
    "gre": lambda ip: ethernet() / outer_ipv4() / GRE() / ip,
    "gre with everything": lambda ip: ethernet() / outer_ipv4() / GRE(**ALL_OF_GRE) / ip,
    "gre with checksum over ipv6": lambda ip: ethernet() / outer_ipv6() / GRE(chksum_present=1) / ip,
    "nvgre": lambda ip: ethernet() / outer_ipv4() / GRE(key_present=1, key=0x1700) / inner_ethernet() / ip,
    "mpls in gre": lambda ip: ethernet() / outer_ipv4() / GRE() / MPLS(label=16, s=1) / ip,
    "ip in ipv4": lambda ip: ethernet() / outer_ipv4() / ip,
    "ip in ipv4 with options": lambda ip: ethernet() / outer_ipv4(options=[IPOption_NOP()] * 4) / ip,
    "ip in ipv6": lambda ip: ethernet() / outer_ipv6() / ip,
    "ip in ipv6 with extension": lambda ip: ethernet() / outer_ipv6() / IPv6ExtHdrDestOpt() / ip,
    "ip in a first fragment": lambda ip: ethernet() / outer_ipv4(flags="MF") / ip,
    "ip in a first ipv6 fragment": lambda ip: ethernet() / outer_ipv6() / IPv6ExtHdrFragment(m=1, id=8) / ip,
    "vxlan": lambda ip: ethernet() / outer_ipv4() / vxlan() / ip,
    "vxlan without checksum": lambda ip: ethernet() / outer_ipv4() / vxlan(chksum=0) / ip,
    "vxlan over ipv6": lambda ip: ethernet() / outer_ipv6() / vxlan() / ip,
    "vxlan over ipv6 without checksum": lambda ip: ethernet() / outer_ipv6() / vxlan(chksum=0) / ip,
    "vxlan in a vlan": lambda ip: ethernet() / Dot1Q(vlan=100) / outer_ipv4() / vxlan() / Dot1Q(vlan=200) / ip,
    "geneve": lambda ip: ethernet() / outer_ipv4() / geneve() / ip,
    "geneve of ip": lambda ip: ethernet() / outer_ipv4() / UDP(sport=5, dport=6081) / GENEVE(vni=7) / ip,
    "geneve over ipv6": lambda ip: ethernet() / outer_ipv6() / geneve() / ip,
    "gtp": lambda ip: ethernet() / outer_ipv4() / gtp() / ip,
    "gtp without optional fields": lambda ip: (
        ethernet() / outer_ipv4() / UDP(sport=2152, dport=2152) / GTP_U_Header(teid=9, gtp_type=255) / ip
    ),
    "gtp with extension": lambda ip: ethernet() / outer_ipv6() / gtp(GTPPDUSessionContainer(type=1, QFI=3)) / ip,
    "vxlan in gre, both with checksum": lambda ip: (
        ethernet() / outer_ipv4() / GRE(chksum_present=1) / outer_ipv6() / vxlan() / ip
    ),
    "ip in vxlan": lambda ip: ethernet() / outer_ipv6() / vxlan() / outer_ipv4() / ip,
    "vxlan without checksum in one with": lambda ip: (
        ethernet() / outer_ipv4() / vxlan() / outer_ipv4() / vxlan(chksum=0) / ip
    ),
    "four tunnels": lambda ip: (
        ethernet()
        / outer_ipv4()
        / geneve()
        / outer_ipv4()
        / outer_ipv6()
        / gtp()
        / outer_ipv4()
        / GRE(**ALL_OF_GRE)
        / ip
    ),
}
