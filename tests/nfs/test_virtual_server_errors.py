"""Fragments and ICMP errors of connections to virtual services."""

from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.packet import Packet

from fajita.nfs.virtual_server import VirtualServer
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import CLIENT, ethernet
from tests.nfs.virtual_services import (
    DIRECT,
    MACS,
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
