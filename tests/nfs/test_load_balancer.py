"""Frames come out as scapy would have built them for the chosen server."""

from ipaddress import IPv4Address
from random import Random

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP, fragment

from fajita import Chain, FrameBlock, InputError
from fajita.engine.compiled import CompiledEngine
from fajita.nf import ParameterError
from fajita.nfs.load_balancer import LoadBalancer
from fajita.reference import ReferenceEngine
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import (
    CLIENT,
    LINKS,
    SERVICE,
    destination_of,
    ethernet,
    ip_packet,
    ip_variants,
    tcp_frame,
    udp_frame,
)

SERVER = "10.0.0.1"
SERVERS = ["10.0.0.1", "10.255.0.2", "172.16.3.3"]


@both_engines
@pytest.mark.parametrize("link", LINKS)
def test_a_frame_is_what_scapy_builds_for_the_server(engine, link):
    code, build = LINKS[link]
    sent, expected = (
        {name: bytes(build(packet)) for name, packet in ip_variants(dst).items()} for dst in (SERVICE, SERVER)
    )
    result = run(engine, LoadBalancer(servers=[SERVER]), list(sent.values()), links=code)
    assert dict(zip(sent, result.frames, strict=True)) == expected
    assert result.counters.other == {}


@both_engines
def test_a_udp_checksum_that_becomes_zero_is_sent_as_all_ones(engine):
    # The last two bytes are the checksum of the datagram that has zeros there, so that it comes out as 0.
    checksum = udp_frame(dst=SERVER, payload=bytes(20))[40:42]
    sent, expected = (udp_frame(dst=dst, payload=bytes(18) + checksum) for dst in (SERVICE, SERVER))
    assert expected[40:42] == b"\xff\xff"
    assert run(engine, LoadBalancer(servers=[SERVER]), [sent]).frames == [expected]


@both_engines
def test_a_checksum_that_was_wrong_stays_wrong_by_as_much(engine):
    """RFC 1624 updates are no repair: a fault that was there before still shows."""
    sent, expected = (bytearray(tcp_frame(dst=dst)) for dst in (SERVICE, SERVER))
    for frame in (sent, expected):
        frame[-1] ^= 1
    assert run(engine, LoadBalancer(servers=[SERVER]), [bytes(sent)]).frames == [bytes(expected)]


@both_engines
@pytest.mark.parametrize(("make", "header"), [(tcp_frame, 20), (udp_frame, 8)])
def test_of_a_snapped_frame_only_what_is_there_changes(engine, make, header):
    """Beyond the captured bytes lies something else, which stays. Without the whole header no checksum is touched."""
    whole, rewritten = make(), make(dst=SERVER)
    sizes = range(len(whole) + 1)
    slots = np.full((len(sizes), 96), 0xA5, np.uint8)
    for size in sizes:
        slots[size, :size] = np.frombuffer(whole[:size], np.uint8)
    block = FrameBlock.from_slots(slots, np.array(sizes, np.uint32), np.zeros(len(sizes), np.uint64))
    block.wire[:] = len(whole)
    running = engine(Chain([LoadBalancer(servers=[SERVER])]).plan)
    running.process(block)
    for size in sizes:
        if size < 14 + 20 + 4:
            expected = whole[:size]
        elif size < 14 + 20 + header:
            expected = rewritten[:34] + whole[34:size]
        else:
            expected = rewritten[:size]
        assert bytes(slots[size]) == expected + b"\xa5" * (96 - size), size
    assert running.counters().other == {"truncated": 34, "ports not captured": 4}
    assert running.counters().bytes_out == len(whole) * len(sizes)


@both_engines
@pytest.mark.parametrize("padding", [1, 18])
def test_padding_is_left_alone(engine, padding):
    sent, expected = (udp_frame(dst=dst, payload=b"abc") + b"p" * padding for dst in (SERVICE, SERVER))
    assert run(engine, LoadBalancer(servers=[SERVER]), [sent]).frames == [expected]


@both_engines
def test_all_fragments_of_a_datagram_go_to_its_server(engine):
    whole = (IP(src=CLIENT, dst=dst, id=9) / UDP(sport=1, dport=2) / (b"x" * 100) for dst in (SERVICE, SERVER))
    sent, expected = ([bytes(ethernet() / part) for part in fragment(packet, fragsize=40)] for packet in whole)
    result = run(engine, LoadBalancer(servers=[SERVER]), sent)
    assert len(sent) == 3
    assert result.frames == expected
    assert result.counters.other == {}
    assert result.verdicts == [1, 1, 1]


@both_engines
def test_segmentation_offload_leaves_the_length_zero(engine):
    sent, expected = (
        bytes(ethernet() / ip_packet(UDP(sport=1, dport=2) / (b"x" * 20), dst=dst, len=0)) for dst in (SERVICE, SERVER)
    )
    assert run(engine, LoadBalancer(servers=[SERVER]), [sent]).frames == [expected]


@both_engines
def test_new_flows_take_turns_and_known_ones_stay(engine):
    order = [0, 1, 0, 2, 3, 3, 1, 0, 4, 5, 6, 2, 0]
    first_seen = list(dict.fromkeys(order))
    result = run(engine, LoadBalancer(servers=SERVERS), [udp_frame(1000 + flow) for flow in order])
    assert [destination_of(frame) for frame in result.frames] == [SERVERS[first_seen.index(f) % 3] for f in order]
    assert result.engine.core(result.chain.plan.nfs[0], arrays=False) == {"turn": [7]}
    assert result.summary() == {"flows": {"10.0.0.1": 3, "10.255.0.2": 2, "172.16.3.3": 2}}
    assert result.counters.tables[0].created == 7


@both_engines
def test_a_flow_is_known_by_what_it_was_before_the_rewrite(engine):
    result = run(engine, LoadBalancer(servers=SERVERS), [udp_frame(1), udp_frame(2), udp_frame(1)])
    keys = [row[:5] for row in result.rows()]
    source, service = int(IPv4Address(CLIENT)), int(IPv4Address(SERVICE))
    assert keys == [(source, service, 1, 53, 17), (source, service, 2, 53, 17)]


@both_engines
def test_by_source_all_flows_of_a_client_go_to_one_server(engine):
    frames = [udp_frame(port, src=f"192.0.2.{client}") for port in (1, 2, 3) for client in (1, 2, 3, 4)]
    result = run(engine, LoadBalancer(servers=SERVERS, key="source"), frames)
    assert [destination_of(frame) for frame in result.frames] == [SERVERS[client % 3] for client in range(4)] * 3


@both_engines
def test_a_flow_that_was_idle_for_long_has_its_turn_again(engine):
    times = [0, 10, 1_000_009, 2_000_009]
    result = run(engine, LoadBalancer(servers=SERVERS, timeout="1ms"), [udp_frame()] * 4, times)
    # 999,999 ns of idle time are less than the timeout; the timeout itself is enough.
    assert [destination_of(frame) for frame in result.frames] == [SERVERS[0], SERVERS[0], SERVERS[0], SERVERS[1]]
    table = result.counters.tables[0]
    assert (table.created, table.expired, table.active) == (2, 1, 1)


@both_engines
def test_the_hash_chooses_by_flow_alone(engine):
    flows = [(f"10.1.{n % 5}.{n}", 1024 + 7 * n, 80 + n % 2) for n in range(60)] + [("255.255.255.255", 65535, 65535)]
    chosen = []
    for order in (flows, Random(1).sample(flows, len(flows))):
        frames = [udp_frame(src_port, dst_port, src=src) for src, src_port, dst_port in order]
        result = run(engine, LoadBalancer(servers=SERVERS, algorithm="hash"), frames)
        chosen.append(dict(zip(order, map(destination_of, result.frames), strict=True)))
        assert min(result.summary()["flows"].values()) > 10
    assert chosen[0] == chosen[1]


#: By name: frames of 256 flows that differ in one field of the five-tuple.
ONE_FIELD = {
    "source": [udp_frame(src=f"10.{n}.0.1") for n in range(256)],
    "destination": [udp_frame(dst=f"10.{n}.0.1") for n in range(256)],
    "source port": [udp_frame(n, 53) for n in range(1, 257)],
    "destination port": [udp_frame(53, n) for n in range(1, 257)],
}


@both_engines
@pytest.mark.parametrize("algorithm", ["hash", "maglev"])
@pytest.mark.parametrize("field", ONE_FIELD)
def test_every_field_of_a_flow_spreads_them(engine, field, algorithm):
    result = run(engine, LoadBalancer(servers=SERVERS, algorithm=algorithm), ONE_FIELD[field])
    assert min(result.summary()["flows"].values()) > 50  # of 85, by chance a standard deviation of 8 less
    by_source = run(engine, LoadBalancer(servers=SERVERS, algorithm=algorithm, key="source"), ONE_FIELD[field])
    assert len(set(map(destination_of, by_source.frames))) == (3 if field == "source" else 1)


def test_both_engines_and_every_run_agree_on_many_flows():
    frames = [tcp_frame(port, src=f"192.0.2.{port % 250}") for port in range(1, 300)]
    for algorithm in ("round_robin", "hash"):
        balancers = [LoadBalancer(servers=SERVERS, algorithm=algorithm) for _ in range(3)]
        engines = (CompiledEngine, CompiledEngine, ReferenceEngine)
        first, *others = [run(engine, nf, frames).frames for engine, nf in zip(engines, balancers, strict=True)]
        assert all(frames == first for frames in others)


PARAMETERS = "its parameters: servers, algorithm, weights, table_size, down, drop_down"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, f"LoadBalancer needs the parameter servers; {PARAMETERS}"),
        ({"servers": []}, "LoadBalancer: servers is empty; give at least one address"),
        ({"servers": "10.0.0.1"}, "parameter servers of LoadBalancer: Input should be a valid list"),
        (
            {"servers": ["10.0.0.1", "10.0.0.256"]},
            "parameter servers.1 of LoadBalancer: '10.0.0.256' is not an IPv4 address such as 10.0.0.1",
        ),
        ({"servers": [7]}, "parameter servers.0 of LoadBalancer: 7 is not an IPv4 address such as 10.0.0.1"),
        (
            {"servers": ["10.0.0.1"], "algorithm": "random"},
            "parameter algorithm of LoadBalancer: "
            "Input should be 'round_robin', 'least_connections', 'hash' or 'maglev'",
        ),
        (
            {"server": ["10.0.0.1"]},
            f"LoadBalancer has no parameter server; {PARAMETERS}; settings: key, timeout",
        ),
        (
            {"servers": ["10.0.0.1"], "down": ["10.0.0.2"]},
            "LoadBalancer: down: 10.0.0.2 is none of the servers",
        ),
        (
            {"servers": SERVERS, "down": SERVERS},
            "LoadBalancer: all servers are down; leave at least one",
        ),
        (
            {"servers": [f"10.0.{n >> 8}.{n & 255}" for n in range(1025)], "algorithm": "least_connections"},
            "LoadBalancer: 1,025 servers; least_connections takes at most 1,024",
        ),
        (
            {"servers": ["10.0.0.1", "10.0.0.2", "10.0.0.1"], "algorithm": "least_connections"},
            "LoadBalancer: 10.0.0.1 stands twice in servers; give it a weight of 2",
        ),
        (
            {"servers": ["10.0.0.1"], "key": "destination"},
            "LoadBalancer cannot be keyed by 'destination'; one of five_tuple, source",
        ),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(InputError) as caught:
        LoadBalancer(**params)
    assert str(caught.value) == message


def test_where_a_bad_parameter_is():
    with pytest.raises(ParameterError) as caught:
        LoadBalancer(servers=["10.0.0.1", "x"])
    assert caught.value.path == ("servers", 1)
