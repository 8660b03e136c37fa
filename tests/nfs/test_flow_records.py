"""flow_counter as a flow exporter: what of a conversation stands in its records, told from packets that scapy built."""

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from fajita import Chain, FrameBlock
from fajita.nfs.flow_counter import FlowCounter
from fajita.run import ENGINES, Run

ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
SECOND = 10**9
every_engine = pytest.mark.parametrize("engine", ENGINES)


def between(client: str, server: str, transport: Any, payload: int = 0, vlan: int = 0) -> bytes:
    network = IPv6 if ":" in client else IP
    link = ETHERNET / Dot1Q(vlan=vlan) if vlan else ETHERNET
    return bytes(link / network(src=client, dst=server) / transport / (b"x" * payload))


def exported(packets: list[tuple[float, bytes]], engine: str, **options: Any) -> Run:
    frames = [frame for _, frame in packets]
    times = [int(SECOND * at) for at, _ in packets]
    options = {"key": "connection", "timeout": "30s", "records": True} | options
    return Chain([FlowCounter(**options)]).run(FrameBlock.from_frames(frames, times), engine=engine)


@every_engine
@pytest.mark.parametrize(("client", "server"), [("10.0.0.9", "10.0.0.1"), ("2001:db8::9", "2001:db8::1")])
def test_a_conversation_and_the_one_after_it(client: str, server: str, engine: str) -> None:
    there, back = TCP(sport=40000, dport=443), TCP(sport=443, dport=40000)
    first = [
        (1, between(client, server, there)),
        (1.25, between(server, client, back)),
        (1.5, between(client, server, there, 100)),
        (20, between(server, client, back, 1400)),
        (21, between(server, client, back, 1400)),
    ]
    # 30 seconds later the server begins; then comes a third one, which lasts.
    second = [(51, between(server, client, back, 5)), (52, between(client, server, there, 7))]
    third = [(90, between(client, server, there))]
    run = exported(first + second + third, engine)
    sizes = [[len(frame) for _, frame in conversation] for conversation in (first, second)]
    key = {"src": client, "dst": server, "src_port": 40000, "dst_port": 443, "protocol": 6}
    turned = {"src": server, "dst": client, "src_port": 443, "dst_port": 40000, "protocol": 6}
    assert run.records("flow_counter").to_pylist() == [
        key
        | {"packets": 2, "bytes": sizes[0][0] + sizes[0][2]}
        | {"reverse_packets": 3, "reverse_bytes": sizes[0][1] + sum(sizes[0][3:])}
        | {"first_ns": SECOND, "last_ns": 21 * SECOND},
        turned
        | {"packets": 1, "bytes": sizes[1][0], "reverse_packets": 1, "reverse_bytes": sizes[1][1]}
        | {"first_ns": 51 * SECOND, "last_ns": 52 * SECOND},
    ]
    (live,) = run.table("flow_counter").to_pylist()
    assert (live["src"], live["packets"], live["first_ns"], live["last_ns"]) == (client, 1, 90 * SECOND, 90 * SECOND)
    total = sum(len(frame) for _, frame in first + second + third)
    assert run.report["nfs"][0]["summary"] == {"flows": 3, "packets": 8, "bytes": total}
    assert run.report["nfs"][0]["records"] == 2


@every_engine
def test_flows_end_each_by_itself_and_are_told_in_the_order_they_end(engine: str) -> None:
    ping, query = ICMP(type=8, id=7, seq=1), UDP(sport=5353, dport=53)
    packets = [
        (0, between("10.0.0.1", "10.0.0.2", ping)),
        (1, between("10.0.0.3", "10.0.0.2", query, vlan=7)),
        (2, between("2001:db8::1", "2001:db8::2", query)),
        (40, between("10.0.0.2", "10.0.0.3", UDP(sport=53, dport=5353), vlan=7)),
        (41, between("10.0.0.1", "10.0.0.2", ping)),
        (42, between("2001:db8::1", "2001:db8::2", query)),
    ]
    rows = exported(packets, engine).records("flow_counter").to_pylist()
    assert [(row["src"], row["src_port"], row["protocol"], row["packets"]) for row in rows] == [
        ("10.0.0.3", 5353, 17, 1),
        ("10.0.0.1", 0, 1, 1),
        ("2001:db8::1", 5353, 17, 1),
    ]


@every_engine
def test_times_are_those_of_the_earliest_and_the_latest_packet_whatever_their_order(engine: str) -> None:
    frame = between("10.0.0.1", "10.0.0.2", UDP(sport=1, dport=2))
    run = exported([(50, frame), (49, frame), (90, frame)], engine)
    (row,) = run.records("flow_counter").to_pylist()
    assert (row["packets"], row["first_ns"], row["last_ns"]) == (2, 49 * SECOND, 50 * SECOND)


@every_engine
def test_by_any_other_key_all_packets_go_one_way(engine: str) -> None:
    there, back = UDP(sport=1, dport=2), UDP(sport=2, dport=1)
    packets = [
        (at, between(*pair))
        for at in (0, 60)
        for pair in (("10.0.0.1", "10.0.0.2", there), ("10.0.0.2", "10.0.0.1", back))
    ]
    rows = exported(packets, engine, key="source").records("flow_counter").to_pylist()
    assert [(row["src"], row["packets"], row["reverse_packets"]) for row in rows] == [
        ("10.0.0.1", 1, 0),
        ("10.0.0.2", 1, 0),
    ]


def test_what_is_not_needed_takes_no_room() -> None:
    """Beside the key of 16 bytes: two counters, or four and a byte for the direction, or two times more."""
    sizes = {
        (key, records): Chain([FlowCounter(key=key, records=records)]).plan.tables[0].sides[0].entry_bytes
        for key in ("five_tuple", "connection")
        for records in (False, True)
    }
    assert sizes == {
        ("five_tuple", False): 32,
        ("five_tuple", True): 64,
        ("connection", False): 64,
        ("connection", True): 128,
    }
