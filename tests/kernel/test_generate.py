"""The generated module: Python that can be read, and always the same for the same chain."""

import ast

import pytest

from fajita import Chain
from fajita.kernel.generate import generate
from fajita.kernel.layout import CONTEXT
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from fajita.nfs.port_scan_detector import PortScanDetector
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.nfs.syn_flood_guard import SynFloodGuard
from fajita.shared_entry import for_workers
from tests.chains import example_chains

SERVERS = ["10.0.0.1", "10.0.0.2"]


def chains() -> dict[str, Chain]:
    """New ones each time."""
    return {
        "one": Chain([FlowCounter()]),
        "shared entry": Chain(
            [FlowCounter(), LoadBalancer(servers=SERVERS), RateLimiter(rate="1Gbps", burst="64kB", timeout="30s")]
        ),
        "three tables": Chain([SourceCounter(), FlowCounter(), DestinationCounter()], other="drop"),
        "rewritten key": Chain([LoadBalancer(servers=SERVERS, key="source"), DestinationCounter(), FlowCounter()]),
        "no table": Chain([MacSwap()]),
        "twice": Chain([FlowCounter(name="before"), MacSwap(), FlowCounter(name="after", key="source")]),
    }


@pytest.mark.parametrize("name", chains())
def test_the_source_is_the_same_every_time(name):
    assert generate(chains()[name].plan) == generate(chains()[name].plan)


@pytest.mark.parametrize("name", chains())
def test_the_source_is_python_with_one_way_in(name):
    tree = ast.parse(generate(chains()[name].plan))
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert len(functions) == len(set(functions))
    assert functions[-2:] == ["run_chain", "run"]


@pytest.mark.parametrize("name", chains())
def test_every_nf_is_named_where_it_runs(name):
    chain = chains()[name]
    lines = generate(chain.plan).splitlines()
    for nf in chain.nfs:
        assert any(line.endswith(f"# {nf.name}") for line in lines), nf.name


def test_the_name_of_a_chain_cannot_leave_its_comment():
    """It comes from a file, and the source is run."""
    source = generate(Chain([FlowCounter()], name="a\nimport os\r\u2028'\"").plan)
    assert source.splitlines()[1] == ""
    assert "import os" not in [line.strip() for line in source.splitlines()]


@pytest.mark.parametrize("name", chains())
def test_one_worker_has_nothing_of_what_several_need(name):
    plan = chains()[name].plan
    assert for_workers(plan, 1) is plan
    source = generate(plan)
    assert not any(word in source for word in ("SHARED_AT", "WORKER", "redirected", "atomic", "pour", "stop"))


def test_several_workers_have_the_same_kernel_where_no_table_is_shared():
    plan = chains()["three tables"].plan
    assert generate(for_workers(plan, 8)) == generate(plan)


def test_several_workers_have_a_kernel_that_stands_still_where_a_table_is_shared():
    plan = Chain([FlowCounter(), DestinationCounter(timeout="1s")]).plan_with(shard="source")
    source = generate(for_workers(plan, 2))
    assert generate(for_workers(plan, 3)) == source != generate(plan)
    assert "STOPPED" in source
    assert "sweep_1" not in generate(plan)


def test_a_parameter_changes_the_source():
    slow, fast = (Chain([RateLimiter(rate=rate, burst="64kB")]) for rate in ("1Mbps", "2Mbps"))
    assert generate(slow.plan) != generate(fast.plan)


@pytest.mark.parametrize("path", example_chains(), ids=lambda path: path.stem)
def test_where_packets_land_is_in_no_kernel_that_is_not_asked(path):
    plan = Chain.load(path).plan
    assert not plan.asks_landing
    source = generate(plan)
    words = [f"load_i64(context + {CONTEXT[name]})" for name in ("bytes_hashed", "indirection", "worker")]
    assert not any(text in source for text in ("lands_here", "landing", *words))


def test_a_pass_does_not_assign_what_it_is_given():
    """Elements are asked for ahead up to a number of packets, in the midst of what a before_lookup says."""
    chain = Chain([PortScanDetector(), SynFloodGuard(retries=True)])
    functions = [node for node in ast.walk(ast.parse(generate(chain.plan))) if isinstance(node, ast.FunctionDef)]
    passes = [node for node in functions if node.name.startswith("run_") and node.name != "run_chain"]
    assert any("asked_for" in {given.arg for given in node.args.args} for node in passes)
    for node in passes:
        stored = {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
        assert not stored & {given.arg for given in node.args.args}
