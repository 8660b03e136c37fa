"""Numbers of protocols are those that others have for them."""

import socket

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet

from fajita import protocols


@pytest.mark.parametrize("name", ["ICMP", "TCP", "UDP", "SCTP", "ICMPV6", "GRE", "IPV6"])
def test_protocols_have_the_numbers_of_the_system(name: str) -> None:
    assert getattr(protocols, f"{name}_PROTOCOL") == getattr(socket, f"IPPROTO_{name}")


@pytest.mark.parametrize("name", ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"])
def test_flags_have_the_bits_of_scapy(name: str) -> None:
    letter = "E" if name == "ECE" else name[0]
    assert TCP(flags=getattr(protocols, f"{name}_FLAG")).flags == letter


@pytest.mark.parametrize(
    ("number", "layer"),
    [
        (protocols.IPV4_TYPE, IP()),
        (protocols.ARP_TYPE, ARP()),
        (protocols.IPV6_TYPE, IPv6()),
        (protocols.CUSTOMER_TAG, Dot1Q()),
        (protocols.SERVICE_TAG, Dot1AD()),
    ],
)
def test_types_are_those_of_scapy(number: int, layer: Packet) -> None:
    frame = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / layer)
    assert int.from_bytes(frame[12:14]) == number
