"""NFs that look at a packet, and may rewrite it, before their key is read: both engines agree."""

import os
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP, Ether, fragment

from fajita import Chain
from fajita.engine.interface import Engine
from fajita.kernel.generate import generate
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.plan import Plan
from fajita.rss import HashFields
from fajita.verify import both_engines, verify_blocks
from tests.before_lookup_nfs import Chatter, FlowPorts, Only, Ports, Sees, Translator
from tests.nfs.running import both_engines as on_both
from tests.nfs.running import run
from tests.traffic import Traffic, many_flows, traffic

ETHERNET = Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b")
EXAMPLES = int(os.environ.get("FAJITA_EXAMPLES", "25"))

#: Elements of arrays of so many are asked for.
LARGE = 1 << 17

CHAINS = {
    "alone": Chain([Translator(timeout="5us")]),
    "among others": Chain(
        [FlowCounter(timeout="1ms"), Translator(timeout="1ms"), DestinationCounter(), FlowCounter(name="after")]
    ),
    "large arrays": Chain([Translator(size=LARGE, timeout="5us")]),
    "large arrays among others": Chain(
        [FlowCounter(timeout="1ms"), Only(), Translator(size=LARGE, timeout="1ms"), DestinationCounter()],
        fragments="drop",
    ),
    "large arrays, linked entries": Chain([FlowCounter(), SourceCounter(), Translator(size=LARGE)]),
    "large arrays after a rewrite": Chain([LoadBalancer(servers=["10.0.0.1", "192.0.2.7"]), Translator(size=LARGE)]),
    "large arrays inside tunnels": Chain([Translator(size=LARGE), Ports()], inner=True),
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


INSIDE, OUTSIDE, SHARED_ADDRESS = "10.0.0.2", "203.0.113.5", "192.0.2.7"


def sent(src: str, dst: str, sport: int, dport: int) -> bytes:
    return bytes(ETHERNET / IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / b"data")


@on_both
def test_a_reply_comes_to_the_state_of_its_connection(engine: type[Engine]) -> None:
    frames = [
        sent(INSIDE, OUTSIDE, 5000, 53),
        sent(OUTSIDE, SHARED_ADDRESS, 53, 1),  # in the same burst: what new_flow has just written is seen
        sent(OUTSIDE, SHARED_ADDRESS, 53, 2),
    ]
    result = run(engine, Translator(), frames)
    assert result.frames[:2] == [sent(SHARED_ADDRESS, OUTSIDE, 1, 53), sent(OUTSIDE, INSIDE, 53, 5000)]
    assert result.verdicts == [1, 1, 0]
    assert [row[-1] for row in result.rows()] == [2]
    assert result.counters.nfs[0].drops["nobody's"] == 1


@on_both
def test_a_packet_that_it_is_not_about_does_not_count_as_its_own(engine: type[Engine]) -> None:
    echo = bytes(ETHERNET / IP(src=INSIDE, dst=OUTSIDE) / ICMP())
    result = run(engine, Translator(), [echo, echo, sent(OUTSIDE, SHARED_ADDRESS, 1, 2)], other="drop")
    assert result.verdicts == [0, 0, 0]
    assert result.counters.nfs[0].received == 1
    assert result.counters.other == {"not an NF's traffic": 2}
    assert result.frames[0] == echo


@on_both
def test_ports_of_a_flow_are_those_that_its_first_fragment_brought_to_the_nf(engine: type[Engine]) -> None:
    whole = IP(src=INSIDE, dst=OUTSIDE, id=7) / UDP(sport=5000, dport=53) / bytes(400)
    first, *later = [bytes(ETHERNET / part) for part in fragment(whole, fragsize=160)]
    lost = bytes(ETHERNET / IP(src=INSIDE, dst=OUTSIDE, id=8, frag=20, proto=17) / bytes(64))
    result = run(engine, [Sees(), Ports(key="source"), Sees(name="after")], [first, *later, lost])
    for nf, ports in ((0, (0, 53)), (2, (0, 5001 % 1000))):
        by_port = result.engine.core(result.chain.plan.nfs[nf])["by_port"]
        assert {index: int(count) for index, count in enumerate(by_port) if count} == {0: 3 + 1001, ports[1]: 3000}


def test_a_segment_begins_only_where_what_it_reads_was_rewritten() -> None:
    plan = Chain([SourceCounter(), Only(), Ports(key="destination"), Translator(), SourceCounter(name="last")]).plan
    assert [segment.nfs for segment in plan.segments] == [[0, 1, 2], [3], [4]]
    assert plan.moments == 6


def test_its_table_is_shared_with_no_other_and_has_no_links() -> None:
    plan = Chain([FlowCounter(key="source"), Only(), FlowCounter(name="again", key="source"), Only(name="third")]).plan
    assert [table.nfs for table in plan.tables] == [[0, 2], [1], [3]]
    assert [table.asks for table in plan.tables] == [False, True, True]
    assert "before_lookup" in plan.tables[1].why


@pytest.mark.parametrize("name", CHAINS)
def test_what_it_will_do_is_foreseen(name: str) -> None:
    for nf in CHAINS[name].plan.nfs:
        assert (nf.translated.foresight is not None) == nf.translated.asks


def test_keys_that_await_elements_are_guessed_a_burst_later() -> None:
    awaiting = {name for name in CHAINS if "foreseen == -2:" in generate(CHAINS[name].plan)}
    assert awaiting >= {name for name in CHAINS if name.startswith("large arrays")}
    assert not awaiting & {"alone", "ports", "one variable for all"}
    assert "match_0(context, scratch_1" in generate(CHAINS["large arrays"].plan)
    for others in ("large arrays, linked entries", "large arrays after a rewrite", "alone"):
        assert "match_0" not in generate(CHAINS[others].plan)


def test_a_key_that_it_rewrites_is_not_as_it_came_to_the_worker() -> None:
    plan = Chain([Ports()]).plan
    assert plan.sharding.fields == HashFields(True, True, source_port=True)
    assert Chain([Only()]).plan.sharding.fields == HashFields(source=True)
