"""NFs that look at a packet, and may rewrite it, before their key is read: both engines agree."""

import os
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fajita import Chain
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.plan import Plan
from fajita.verify import both_engines, verify_blocks
from tests.before_lookup_nfs import Chatter, FlowPorts, Only, Ports, Sees, Translator
from tests.traffic import Traffic, many_flows, traffic

EXAMPLES = int(os.environ.get("FAJITA_EXAMPLES", "25"))

CHAINS = {
    "alone": Chain([Translator(timeout="5us")]),
    "among others": Chain(
        [FlowCounter(timeout="1ms"), Translator(timeout="1ms"), DestinationCounter(), FlowCounter(name="after")]
    ),
    "after a rewrite": Chain(
        [
            SourceCounter(),
            LoadBalancer(servers=["10.0.0.1", "192.0.2.7"], timeout="1ms"),
            Translator(),
            FlowCounter(key="connection"),
        ]
    ),
    "two of them": Chain([Translator(), Translator(name="other", key="five_tuple", address="10.0.0.2", size=3)]),
    "one variable for all": Chain([Chatter(timeout="5us")]),
    "one variable, several tables": Chain(
        [Chatter(), Chatter(name="by_host", key="source", timeout="1ms"), RateLimiter(rate="1Mpps", burst=4)],
        other="drop",
    ),
    "full: evict": Chain([Chatter(timeout="1ms"), Translator(), SourceCounter()], capacity=3, full="evict"),
    "full: drop": Chain([Only(), Chatter(), SourceCounter()], capacity=3, full="drop"),
    "full: bypass": Chain([Chatter(), Translator(), SourceCounter()], capacity=3, full="bypass"),
    "ports": Chain([Ports(), FlowCounter(), Ports(name="twice", step=5, key="connection"), FlowCounter(name="last")]),
    "ports of fragments": Chain([Only(), Ports(key="destination_port"), Ports(name="again")], fragments="flow"),
    "no early fragments": Chain([Ports(key="all"), Translator(), Chatter(key="vlan")], fragments="drop"),
    "inside tunnels": Chain([Translator(), Ports(), Chatter()], inner=True),
    "flow ports": Chain([FlowPorts(timeout="1ms"), Sees(), FlowPorts(name="again", key="source"), FlowCounter()]),
    "flow ports alone": Chain([Sees(), Ports(key="source"), Sees(name="after")], fragments="flow"),
    "flow ports in tunnels": Chain([Sees(), FlowPorts(), Ports(), Sees(name="after")], inner=True, fragments="drop"),
    "without effect": Chain([FlowCounter(), Only(timeout="1ms"), SourceCounter(), Only(name="too", key="source")]),
}

given_traffic = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def assert_engines_agree(plan: Plan, sent: Traffic, workers: int = 1) -> None:
    result = verify_blocks(plan, sent.blocks(), partial(both_engines, cores=workers))
    assert result.difference is None, str(result.difference)
    assert result.packets == len(sent.frames)


@pytest.mark.parametrize("name", CHAINS)
@given_traffic
@given(sent=traffic())
def test_engines_agree(name: str, sent: Traffic) -> None:
    assert_engines_agree(CHAINS[name].plan, sent)


@pytest.mark.parametrize("name", ["alone", "one variable for all", "ports", "full: evict", "without effect"])
@given_traffic
@given(sent=traffic(), workers=st.sampled_from((2, 3)))
def test_engines_agree_with_several_workers(name: str, sent: Traffic, workers: int) -> None:
    assert_engines_agree(CHAINS[name].plan, sent, workers)


@pytest.mark.parametrize("name", CHAINS)
def test_engines_agree_while_tables_grow(name: str) -> None:
    assert_engines_agree(CHAINS[name].plan, many_flows(3000, repeats=2))
