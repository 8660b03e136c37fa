"""What a strict NAT drops, as Linux's rules do that drop what is invalid."""

from typing import Any

import pytest
from scapy.packet import Packet

from tests.nfs.nat_steps import (
    ALICE,
    EXTERNAL,
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
@pytest.mark.parametrize("flags", ["", "F", "SF", "SR", "PU", "FR", "SAF"])
def test_strict_drops_flags_that_no_segment_has(engine: Any, flags: str) -> None:
    Steps().then(tcp(ALICE, 5000, SERVER, 80, flags), "malformed").check(engine, nat(strict=True))


@both_engines
@pytest.mark.parametrize(
    "packet",
    [
        tcp(ALICE, 5000, SERVER, 80, "S", dataofs=4),
        tcp(ALICE, 5000, SERVER, 80, "S", dataofs=7),
        udp(ALICE, 5000, SERVER, 53, len=7),
        udp(ALICE, 5000, SERVER, 53, len=25),
        udp(ALICE, 5000, SERVER, 53, len=0),
    ],
)
def test_strict_drops_lengths_that_contradict(engine: Any, packet: Packet) -> None:
    Steps().then(packet, "malformed").check(engine, nat(strict=True))


@both_engines
def test_strict_drops_errors_that_quote_too_little(engine: Any) -> None:
    about = udp(EXTERNAL, 5000, SERVER, 53)
    steps = Steps().then(udp(ALICE, 5000, SERVER, 53), about)
    steps.then(error(ROUTER, EXTERNAL, about, bytes_after=7), "malformed")
    steps.then(error(ROUTER, EXTERNAL, about), error(ROUTER, ALICE, udp(ALICE, 5000, SERVER, 53)))
    steps.check(engine, nat(strict=True))


@both_engines
@pytest.mark.parametrize("flags", ["R", "RA", "FA", "SA"])
def test_strict_lets_no_connection_begin_so(engine: Any, flags: str) -> None:
    steps = Steps().then(tcp(ALICE, 5000, SERVER, 80, flags), "invalid")
    result = steps.check(engine, nat(strict=True))
    assert result.summary()["tcp_mappings"] == 0


@both_engines
def test_strict_lets_a_connection_through_that_is_one(engine: Any) -> None:
    steps = Steps()
    for from_alice, flags in ((1, "S"), (0, "SA"), (1, "A"), (1, "PA"), (0, "A"), (0, "FA"), (1, "FA"), (0, "A")):
        if from_alice:
            steps.then(tcp(ALICE, 5000, SERVER, 80, flags), tcp(EXTERNAL, 5000, SERVER, 80, flags))
        else:
            steps.then(tcp(SERVER, 80, EXTERNAL, 5000, flags), tcp(SERVER, 80, ALICE, 5000, flags))
    steps.check(engine, nat(strict=True))


@both_engines
def test_strict_wants_a_syn_answered(engine: Any) -> None:
    steps = Steps().then(tcp(ALICE, 5000, SERVER, 80, "S"), tcp(EXTERNAL, 5000, SERVER, 80, "S"))
    steps.then(tcp(ALICE, 5000, SERVER, 80, "A"), "invalid").then(tcp(SERVER, 80, EXTERNAL, 5000, "FA"), "invalid")
    steps.then(tcp(SERVER, 80, EXTERNAL, 5000, "RA"), tcp(SERVER, 80, ALICE, 5000, "RA"))
    steps.then(tcp(SERVER, 80, EXTERNAL, 5000, "SA"), "invalid")  # the reset was the end of it
    steps.then(tcp(ALICE, 5000, SERVER, 80, "S"), tcp(EXTERNAL, 5000, SERVER, 80, "S"))
    steps.check(engine, nat(strict=True))


@both_engines
def test_strict_lets_in_only_answers_to_what_was_asked(engine: Any) -> None:
    steps = Steps().then(echo(ALICE, SERVER, 7), echo(EXTERNAL, SERVER, 7))
    steps.then(echo(SERVER, EXTERNAL, 7, type=14), "invalid")
    steps.then(echo(SERVER, EXTERNAL, 7, type=0), echo(SERVER, ALICE, 7, type=0))
    steps.check(engine, nat(strict=True))
