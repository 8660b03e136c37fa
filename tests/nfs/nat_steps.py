"""Packets through a NAT, one after another, each with what is to become of it."""

from collections.abc import Sequence
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import GRE, Ether
from scapy.layers.sctp import SCTP, SCTPChunkInit
from scapy.packet import Packet, Raw

from fajita.nfs.nat import Nat
from tests.nfs.running import Result, run
from tests.nfs.scapy_frames import ethernet

ALICE, BOB, SERVER, OTHER = "10.0.0.1", "10.0.0.2", "198.51.100.1", "198.51.100.2"
EXTERNAL = "203.0.113.7"
SECOND = 10**9


def nat(**params: Any) -> Nat:
    return Nat(**({"inside": ["10.0.0.0/8"], "external": [EXTERNAL]} | params))


def udp(src: str, sport: int, dst: str, dport: int, **fields: Any) -> Packet:
    return IP(src=src, dst=dst) / UDP(sport=sport, dport=dport, **fields) / b"data of a packet"


def tcp(src: str, sport: int, dst: str, dport: int, flags: str = "A", **fields: Any) -> Packet:
    return IP(src=src, dst=dst) / TCP(sport=sport, dport=dport, flags=flags, **fields) / b"data"


def echo(src: str, dst: str, id: int, type: int = 8) -> Packet:
    return IP(src=src, dst=dst) / ICMP(type=type, id=id, seq=3) / b"ping"


def frames_of(packets: Sequence[Packet]) -> list[bytes]:
    return [bytes(ethernet() / packet) for packet in packets]


def seen(frame: bytes) -> tuple[Any, ...]:
    """What a NAT may change of a packet."""
    ip = Ether(frame)[IP]
    if ICMP in ip:
        return ip.src, ip.dst, ip[ICMP].id
    return ip.src, ip.payload.sport, ip.dst, ip.payload.dport


def assert_is(frame: bytes, expected: Packet) -> None:
    """The frame is the packet as scapy builds it, with all its checksums."""
    assert bytes(frame) == bytes(ethernet() / expected)


class Steps:
    """Packets one after another, each with what is to become of it: the packet that leaves, or a reason."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []
        self.times_ns: list[int] = []
        self.expected: list[Packet | str] = []
        self.now_ns = SECOND

    def then(self, packet: Packet, expected: Packet | str, after: float = 0.001) -> "Steps":
        self.now_ns += int(after * SECOND)
        self.packets.append(packet)
        self.times_ns.append(self.now_ns)
        self.expected.append(expected)
        return self

    def others(self, after: float) -> "Steps":
        """So many packets of others that all sessions are ended that are over by then."""
        for number in range(40):
            stranger = udp("192.0.2.1", 1, SERVER, 2)
            self.then(stranger, stranger, after=0 if number else after)
        return self

    def check(self, engine: Any, nf: Nat, **settings: Any) -> Result:
        result = run(engine, nf, frames_of(self.packets), self.times_ns, **settings)
        for number, expected in enumerate(self.expected):
            if isinstance(expected, str):
                assert result.verdicts[number] == 0, (number, seen(result.frames[number]))
            else:
                assert result.verdicts[number] == 1, (number, result.counters.nfs[0].drops)
                assert_is(result.frames[number], expected)
        drops = result.counters.nfs[0].drops
        reasons = [expected for expected in self.expected if isinstance(expected, str)]
        assert {reason: count for reason, count in drops.items() if count} == {
            reason: reasons.count(reason) for reason in reasons
        }
        return result


def gre(src: str, dst: str) -> Packet:
    return IP(src=src, dst=dst) / GRE() / IP(src="192.0.2.1", dst="192.0.2.2") / b"inner"


def sctp(src: str, sport: int, dst: str, dport: int) -> Packet:
    return IP(src=src, dst=dst) / SCTP(sport=sport, dport=dport, tag=0) / SCTPChunkInit()


def error(src: str, dst: str, quoted: Packet, *, bytes_after: int = 8, type: int = 3, code: int = 3) -> Packet:
    """An ICMP error with the IP header of what it is about and so many bytes after it."""
    return IP(src=src, dst=dst) / ICMP(type=type, code=code) / Raw(bytes(quoted)[: 20 + bytes_after])


ROUTER, INSIDE_ROUTER = "192.0.2.99", "10.255.255.254"
