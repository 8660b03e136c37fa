"""The two MAC addresses change places, on Ethernet and nowhere else."""

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, LLC, Dot1Q, Ether

from fajita import InputError
from fajita.io.frames import ETHERNET, UNKNOWN_LINK
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.mac_swap import MacSwap
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import DST_MAC, LINKS, SRC_MAC, ip_packet, ip_variants, udp_frame

SENT, RETURNED = {"src": SRC_MAC, "dst": DST_MAC}, {"src": DST_MAC, "dst": SRC_MAC}


def ethernet_frames(macs: dict[str, str]) -> list[bytes]:
    """What Ethernet carries, IP or not."""
    return [
        *(bytes(Ether(**macs) / packet) for packet in ip_variants().values()),
        bytes(Ether(**macs) / ARP(hwsrc=SRC_MAC, psrc="10.0.0.1", pdst="10.0.0.2")),
        bytes(Ether(**macs) / IPv6(src="2001:db8::1", dst="2001:db8::2", nh=59)),
        bytes(Ether(**macs) / Dot1Q(vlan=5) / ip_packet(IP())),
        bytes(Ether(**macs, type=60) / LLC() / (b"x" * 57)),
        bytes(Ether(**macs, type=0x88CC)),
    ]


@both_engines
def test_addresses_change_places_and_nothing_else_changes(engine):
    result = run(engine, MacSwap(), ethernet_frames(SENT))
    assert result.frames == ethernet_frames(RETURNED)
    assert set(result.verdicts) == {1}
    assert result.counters.other == {}
    assert result.counters.nfs[0].received == len(result.frames)
    assert result.summary() == {}


@both_engines
def test_twice_is_as_before(engine):
    frames = ethernet_frames(SENT)
    assert run(engine, [MacSwap(), MacSwap(name="back")], frames).frames == frames


@both_engines
def test_addresses_of_all_bits(engine):
    frame = bytes(Ether(src="ff:ff:ff:ff:ff:ff", dst="00:00:00:00:00:00", type=0x800))
    swapped = bytes(Ether(dst="ff:ff:ff:ff:ff:ff", src="00:00:00:00:00:00", type=0x800))
    assert run(engine, MacSwap(), [frame]).frames == [swapped]


@both_engines
@pytest.mark.parametrize("other", ["pass", "drop"])
def test_other_links_have_no_addresses_to_swap(engine, other):
    built = [(code, bytes(build(ip_variants()["udp"]))) for code, build in LINKS.values() if code != ETHERNET]
    built.append((UNKNOWN_LINK, udp_frame()))
    frames = [frame for _, frame in built]
    result = run(engine, MacSwap(), frames, links=[code for code, _ in built], other=other)
    assert result.frames == frames
    assert result.verdicts == [int(other == "pass")] * len(frames)
    assert result.counters.other == {"not an NF's traffic": len(frames) - 1, "unknown link type": 1}
    assert result.counters.nfs[0].received == 0


@both_engines
def test_a_frame_shorter_than_its_header_is_left_alone(engine):
    frames = [udp_frame()[:size] for size in range(16)]
    result = run(engine, MacSwap(), frames)
    assert result.frames[:14] == frames[:14]
    assert result.frames[14] == frames[14][6:12] + frames[14][:6] + frames[14][12:]
    assert result.counters.other == {"truncated": 14}


@both_engines
def test_flows_stay_what_they_are(engine):
    rows = run(engine, [MacSwap(), FlowCounter()], [udp_frame(1), udp_frame(1)]).rows(1)
    assert [row[5] for row in rows] == [2]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mac": SRC_MAC}, "MacSwap has no parameter mac; its parameters: none"),
        ({"key": "source"}, "MacSwap cannot be keyed by 'source'; it takes no key"),
        ({"timeout": "1s"}, "MacSwap keeps no state per key, so it takes no timeout"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(InputError) as caught:
        MacSwap(**params)
    assert str(caught.value) == message
