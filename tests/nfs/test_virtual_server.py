"""Virtual services: frames as scapy builds them for a server and for the client, and who gets which connection."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.packet import Packet, Raw

from fajita import Chain, FrameBlock, InputError
from fajita.engine.compiled import CompiledEngine
from fajita.engine.parallel import ParallelEngine
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.virtual_server import VirtualServer
from fajita.verify import both_engines as make_engines
from fajita.verify import verify_blocks
from tests.nfs.running import both_engines, change, run
from tests.nfs.scapy_frames import CLIENT, destination_of, ethernet

SERVICE, OTHER = "203.0.113.10", "203.0.113.11"
SERVERS = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
MACS = ["02:00:00:00:01:01", "02:00:00:00:01:02", "02:00:00:00:01:03"]
ALGORITHMS = ["round_robin", "least_connections", "hash", "maglev"]
MILLISECOND = 10**6

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
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_without_a_server_new_connections_are_dropped_until_there_is_one(engine: Any, algorithm: str) -> None:
    running = Running(engine, WEB | {"algorithm": algorithm})
    before = running.send(to_service(1000))
    change(running.engine, "virtual_server", down=SERVERS)
    assert running.send(to_service(1000), to_service(2000), at_ns=1) == [*before, b""]
    change(running.engine, "virtual_server", down=SERVERS[1:])
    assert running.send(to_service(2000), at_ns=2) == [to_server(2000)]
    assert running.drops == {"no server": 1}


@both_engines
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_connection_moves_when_a_server_goes_and_new_ones_leave_it_out(engine: Any, algorithm: str) -> None:
    table = {"table_size": 251} if algorithm == "maglev" else {}
    running = Running(engine, WEB | {"algorithm": algorithm} | table)
    known, new = ([to_service(port) for port in range(first, first + 60)] for first in (1000, 3000))
    before = running.send(*known)
    assert {destination_of(made) for made in before} == set(SERVERS)
    change(running.engine, "virtual_server", down=[SERVERS[1]])
    assert running.send(*known, at_ns=1) == before
    assert {destination_of(made) for made in running.send(*new, at_ns=2)} == {SERVERS[0], SERVERS[2]}


@both_engines
def test_with_drop_down_both_ways_of_a_servers_connections_are_dropped(engine: Any) -> None:
    running = Running(engine, WEB, drop_down=True)
    running.send(to_service(1000), to_service(2000))
    change(running.engine, "virtual_server", down=[SERVERS[0]], drop_down=True)
    assert running.send(to_service(1000), answer(1000), to_service(2000), answer(2000, 1), at_ns=1) == [
        b"",
        b"",
        to_server(2000, 1),
        answer_of_service(2000),
    ]
    assert running.drops == {"server down": 2}


@both_engines
def test_weights_and_algorithms_of_services_change(engine: Any) -> None:
    running = Running(engine, WEB, NAMES)
    running.send(to_service(999))
    weighted = [server | {"weight": weight} for server, weight in zip(WEB["servers"], (5, 1, 1), strict=True)]
    change(running.engine, "virtual_server", services=[WEB | {"servers": weighted}, NAMES])
    made = running.send(*map(to_service, range(1000, 1007)))
    assert Counter(map(destination_of, made)) == {SERVERS[0]: 5, SERVERS[1]: 1, SERVERS[2]: 1}
    change(running.engine, "virtual_server", services=[WEB | {"algorithm": "hash"}, NAMES])
    made = running.send(*map(to_service, range(2000, 2100)))
    assert (
        run(engine, VirtualServer(services=[WEB | {"algorithm": "hash"}]), [*map(to_service, range(2000, 2100))]).frames
        == made
    )


@both_engines
def test_what_algorithms_can_change_to(engine: Any) -> None:
    running = Running(engine, WEB)
    for service, message in (
        (
            WEB | {"algorithm": "least_connections"},
            "algorithm least_connections is for chains that began to run with it for a service; give another",
        ),
        (
            WEB | {"algorithm": "maglev"},
            "there is no room for a table_size of 65,537; give at most 1,024 while the chain runs",
        ),
    ):
        with pytest.raises(InputError) as caught:
            change(running.engine, "virtual_server", services=[service])
        assert str(caught.value) == f"VirtualServer: service 203.0.113.10:80/tcp: {message}"
    maglev = WEB | {"algorithm": "maglev", "table_size": 1021}
    change(running.engine, "virtual_server", services=[maglev])
    sent = [*map(to_service, range(1000, 1100))]
    assert running.send(*sent) == run(engine, VirtualServer(services=[maglev]), sent).frames


@both_engines
@pytest.mark.parametrize("algorithm", ["round_robin", "hash"])
def test_from_least_connections_to_others_and_back(engine: Any, algorithm: str) -> None:
    least = WEB | {"algorithm": "least_connections"}
    running = Running(engine, least)
    running.send(to_service(1000))
    change(running.engine, "virtual_server", services=[WEB | {"algorithm": algorithm}])
    made = running.send(*map(to_service, range(1001, 1100)))
    change(running.engine, "virtual_server", services=[least])
    made += running.send(*map(to_service, range(2000, 2200)))
    counts = Counter(map(destination_of, made))
    counts[SERVERS[0]] += 1
    assert counts == dict.fromkeys(SERVERS, 100)


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


@both_engines
def test_fragments_go_with_their_first_both_ways(engine: Any) -> None:
    def parts(src: str, sport: int, dst: str, dport: int) -> list[bytes]:
        packet = IP(src=src, dst=dst, id=9) / UDP(sport=sport, dport=dport) / (b"x" * 100)
        return [bytes(ethernet() / part) for part in fragment(packet, fragsize=40)]

    sent = [*parts(CLIENT, 9, SERVICE, 53), *parts(SERVERS[0], 53, CLIENT, 9)]
    expected = [*parts(CLIENT, 9, SERVERS[0], 53), *parts(SERVICE, 53, CLIENT, 9)]
    assert len(sent) == 6
    names = NAMES | {"servers": [{"address": SERVERS[0], "port": 53}]}
    assert run(engine, VirtualServer(services=[names]), sent).frames == expected


def about(quoted: bytes, src: str, dst: str) -> bytes:
    """An error that quotes the IP packet of a frame."""
    return bytes(ethernet() / IP(src=src, dst=dst, id=8) / ICMP(type=3, code=4, nexthopmtu=1400) / Raw(quoted[14:]))


@both_engines
@pytest.mark.parametrize("transport", [TCP, UDP])
def test_errors_come_to_the_side_that_they_are_for(engine: Any, transport: type[Packet]) -> None:
    """RFC 5508, 4: what is quoted is translated too."""
    service = WEB | {"protocol": "udp" if transport is UDP else "tcp"}
    there, back = to_service(1000, transport=transport), answer(1000, transport=transport)
    at_server, at_client = to_server(1000, transport=transport), answer_of_service(1000, transport=transport)
    router = "192.0.2.99"
    result = run(
        engine,
        VirtualServer(services=[service]),
        [
            there,
            about(at_client, router, SERVICE),  # an answer was too long for a link to the client
            about(at_server, router, CLIENT),  # a packet was too long for a link to the server
            about(at_server, SERVERS[0], CLIENT),  # the server's own error
            back,
        ],
    )
    assert result.frames == [
        at_server,
        about(back, router, SERVERS[0]),
        about(there, router, CLIENT),
        about(there, SERVICE, CLIENT),
        at_client,
    ]
    assert result.counters.tables[0].created == 1


@both_engines
def test_errors_about_no_connection_are_dropped_and_others_pass(engine: Any) -> None:
    running = Running(engine, WEB)
    other = about(frame(CLIENT, 1, OTHER, 80), "192.0.2.99", CLIENT)
    errors = [about(answer_of_service(1000), "192.0.2.99", SERVICE), about(to_server(1000), "192.0.2.99", CLIENT)]
    assert running.send(*errors, other) == [b"", b"", other]
    assert running.drops == {"no connection": 2}


@both_engines
def test_errors_about_direct_answers_come_to_their_server(engine: Any) -> None:
    sent = [frame(CLIENT, 1, OTHER, 80), about(frame(OTHER, 80, CLIENT, 1), "192.0.2.99", OTHER)]
    result = run(engine, VirtualServer(services=[DIRECT]), sent)
    assert [made[:6].hex(":") for made in result.frames] == [MACS[0]] * 2
    assert [made[6:] for made in result.frames] == [each[6:] for each in sent]


PACKETS = st.tuples(
    st.integers(0, 5),  # the client's port
    st.integers(0, 2),  # the server
    st.sampled_from(("to service", "to service", "answer", "to direct", "error to service", "error to client")),
    st.sampled_from(("S", "A", "A", "FA", "R")),
    st.sampled_from((0, 1, 400_000, 2_000_000)),  # nanoseconds since the packet before
)
MIXED = Chain(
    [
        VirtualServer(
            services=[WEB | {"algorithm": "least_connections"}, DIRECT | {"algorithm": "maglev", "table_size": 13}],
            timeout="3ms",
            closed_timeout="1ms",
            drop_down=True,
        ),
        FlowCounter(key="connection", timeout="1ms"),
    ]
)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_engines_agree_while_servers_go_and_come(data: st.DataObject) -> None:
    engines = make_engines(MIXED.plan)

    def blocks() -> Iterator[FrameBlock]:
        time_ns, first = 0, 0
        for _ in range(data.draw(st.integers(1, 4))):
            frames, times = [], []
            for port, server, kind, flags, step in data.draw(st.lists(PACKETS, max_size=30)):
                time_ns += step
                times.append(time_ns)
                frames.append(
                    {
                        "to service": to_service(port, flags=flags),
                        "answer": answer(port, server, flags=flags),
                        "to direct": frame(CLIENT, port, OTHER, 80, flags=flags),
                        "error to service": about(answer_of_service(port), "192.0.2.99", SERVICE),
                        "error to client": about(to_server(port, server), SERVERS[server], CLIENT),
                    }[kind]
                )
            yield FrameBlock.from_frames(frames, times, first=first)
            first += len(frames)
            down = data.draw(st.lists(st.sampled_from(SERVERS), unique=True))
            for engine in engines.values():
                change(engine, "virtual_server", down=down)

    assert verify_blocks(MIXED.plan, blocks(), lambda plan: engines).difference is None


def million_flows(dst: str) -> FrameBlock:
    flows = 1_000_000
    slots = np.zeros((flows, 64), np.uint8)
    packet = ethernet() / IP(src="10.1.0.0", dst=dst) / UDP(sport=0, dport=53, chksum=0) / bytes(18)
    slots[:, :60] = np.frombuffer(bytes(packet), np.uint8)
    flow = np.arange(flows)
    slots[:, 26:30] = (0x0A010000 + flow // 1000).astype(">u4").view(np.uint8).reshape(-1, 4)
    slots[:, 34:36] = (20_000 + flow % 1000).astype(">u2").view(np.uint8).reshape(-1, 2)
    return FrameBlock.from_slots(slots, np.full(flows, 60, np.uint32), np.zeros(flows, np.uint64))


def test_maglev_balances_a_million_connections_within_1_percent_and_moves_few() -> None:
    servers = [{"address": f"10.9.{n}.1"} for n in range(10)]
    service = NAMES | {"algorithm": "maglev", "servers": servers}
    chosen = []
    for down in ([], ["10.9.4.1"]):
        block = million_flows(SERVICE)
        CompiledEngine(Chain([VirtualServer(services=[service], down=down)]).plan).process(block)
        chosen.append(np.ascontiguousarray(block.memory[:, 30:34]).view(">u4").ravel())  # type: ignore[index]
    _, counts = np.unique(chosen[0], return_counts=True)
    assert (abs(counts - 100_000) < 1000).all()
    assert (chosen[0] != chosen[1]).mean() < 2 / 10


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
