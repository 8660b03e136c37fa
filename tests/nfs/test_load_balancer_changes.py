"""Least connections, and servers whose weight or state changes while packets come."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fajita import Chain, FrameBlock, InputError
from fajita.engine.parallel import ParallelEngine
from fajita.nfs.load_balancer import LoadBalancer
from fajita.reference import ReferenceEngine
from tests.nfs.running import both_engines, change, run
from tests.nfs.scapy_frames import destination_of, udp_frame

SERVERS = ["10.0.0.1", "10.0.0.9", "172.16.0.1"]
ALGORITHMS = ["round_robin", "least_connections", "hash", "maglev"]


def send(engine: Any, ports: range, at_ns: int = 0) -> tuple[list[str], list[int]]:
    """A packet from each port: the servers they go to, and their verdicts."""
    block = FrameBlock.from_frames([udp_frame(port) for port in ports], [at_ns] * len(ports))
    engine.process(block)
    return [destination_of(bytes(block.frame(index))) for index in range(len(block))], block.verdict.tolist()


def running(engine: Any, **params: Any) -> Any:
    return engine(Chain([LoadBalancer(servers=SERVERS, **params)]).plan)


def least_connections(weights: list[int], flows: int, timeout: int) -> list[int]:
    """The servers of new flows, one a nanosecond, each of which ends after so many: by the definition, in floats."""
    counts, chosen, turn = [0] * len(weights), [], 0
    for flow in range(flows):
        if flow >= timeout:
            counts[chosen[flow - timeout]] -= 1
        order = [(turn + step) % len(weights) for step in range(len(weights))]
        best = min(order, key=lambda server: (counts[server] + 1) / weights[server])
        counts[best] += 1
        turn = best + 1
        chosen.append(best)
    return chosen


@both_engines
@settings(max_examples=10, deadline=None)
@given(weights=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_new_flow_goes_where_it_weighs_least(engine: Any, weights: list[int]) -> None:
    servers = [f"10.0.0.{n}" for n in range(len(weights))]
    result = run(
        engine,
        LoadBalancer(servers=servers, weights=weights, algorithm="least_connections"),
        [udp_frame(1000 + n) for n in range(100)],
    )
    assert [destination_of(frame) for frame in result.frames] == [
        servers[n] for n in least_connections(weights, 100, 1000)
    ]
    (counts,) = result.engine.core(result.chain.plan.nfs[0])["connections"]
    assert dict(zip(servers, counts.tolist(), strict=True)) == result.summary()["flows"]


@both_engines
def test_flows_that_have_ended_count_no_more(engine: Any) -> None:
    """Of six flows those of two servers go on; what ends makes room at the third."""
    balancer = running(engine, algorithm="least_connections", timeout="1ms")
    first, _ = send(balancer, range(1000, 1006))
    assert first == SERVERS * 2
    kept = [1000, 1001, 1003, 1004]
    send(balancer, kept, 900_000)  # type: ignore[arg-type]
    new, _ = send(balancer, range(2000, 2006), 1_900_000)
    assert Counter(new)["172.16.0.1"] == 2
    for _ in range(4):  # the search for idle flows comes by
        send(balancer, range(2000, 2032), 2_000_000)
    balancer.settle()
    (counts,) = balancer.core(balancer.plan.nfs[0])["connections"]
    assert sum(counts) == 32
    assert max(counts) - min(counts) <= 1


@both_engines
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_new_flows_leave_out_a_server_that_goes_down_and_come_back_with_it(engine: Any, algorithm: str) -> None:
    balancer = running(engine, algorithm=algorithm)
    before, _ = send(balancer, range(1000, 1090))
    assert set(before) == set(SERVERS)
    change(balancer, "load_balancer", down=["10.0.0.9"])
    assert send(balancer, range(1000, 1090)) == (before, [1] * 90)
    others, _ = send(balancer, range(2000, 2090))
    assert set(others) == {"10.0.0.1", "172.16.0.1"}
    change(balancer, "load_balancer", down=[])
    again, _ = send(balancer, range(3000, 3090))
    assert "10.0.0.9" in again
    assert send(balancer, range(1000, 1090))[0] == before
    if algorithm == "least_connections":
        assert Counter([*before, *others, *again]) == dict.fromkeys(SERVERS, 90)


@both_engines
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_server_down_chooses_as_a_chain_without_it(engine: Any, algorithm: str) -> None:
    left = {"servers": [SERVERS[0], SERVERS[2]], "weights": [2, 2]}
    frames = [udp_frame(port) for port in range(1000, 1100)]
    expected = run(engine, LoadBalancer(algorithm=algorithm, **left), frames)
    down = LoadBalancer(servers=SERVERS, weights=[2, 1, 2], down=["10.0.0.9"], algorithm=algorithm)
    assert run(engine, down, frames).frames == expected.frames


@both_engines
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_with_drop_down_a_servers_flows_are_dropped_while_it_is_down(engine: Any, algorithm: str) -> None:
    balancer = running(engine, algorithm=algorithm, drop_down=True)
    before, verdicts = send(balancer, range(1000, 1060))
    assert verdicts == [1] * 60
    change(balancer, "load_balancer", drop_down=True, down=["10.0.0.9"])
    assert send(balancer, range(1000, 1060)) == (before, [int(server != "10.0.0.9") for server in before])
    assert balancer.counters().nfs[0].drops == {"server down": before.count("10.0.0.9")}
    change(balancer, "load_balancer", drop_down=True)
    assert send(balancer, range(1000, 1060)) == (before, [1] * 60)


@both_engines
@pytest.mark.parametrize("algorithm", ["round_robin", "least_connections", "hash", "maglev"])
def test_new_flows_keep_to_weights_that_have_changed(engine: Any, algorithm: str) -> None:
    balancer = running(engine, algorithm=algorithm)
    send(balancer, range(1000, 1300))
    change(balancer, "load_balancer", weights=[8, 1, 1])
    new = Counter(send(balancer, range(2000, 3000))[0])
    if algorithm == "least_connections":  # with the 100 that each had
        assert new == {"10.0.0.1": 940, "10.0.0.9": 30, "172.16.0.1": 30}
    else:
        assert [round(new[server] / 100) for server in SERVERS] == [8, 1, 1]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_all_workers_change(algorithm: str) -> None:
    plan = Chain([LoadBalancer(servers=SERVERS, algorithm=algorithm)]).plan
    for engine in (ParallelEngine(plan, 2), ReferenceEngine(plan, 2)):
        assert set(send(engine, range(1000, 1400))[0]) == set(SERVERS)
        change(engine, "load_balancer", down=["10.0.0.9"])
        assert set(send(engine, range(2000, 2400))[0]) == {"10.0.0.1", "172.16.0.1"}


def test_weights_that_have_no_room_are_refused_while_the_chain_runs() -> None:
    engine = running(ReferenceEngine)
    with pytest.raises(InputError) as caught:
        change(engine, "load_balancer", weights=[1000, 999, 2])
    assert str(caught.value) == (
        "LoadBalancer: weights add up to 2,001 in lowest terms; "
        "give smaller ones, at most 1,024 together while the chain runs"
    )
    change(running(ReferenceEngine, weights=[1000, 999, 2]), "load_balancer", weights=[1, 1, 1])


@pytest.mark.parametrize("before", ALGORITHMS)
@pytest.mark.parametrize("after", ALGORITHMS)
def test_the_algorithm_stays_while_the_chain_runs(before: str, after: str) -> None:
    engine = running(ReferenceEngine, algorithm=before)
    if before == after:
        change(engine, "load_balancer", algorithm=after)
        return
    with pytest.raises(InputError) as caught:
        change(engine, "load_balancer", algorithm=after)
    assert str(caught.value) == (
        f"LoadBalancer: algorithm was {before} when the chain began to run, and stays so; weights and down can change"
    )


def test_flows_of_a_server_that_is_gone_are_still_counted() -> None:
    run = Chain([LoadBalancer(servers=SERVERS)]).run(
        [FrameBlock.from_frames([udp_frame(port) for port in range(first, first + 30)]) for first in (1000, 2000)],
        before_block=lambda run: run.change("load_balancer", servers=SERVERS[:2]) if run.report["packets"]["in"] else 0,
    )
    assert run.report["nfs"][0]["summary"] == {"flows": {"10.0.0.1": 25, "10.0.0.9": 25, "172.16.0.1": 10}}
