"""A chain does the same with links as without, wherever they point: coarser entries move, end and are reused."""

from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from fajita import Chain
from fajita.engine.compiled import CompiledEngine
from fajita.io.frames import FrameBlock
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.plan import Plan
from fajita.tuning import Tuning
from fajita.verify import verify_blocks
from tests.traffic import Traffic, many_flows, traffic

SERVERS = ["10.0.0.1", "10.0.0.9", "172.16.0.1"]


def hosts(**options: object) -> FlowCounter:
    return FlowCounter(name="hosts", key="source", records=True, **options)


CHAINS = {
    "share": Chain([LoadBalancer(servers=SERVERS), SourceCounter(), DestinationCounter()]),
    "coarser entries end": Chain([FlowCounter(), hosts(timeout="5us")]),
    "finer entries end": Chain([FlowCounter(timeout="5us", records=True), SourceCounter()]),
    "both end": Chain([FlowCounter(timeout="1ms"), hosts(timeout="5us"), DestinationCounter(timeout="1s")]),
    "both are evicted": Chain(
        [LoadBalancer(servers=SERVERS), hosts(), DestinationCounter()], capacity=3, full="evict", timeout="1s"
    ),
    "no room: drop": Chain([FlowCounter(), SourceCounter(), DestinationCounter()], capacity=2),
    "no room: bypass": Chain(
        [FlowCounter(), SourceCounter(timeout="5us"), FlowCounter(name="all", key="all")], capacity=2, full="bypass"
    ),
    "both directions": Chain(
        [FlowCounter(), FlowCounter(name="both", key="connection", timeout="5us"), hosts(timeout="1ms")]
    ),
    "drops in between": Chain(
        [FlowCounter(), RateLimiter(rate="100kpps", burst=1, key="source"), DestinationCounter(timeout="5us")],
        other="drop",
    ),
}

given_traffic = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@cache
def plans(name: str) -> tuple[Plan, Plan]:
    """With links and without."""
    with_links, without = CHAINS[name].plan, CHAINS[name].plan_with(Tuning(auxiliary=False))
    assert any(table.link for table in with_links.tables)
    assert not any(table.link for table in without.tables)
    return with_links, without


def assert_links_make_no_difference(name: str, packets: Traffic) -> CompiledEngine:
    linked, other = (CompiledEngine(plan) for plan in plans(name))
    for ours, theirs in zip(packets.blocks(), packets.blocks(), strict=True):
        linked.process(ours)
        other.process(theirs)
        assert_same_frames(ours, theirs)
    for nf, its_twin in zip(linked.plan.nfs, other.plan.nfs, strict=True):
        sides = zip(linked.rows(nf), other.rows(its_twin), strict=True)
        assert all(np.array_equal(ours, theirs) for ours, theirs in sides), nf.nf.name
        assert linked.core(nf) == other.core(its_twin)
        if nf.translated.may_emit:
            records = zip(linked.take_records(nf), other.take_records(its_twin), strict=True)
            assert all(np.array_equal(ours, theirs) for ours, theirs in records), nf.nf.name
    assert linked.counters() == other.counters()
    return linked


def assert_same_frames(ours: FrameBlock, theirs: FrameBlock) -> None:
    assert ours.verdict.tolist() == theirs.verdict.tolist()
    for index in range(len(ours)):
        assert bytes(ours.frame(index)) == bytes(theirs.frame(index))


@pytest.mark.parametrize("name", CHAINS)
@given_traffic
@given(packets=traffic())
def test_links_make_no_difference(name: str, packets: Traffic) -> None:
    assert_links_make_no_difference(name, packets)


@pytest.mark.parametrize("name", CHAINS)
@given_traffic
@given(packets=traffic())
def test_engines_agree_with_links(name: str, packets: Traffic) -> None:
    assert verify_blocks(plans(name)[0], packets.blocks()).difference is None


@pytest.mark.parametrize("name", CHAINS)
def test_links_make_no_difference_while_tables_grow(name: str) -> None:
    engine = assert_links_make_no_difference(name, many_flows(4000, repeats=3))
    if CHAINS[name].settings.capacity is None and name not in ("finer entries end", "both end"):
        # More than once, with packets of known flows in between.
        assert engine.tables[0].capacity > 4 * 768


@pytest.mark.parametrize("name", CHAINS)
def test_engines_agree_with_links_while_tables_grow(name: str) -> None:
    assert verify_blocks(plans(name)[0], many_flows(4000, repeats=2).blocks()).difference is None


def in_turn(sources: int, rounds: int, gap_ns: int) -> Traffic:
    """Frames of as many flows, each from a source of its own, again and again."""
    frames = many_flows(sources, 1).frames * rounds
    count = len(frames)
    return Traffic(frames, [gap_ns * at for at in range(count)], [64] * count, [1] * count, [sources, 3 * sources])


@pytest.mark.parametrize(("sources", "gap_ns"), [(3, 1000), (7, 1000), (40, 1000), (7, 5000), (900, 100)])
def test_a_link_to_an_entry_that_another_flow_has_now_is_not_followed(sources: int, gap_ns: int) -> None:
    """Sources time out and lose their entries in turn, while the flows that have links to those stay."""
    for name in ("coarser entries end", "both are evicted"):
        packets = in_turn(sources, 6, gap_ns)
        engine = assert_links_make_no_difference(name, packets)
        assert verify_blocks(plans(name)[0], packets.blocks()).difference is None
        hosts_ended = engine.counters().tables[1]
        if sources > 5:
            assert hosts_ended.expired + hosts_ended.evicted > 0
