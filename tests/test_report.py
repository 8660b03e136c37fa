"""The report: its keys and types, what its numbers have to do with each other, and the same from both engines."""

import json
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fajita import DROP, NF, PASS, Chain, FrameBlock, InputError, Packet, five_tuple, u64
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.plan import MAXIMUM_SHARING
from fajita.run import ENGINES
from tests.traffic import many_flows, traffic

#: The stable interface, with the type of each value; a list stands for a list of such.
SHAPE = {
    "chain": str,
    "engine": str,
    "cores": int,
    "packets": {"in": int, "out": int, "dropped": int, "other": int},
    "bytes": {"in": int, "out": int},
    "drops": dict,
    "fragments": {"followed": int, "early": int},
    "flows": {"created": int, "active": int, "expired": int, "evicted": int, "refused": int},
    "tables": [
        {
            "key": str,
            "entries": int,
            "capacity": int,
            "bytes": int,
            "created": int,
            "expired": int,
            "evicted": int,
            "refused": int,
        }
    ],
    "memory": {"limit_bytes": int, "used_bytes": int},
    "nfs": [{"name": str, "type": str, "in": int, "out": int, "dropped": int, "records": int, "summary": dict}],
    "shards": [{"core": int, "packets": int, "busy_seconds": float}],
    "seconds": {"compile": float, "read": float, "process": float, "write": float, "total": float},
    "mpps": float,
}


def has_shape(value, shape) -> bool:
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(has_shape(value[name], inner) for name, inner in shape.items())
    if isinstance(shape, list):
        return isinstance(value, list) and all(has_shape(inner, shape[0]) for inner in value)
    return type(value) is shape


CHAINS = {
    "limited": lambda: Chain(
        [
            FlowCounter(timeout="1ms"),
            SourceCounter(),
            RateLimiter(rate="100kpps", burst=2, key="source"),
            LoadBalancer(servers=["10.0.0.1", "10.0.0.9"]),
            DestinationCounter(),
        ],
        name="limited",
        other="drop",
    ),
    "swap": lambda: Chain([MacSwap(), RateLimiter(rate="1Mbps", burst="100B")], name="swap"),
    "full": lambda: Chain([FlowCounter(), SourceCounter(timeout="1ms")], name="full", capacity=2),
    "full, bypass": lambda: Chain([FlowCounter(), SourceCounter()], name="bypass", capacity=2, full="bypass"),
    "full, evict": lambda: Chain([FlowCounter(), SourceCounter()], name="evict", capacity=2, full="evict"),
    "stateless": lambda: Chain([MacSwap()], name="stateless", other="drop"),
}


@cache
def chain_named(name: str) -> Chain:
    return CHAINS[name]()


def without_machine(report: dict) -> dict:
    """What has to be the same from both engines."""
    tables = [{name: table[name] for name in table.keys() - {"capacity", "bytes"}} for table in report["tables"]]
    rest = {name: report[name] for name in report.keys() - {"engine", "seconds", "mpps", "shards", "memory"}}
    return rest | {"tables": tables, "shards": [shard["packets"] for shard in report["shards"]]}


@pytest.mark.parametrize("name", CHAINS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(sample=traffic())
def test_numbers_add_up_and_engines_agree(name, sample):
    chain = chain_named(name)
    report = chain.run(sample.blocks()).report
    assert has_shape(report, SHAPE)
    assert json.loads(json.dumps(report, allow_nan=False)) == report

    packets, nfs, other = report["packets"], report["nfs"], sum(report["other"].values())
    assert packets["in"] == len(sample.frames)
    assert packets["in"] == packets["out"] + packets["dropped"]
    assert packets["other"] == other
    assert report["bytes"]["in"] == sum(sample.wire)
    assert all(nf["in"] == nf["out"] + nf["dropped"] for nf in nfs)
    flows, tables = report["flows"], report["tables"]
    by_chain = other if chain.settings.other == "drop" else 0
    for_room = sum(table["refused"] for table in tables) if chain.settings.full == "drop" else 0
    assert packets["dropped"] == sum(nf["dropped"] for nf in nfs) + by_chain + for_room
    assert packets["dropped"] == sum(sum(reasons.values()) for reasons in report["drops"].values())
    assert all(count > 0 for reasons in report["drops"].values() for count in reasons.values())
    assert [shard["packets"] for shard in report["shards"]] == [packets["in"]]
    assert flows["active"] == (tables[0]["entries"] if tables else 0)
    for table in tables:
        assert table["entries"] <= table["capacity"]
        assert table["created"] == table["entries"] + table["expired"] + table["evicted"]
    assert report["memory"]["used_bytes"] == sum(table["bytes"] for table in tables) <= report["memory"]["limit_bytes"]
    if name == "limited":
        flow_counter, source_counter, limiter, _, destination_counter = nfs
        # Those with a 5-tuple see fewer: not every IPv4 packet has ports.
        assert flow_counter["in"] <= source_counter["in"] == packets["in"] - other
        assert source_counter["out"] == limiter["in"]
        assert limiter["out"] == destination_counter["in"] == packets["out"]
        assert source_counter["summary"]["packets"] == source_counter["in"]

    assert without_machine(chain.run(sample.blocks(), engine="reference").report) == without_machine(report)


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_the_cut_into_blocks_changes_nothing(data):
    sample = data.draw(traffic())
    whole = FrameBlock.from_frames(sample.frames, sample.times_ns, sample.wire)
    whole.link[:] = np.array(sample.links, np.uint8)
    chain = chain_named("limited")
    assert without_machine(chain.run(whole).report) == without_machine(chain.run(sample.blocks()).report)


def test_flows_are_those_of_the_finest_table():
    traffic = many_flows(50, repeats=2)
    sources = len({frame[26:30] for frame in traffic.frames})
    for nfs in ([SourceCounter(), FlowCounter()], [FlowCounter(), SourceCounter()]):
        report = Chain(nfs).run(traffic.blocks()).report
        assert report["flows"]["created"] == 50
        assert {table["key"]: table["entries"] for table in report["tables"]} == {"five_tuple": 50, "source": sources}
    flows = Chain([MacSwap()]).run(traffic.blocks()).report["flows"]
    assert set(flows.values()) == {0}


def test_flows_that_time_out_are_expired():
    traffic = many_flows(5, repeats=1)
    late = [10**9 * (1 + index) for index in range(2)]
    block = FrameBlock.from_frames(traffic.frames[:1] * 2, late)
    report = Chain([FlowCounter(timeout="10ms")]).run(block).report
    assert report["flows"] == {"created": 2, "active": 1, "expired": 1, "evicted": 0, "refused": 0}


@pytest.mark.parametrize("engine", ENGINES)
def test_packets_of_flows_without_an_entry_are_among_the_drops(engine):
    chain = Chain([SourceCounter(), FlowCounter()], capacity=5)
    report = chain.run(many_flows(8, repeats=3).blocks(), engine=engine).report
    # Each of the flows has a source of its own: the table of sources is met first.
    assert report["drops"] == {"table source": {"full": 9}}
    assert report["packets"] == {"in": 24, "out": 15, "dropped": 9, "other": 0}
    assert [(table["created"], table["refused"]) for table in report["tables"]] == [(5, 9), (5, 0)]
    report = chain.run(many_flows(8, repeats=1).blocks(), engine=engine).report
    assert report["flows"] == {"created": 5, "active": 5, "expired": 0, "evicted": 0, "refused": 0}


def test_tables_of_one_key_are_told_apart():
    limiters = [RateLimiter(name=f"nf{n}", rate="1Gbps", burst="1MB") for n in range(MAXIMUM_SHARING + 1)]
    report = Chain(limiters, capacity=2).run(many_flows(3, repeats=1).blocks()).report
    assert [table["key"] for table in report["tables"]] == ["five_tuple", "five_tuple"]
    assert report["drops"] == {"table 0 five_tuple": {"full": 1}}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("full", "evicted", "refused"), [("bypass", 0, 9), ("evict", 9 + 5, 0)])
def test_other_losses_are_counted_but_drop_nothing(engine, full, evicted, refused):
    chain = Chain([FlowCounter()], capacity=5, full=full)
    report = chain.run(many_flows(8, repeats=3).blocks(), engine=engine).report
    assert report["drops"] == {}
    assert report["packets"]["dropped"] == 0
    assert (report["flows"]["evicted"], report["flows"]["refused"]) == (
        report["tables"][0]["evicted"],
        report["tables"][0]["refused"],
    )
    assert report["flows"]["refused"] == refused
    assert (report["flows"]["evicted"] > 0) == (evicted > 0)
    assert report["flows"]["created"] == report["flows"]["active"] + report["flows"]["evicted"]


def test_the_memory_of_tables_is_told_with_its_limit():
    chain = Chain([FlowCounter()])
    memory = chain.run([], memory="64MiB").report["memory"]
    assert memory == {"limit_bytes": 64 << 20, "used_bytes": 8 << 20}
    assert chain.run([]).report["memory"]["limit_bytes"] > 64 << 20
    memory = chain.run(many_flows(5, 1).blocks(), engine="reference").report["memory"]
    assert memory["limit_bytes"] is None
    assert memory["used_bytes"] > 0


def test_an_nf_named_other_keeps_its_drops():
    limiter = RateLimiter(name="other", rate="1pps", burst=1)
    frames = [*many_flows(1, repeats=3).frames, b"short"]
    report = Chain([limiter], other="drop").run(FrameBlock.from_frames(frames)).report
    assert report["drops"]["other"].pop("over rate") == 2
    assert list(report["drops"]["other"].values()) == [1]
    assert report["packets"] == {"in": 4, "out": 1, "dropped": 3, "other": 1}


class Told(NF):
    """Its summary is what the test wants."""

    key = five_tuple

    class State:
        seen: u64

    told = None

    def packet(self, pkt: Packet, state: State) -> int:
        state.seen += 1
        return PASS

    def summary(self, states, core):
        return type(self).told(states)


def summary_of(monkeypatch, told) -> dict:
    monkeypatch.setattr(Told, "told", staticmethod(told))
    report = Chain([Told()]).run(many_flows(3, repeats=2).blocks()).report
    json.dumps(report, allow_nan=False)
    return report["nfs"][0]["summary"]


def test_a_summary_may_hold_what_numpy_gives(monkeypatch):
    summary = summary_of(
        monkeypatch,
        lambda states: {
            "total": states["seen"].sum(),
            "each": states["seen"],
            "mean": states["seen"].mean(),
            "any": (states["seen"] > 1).any(),
            "nested": {3: (np.float32(0.5), {"deep": np.uint8(1)})},
            "nothing": None,
            "none": np.float64("nan"),
            "most": math.inf,
            "other": {1}.__class__,
        },
    )
    assert summary == {
        "total": 6,
        "each": [2, 2, 2],
        "mean": 2.0,
        "any": True,
        "nested": {"3": [0.5, {"deep": 1}]},
        "nothing": None,
        "none": "nan",
        "most": "inf",
        "other": "<class 'set'>",
    }


def test_a_summary_that_fails_costs_nothing_else(monkeypatch):
    assert summary_of(monkeypatch, lambda states: {"x": states["absent"]}) == {
        "error": "ValueError in Told.summary: no field of name absent"
    }
    assert summary_of(monkeypatch, lambda states: [1]) == {
        "error": "TypeError in Told.summary: a dict is needed, not [1]"
    }


class Late(NF):
    """Drops everything, without a reason of its own."""

    def packet(self, pkt: Packet) -> int:
        return DROP


def test_drops_without_a_reason_are_counted():
    report = Chain([Late()]).run(many_flows(3, repeats=1).blocks()).report
    assert report["packets"]["dropped"] == 3
    assert sum(report["drops"]["late"].values()) == 3


def test_an_error_in_the_middle_is_reported():
    def blocks():
        yield from many_flows(3, repeats=1).blocks()
        raise InputError("broken", "here")

    with pytest.raises(InputError) as caught:
        Chain([FlowCounter()]).run(blocks())
    report = caught.value.run.report
    assert report["packets"]["in"] == 3
    assert report["error"] == "here: broken"
    assert not report["interrupted"]
