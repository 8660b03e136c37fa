"""Servers of virtual services that go and come, weights and algorithms that change: no connection moves."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP

from fajita import Chain, FrameBlock, InputError
from fajita.engine.compiled import CompiledEngine
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.virtual_server import VirtualServer
from fajita.verify import both_engines as make_engines
from fajita.verify import verify_blocks
from tests.nfs.running import both_engines, change, run
from tests.nfs.scapy_frames import CLIENT, destination_of, ethernet
from tests.nfs.virtual_services import (
    DIRECT,
    NAMES,
    OTHER,
    SERVERS,
    SERVICE,
    WEB,
    Running,
    about,
    answer,
    answer_of_service,
    frame,
    to_server,
    to_service,
)

ALGORITHMS = ["round_robin", "least_connections", "hash", "maglev"]


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
