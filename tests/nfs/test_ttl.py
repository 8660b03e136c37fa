"""The time to live, as scapy writes it afterwards."""

from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP
from scapy.packet import Packet

from fajita import Chain, InputError
from fajita.engine.interface import Engine
from fajita.nfs.ttl import Ttl
from fajita.verify import verify_blocks
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import LINKS, ethernet, ip_variants
from tests.traffic import many_flows


def ipv6(hop_limit: int) -> Packet:
    return IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=hop_limit) / IPv6ExtHdrHopByHop() / UDP() / b"data"


@both_engines
@pytest.mark.parametrize("link", LINKS)
def test_one_less_and_the_checksum_is_scapys(engine: type[Engine], link: str) -> None:
    code, build = LINKS[link]
    frames, expected = [], []
    for packet in ip_variants().values():
        for ttl in (2, 64, 255):
            for made, value in ((frames, ttl), (expected, ttl - 1)):
                packet[IP].ttl = value
                made.append(bytes(build(packet)))
    result = run(engine, Ttl(), frames, links=code)
    assert result.frames == expected
    assert result.verdicts == [1] * len(frames)


@both_engines
@pytest.mark.parametrize("decrement", [1, 3, 255])
def test_what_has_none_left_is_dropped_as_it_came(engine: type[Engine], decrement: int) -> None:
    lives = (0, 1, 2, 3, 4, 254, 255)
    frames = [bytes(ethernet() / IP(src="10.0.0.1", dst="10.0.0.2", ttl=ttl) / UDP()) for ttl in lives]
    frames += [bytes(ethernet() / ipv6(ttl)) for ttl in lives]
    result = run(engine, Ttl(decrement=decrement), frames)
    goes_on = [ttl > decrement for ttl in lives]
    assert result.verdicts == goes_on * 2
    dropped = goes_on.count(False)
    assert result.counters.nfs[0].drops == {"expired": 2 * dropped}
    assert result.summary() == {"expired_ipv4": dropped, "expired_ipv6": dropped}
    for made, sent, ttl in zip(result.frames[7:], frames[7:], lives, strict=True):
        assert made == (bytes(ethernet() / ipv6(ttl - decrement)) if ttl > decrement else sent)


@both_engines
def test_frames_without_ip_pass_unseen(engine: type[Engine]) -> None:
    arp = bytes(ethernet() / ARP(psrc="10.0.0.1", pdst="10.0.0.2"))
    result = run(engine, Ttl(), [arp, arp[:20]], other="pass")
    assert (result.frames, result.verdicts) == ([arp, arp[:20]], [1, 1])
    assert result.counters.nfs[0].received == 0


@pytest.mark.parametrize("decrement", [0, 256, -1])
def test_bad_parameters(decrement: int) -> None:
    with pytest.raises(InputError, match="parameter decrement of Ttl: Input should be"):
        Ttl(decrement=decrement)


def test_engines_agree_on_the_example() -> None:
    chain = Chain.load(Path(__file__).parents[2] / "chains" / "router.yaml")
    assert verify_blocks(chain.plan, many_flows(500, repeats=2).blocks()).difference is None
