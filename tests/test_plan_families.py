"""Sides of tables: which families a table has entries for."""

import pytest

from fajita.errors import InputError
from fajita.key import source
from fajita.nf import ANY_KEY, NF, PASS
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.source_counter import SourceCounter
from fajita.packet import Layer
from fajita.packet_attributes import Packet
from fajita.plan import Plan
from fajita.state_types import u64
from tests.planning import balancer, plan, tables, without_links


def sides(planned: Plan) -> list[list[tuple[int, int, int]]]:
    """By table: index, family and bytes of the key of each side."""
    return [[(side.index, side.packing.family, side.key_bytes) for side in table.sides] for table in planned.tables]


def test_a_table_has_a_side_for_each_family_that_an_nf_of_it_sees() -> None:
    planned = plan(FlowCounter(), SourceCounter(), FlowCounter(name="links", key="vlan"))
    assert sides(planned) == [[(0, 4, 16), (1, 6, 40)], [(2, 4, 8), (3, 6, 24)], [(4, 0, 8)]]
    assert [side.index for side in planned.sides] == [0, 1, 2, 3, 4]
    assert planned.tells_ipv6
    assert [planned.tables[0].side_of(family).index for family in (4, 6)] == [0, 1]  # type: ignore[union-attr]
    assert [planned.tables[2].side_of(family).index for family in (4, 6)] == [4, 4]  # type: ignore[union-attr]


def test_a_table_for_ipv4_alone_has_no_other_side() -> None:
    planned = plan(balancer())
    assert sides(planned) == [[(0, 4, 16)]]
    assert planned.tables[0].side_of(6) is None
    assert not planned.tells_ipv6


def test_an_nf_that_leaves_ipv6_out_shares_one_side_with_an_nf_that_does_not() -> None:
    planned = plan(balancer(), FlowCounter())
    assert tables(planned) == [("five_tuple", ["load_balancer", "flow_counter"])]
    (table,) = planned.tables
    handled = [[nf.handles(side.packing) for side in table.sides] for nf in planned.nfs]
    assert handled == [[True, False], [True, True]]
    # What follows the key is laid out alike, so that one offset does for both.
    assert planned.nfs[1].offsets["packets"] == 8
    assert [side.entry_bytes for side in table.sides] == [64, 64]


def test_first_segment_of_a_side_that_only_a_later_nf_uses() -> None:
    planned = without_links(balancer(), DestinationCounter(), FlowCounter())
    table = planned.tables[0]
    assert [planned.first_segment_of(table, side) for side in table.sides] == [0, 1]


class OnlyIPv6(NF):
    """Is about IPv6, by any key."""

    key = source
    keys = ANY_KEY
    about = Layer.IPV6

    class State:
        packets: u64

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        return PASS


def test_an_nf_about_ipv6_has_that_side_alone() -> None:
    assert sides(plan(OnlyIPv6())) == [[(0, 6, 24)]]
    assert sides(plan(OnlyIPv6(key="vlan"))) == [[(0, 0, 8)]]


def test_a_key_that_no_packet_has_of_what_an_nf_is_about() -> None:
    with pytest.raises(InputError, match=r"only_i_pv6 is about .*IPV6.* of which no packet has the key ip_id"):
        plan(OnlyIPv6(key="ip_id"))
