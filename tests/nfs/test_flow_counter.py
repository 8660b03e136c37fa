"""Packets and bytes of every 5-tuple, or of every source or destination."""

from collections import Counter
from random import Random

import pytest

from fajita import InputError
from fajita.nfs.flow_counter import FlowCounter
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import CLIENT, LINKS, SERVICE, ip_variants, tcp_frame, udp_frame

#: reverse_packets, reverse_bytes, first_ns and last_ns where nobody stores them.
NOTHING = (0, 0, 0, 0)


def number(address: str) -> int:
    return int.from_bytes(bytes(map(int, address.split("."))), "big")


@both_engines
def test_every_flow_has_its_packets_and_bytes_on_the_wire(engine):
    random = Random(1)
    packets = []
    for _ in range(400):
        src, dst = f"10.0.0.{random.randrange(4)}", f"192.0.2.{random.randrange(4)}"
        ports = random.choice((1, 2)), random.choice((53, 65535))
        is_tcp, size = random.random() < 0.5, random.randrange(60)
        frame = (tcp_frame if is_tcp else udp_frame)(*ports, src=src, dst=dst, payload=bytes(size))
        packets.append(((number(src), number(dst), *ports, 6 if is_tcp else 17), frame, len(frame) + 1400))
    counted, total = Counter(), Counter()
    for key, _, wire in packets:
        counted[key] += 1
        total[key] += wire
    result = run(engine, FlowCounter(), [frame for _, frame, _ in packets], wire=[wire for _, _, wire in packets])
    assert result.rows() == [(*key, counted[key], total[key], *NOTHING) for key in sorted(counted)]
    assert result.summary() == {"flows": len(counted), "packets": 400, "bytes": sum(total.values())}
    assert result.frames == [frame for _, frame, _ in packets]
    table = result.counters.tables[0]
    assert (table.created, table.expired, table.active) == (len(counted), 0, len(counted))


@both_engines
def test_one_flow_behind_every_link_and_tag(engine):
    built = [(code, bytes(build(ip_variants()["udp"]))) for code, build in LINKS.values()]
    result = run(engine, FlowCounter(), [frame for _, frame in built], links=[code for code, _ in built])
    assert result.rows() == [
        (number(CLIENT), number(SERVICE), 1024, 53, 17, len(built), sum(len(frame) for _, frame in built), *NOTHING)
    ]


@both_engines
def test_protocols_without_ports_are_flows_of_their_own(engine):
    code, build = LINKS["ethernet"]
    frames = {name: bytes(build(packet)) for name, packet in ip_variants().items()}
    result = run(engine, FlowCounter(), list(frames.values()), links=code)
    flows = {row[2:5]: row[5] for row in result.rows()}
    # tcp, tcp with options and with IP options; the four of udp; one each of the others.
    assert flows == {(1024, 80, 6): 3, (1024, 53, 17): 4, (0, 0, 1): 1, (1024, 80, 132): 1, (0, 0, 253): 1}


@both_engines
def test_the_two_directions_are_two_flows(engine):
    frames = [udp_frame(1, 2), udp_frame(2, 1, src=SERVICE, dst=CLIENT)]
    assert [row[5:] for row in run(engine, FlowCounter(), frames).rows()] == [(1, len(frames[0]), *NOTHING)] * 2


@both_engines
@pytest.mark.parametrize(("key", "rows"), [("source", 3), ("destination", 2)])
def test_by_address(engine, key, rows):
    frames = [udp_frame(n, src=f"10.0.0.{n % 3}", dst=f"10.1.0.{n % 2}") for n in range(12)]
    result = run(engine, FlowCounter(key=key), frames)
    network = number("10.0.0.0" if key == "source" else "10.1.0.0")
    expected = [(network + n, 12 // rows, len(frames[0]) * 12 // rows, *NOTHING) for n in range(rows)]
    assert result.rows() == expected


@both_engines
def test_a_flow_that_was_idle_for_the_timeout_begins_anew(engine):
    times = [0, 999, 1998, 2998, 3000]
    result = run(engine, FlowCounter(timeout="1us"), [udp_frame()] * 5, times)
    assert result.rows()[0][5] == 2
    assert result.summary() == {"flows": 2, "packets": 5, "bytes": 5 * len(udp_frame())}
    table = result.counters.tables[0]
    assert (table.created, table.expired, table.active) == (2, 1, 1)


@both_engines
def test_no_packets(engine):
    result = run(engine, FlowCounter(), [])
    assert result.rows() == []
    assert result.summary() == {"flows": 0, "packets": 0, "bytes": 0}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rate": "1Gbps"}, "FlowCounter has no parameter rate; its parameters: records; settings: key, timeout"),
        ({"records": 1}, "parameter records of FlowCounter: Input should be a valid boolean"),
        ({"key": "port"}, "there is no key port; known: address_pair, all, connection"),
        ({"timeout": "-1s"}, "timeout of FlowCounter: '-1s' is not a quantity such as 30s"),
        ({"timeout": 30}, "timeout of FlowCounter: 30 is not a quantity such as 30s"),
        ({"name": "a b"}, "'a b' cannot be the name of a network function; letters, digits and single _"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(InputError) as caught:
        FlowCounter(**params)
    assert str(caught.value).startswith(message)
