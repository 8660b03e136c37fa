"""Blocks are cut before each packet with which the clock comes to a tick of a table that workers share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita import Chain, FrameBlock
from fajita.engine.ticks import parts_between_ticks
from fajita.lifetime import FIRST_CLOCK_NS, tick_of
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.source_counter import SourceCounter
from fajita.plan import Plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Packets are spread by their source, so that the table of destinations is shared."""
    return Chain([SourceCounter(), FlowCounter(), DestinationCounter(timeout="20us")]).plan


@pytest.fixture(scope="module")
def unshared() -> Plan:
    return Chain([FlowCounter(timeout="20us")]).plan


def block_of(times: list[int]) -> FrameBlock:
    return FrameBlock.from_frames([b"x"] * len(times), times)


def test_a_chain_without_shared_tables_needs_no_cut(unshared: Plan) -> None:
    block = block_of([0, 10**9])
    assert list(parts_between_ticks(unshared, block, block.time_ns.view(np.int64), 0)) == [
        (block, pytest.approx(block.time_ns), [])
    ]


def test_an_empty_block_is_one_part(plan: Plan) -> None:
    block = block_of([])
    assert [len(part) for part, _, _ in parts_between_ticks(plan, block, np.zeros(0, np.int64), 0)] == [0]


@given(gaps=st.lists(st.sampled_from([0, 1, 9_999, 10_000, 25_000]), min_size=1, max_size=30), late=st.booleans())
def test_each_part_begins_where_the_clock_comes_to_a_tick(plan: Plan, gaps: list[int], late: bool) -> None:
    clocks = np.cumsum(gaps)
    block = block_of(clocks.tolist())
    before = int(clocks[0]) if late else FIRST_CLOCK_NS
    parts = list(parts_between_ticks(plan, block, clocks, before))
    assert np.concatenate([part.time_ns for part, _, _ in parts]).tolist() == clocks.tolist()
    (shared,) = (table for table in plan.tables if table.ends_at_ticks)
    last = before
    for part, clocks_of_part, ticking in parts:
        assert len(part) > 0
        assert part.time_ns.tolist() == clocks_of_part.tolist()
        assert ticking == [shared] * (
            tick_of(last, shared.round_ns) != tick_of(int(clocks_of_part[0]), shared.round_ns)
        )
        assert len({tick_of(clock, shared.round_ns) for clock in clocks_of_part.tolist()}) == 1
        last = int(clocks_of_part[-1])
