"""ICMP through a NAT: queries by their identifiers, errors with what they quote."""

from typing import Any

import pytest
from scapy.layers.inet import IP
from scapy.packet import Packet, Raw

from tests.nfs.nat_steps import (
    ALICE,
    BOB,
    EXTERNAL,
    INSIDE_ROUTER,
    OTHER,
    ROUTER,
    SERVER,
    Steps,
    echo,
    error,
    nat,
    tcp,
    udp,
)
from tests.nfs.running import both_engines


@both_engines
def test_echo_by_identifier(engine: Any) -> None:
    steps = Steps().then(echo(ALICE, SERVER, 7), echo(EXTERNAL, SERVER, 7))
    steps.then(echo(BOB, SERVER, 7), echo(EXTERNAL, SERVER, 1025))
    steps.then(echo(ALICE, SERVER, 60000), echo(EXTERNAL, SERVER, 60000))
    for host, inside, external in ((BOB, 7, 1025), (ALICE, 7, 7), (ALICE, 60000, 60000)):
        steps.then(echo(SERVER, EXTERNAL, external, type=0), echo(SERVER, host, inside, type=0))
    steps.then(echo(SERVER, EXTERNAL, 9, type=0), "no mapping")
    steps.others(after=61)
    steps.then(echo(BOB, SERVER, 7), echo(EXTERNAL, SERVER, 7))
    steps.then(echo(SERVER, EXTERNAL, 7), "icmp type")  # nobody pings the inside
    steps.then(echo(ALICE, SERVER, 7, type=0), "icmp type")
    steps.check(engine, nat())


@both_engines
@pytest.mark.parametrize(("asked", "answered"), [(8, 0), (13, 14), (15, 16), (17, 18)])
def test_queries_of_all_types_are_answered(engine: Any, asked: int, answered: int) -> None:
    steps = Steps().then(echo(ALICE, SERVER, 7, asked), echo(EXTERNAL, SERVER, 7, asked))
    steps.then(echo(SERVER, EXTERNAL, 7, answered), echo(SERVER, ALICE, 7, answered))
    steps.check(engine, nat(strict=True))


@both_engines
def test_redirects_are_dropped(engine: Any) -> None:
    steps = Steps().then(udp(ALICE, 5000, SERVER, 53), udp(EXTERNAL, 5000, SERVER, 53))
    steps.then(error(ROUTER, EXTERNAL, udp(EXTERNAL, 5000, SERVER, 53), type=5, code=1), "icmp type")
    steps.check(engine, nat())


#: What an error says: port unreachable, fragmentation needed, TTL exceeded.
ERRORS = [(3, 3), (3, 4), (11, 0)]


@both_engines
@pytest.mark.parametrize(("type", "code"), ERRORS)
@pytest.mark.parametrize("bytes_after", [8, 20, 100])
def test_errors_from_outside_come_to_the_host_that_they_are_about(
    engine: Any, type: int, code: int, bytes_after: int
) -> None:
    kind = {"type": type, "code": code, "bytes_after": bytes_after}
    steps = Steps()
    for packet, translated in (
        (udp(ALICE, 5000, SERVER, 53), udp(EXTERNAL, 5000, SERVER, 53)),
        (udp(BOB, 5000, SERVER, 53), udp(EXTERNAL, 1024, SERVER, 53)),
        (tcp(BOB, 5000, SERVER, 80), tcp(EXTERNAL, 5000, SERVER, 80)),
        (tcp(ALICE, 5000, SERVER, 80), tcp(EXTERNAL, 1024, SERVER, 80)),
        (echo(BOB, SERVER, 7), echo(EXTERNAL, SERVER, 7)),
        (echo(ALICE, SERVER, 7), echo(EXTERNAL, SERVER, 1025)),
    ):
        steps.then(packet, translated)
        steps.then(error(ROUTER, EXTERNAL, translated, **kind), error(ROUTER, packet[IP].src, packet, **kind))
    steps.check(engine, nat())


@both_engines
@pytest.mark.parametrize("sender", [ALICE, INSIDE_ROUTER])
@pytest.mark.parametrize("bytes_after", [8, 100])
def test_errors_from_inside_show_what_the_outside_knows(engine: Any, sender: str, bytes_after: int) -> None:
    steps = Steps().then(udp(BOB, 80, SERVER, 53), udp(EXTERNAL, 1024, SERVER, 53))
    for there, back, answer, inside in (
        (udp(ALICE, 80, SERVER, 53), udp(EXTERNAL, 1026, SERVER, 53), *answers(udp, 53, 1026, 80)),
        (tcp(ALICE, 80, SERVER, 99), tcp(EXTERNAL, 1024, SERVER, 99), *answers(tcp, 99, 1024, 80)),
    ):
        steps.then(there, back).then(answer, inside)
        steps.then(
            error(sender, SERVER, inside, bytes_after=bytes_after),
            error(EXTERNAL, SERVER, answer, bytes_after=bytes_after),
        )
    steps.check(engine, nat())


def answers(make: Any, remote: int, external: int, inside: int) -> tuple[Packet, Packet]:
    """What the server answers, as it comes and as it is translated back to Alice."""
    return make(SERVER, remote, EXTERNAL, external), make(SERVER, remote, ALICE, inside)


@both_engines
def test_errors_between_hosts_inside(engine: Any) -> None:
    steps = Steps().then(udp(BOB, 2000, SERVER, 53), udp(EXTERNAL, 2000, SERVER, 53))
    sent, got = udp(ALICE, 5000, EXTERNAL, 2000), udp(EXTERNAL, 5000, BOB, 2000)
    steps.then(sent, got).then(error(BOB, EXTERNAL, got), error(EXTERNAL, ALICE, sent))
    sent, got = udp(BOB, 2000, EXTERNAL, 5000), udp(EXTERNAL, 2000, ALICE, 5000)
    steps.then(sent, got).then(error(ALICE, EXTERNAL, got), error(EXTERNAL, BOB, sent))
    steps.check(engine, nat(filtering="endpoint_independent"))


@both_engines
def test_errors_about_nothing_are_dropped(engine: Any) -> None:
    steps = Steps().then(udp(ALICE, 5000, SERVER, 53), udp(EXTERNAL, 5000, SERVER, 53))
    steps.then(error(ROUTER, EXTERNAL, udp(EXTERNAL, 5001, SERVER, 53)), "no mapping")
    steps.then(error(ROUTER, EXTERNAL, udp(EXTERNAL, 5000, SERVER, 54)), "no session")
    steps.then(error(ROUTER, EXTERNAL, tcp(EXTERNAL, 5000, SERVER, 53)), "no mapping")
    steps.then(error(ROUTER, EXTERNAL, udp(OTHER, 5000, SERVER, 53)), "no session")
    steps.then(error(ALICE, SERVER, udp(SERVER, 54, ALICE, 5000)), "no session")
    steps.then(error(ALICE, OTHER, udp(SERVER, 53, ALICE, 5000)), "no session")  # it is for another
    steps.then(error(ROUTER, EXTERNAL, udp(EXTERNAL, 5000, SERVER, 53), bytes_after=2), "icmp type")
    steps.then(error(ROUTER, EXTERNAL, IP(src=EXTERNAL, dst=SERVER, proto=47) / Raw(b"x" * 8)), "protocol")
    assert steps.check(engine, nat()).summary()["sessions"] == 1


@both_engines
def test_an_error_does_not_keep_a_session(engine: Any) -> None:
    sent = udp(EXTERNAL, 5000, SERVER, 53)
    steps = Steps().then(udp(ALICE, 5000, SERVER, 53), sent)
    steps.then(error(ROUTER, EXTERNAL, sent), error(ROUTER, ALICE, udp(ALICE, 5000, SERVER, 53)), after=200)
    steps.others(after=101).then(udp(SERVER, 53, EXTERNAL, 5000), "no mapping")
    steps.check(engine, nat())
