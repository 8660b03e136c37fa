"""VLAN tags, as scapy writes them afterwards."""

from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q
from scapy.packet import Packet, Raw

from fajita import Chain, InputError
from fajita.engine.interface import Engine
from fajita.io.frames import RAW_IP
from fajita.nfs.vlan import Vlan
from fajita.verify import verify_blocks
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import ethernet, ip_packet, udp_frame
from tests.traffic import many_flows

INSIDE = {
    "ipv4": IP(src="10.0.0.1", dst="10.0.0.2") / UDP() / b"data",
    "ipv6": IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP() / b"data",
    "arp": ARP(psrc="10.0.0.1", pdst="10.0.0.2"),
    "another tag": Dot1Q(vlan=3, prio=2) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(),
    "anything": Raw(b"x" * 40),
}


def tagged(vlan: int, priority: int = 0, inside: Packet = INSIDE["ipv4"], *, dei: int = 0) -> bytes:
    tag = Dot1Q(vlan=vlan, prio=priority, dei=dei)
    if isinstance(inside, Raw):
        tag.type = 0x1234
    return bytes(ethernet() / tag / inside)


@both_engines
@pytest.mark.parametrize("inside", INSIDE)
@pytest.mark.parametrize("kind", [Dot1Q, Dot1AD], ids=["802.1Q", "802.1ad"])
def test_only_number_and_priority_of_the_outermost_tag_change(
    engine: type[Engine], inside: str, kind: type[Packet]
) -> None:
    def frame(vlan: int, priority: int, dei: int) -> bytes:
        tag = kind(vlan=vlan, prio=priority, dei=dei)
        if inside == "anything":
            tag.type = 0x1234
        return bytes(ethernet() / tag / INSIDE[inside])

    nf = Vlan(translate={7: 4094, 0: 1}, priorities={1: 6, 6: 0})
    sent = [(7, 1, 0), (7, 6, 1), (0, 7, 0), (8, 1, 1), (4094, 0, 0)]
    made = [(4094, 6, 0), (4094, 0, 1), (1, 7, 0), (8, 6, 1), (4094, 0, 0)]
    result = run(engine, nf, [frame(*each) for each in sent], other="pass")
    assert result.frames == [frame(*each) for each in made]
    assert result.verdicts == [1] * len(sent)


@both_engines
@pytest.mark.parametrize(
    ("params", "passing"),
    [
        ({}, [True, True, True, True, False]),
        ({"only": [7]}, [True, True, True, False, False]),
        ({"only": [8], "translate": {7: 9}}, [True, True, True, True, False]),
        ({"only": [8], "untagged": "drop"}, [False, False, False, True, False]),
        ({"untagged": "drop"}, [False, False, True, True, False]),
        ({"untagged": "drop", "translate": {0: 7}}, [False, True, True, True, False]),
    ],
)
def test_what_may_pass(engine: type[Engine], params: dict[str, object], passing: list[bool]) -> None:
    frames = [udp_frame(), tagged(0, 5), tagged(7), tagged(8), tagged(4095)]
    result = run(engine, Vlan(**params), frames)
    assert result.verdicts == passing
    drops = {"untagged": passing[:2].count(False), "vlan": passing[2:4].count(False), "reserved": 1, "cut tag": 0}
    assert {name: count for name, count in result.counters.nfs[0].drops.items() if count} == {
        name: count for name, count in drops.items() if count
    }


@both_engines
def test_packets_are_counted_by_the_vlan_they_come_in(engine: type[Engine]) -> None:
    frames = [tagged(7), tagged(7, inside=INSIDE["arp"]), tagged(4094), udp_frame()]
    result = run(engine, Vlan(translate={7: 8}, only=[1]), frames)
    assert result.summary() == {
        "vlans": {
            7: {"packets": 2, "bytes": len(frames[0]) + len(frames[1])},
            4094: {"packets": 1, "bytes": len(frames[2])},
        }
    }


def doubly(outer: int, priority: int, *inner: Dot1Q) -> bytes:
    header = ethernet() / Dot1AD(vlan=outer, prio=priority)
    for tag in inner:
        header /= tag
    return bytes(header / INSIDE["ipv4"])


@both_engines
def test_the_ports_vlan_and_the_untagged_set(engine: type[Engine]) -> None:
    plain = bytes(ethernet() / INSIDE["ipv4"])
    arp = bytes(ethernet() / INSIDE["arp"])
    sent = [
        plain,
        arp,
        tagged(0, 5),
        tagged(7, 3),
        tagged(8),
        bytes(ethernet() / Dot1Q(vlan=8) / INSIDE["another tag"]),
    ]
    result = run(engine, Vlan(untagged=10), sent, other="pass")
    assert result.frames == [tagged(10), tagged(10, inside=INSIDE["arp"]), tagged(10, 5), *sent[3:]]
    result = run(engine, Vlan(untagged=10, strip=[8, 10], translate={7: 8}), sent, other="pass")
    assert result.frames == [plain, arp, plain, plain, plain, bytes(ethernet() / INSIDE["another tag"])]
    assert result.verdicts == [1] * 6


@both_engines
def test_a_service_tag_has_the_priority_of_the_inner_one(engine: type[Engine]) -> None:
    sent = [bytes(ethernet() / INSIDE["ipv4"]), tagged(7, 3), tagged(8, 6, dei=1)]
    result = run(engine, Vlan(service=200, priorities={6: 1}), sent)
    assert result.frames == [
        doubly(200, 0),
        doubly(200, 3, Dot1Q(vlan=7, prio=3)),
        doubly(200, 1, Dot1Q(vlan=8, prio=1, dei=1)),
    ]
    assert result.counters.bytes_out == sum(map(len, sent)) + 12
    back = run(engine, Vlan(strip=[200]), result.frames)
    assert back.frames == [sent[0], sent[1], tagged(8, 1, dei=1)]
    nf = Vlan(service=200, strip=[7], untagged=9)
    assert run(engine, nf, sent[:2]).frames == [doubly(200, 0, Dot1Q(vlan=9)), doubly(200, 0)]


@both_engines
def test_what_would_become_too_long_is_dropped(engine: type[Engine]) -> None:
    result = run(engine, Vlan(service=200), [tagged(7)] * 2, wire=[262_136, 262_137])
    assert result.verdicts == [1, 0]
    assert result.counters.nfs[0].drops["too long"] == 1


@both_engines
def test_a_tag_that_was_not_captured_whole_is_not_believed(engine: type[Engine]) -> None:
    whole = tagged(7)
    result = run(engine, Vlan(only=[7]), [whole[:size] for size in (13, 14, 16, 17, 18)], wire=[64] * 5, other="pass")
    assert result.verdicts == [1, 0, 0, 0, 1]
    assert result.counters.nfs[0].drops["cut tag"] == 3


@both_engines
def test_frames_of_other_links_pass_unseen(engine: type[Engine]) -> None:
    frame = bytes(ip_packet(UDP() / b"data"))
    result = run(engine, Vlan(untagged="drop"), [frame], links=RAW_IP, other="pass")
    assert (result.frames, result.verdicts, result.counters.nfs[0].received) == ([frame], [1], 0)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"only": [4095]}, "Vlan: only has VLAN 4095; give 1 to 4094, or 0 for a tag without VLAN"),
        ({"only": [-1]}, "Vlan: only has VLAN -1; give"),
        ({"translate": {7: 4096}}, "Vlan: translate has VLAN 4096; give"),
        ({"translate": {"x": 7}}, "parameter translate.x"),
        ({"priorities": {8: 0}}, "Vlan: priorities has 8; give 0 to 7"),
        ({"untagged": "tag"}, "parameter untagged."),
        ({"untagged": 4095}, "Vlan: untagged has VLAN 4095; give"),
        ({"strip": [9999]}, "Vlan: strip has VLAN 9999; give"),
        ({"service": 4095}, "Vlan: service has VLAN 4095; give"),
    ],
)
def test_bad_parameters(params: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Vlan(**params)
    assert str(caught.value).startswith(message)


def test_engines_agree_on_the_example() -> None:
    chain = Chain.load(Path(__file__).parents[2] / "chains" / "vlan.yaml")
    assert verify_blocks(chain.plan, many_flows(500, repeats=2).blocks()).difference is None
