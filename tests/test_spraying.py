"""Packets spread one by one over workers that all keep all state: results are those of one worker."""

import os
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings

from fajita import NF, PASS, Chain, InputError, Layer, Packet
from fajita.engine.spraying import SprayingEngine
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from fajita.nfs.rate_limiter import RateLimiter
from fajita.spraying import left_to_owner, needs_copies
from fajita.tuning import Tuning
from fajita.verify import both_engines, verify_blocks
from tests.error_nfs import Errors
from tests.traffic import Traffic, many_flows, traffic

EXAMPLES = int(os.environ.get("FAJITA_EXAMPLES", "25"))
SERVERS = ["10.0.0.1", "10.0.0.9", "172.16.0.1"]
SPRAYS = Tuning(sprays=True)


class Hop(NF):
    """Counts a hop down, as a router does."""

    about = Layer.IP

    def packet(self, pkt: Packet) -> int:
        if pkt.ttl > 1:
            pkt.ttl = pkt.ttl - 1
        return PASS


class ByHop(NF):
    """Drops what has few hops left."""

    about = Layer.IP

    def packet(self, pkt: Packet) -> int:
        if pkt.ttl < 64:
            return pkt.drop("far")
        return PASS


CHAINS = {
    "no rewrite": Chain([FlowCounter(records=True, timeout="1ms"), RateLimiter(rate="1Mbps", burst="100B")]),
    "an owner's rewrite": Chain([FlowCounter(), RateLimiter(rate="1Mpps", burst=4), Hop(), MacSwap()]),
    "rewrites": Chain([LoadBalancer(servers=SERVERS), FlowCounter(key="destination"), MacSwap()], other="drop"),
    "a rewrite that is looked at": Chain([Hop(), ByHop(), FlowCounter(timeout="5us")]),
    "fragments": Chain([LoadBalancer(servers=SERVERS), FlowCounter(key="connection")], fragments="flow"),
    "errors": Chain([Errors(timeout="1ms"), MacSwap()]),
}


@pytest.mark.parametrize(
    ("name", "owners", "copies"),
    [
        ("no rewrite", [], False),
        ("an owner's rewrite", ["hop", "mac_swap"], False),
        ("rewrites", ["mac_swap"], True),
        ("a rewrite that is looked at", [], True),
    ],
)
def test_what_is_left_to_a_packets_owner(name: str, owners: list[str], copies: bool) -> None:
    plan = CHAINS[name].plan
    assert [plan.nfs[index].nf.name for index in sorted(left_to_owner(plan))] == owners
    assert needs_copies(plan) == copies


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("name", CHAINS)
def test_results_are_those_of_one_worker(name: str, workers: int) -> None:
    plan = CHAINS[name].plan_with(SPRAYS)

    @settings(max_examples=max(1, EXAMPLES // 4), suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(sent=traffic())
    def check(sent: Traffic) -> None:
        result = verify_blocks(plan, sent.blocks(), partial(both_engines, cores=workers))
        assert result.difference is None, str(result.difference)

    check()


def test_packets_are_shared_out_and_counted_once() -> None:
    sent = many_flows(1, repeats=1000)
    engine = SprayingEngine(CHAINS["an owner's rewrite"].plan_with(SPRAYS), 3)
    for block in sent.blocks():
        engine.process(block)
    assert sum(load.packets for load in engine.loads()) == engine.counters().packets_in == 1000
    assert all(300 < load.packets < 370 for load in engine.loads())


def test_an_nf_that_is_left_to_the_owner_has_received_all_packets() -> None:
    engine = SprayingEngine(CHAINS["an owner's rewrite"].plan_with(SPRAYS), 2)
    for block in many_flows(5, repeats=3).blocks():
        engine.process(block)
    first, *_, last = engine.counters().nfs
    assert first.received == 15
    assert last.received == 15 - sum(sum(nf.drops.values()) for nf in engine.counters().nfs)


def test_sprayed_packets_are_not_spread_by_a_key_too() -> None:
    with pytest.raises(InputError, match="packets that are sprayed are not spread by a key; leave out --shard"):
        CHAINS["no rewrite"].plan_with(SPRAYS, shard="source")
