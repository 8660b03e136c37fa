"""Virtual services, and frames to and from them, as scapy builds them."""

from typing import Any

from scapy.layers.inet import ICMP, IP, TCP
from scapy.packet import Packet, Raw

from fajita import Chain, FrameBlock
from fajita.nfs.virtual_server import VirtualServer
from tests.nfs.scapy_frames import CLIENT, ethernet

SERVICE, OTHER = "203.0.113.10", "203.0.113.11"
SERVERS = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
MACS = ["02:00:00:00:01:01", "02:00:00:00:01:02", "02:00:00:00:01:03"]
WEB: dict[str, Any] = {
    "address": SERVICE,
    "port": 80,
    "servers": [{"address": address, "port": 8080} for address in SERVERS],
}
NAMES: dict[str, Any] = {
    "address": SERVICE,
    "port": 53,
    "protocol": "udp",
    "servers": [{"address": address} for address in SERVERS[:2]],
}
DIRECT: dict[str, Any] = {
    "address": OTHER,
    "port": 80,
    "forwarding": "direct",
    "servers": [{"address": address, "mac": mac} for address, mac in zip(SERVERS, MACS, strict=True)],
}


def frame(
    src: str, sport: int, dst: str, dport: int, transport: type[Packet] = TCP, mac: str = "", **fields: Any
) -> bytes:
    header = ethernet()
    if transport is TCP:
        fields.setdefault("flags", "A")
    if mac:
        header.dst = mac
    return bytes(header / IP(src=src, dst=dst, id=7) / transport(sport=sport, dport=dport, **fields) / b"some data")


def to_service(port: int, **fields: Any) -> bytes:
    return frame(CLIENT, port, SERVICE, 80, **fields)


def to_server(port: int, server: int = 0, **fields: Any) -> bytes:
    return frame(CLIENT, port, SERVERS[server], 8080, **fields)


def answer(port: int, server: int = 0, **fields: Any) -> bytes:
    return frame(SERVERS[server], 8080, CLIENT, port, **fields)


def answer_of_service(port: int, **fields: Any) -> bytes:
    return frame(SERVICE, 80, CLIENT, port, **fields)


class Running:
    """An engine that goes on from block to block."""

    def __init__(self, engine: Any, *services: dict[str, Any], **params: Any) -> None:
        self.engine = engine(Chain([VirtualServer(services=list(services), **params)]).plan)

    def send(self, *frames: bytes, at_ns: int = 0) -> list[bytes]:
        """What goes on; nothing in place of what was dropped."""
        block = FrameBlock.from_frames(frames, [at_ns] * len(frames))
        self.engine.process(block)
        return [bytes(block.frame(n)) if block.verdict[n] else b"" for n in range(len(block))]

    @property
    def drops(self) -> dict[str, int]:
        counted: dict[str, int] = self.engine.counters().nfs[0].drops
        return {reason: count for reason, count in counted.items() if count}


def about(quoted: bytes, src: str, dst: str) -> bytes:
    """An error that quotes the IP packet of a frame."""
    return bytes(ethernet() / IP(src=src, dst=dst, id=8) / ICMP(type=3, code=4, nexthopmtu=1400) / Raw(quoted[14:]))
