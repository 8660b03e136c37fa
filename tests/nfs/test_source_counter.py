"""Packets and bytes of every source address, whatever the ports and protocols."""

from ipaddress import IPv4Address

import pytest
from scapy.layers.inet import IP, UDP, fragment

from fajita import InputError
from fajita.nfs.source_counter import SourceCounter
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import CLIENT, LINKS, SERVICE, ethernet, ip_variants, tcp_frame, udp_frame

ADDRESS = int(IPv4Address(CLIENT))


@both_engines
def test_every_address_has_its_packets_and_bytes_on_the_wire(engine):
    addresses = ["0.0.0.0", "10.0.0.1", "10.0.1.0", "127.255.255.255", "128.0.0.0", "255.255.255.255"]
    frames = []
    for turn, address in enumerate(addresses):
        frames += [make(port, src=address) for make in (udp_frame, tcp_frame) for port in range(turn + 1)]
    result = run(engine, SourceCounter(), frames, wire=[1500] * len(frames))
    expected = [(int(IPv4Address(address)), 2 * turn + 2) for turn, address in enumerate(addresses)]
    assert result.rows() == [(address, packets, 1500 * packets) for address, packets in expected]
    assert result.summary() == {"sources": 6, "packets": 42, "bytes": 42 * 1500}
    assert result.frames == frames


@both_engines
@pytest.mark.parametrize("link", LINKS)
def test_every_kind_of_packet_counts(engine, link):
    code, build = LINKS[link]
    frames = [bytes(build(packet)) for packet in ip_variants().values()]
    result = run(engine, SourceCounter(), frames, links=code)
    assert result.rows() == [(ADDRESS, len(frames), sum(map(len, frames)))]


@both_engines
def test_later_fragments_and_packets_without_ports_count(engine):
    """Nothing but the IP header is needed."""
    parts = fragment(IP(src=CLIENT, dst=SERVICE) / UDP(sport=1, dport=2) / (b"x" * 100), fragsize=40)
    frames = [bytes(ethernet() / part) for part in parts] + [udp_frame()[:34]]
    result = run(engine, SourceCounter(), frames)
    assert result.rows() == [(ADDRESS, 4, sum(map(len, frames)))]
    assert result.counters.other == {}


@both_engines
def test_an_address_that_was_idle_for_the_timeout_begins_anew(engine):
    result = run(engine, SourceCounter(timeout="1us"), [udp_frame(port) for port in range(4)], [0, 999, 1999, 2998])
    assert result.rows()[0][1] == 2
    assert result.counters.tables[0].expired == 1
    assert result.summary() == {"sources": 1, "packets": 2, "bytes": 2 * len(udp_frame())}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"address": "10.0.0.1"}, "SourceCounter has no parameter address; its parameters: none; settings: key, t"),
        ({"key": "five_tuple"}, "SourceCounter cannot be keyed by 'five_tuple'; one of source"),
        ({"timeout": "1 day"}, "timeout of SourceCounter: '1 day' is not a quantity such as 30s (units: ns, us"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(InputError) as caught:
        SourceCounter(**params)
    assert str(caught.value).startswith(message)
