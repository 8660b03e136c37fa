"""What a user is told of an NF."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from fajita import NF, PASS, Array, Burst, Duration, IPv4, Rate, Sum, five_tuple, flag, ipv4, source, u32, u64
from fajita.describe import ParameterDescription, describe
from fajita.nfs.flow_exporter import FlowExporter
from fajita.registry import find_nf, shipped_nfs


class Everything(NF):
    """Has one of everything.

    And says more.
    """

    key = five_tuple
    keys = (source,)

    class Params:
        rate: Rate
        servers: list[IPv4] = ["10.0.0.1"]  # noqa: RUF012 - as a user writes it
        algorithm: Literal["first", "second"] = "first"
        idle: Duration | None = None
        ports: list[Annotated[int, Field(gt=0)]] = Field(default_factory=lambda: [80])
        burst: Burst = "64kB"  # type: ignore[assignment]
        loud: bool = False

    class State:
        server: ipv4
        seen: flag

        sizes: Array[Sum[u32], 4]

    class Core:
        turn: u32
        ended: Sum[u64]

    def packet(self, pkt, state):  # type: ignore[no-untyped-def]
        return PASS


def test_purpose_keys_and_fields() -> None:
    described = describe("everything", Everything)
    assert described.purpose == "Has one of everything."
    assert described.text == "Has one of everything.\n\nAnd says more."
    assert (described.key, described.keys) == ("five_tuple", ("five_tuple", "source"))
    assert described.state == {"server": "ipv4", "seen": "flag", "sizes": "Array[Sum[u32], 4]"}
    assert described.core == {"turn": "u32", "ended": "Sum[u64]"}
    assert (described.timeout, describe("flow_exporter", FlowExporter).timeout) == (None, "15s")


@pytest.mark.parametrize(
    "expected",
    [
        ParameterDescription("rate", "rate, such as 1Gbps or 100kpps", None),
        ParameterDescription("servers", "list of IPv4 address", '["10.0.0.1"]'),
        ParameterDescription("algorithm", "first or second", "first"),
        ParameterDescription("idle", "time, such as 30s or nothing", "null"),
        ParameterDescription("ports", "list of integer", "[80]"),
        ParameterDescription("burst", "size, such as 64kB, or a number of packets", "64kB"),
        ParameterDescription("loud", "true or false", "false"),
    ],
    ids=lambda expected: expected.name,
)
def test_parameter(expected: ParameterDescription) -> None:
    assert expected in describe("everything", Everything).parameters


def test_every_shipped_nf_says_in_one_sentence_what_it_does() -> None:
    for name in shipped_nfs():
        purpose = describe(name, find_nf(name, Path())).purpose
        assert purpose.endswith(".")
        assert len(purpose) <= 100
