"""Virtual services: frames as scapy builds them for a server and for the client, and who gets which connection."""

from collections import Counter
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.packet import Raw

from fajita import Chain, FrameBlock, InputError
from fajita.engine.compiled import CompiledEngine
from fajita.engine.parallel import ParallelEngine
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.virtual_server import VirtualServer
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import CLIENT, destination_of, ethernet
from tests.nfs.virtual_services import (
    DIRECT,
    MACS,
    NAMES,
    OTHER,
    SERVERS,
    SERVICE,
    WEB,
    Running,
    answer,
    answer_of_service,
    frame,
    to_server,
    to_service,
)

MILLISECOND = 10**6


@both_engines
@pytest.mark.parametrize("fields", [{}, {"options": [("MSS", 1460)]}])
def test_both_ways_of_a_connection_are_what_scapy_builds(engine: Any, fields: Any) -> None:
    sent = [to_service(1000, **fields), answer(1000, **fields), to_service(1000), to_service(2000), answer(2000, 1)]
    result = run(engine, VirtualServer(services=[WEB]), sent)
    assert result.frames == [
        to_server(1000, **fields),
        answer_of_service(1000, **fields),
        to_server(1000),
        to_server(2000, 1),
        answer_of_service(2000),
    ]
    assert result.verdicts == [1] * 5
    assert result.counters.tables[0].created == 2
    servers = {f"{SERVERS[0]}:8080/tcp": 1, f"{SERVERS[1]}:8080/tcp": 1, f"{SERVERS[2]}:8080/tcp": 0}
    assert result.summary() == {f"{SERVICE}:80/tcp": {"connections": 2, "servers": servers}}


@both_engines
@pytest.mark.parametrize("checksum", [None, 0])
def test_a_server_listens_at_the_services_port_if_nothing_is_said(engine: Any, checksum: int | None) -> None:
    fields: Any = {"transport": UDP} if checksum is None else {"transport": UDP, "chksum": checksum}
    sent = [frame(CLIENT, 9, SERVICE, 53, **fields), frame(SERVERS[0], 53, CLIENT, 9, **fields)]
    expected = [frame(CLIENT, 9, SERVERS[0], 53, **fields), frame(SERVICE, 53, CLIENT, 9, **fields)]
    assert run(engine, VirtualServer(services=[NAMES]), sent).frames == expected


@both_engines
def test_what_is_of_no_service_passes(engine: Any) -> None:
    sent = [
        frame(CLIENT, 1000, SERVICE, 81),
        frame(CLIENT, 1000, SERVICE, 80, UDP),
        frame(CLIENT, 1000, OTHER, 80),
        frame(CLIENT, 80, SERVERS[0], 8080),
        frame(SERVERS[0], 80, CLIENT, 1000),
        frame(SERVERS[0], 8080, CLIENT, 1000, UDP),
        bytes(ethernet() / IP(src=CLIENT, dst=SERVICE) / ICMP()),
        bytes(ethernet() / Raw(bytes(40))),
    ]
    result = run(engine, [VirtualServer(services=[WEB]), FlowCounter()], sent)
    assert result.frames == sent
    assert result.counters.nfs[0].received == 0
    assert result.counters.nfs[1].received == 7
    assert result.counters.tables[0].created == 0


@both_engines
@pytest.mark.parametrize("service", [WEB, NAMES, DIRECT])
def test_an_endpoint_of_zeros_is_of_no_service(engine: Any, service: dict[str, Any]) -> None:
    ends = [(CLIENT, "0.0.0.0"), ("0.0.0.0", CLIENT)]
    sent = [bytes(ethernet() / IP(src=src, dst=dst, proto=0) / Raw(bytes(40))) for src, dst in ends]
    result = run(engine, VirtualServer(services=[service]), sent)
    assert (result.frames, result.verdicts) == (sent, [1, 1])


@both_engines
def test_each_service_has_its_own_turns(engine: Any) -> None:
    running = Running(engine, WEB, NAMES)
    web = [destination_of(made) for made in running.send(*map(to_service, range(1000, 1004)))]
    names = [
        destination_of(made) for made in running.send(*(frame(CLIENT, n, SERVICE, 53, UDP) for n in range(1000, 1004)))
    ]
    assert (web, names) == ([*SERVERS, SERVERS[0]], SERVERS[:2] * 2)


@both_engines
def test_direct_forwarding_changes_the_destination_mac_address_alone(engine: Any) -> None:
    sent = [frame(CLIENT, n, OTHER, 80) for n in (1, 2, 3, 1)]
    expected = [frame(CLIENT, n, OTHER, 80, mac=MACS[server]) for n, server in ((1, 0), (2, 1), (3, 2), (1, 0))]
    assert run(engine, VirtualServer(services=[DIRECT]), sent).frames == expected
    # Beside a service with nat too; the server's own answers are not seen, or pass.
    answers = [frame(OTHER, 80, CLIENT, 1)]
    result = run(engine, VirtualServer(services=[WEB, DIRECT]), [*sent, *answers, to_service(1000), answer(1000)])
    assert result.frames == [*expected, *answers, to_server(1000), answer_of_service(1000)]


@both_engines
def test_what_answers_nothing_is_dropped_and_leaves_the_client_its_choice(engine: Any) -> None:
    running = Running(engine, WEB)
    assert running.send(answer(1000, 2)) == [b""]
    assert running.send(to_service(1000), at_ns=1) == [to_server(1000)]
    assert running.send(answer(1000), at_ns=2) == [answer_of_service(1000)]
    assert running.drops == {"no connection": 1}


@both_engines
def test_least_connections_counts_what_goes_on(engine: Any) -> None:
    weighted = [server | {"weight": weight} for server, weight in zip(WEB["servers"], (2, 1, 1), strict=True)]
    running = Running(engine, WEB | {"algorithm": "least_connections", "servers": weighted})
    made = running.send(*map(to_service, range(1000, 1008)))
    assert Counter(map(destination_of, made)) == {SERVERS[0]: 4, SERVERS[1]: 2, SERVERS[2]: 2}
    # Those of the first server end with a RST; after 10 s what is new goes there.
    ended = [port for port, each in zip(range(1000, 1008), made, strict=True) if destination_of(each) == SERVERS[0]]
    running.send(*(to_service(port, flags="R") for port in ended))
    running.engine.settle()
    for step in range(1, 80):  # so that the search comes by
        running.send(to_service(1000 + next(n for n in range(8) if 1000 + n not in ended)), at_ns=step * 10**9)
    assert [destination_of(each) for each in running.send(*map(to_service, range(2000, 2004)), at_ns=80 * 10**9)] == [
        SERVERS[0]
    ] * 4


@both_engines
@pytest.mark.parametrize(
    ("end", "ends"),
    [
        ([to_service(1000, flags="R")], True),
        ([answer(1000, flags="RA")], True),
        ([to_service(1000, flags="FA"), answer(1000, flags="FA")], True),
        ([to_service(1000, flags="FA"), to_service(1000, flags="FA")], False),
        ([answer(1000, flags="FA")], False),
        ([to_service(1000, flags="R"), to_service(1000, flags="S")], False),
    ],
)
def test_a_closed_connection_ends_soon(engine: Any, end: list[bytes], ends: bool) -> None:
    running = Running(engine, WEB, closed_timeout="1ms", timeout="1s")
    running.send(to_service(1000, flags="S"), answer(1000, flags="SA"))
    running.send(*end, at_ns=10)
    assert running.send(to_service(1000), at_ns=9 + MILLISECOND) == [to_server(1000)]
    # A millisecond and more after the last packet: another turn, if it has ended.
    assert running.send(to_service(1000), at_ns=10 + 2 * MILLISECOND) == [to_server(1000, 1 if ends else 0)]


def test_several_workers_do_as_one() -> None:
    services = [WEB | {"algorithm": "hash"}, DIRECT | {"algorithm": "maglev", "table_size": 251}]
    frames = [*map(to_service, range(1000, 1400)), *(frame(CLIENT, n, OTHER, 80) for n in range(400))]
    for chosen in (services, services[1:]):
        plan = Chain([VirtualServer(services=chosen)]).plan
        expected, made = FrameBlock.from_frames(frames), FrameBlock.from_frames(frames)
        CompiledEngine(plan).process(expected)
        ParallelEngine(plan, 2).process(made)
        assert [bytes(made.frame(n)) for n in range(len(made))] == [bytes(expected.frame(n)) for n in range(len(made))]
    assert plan.sharding.fields is not None  # direct alone rewrites nothing that tells whose a packet is


def several(service: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {"services": [service | changed]}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"services": []}, "VirtualServer: services is empty; give at least one"),
        (several(WEB, servers=[]), "VirtualServer: service 203.0.113.10:80/tcp: 0 servers; give 1 to 1,024"),
        (
            several(WEB, port=0),
            "parameter services.0.port of VirtualServer: Input should be greater than or equal to 1",
        ),
        (
            several(WEB, servers=[{"address": "10.0.0.1", "port": 65536}]),
            "parameter services.0.servers.0.port of VirtualServer: Input should be less than or equal to 65535",
        ),
        (
            several(WEB, servers=[{"address": "10.0.0.300"}]),
            "parameter services.0.servers.0.address of VirtualServer: "
            "'10.0.0.300' is not an IPv4 address such as 10.0.0.1",
        ),
        (
            several(DIRECT, servers=[{"address": "10.0.0.1", "mac": "02:00:00:00:00"}]),
            "parameter services.0.servers.0.mac of VirtualServer: "
            "'02:00:00:00:00' is not a MAC address such as 02:00:00:00:00:01",
        ),
        (
            several(DIRECT, servers=[{"address": "10.0.0.1"}]),
            "VirtualServer: service 203.0.113.11:80/tcp: "
            "forwarding: direct needs the MAC address of 10.0.0.1:80/tcp; give mac",
        ),
        (
            several(DIRECT, servers=[{"address": "10.0.0.1", "port": 8080, "mac": MACS[0]}]),
            "VirtualServer: service 203.0.113.11:80/tcp: "
            "forwarding: direct leaves the port as it is; 10.0.0.1:8080/tcp needs none",
        ),
        (
            several(WEB, servers=[{"address": "10.0.0.1", "mac": MACS[0]}]),
            "VirtualServer: service 203.0.113.10:80/tcp: "
            "the mac of 10.0.0.1:80/tcp is for forwarding: direct; leave it out",
        ),
        (
            several(WEB, servers=[{"address": "10.0.0.1", "weight": 0}]),
            "VirtualServer: service 203.0.113.10:80/tcp: "
            "a weight is 0; give 1 or more, and leave out servers that get nothing",
        ),
        (
            several(WEB, table_size=13),
            "VirtualServer: service 203.0.113.10:80/tcp: "
            "table_size is for algorithm: maglev; leave it out for round_robin",
        ),
        (
            several(WEB, algorithm="maglev", table_size=12),
            "VirtualServer: service 203.0.113.10:80/tcp: table_size is 12, which is no prime; 65,537 is one",
        ),
        (
            {"services": [WEB, WEB]},
            "VirtualServer: service 203.0.113.10:80/tcp stands twice; give one another port, or delete it",
        ),
        (
            {"services": [WEB, WEB | {"address": OTHER}]},
            "VirtualServer: 10.0.0.1:8080/tcp answers for 203.0.113.10:80/tcp and 203.0.113.11:80/tcp, "
            "so that nobody knows for which; give it another port in one",
        ),
        (
            {"services": [WEB], "down": ["10.0.0.9"]},
            "VirtualServer: down: 10.0.0.9 is none of the servers",
        ),
        ({"services": [WEB], "closed_timeout": "0s"}, "VirtualServer: closed_timeout is 0; give more, such as 10s"),
        (
            several(WEB, servers=[{"address": "10.0.0.1"}, {"address": "10.0.0.1"}]),
            "VirtualServer: service 203.0.113.10:80/tcp: 10.0.0.1:80/tcp stands twice; give it a weight of 2",
        ),
    ],
)
def test_bad_parameters(params: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        VirtualServer(**params)
    assert str(caught.value) == message


def test_a_mistake_in_a_service_is_found_in_its_line(tmp_path: Any) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text(
        "nfs:\n- virtual_server:\n    services:\n    - address: 203.0.113.1\n      port: 80\n"
        "      servers:\n      - {address: 10.0.0.1}\n      - {address: 10.0.0.2, weight: x}\n"
    )
    with pytest.raises(InputError, match=rf"{path}:8: parameter services\.0\.servers\.1\.weight of VirtualServer"):
        Chain.load(path)
