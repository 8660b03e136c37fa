"""The NAT and protocols without ports: refused, or translated by their addresses."""

from typing import Any

from scapy.layers.inet import IP
from scapy.layers.l2 import Ether
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
    error,
    frames_of,
    gre,
    nat,
    sctp,
)
from tests.nfs.running import both_engines, run


@both_engines
def test_other_protocols_are_refused(engine: Any) -> None:
    steps = Steps().then(IP(src=ALICE, dst=SERVER, proto=47) / Raw(b"x" * 20), "protocol")
    steps.then(IP(src=SERVER, dst=EXTERNAL, proto=50) / Raw(b"x" * 20), "protocol")
    steps.check(engine, nat())


def esp(src: str, dst: str) -> Packet:
    return IP(src=src, dst=dst, proto=50) / Raw(b"\0\0\0\7" + b"x" * 20)


@both_engines
def test_other_protocols_are_translated_by_address(engine: Any) -> None:
    steps = Steps()
    for make in (gre, esp):
        steps.then(make(SERVER, EXTERNAL), "no mapping")
        steps.then(make(ALICE, SERVER), make(EXTERNAL, SERVER)).then(make(SERVER, EXTERNAL), make(SERVER, ALICE))
        steps.then(make(OTHER, EXTERNAL), "no mapping")
        steps.then(make(BOB, OTHER), make(EXTERNAL, OTHER)).then(make(OTHER, EXTERNAL), make(OTHER, BOB))
        steps.then(make(BOB, EXTERNAL), "no mapping")  # not between hosts inside
    result = steps.check(engine, nat(other_protocols="translate"))
    assert result.summary() == {"sessions": 4, "tcp_mappings": 0, "udp_mappings": 0, "icmp_mappings": 0}


@both_engines
def test_sctp_keeps_its_ports_and_its_checksum(engine: Any) -> None:
    steps = Steps()
    for port in (5000, 5001):
        steps.then(sctp(ALICE, port, SERVER, 80), sctp(EXTERNAL, port, SERVER, 80))
        steps.then(sctp(SERVER, 80, EXTERNAL, port), sctp(SERVER, 80, ALICE, port))
    steps.check(engine, nat(other_protocols="translate"))


@both_engines
def test_a_remote_has_one_host_for_a_protocol_and_address_until_that_has_no_session(engine: Any) -> None:
    steps = Steps().then(sctp(ALICE, 1, SERVER, 2), sctp(EXTERNAL, 1, SERVER, 2))
    steps.then(sctp(ALICE, 3, SERVER, 2), sctp(EXTERNAL, 3, SERVER, 2), after=150)
    steps.then(sctp(BOB, 4, SERVER, 2), "no port").then(gre(BOB, SERVER), gre(EXTERNAL, SERVER))
    steps.others(after=200)  # one of two sessions is over
    steps.then(sctp(BOB, 4, SERVER, 2), "no port").others(after=301)
    steps.then(sctp(BOB, 4, SERVER, 2), sctp(EXTERNAL, 4, SERVER, 2))
    steps.then(sctp(SERVER, 2, EXTERNAL, 4), sctp(SERVER, 2, BOB, 4))
    steps.check(engine, nat(other_protocols="translate"))


@both_engines
def test_another_host_has_another_address_of_a_pool(engine: Any) -> None:
    hosts = [f"10.0.0.{number}" for number in range(1, 6)]
    result = run(
        engine,
        nat(external=["203.0.113.0/30"], other_protocols="translate"),
        frames_of([gre(host, SERVER) for host in hosts]),
    )
    assert result.verdicts == [1, 1, 1, 1, 0]
    assert {Ether(frame)[IP].src for frame in result.frames[:4]} == {f"203.0.113.{number}" for number in range(4)}


@both_engines
def test_errors_about_other_protocols_are_translated(engine: Any) -> None:
    steps = Steps().then(esp(ALICE, SERVER), esp(EXTERNAL, SERVER))
    steps.then(error(ROUTER, EXTERNAL, esp(EXTERNAL, SERVER)), error(ROUTER, ALICE, esp(ALICE, SERVER)))
    steps.then(error(ROUTER, EXTERNAL, esp(EXTERNAL, OTHER)), "no mapping")
    steps.then(error(INSIDE_ROUTER, SERVER, esp(SERVER, ALICE)), error(EXTERNAL, SERVER, esp(SERVER, EXTERNAL)))
    steps.check(engine, nat(other_protocols="translate"))
