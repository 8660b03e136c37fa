"""Any number of workers: both engines agree, and results are those of one worker.

Chains of each kind: entries of workers' own, replicas that are merged, tables that workers share; and packets that all
go to one worker.
"""

import os
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fajita import ANY_KEY, NF, PASS, Chain, Or, Packet, Sum, five_tuple, u32, u64
from fajita.engine.compiled import CompiledEngine
from fajita.io.capture import open_capture
from fajita.io.frames import FrameBlock
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.plan import Plan
from fajita.run import Run, execute
from fajita.sharding import OWN, REPLICATED, SHARED
from fajita.verify import both_engines, verify_blocks
from tests.chains import describe, random_chain
from tests.error_nfs import CountsErrors
from tests.traffic import Traffic, many_flows, traffic

EXAMPLES = int(os.environ.get("FAJITA_EXAMPLES", "25"))
WORKERS = (1, 2, 3, 8)
SERVERS = ["10.0.0.1", "10.0.0.9", "172.16.0.1"]


class Flags(NF):
    """Notes the TCP flags and the size of what a key has seen; counts packets by key and in all."""

    key = five_tuple
    keys = ANY_KEY

    class State:
        flags: Or[u32]
        packets: Sum[u64]

    class Core:
        packets: Sum[u64]

    def packet(self, pkt: Packet, state: State) -> int:
        if pkt.is_tcp:
            state.flags |= pkt.tcp_flags
        state.packets += 1
        self.core.packets += 1
        return PASS


def balancer() -> NF:
    return LoadBalancer(servers=SERVERS, algorithm="hash")


#: By what their tables are to several workers. Those of one table and another key come together.
CHAINS = {
    "own": Chain([FlowCounter(timeout="1ms"), balancer(), RateLimiter(rate="1Mbps", burst="100B", timeout="5us")]),
    "own, by the source": Chain(
        [FlowCounter(records=True, timeout="1ms"), RateLimiter(rate="100kpps", burst=1, key="source")]
    ),
    "own, both directions": Chain([FlowCounter(key="connection", records=True, timeout="5us"), MacSwap()]),
    "replicated": Chain([balancer(), SourceCounter(), DestinationCounter()]),
    "replicated, for all": Chain([FlowCounter(timeout="1ms"), Flags(key="all"), MacSwap()], other="drop"),
    "shared": Chain([balancer(), SourceCounter(timeout="1ms"), DestinationCounter(timeout="5us")]),
    "shared, with records": Chain(
        [
            FlowCounter(key="source_prefix(20)", records=True, timeout="5us"),
            SourceCounter(timeout="1ms"),
            Flags(key="destination"),
        ],
        fragments="flow",
    ),
    "one worker": Chain(
        [
            RateLimiter(rate="1Mpps", burst=4, key="source"),
            RateLimiter(name="to", rate="1Mpps", burst=4, key="destination"),
        ]
    ),
    "maglev": Chain([LoadBalancer(servers=SERVERS, algorithm="maglev", weights=[3, 1, 1], table_size=251)]),
    "limited": Chain([FlowCounter(timeout="1ms")], capacity=7, full="evict"),
    "errors": Chain([CountsErrors(timeout="1ms"), SourceCounter(), CountsErrors(name="again", timeout="5us")]),
    "errors of one direction": Chain([CountsErrors(key="five_tuple"), MacSwap()], inner=True, fragments="flow"),
    "errors that some take for packets": Chain([CountsErrors(), FlowCounter(key="connection")]),
    "inside tunnels": Chain([FlowCounter(key="connection"), SourceCounter(timeout="5us")], inner=True),
}
KINDS = {
    "own": {OWN},
    "own, by the source": {OWN},
    "own, both directions": {OWN},
    "replicated": {OWN, REPLICATED},
    "replicated, for all": {OWN, REPLICATED},
    "shared": {OWN, SHARED},
    "shared, with records": {OWN, REPLICATED, SHARED},
    "one worker": {OWN},
    "maglev": {OWN},
    "limited": {OWN},
    "errors": {OWN, REPLICATED},
    "errors of one direction": {OWN},
    "errors that some take for packets": {OWN},
    "inside tunnels": {OWN, SHARED},
}


@pytest.fixture(params=["threads", "one after the other"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few packets, as there are here, are usually run by all workers in one thread."""
    if request.param == "threads":
        monkeypatch.setattr("fajita.engine.parallel.FEW", 0)


both_ways = pytest.mark.usefixtures("way")


@pytest.mark.parametrize("name", CHAINS)
def test_the_chains_are_of_all_kinds(name: str) -> None:
    assert {table.sharing for table in CHAINS[name].plan.tables} == KINDS[name]
    goes_to_one = name in ("one worker", "errors that some take for packets")
    assert (CHAINS[name].plan.sharding.fields is None) == goes_to_one


def assert_engines_agree(plan: Plan, sent: Traffic, workers: int) -> None:
    result = verify_blocks(plan, sent.blocks(), partial(both_engines, cores=workers))
    assert result.difference is None, str(result.difference)
    assert result.packets == len(sent.frames)


@both_ways
@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("name", CHAINS)
def test_engines_agree_with_any_number_of_workers(name: str, workers: int) -> None:
    @settings(max_examples=max(1, EXAMPLES // 4), suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(sent=traffic())
    def check(sent: Traffic) -> None:
        assert_engines_agree(CHAINS[name].plan, sent, workers)

    check()


@both_ways
@pytest.mark.parametrize("workers", WORKERS[1:])
@pytest.mark.parametrize("name", CHAINS)
def test_engines_agree_on_many_flows(name: str, workers: int) -> None:
    assert_engines_agree(CHAINS[name].plan, many_flows(500, repeats=3), workers)


@both_ways
@pytest.mark.parametrize("seed", range(4))
def test_engines_agree_on_random_chains(seed: int) -> None:
    chain, workers = random_chain(1000 + seed), Random(seed).choice(WORKERS[1:])

    @settings(max_examples=max(1, EXAMPLES // 4), suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(sent=traffic())
    def check(sent: Traffic) -> None:
        result = verify_blocks(chain.plan, sent.blocks(), partial(both_engines, cores=workers))
        assert result.difference is None, f"{describe(chain)}, {workers} workers: {result.difference}"

    check()


def results(run: Run) -> dict[str, object]:
    """What must not depend on the number of workers: counts, states, and records, of which the order does."""
    report = run.report
    told = {name: report[name] for name in ("packets", "bytes", "drops", "other", "flows", "fragments")}
    told["nfs"] = [{name: value for name, value in nf.items() if name != "summary"} for nf in report["nfs"]]
    told["summaries"] = [nf["summary"] for nf in report["nfs"]]
    told["tables"] = [
        {name: value for name, value in table.items() if name not in ("capacity", "bytes")}
        for table in report["tables"]
    ]
    for nf in run.plan.nfs:
        if nf.table is not None:
            told[nf.nf.name] = run.table(nf.nf.name).to_pylist()
        if nf.translated.may_emit:
            told[f"{nf.nf.name} records"] = sorted(map(str, run.records(nf.nf.name).to_pylist()))
    return told


#: Where a table is full depends on how it is divided.
INDEPENDENT = [name for name in CHAINS if name != "limited"]


def assert_independent_of_workers(name: str, engine: str) -> None:
    @settings(max_examples=max(1, EXAMPLES // 4), suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(sent=traffic(), workers=st.sampled_from(WORKERS[1:]), drain=st.booleans())
    def check(sent: Traffic, workers: int, drain: bool) -> None:
        one, several = (
            CHAINS[name].run(sent.blocks(), engine=engine, cores=cores, drain=drain) for cores in (1, workers)
        )
        assert results(one) == results(several)

    check()


@both_ways
@pytest.mark.parametrize("name", INDEPENDENT)
def test_results_do_not_depend_on_the_number_of_workers(name: str) -> None:
    assert_independent_of_workers(name, "compiled")


@pytest.mark.parametrize("name", INDEPENDENT)
def test_results_of_the_interpreted_engine_do_not_depend_on_it_either(name: str) -> None:
    assert_independent_of_workers(name, "reference")


def test_a_worker_that_fails_ends_the_run_with_what_was_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sent, real = replace(many_flows(200, repeats=4), cuts=[200, 400, 600]), CompiledEngine.process

    def fails_in_the_third_block(self: CompiledEngine, block: FrameBlock, *arguments: object) -> None:
        if block.first == 400 and self.loads()[0].packets and threading.current_thread().name.startswith("worker-1"):
            raise ZeroDivisionError("injected")
        real(self, block, *arguments)

    monkeypatch.setattr(CompiledEngine, "process", fails_in_the_third_block)
    monkeypatch.setattr("fajita.engine.parallel.FEW", 0)
    run = execute(Chain([FlowCounter()]).plan, sent.blocks(), cores=2, out=tmp_path / "out.pcap")
    assert str(run.error).startswith("worker 1 failed, ZeroDivisionError: injected; what the workers did before")
    counters = run.engine.counters()
    assert 400 < counters.packets_in < 600
    assert sum(load.packets for load in run.engine.loads()) == counters.packets_in
    with open_capture(tmp_path / "out.pcap") as written:
        assert sum(len(block) for block in written) == 400
