"""Which entries are found by a link from a finer one, and which are looked up."""

from typing import Any

import pytest

from fajita import ANY_KEY, NF, PASS, Chain, Packet, five_tuple, source, u32
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.packet import Layer
from fajita.plan import Link, Plan
from fajita.tuning import Tuning


class PerPacket(NF):
    """Sends the packets of a flow to one destination after the other."""

    key = five_tuple

    class State:
        turn: u32

    def packet(self, pkt: Packet, state: State) -> int:
        state.turn += 1
        pkt.dst = state.turn
        return PASS


class OnlyIPv4(NF):
    """Is about IPv4, by any key."""

    key = source
    keys = ANY_KEY
    about = Layer.IPV4

    class State:
        packets: u32

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        return PASS


def balancer(**options: Any) -> NF:
    return LoadBalancer(servers=["10.0.0.1", "10.0.0.2"], **options)


def plan(*nfs: NF, **settings: Any) -> Plan:
    return Chain(nfs, **settings).plan


def links(plan: Plan) -> list[Link | None]:
    return [table.link for table in plan.tables]


def looked_up(plan: Plan) -> list[list[int]]:
    return [segment.tables for segment in plan.segments]


ALL = (4, 6)


@pytest.mark.parametrize(
    ("finer", "coarser"),
    [
        ("five_tuple", "source"),
        ("five_tuple", "connection"),
        ("five_tuple", "address_pair"),
        ("five_tuple", "destination_prefix(24)"),
        ("five_tuple", "all"),
        ("address_pair", "source"),
        ("source", "source_prefix(20)"),
    ],
)
def test_a_key_that_another_tells_is_linked(finer: str, coarser: str) -> None:
    planned = plan(FlowCounter(key=finer), FlowCounter(name="coarser", key=coarser))
    assert links(planned) == [None, Link(0, ALL)]
    assert looked_up(planned) == [[0]]
    assert list(planned.tables[0].links) == [1]
    assert all(planned.tables[1].is_linked(family) for family in ALL)


@pytest.mark.parametrize(
    ("finer", "coarser"),
    [
        ("source", "five_tuple"),
        ("source", "destination"),
        ("connection", "source"),  # of one connection packets come from both ends
        ("source_prefix(20)", "source"),
        ("source_prefix(20)", "source_prefix(8)"),  # which of them is the finer, fajita does not ask
        ("five_tuple", "vlan"),
    ],
)
def test_a_key_that_another_does_not_tell_is_looked_up(finer: str, coarser: str) -> None:
    planned = plan(FlowCounter(key=finer), FlowCounter(name="coarser", key=coarser))
    assert links(planned) == [None, None]
    assert looked_up(planned) == [[0, 1]]
    assert planned.tables[0].links == {}


def test_a_key_that_comes_before_the_finer_one_is_looked_up() -> None:
    assert links(plan(SourceCounter(), FlowCounter())) == [None, None]


def test_the_first_finer_table_has_the_link_and_a_linked_one_has_none() -> None:
    planned = plan(FlowCounter(), FlowCounter(name="pairs", key="address_pair"), SourceCounter())
    assert links(planned) == [None, Link(0, ALL), Link(0, ALL)]
    assert [list(table.links) for table in planned.tables] == [[1, 2], [], []]


def test_a_key_that_is_rewritten_once_for_each_flow_is_linked_in_the_same_segment() -> None:
    planned = plan(balancer(), DestinationCounter())
    assert looked_up(planned) == [[0, 1]]
    # The load balancer leaves IPv6 out: its entries tell nothing of that, which is looked up.
    assert links(planned) == [None, Link(0, (4,))]
    assert [planned.tables[1].is_linked(family) for family in ALL] == [True, False]
    planned = plan(FlowCounter(), balancer(), DestinationCounter())
    assert looked_up(planned) == [[0]]
    assert links(planned) == [None, Link(0, ALL)]


def test_ipv6_that_the_finer_table_does_not_have_is_looked_up() -> None:
    planned = plan(balancer(), SourceCounter())
    assert links(planned) == [None, Link(0, (4,))]
    assert looked_up(planned) == [[0, 1]]
    planned = plan(balancer(), OnlyIPv4())
    assert links(planned) == [None, Link(0, (4,))]
    assert looked_up(planned) == [[0]]


@pytest.mark.parametrize(
    "nfs",
    [
        (PerPacket(), DestinationCounter()),
        (FlowCounter(), balancer(key="source"), DestinationCounter()),
    ],
    ids=["by packet", "by a coarser flow"],
)
def test_a_key_that_is_rewritten_otherwise_is_looked_up_in_another_segment(nfs: tuple[NF, ...]) -> None:
    planned = plan(*nfs)
    last = planned.tables[-1]
    assert (last.key.name, last.link, last.segment) == ("destination", None, 1)
    assert looked_up(planned)[-1] == [last.index]


def test_a_rewrite_for_each_flow_is_known_to_the_table_of_those_flows_alone() -> None:
    planned = plan(FlowCounter(key="address_pair"), balancer(), DestinationCounter())
    assert links(planned) == [None, None, Link(1, (4,))]


def test_a_rewrite_of_another_field_leaves_the_link() -> None:
    assert links(plan(PerPacket(), SourceCounter())) == [None, Link(0, ALL)]


def test_links_can_be_left_out() -> None:
    chain = Chain([balancer(), SourceCounter(), DestinationCounter()])
    assert links(chain.plan) == [None, Link(0, (4,)), Link(0, (4,))]
    planned = chain.plan_with(Tuning(auxiliary=False))
    assert links(planned) == [None, None, None]
    assert looked_up(planned) == [[0, 1], [2]]
    assert all(not table.links for table in planned.tables)


def test_two_nfs_share_a_linked_table() -> None:
    planned = plan(FlowCounter(), SourceCounter(), RateLimiter(rate="1Gbps", burst="64kB", key="source"))
    assert links(planned) == [None, Link(0, ALL)]
    assert planned.tables[1].nfs == [1, 2]


def test_a_table_whose_later_nf_sees_more_families_is_looked_up() -> None:
    """The key is read where the first NF of the table runs, which packets of the other family do not meet."""
    planned = plan(FlowCounter(), OnlyIPv4(), SourceCounter())
    assert [table.nfs for table in planned.tables] == [[0], [1, 2]]
    assert links(planned) == [None, None]
    assert looked_up(planned) == [[0, 1]]


def test_a_table_whose_later_nf_may_not_share_it_is_looked_up() -> None:
    """Both have the same key, so that it is read once, where it is looked up."""
    nfs = [FlowCounter(), SourceCounter(), PerPacket(), DestinationCounter(), SourceCounter(name="again")]
    assert links(plan(*nfs)) == [None, Link(0, ALL), None]
    planned = plan(*nfs, timeout="1s")
    assert [(table.key.name, table.link, table.segment) for table in planned.tables] == [
        ("five_tuple", None, 0),
        ("source", None, 0),
        ("destination", None, 1),
        ("source", None, 0),
    ]
    assert planned.tables[3].why.startswith("a timeout ends states")
