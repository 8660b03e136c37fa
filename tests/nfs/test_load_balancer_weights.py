"""Weights: each server gets exactly its share of each cycle of turns, spread over it."""

from collections import Counter
from math import gcd
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita import InputError
from fajita.nfs.load_balancer import LoadBalancer
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import destination_of, udp_frame

SERVERS = ["10.0.0.1", "10.0.0.9", "172.16.0.1"]
WEIGHTS = st.lists(st.integers(1, 20), min_size=1, max_size=8)


def servers_of(result: Any) -> list[str]:
    return [destination_of(frame) for frame in result.frames]


def turns(weights: list[int], count: int = 0) -> list[int]:
    """The servers of a cycle of turns, by their place in the list."""
    servers = [f"10.0.0.{n}" for n in range(count or len(weights))]
    balancer = LoadBalancer(servers=servers, weights=weights)
    return [turn & 0xFF for turn in balancer.places[: balancer.turns[0]]]


def test_the_turns_are_those_of_nginx() -> None:
    """The example that nginx gave when it took up this method: a, a, b, a, c, a, a."""
    assert turns([5, 1, 1]) == [0, 0, 1, 0, 2, 0, 0]


@given(weights=WEIGHTS)
def test_each_server_has_exactly_its_share_of_a_cycle(weights: list[int]) -> None:
    divisor = gcd(*weights)
    assert Counter(turns(weights)) == {server: weight // divisor for server, weight in enumerate(weights)}


@given(weights=WEIGHTS)
def test_turns_are_spread_over_the_cycle(weights: list[int]) -> None:
    """At no time is a server further from its share than one turn for each of the others."""
    order = np.array(turns(weights))
    for server, weight in enumerate(weights):
        due = np.arange(1, len(order) + 1) * weight / sum(weights)
        assert abs((order == server).cumsum() - due).max() <= max(1, len(weights) - 1)


@given(weights=WEIGHTS, factor=st.integers(1, 10**12))
def test_only_the_proportion_counts(weights: list[int], factor: int) -> None:
    assert turns([weight * factor for weight in weights]) == turns(weights)


@pytest.mark.parametrize("weight", [1, 7])
def test_equal_weights_are_none(weight: int) -> None:
    assert turns([weight] * 5) == turns([], count=5) == [0, 1, 2, 3, 4]


@both_engines
def test_new_flows_take_weighted_turns(engine: Any) -> None:
    result = run(engine, LoadBalancer(servers=SERVERS, weights=[3, 1, 1]), [udp_frame(1000 + n) for n in range(50)])
    cycle = [SERVERS[n] for n in (0, 1, 0, 2, 0)]
    assert servers_of(result) == cycle * 10
    assert result.summary() == {"flows": {SERVERS[0]: 30, SERVERS[1]: 10, SERVERS[2]: 10}}


@both_engines
def test_the_hash_keeps_to_weights(engine: Any) -> None:
    frames = [udp_frame(1000 + n, src=f"192.0.2.{n % 250}") for n in range(1000)]
    result = run(engine, LoadBalancer(servers=SERVERS, algorithm="hash", weights=[3, 1, 1]), frames)
    flows = result.summary()["flows"]
    assert [round(flows[server] / 200) for server in SERVERS] == [3, 1, 1]


@pytest.mark.parametrize("algorithm", ["round_robin", "hash", "maglev"])
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], "weights: 2, servers: 3; give one weight for each server"),
        ([1, 2, 3, 4], "weights: 4, servers: 3; give one weight for each server"),
        ([3, 0, 1], "a weight is 0; give 1 or more, and leave out servers that get nothing"),
        ([3, 1, -2], "a weight is -2; give 1 or more, and leave out servers that get nothing"),
        ([0, 0, 0], "a weight is 0; give 1 or more, and leave out servers that get nothing"),
        (
            [1, 1, 1 << 70],
            f"weights add up to {(1 << 70) + 2:,} in lowest terms; give smaller ones, at most 65,536 together",
        ),
    ],
)
def test_wrong_weights_are_refused(algorithm: str, weights: list[int], message: str) -> None:
    with pytest.raises(InputError) as caught:
        LoadBalancer(servers=SERVERS, algorithm=algorithm, weights=weights)
    assert str(caught.value) == f"LoadBalancer: {message}"


@pytest.mark.parametrize("weights", ["3", [1, 1, "x"], [1, 1, 1.5], [True, True, True]])
def test_weights_are_integers(weights: Any) -> None:
    with pytest.raises(InputError, match="parameter weights"):
        LoadBalancer(servers=SERVERS, weights=weights)
