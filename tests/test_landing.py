"""NFs that ask where packets land: both engines agree, and replies come to the worker that the NF was told."""

import os
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, Ether

from fajita import Chain, FrameBlock, InputError
from fajita.engine.compiled import CompiledEngine
from fajita.engine.membership import Membership
from fajita.engine.memory import Budget
from fajita.engine.parallel import ParallelEngine
from fajita.engine.sharder import Sharder
from fajita.engine.shards import Shard
from fajita.engine.workers import compiled_engine
from fajita.explain import explain
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.rate_limiter import RateLimiter
from fajita.plan import Plan
from fajita.reference.engine import ReferenceEngine
from fajita.rss import SHARD_KEYS, usual_indirection
from fajita.run import execute
from fajita.tuning import Tuning
from fajita.verify import both_engines, verify_blocks
from tests.landing_nfs import LANDS, STRAYS, Masquerade, Strays, Wild
from tests.traffic import Traffic, many_flows, traffic

EXAMPLES = int(os.environ.get("FAJITA_EXAMPLES", "25"))
WORKERS = (1, 2, 3, 8)
ETHERNET = Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b")
POOL = ["198.51.100.1", "198.51.100.2", "203.0.113.77"]

CHAINS = {
    "masquerade": Chain([Masquerade(pool=POOL)]),
    "among others": Chain([FlowCounter(timeout="1ms"), Masquerade(pool=POOL, timeout="5us"), DestinationCounter()]),
    "without state": Chain([Strays(), FlowCounter(key="connection")], other="drop"),
    "any numbers": Chain([Wild(), Masquerade(pool=POOL[:1], attempts=3)]),
    "inside tunnels": Chain([Masquerade(pool=POOL)], inner=True, fragments="flow"),
    "all to one": Chain(
        [
            Masquerade(pool=POOL, attempts=2),
            RateLimiter(rate="1Mpps", burst=4, key="destination"),
            RateLimiter(name="by_source", rate="1Mpps", burst=4, key="source"),
        ]
    ),
}


def assert_engines_agree(plan: Plan, sent: Traffic, workers: int) -> None:
    result = verify_blocks(plan, sent.blocks(), partial(both_engines, cores=workers))
    assert result.difference is None, str(result.difference)
    assert result.packets == len(sent.frames)


def test_one_chain_sends_all_packets_to_one_worker() -> None:
    assert [name for name, chain in CHAINS.items() if chain.plan.sharding.fields is None] == ["all to one"]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("name", CHAINS)
def test_engines_agree_with_any_number_of_workers(name: str, workers: int) -> None:
    @settings(max_examples=max(1, EXAMPLES // 4), suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(sent=traffic())
    def check(sent: Traffic) -> None:
        assert_engines_agree(CHAINS[name].plan, sent, workers)

    check()


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("fields", SHARD_KEYS)
def test_engines_agree_on_many_flows_however_packets_are_spread(fields: str, workers: int) -> None:
    plan = CHAINS["masquerade"].plan_with(shard=fields)
    assert plan.sharding.fields == SHARD_KEYS[fields]
    assert_engines_agree(plan, many_flows(150, repeats=2), workers)


def outgoing(flows: list[tuple[str, str, int, int]]) -> FrameBlock:
    packets = (
        ETHERNET / IP(src=src, dst=dst) / UDP(sport=src_port, dport=dst_port) for src, dst, src_port, dst_port in flows
    )
    return FrameBlock.from_frames([bytes(packet) for packet in packets])


def workers_of(plan: Plan, block: FrameBlock, workers: int) -> list[int]:
    """Those that a sharder of the plan gives the packets to."""
    fields = plan.sharding.fields
    assert fields is not None
    return usual_indirection(workers)[Sharder(plan, fields).buckets(block)].tolist()


def replies_to(block: FrameBlock) -> FrameBlock:
    """What comes back, to where packets seem to be from."""
    sent = [Ether(bytes(block.frame(index))) for index in range(len(block))]
    return outgoing([(p[IP].dst, p[IP].src, p[UDP].dport, p[UDP].sport) for p in sent])


def run_masquerade(
    fields: str, block: FrameBlock, workers: int, pool: list[str] = POOL
) -> tuple[list[bool], list[bool]]:
    """Of each packet, whether the NF has found that its reply lands where it is, and whether it does."""
    plan = Chain([Masquerade(pool=pool)]).plan_with(shard=fields)
    before = workers_of(plan, block, workers)
    compiled_engine(plan, workers).process(block)
    told = [Ether(bytes(block.frame(index)))[IP].ttl for index in range(len(block))]
    assert set(told) <= {LANDS, STRAYS}
    after = workers_of(plan, replies_to(block), workers)
    return [ttl == LANDS for ttl in told], [one == other for one, other in zip(before, after, strict=True)]


ADDRESS, PORT = st.ip_addresses(v=4).map(str), st.integers(0, 65535)
FLOWS = st.lists(st.tuples(ADDRESS, ADDRESS, PORT, PORT), min_size=1, max_size=40)


@pytest.mark.parametrize("fields", SHARD_KEYS)
@settings(max_examples=max(5, EXAMPLES), deadline=None)
@given(flows=FLOWS, workers=st.sampled_from(WORKERS))
def test_replies_come_to_the_worker_of_their_flow_if_and_only_if_it_said_so(
    fields: str, flows: list[tuple[str, str, int, int]], workers: int
) -> None:
    said, does = run_masquerade(fields, outgoing(flows), workers)
    assert said == does


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("fields", ["five_tuple", "connection"])
def test_a_port_is_found_where_ports_are_hashed(fields: str, workers: int) -> None:
    flows = [(f"10.0.{n % 3}.{n}", f"192.0.2.{n % 7}", 4000 + n, 53) for n in range(200)]
    said, does = run_masquerade(fields, outgoing(flows), workers)
    assert all(said)
    assert all(does)


def test_workers_never_choose_the_same_port_for_one_server() -> None:
    """A reply lands at one worker, so that only that one can have chosen where it goes."""
    block = outgoing([(f"10.0.{n % 3}.{n % 250}", "192.0.2.7", 4000 + n, 53) for n in range(300)])
    said, _ = run_masquerade("five_tuple", block, 3, POOL[:1])
    ports = [int.from_bytes(block.frame(index)[34:36], "big") for index in range(len(block))]
    owners = workers_of(CHAINS["masquerade"].plan_with(shard="five_tuple"), replies_to(block), 3)
    by_worker = [{port for port, owner in zip(ports, owners, strict=True) if owner == worker} for worker in range(3)]
    assert all(said)
    assert all(by_worker)
    assert sum(len(chosen) for chosen in by_worker) == len(set(ports))


@pytest.mark.parametrize("make", [lambda: CHAINS["masquerade"].plan, lambda: CHAINS["all to one"].plan])
def test_with_one_worker_everything_lands(make) -> None:  # type: ignore[no-untyped-def]
    plan = make()
    for workers in (1, 2) if plan.sharding.fields is None else (1,):
        for engine in both_engines(plan, cores=workers).values():
            for block in many_flows(50, repeats=1).blocks():
                engine.process(block)
            (ipv4, *_) = engine.rows(plan.nfs[0])
            assert len(ipv4) == 50
            assert ipv4["lands"].all()


def test_packets_that_are_sprayed_land_at_every_worker() -> None:
    plan = CHAINS["among others"].plan_with(Tuning(sprays=True))
    for engine in both_engines(plan, cores=3).values():
        for block in many_flows(50, repeats=1).blocks():
            engine.process(block)
        assert engine.rows(plan.nfs[1])[0]["lands"].all()
    assert_engines_agree(plan, many_flows(100, repeats=2), 3)


@pytest.mark.parametrize("owners", [[1], [1, 0], [2, 2, 0, 1, 1]])
def test_the_table_of_indirection_is_the_one_that_the_engine_has(owners: list[int]) -> None:
    plan = CHAINS["masquerade"].plan
    frames = []
    for engine in (ParallelEngine(plan, 3), ReferenceEngine(plan, 3)):
        engine.indirection[:] = np.resize(owners, len(engine.indirection))
        (block,) = many_flows(200, repeats=1).blocks()
        engine.process(block)
        frames.append([bytes(block.frame(index)) for index in range(len(block))])
        if owners == [1]:
            assert engine.rows(plan.nfs[0])[0]["lands"].all()
            assert engine.core(plan.nfs[0])["turn"] == [0, 200, 0]
    assert frames[0] == frames[1]


@pytest.mark.parametrize("name", ["masquerade", "without state", "any numbers"])
def test_workers_one_after_the_other(name: str) -> None:
    """Not in threads, so that a build with bounds checks knows whose memory is whose."""
    plan, indirection = CHAINS[name].plan, usual_indirection(3)
    expected, block = (next(many_flows(100, repeats=1).blocks()) for _ in range(2))
    ReferenceEngine(plan, 3).process(expected)
    fields, budget = plan.sharding.fields, Budget(1 << 30)
    assert fields is not None
    buckets = Sharder(plan, fields).buckets(block)
    for number in range(3):
        shard = Shard(number)
        engine = CompiledEngine(plan, membership=Membership(number, 3, budget, indirection=indirection))
        engine.process(shard.take(block, buckets, indirection))
        shard.give_back(block)
    assert block.verdict.tolist() == expected.verdict.tolist()
    assert [bytes(block.frame(n)) for n in range(len(block))] == [bytes(expected.frame(n)) for n in range(len(block))]


def test_what_was_chosen_so_cannot_be_balanced() -> None:
    what = "the chain chain cannot be balanced: what masquerade has chosen by where packets land"
    with pytest.raises(InputError, match=f"^{what}.*; leave out --balance$"):
        execute(CHAINS["masquerade"].plan, [], cores=2, balance_ns=10**6)


def test_explain_says_who_asks() -> None:
    line = "  {} asks where packets land (lands_here): what it does depends on the number of workers"
    assert line.format("masquerade") in explain(CHAINS["masquerade"].plan).splitlines()
    assert line.format("strays") in explain(CHAINS["without state"].plan).splitlines()
    for plan in (CHAINS["all to one"].plan, CHAINS["masquerade"].plan_with(Tuning(sprays=True))):
        assert "lands_here" not in explain(plan)


def test_workers_do_not_meet_in_a_state_that_depends_on_it() -> None:
    with pytest.raises(InputError, match="the order of packets matters to wild: packet asks where packets land"):
        Chain([Wild(key="destination")]).plan_with(shard="source")
