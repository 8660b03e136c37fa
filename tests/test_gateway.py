"""`chains/gateway.yaml` lets people inside use the world, and the world use one service."""

from collections.abc import Callable
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from fajita import Chain, FrameBlock
from fajita.engine.interface import Engine
from tests.nfs.running import both_engines
from tests.nfs.scapy_frames import ethernet

CHAIN = Chain.load(Path(__file__).parents[1] / "chains" / "gateway.yaml")
INSIDE, WORLD, SERVICE = "192.168.1.5", "198.51.100.9", "203.0.113.10"
OUTSIDE = {"203.0.113.7", "203.0.113.8"}

Gateway = Callable[[Packet], Packet | None]


@pytest.fixture
def gateway(engine: type[Engine]) -> Gateway:
    """What comes out for a packet that goes in; None if it is dropped."""
    running = engine(CHAIN.plan)  # type: ignore[call-arg]

    def send(packet: Packet) -> Packet | None:
        block = FrameBlock.from_frames([bytes(ethernet() / packet)])
        running.process(block)
        return Ether(bytes(block.frame(0)))[IP] if block.verdict[0] else None

    return send


def answer(asked: Packet, layer: Packet) -> Packet:
    """From whom a packet went to, to whom it came from."""
    return IP(src=asked.dst, dst=asked.src) / layer


@both_engines
def test_a_connection_from_inside_gets_its_answers(gateway: Gateway) -> None:
    out = gateway(IP(src=INSIDE, dst=WORLD) / TCP(sport=5000, dport=443, flags="S", seq=1))
    assert out is not None
    assert out.src in OUTSIDE
    back = gateway(answer(out, TCP(sport=443, dport=out.sport, flags="SA", seq=7, ack=2)))
    assert back is not None
    assert (back.dst, back.dport, back[TCP].flags) == (INSIDE, 5000, "SA")
    on = gateway(IP(src=INSIDE, dst=WORLD) / TCP(sport=5000, dport=443, flags="A", seq=2, ack=8))
    assert on is not None
    assert (on.src, on.sport) == (out.src, out.sport)


@both_engines
def test_a_name_and_an_echo_are_answered(gateway: Gateway) -> None:
    out = gateway(IP(src=INSIDE, dst=WORLD) / UDP(sport=5001, dport=53))
    assert out is not None
    back = gateway(answer(out, UDP(sport=53, dport=out.sport)))
    assert back is not None
    assert (back.dst, back.dport) == (INSIDE, 5001)
    out = gateway(IP(src=INSIDE, dst=WORLD) / ICMP(type="echo-request", id=9))
    assert out is not None
    back = gateway(answer(out, ICMP(type="echo-reply", id=out[ICMP].id)))
    assert back is not None
    assert (back.dst, back[ICMP].id) == (INSIDE, 9)


@both_engines
@pytest.mark.parametrize(
    "layer", [TCP(sport=443, dport=4000, flags="S"), TCP(sport=443, dport=4000, flags="SA"), UDP(sport=53, dport=4000)]
)
@pytest.mark.parametrize("destination", ["203.0.113.7", INSIDE])
def test_nobody_outside_comes_in_unasked(gateway: Gateway, layer: Packet, destination: str) -> None:
    assert gateway(IP(src=WORLD, dst=destination) / layer) is None


@both_engines
def test_the_service_is_reached_from_outside_and_answers_with_its_own_address(gateway: Gateway) -> None:
    asked = IP(src=WORLD, dst=SERVICE) / TCP(sport=6000, dport=443, flags="S", seq=1)
    reached = gateway(asked)
    assert reached is not None
    assert reached.dst in {"10.0.0.1", "10.0.0.2", "10.0.0.3"}
    back = gateway(answer(reached, TCP(sport=443, dport=6000, flags="SA", seq=7, ack=2)))
    assert back is not None
    assert (back.src, back.sport, back.dst) == (SERVICE, 443, WORLD)


@both_engines
def test_another_port_of_the_service_is_not(gateway: Gateway) -> None:
    assert gateway(IP(src=WORLD, dst=SERVICE) / TCP(sport=6000, dport=22, flags="S")) is None
