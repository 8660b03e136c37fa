"""Blocks are cut before each packet with which the clock comes to a tick of some period."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fajita import FrameBlock
from fajita.engine.ticks import parts_between_ticks
from fajita.lifetime import FIRST_CLOCK_NS, tick_of


def block_of(times: list[int]) -> FrameBlock:
    return FrameBlock.from_frames([b"x"] * len(times), times)


def test_without_a_period_there_is_no_cut() -> None:
    block = block_of([0, 10**9])
    ((part, clocks, is_tick),) = parts_between_ticks([], block, block.time_ns.view(np.int64), 0)
    assert (part, clocks.tolist(), is_tick) == (block, [0, 10**9], [])


def test_an_empty_block_is_one_part() -> None:
    ((part, _, is_tick),) = parts_between_ticks([10], block_of([]), np.zeros(0, np.int64), 0)
    assert (len(part), is_tick) == (0, [False])


@given(
    gaps=st.lists(st.sampled_from([0, 1, 9_999, 10_000, 25_000]), min_size=1, max_size=30),
    periods=st.lists(st.sampled_from([1, 10_000, 15_000]), min_size=1, max_size=3),
    late=st.booleans(),
)
def test_each_part_begins_where_the_clock_comes_to_a_tick(gaps: list[int], periods: list[int], late: bool) -> None:
    clocks = np.cumsum(gaps)
    last = int(clocks[0]) if late else FIRST_CLOCK_NS
    parts = list(parts_between_ticks(periods, block_of(clocks.tolist()), clocks, last))
    assert np.concatenate([part.time_ns for part, _, _ in parts]).tolist() == clocks.tolist()
    for number, (part, clocks_of_part, is_tick) in enumerate(parts):
        assert part.time_ns.tolist() == clocks_of_part.tolist() != []
        ticks = [{tick_of(clock, period) for clock in clocks_of_part.tolist()} for period in periods]
        assert all(len(numbers) == 1 for numbers in ticks)
        moved = [tick_of(last, period) not in numbers for period, numbers in zip(periods, ticks, strict=True)]
        assert is_tick == moved
        assert any(moved) or number == 0
        last = int(clocks_of_part[-1])
