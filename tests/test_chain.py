"""A chain built in Python."""

import pytest

from fajita import NF, Chain, FrameBlock, InputError, Packet
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from tests.command import THREE
from tests.traffic import many_flows


def test_defaults():
    nfs = [FlowCounter(), MacSwap()]
    chain = Chain(nfs)
    assert (chain.nfs, chain.name, chain.settings.other) == (nfs, "chain", "pass")
    nfs.clear()
    assert len(chain.nfs) == 2


def test_the_plan_is_made_once():
    chain = Chain([FlowCounter()], name="mine", other="drop")
    assert chain.plan is chain.plan
    assert (chain.plan.name, chain.plan.settings.other) == ("mine", "drop")


def test_a_chain_needs_an_nf():
    with pytest.raises(InputError, match="the chain mine has no network functions; give at least one"):
        Chain([], name="mine")


@pytest.mark.parametrize(
    ("nfs", "message"),
    [
        ([FlowCounter], r"FlowCounter is a class; give an instance: FlowCounter\(\)"),
        ([MacSwap(), "flow_counter"], "'flow_counter' is not a network function; give an instance of its class"),
        ([None], "a NoneType is not a network function"),
        (MacSwap(), r"MacSwap\(mac_swap\) is not a list of network functions; Chain\(\["),
        (MacSwap, "a type is not a list of network functions"),
        ("mac_swap", "'mac_swap' is not a list of network functions"),
        (None, "a NoneType is not a list of network functions"),
    ],
)
def test_what_is_not_a_list_of_nfs(nfs, message):
    with pytest.raises(InputError, match=message):
        Chain(nfs)


def test_any_iterable_of_nfs():
    assert len(Chain(nf for nf in (FlowCounter(), MacSwap())).nfs) == 2


def test_short_repr():
    chain = Chain([FlowCounter(), MacSwap()], name="mine")
    assert repr(chain) == "Chain(mine: flow_counter, mac_swap)"
    assert repr(chain.plan) == "Plan(mine: 2 network functions, 1 table)"


def test_a_name_twice():
    with pytest.raises(InputError, match="the name flow_counter stands twice in the chain; flow_counter: "):
        Chain([FlowCounter(), MacSwap(), FlowCounter()])
    assert len(Chain([FlowCounter(), FlowCounter(name="second")]).plan.nfs) == 2


def test_other_has_two_values():
    with pytest.raises(InputError, match="other is 'ignore'; pass or drop"):
        Chain([FlowCounter()], other="ignore")


def test_other_frames_pass_or_drop():
    for other, out in (("pass", 2), ("drop", 1)):
        block = FrameBlock.from_frames([many_flows(1, repeats=1).frames[0], b"\0" * 60])
        report = Chain([FlowCounter()], other=other).run(block).report
        assert report["packets"] == {"in": 2, "out": out, "dropped": 2 - out, "other": 1}
        assert block.verdict.tolist() == [1, out - 1]


def test_order_matters():
    """Behind the load balancer the destination is a server."""
    balancer = LoadBalancer(servers=["192.0.2.1"])
    counter = DestinationCounter()
    for nfs, seen in (([counter, balancer], "192.0.2.0"), ([balancer, counter], "192.0.2.1")):
        run = Chain(nfs).run(many_flows(1, repeats=1).blocks())
        assert run.table("destination_counter")["dst"].to_pylist() == [seen]


def test_a_chain_from_a_file_is_the_same_thing():
    chain = Chain.load(THREE)
    assert [nf.name for nf in chain.nfs] == ["flow_counter", "load_balancer", "rate_limiter"]
    assert chain.run(many_flows(5, repeats=2).blocks()).report["flows"]["created"] == 5
    with pytest.raises(InputError, match=r"absent.yaml: there is no such file"):
        Chain.load("absent.yaml")


class Wrong(NF):
    """Reads a field that no packet has."""

    def packet(self, pkt: Packet) -> int:
        return pkt.colour


def test_source_that_cannot_be_run_is_told_with_its_line():
    with pytest.raises(InputError, match=r"test_chain.py:\d+: .*colour"):
        Chain([Wrong()]).run([])
