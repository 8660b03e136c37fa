"""Rewriting the table of indirection: better where it can be, as it is where it will do, never worse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fajita.balance import is_balanced, loads, moves, rebalanced
from fajita.rss import INDIRECTION_ENTRIES, usual_indirection

counts = arrays.arrays(
    np.int64,
    INDIRECTION_ENTRIES,
    elements=st.one_of(st.integers(0, 9), st.integers(0, 10_000), st.integers(0, 1 << 50)),
)
seeds = st.integers(0, 1 << 32)
many_workers = st.integers(1, 16)
tolerances = st.sampled_from((0.0, 0.05, 0.5))


def some_table(seed: int, workers: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, workers, INDIRECTION_ENTRIES).astype(np.uint8)


@settings(deadline=None)
@given(packets=counts, seed=seeds, workers=many_workers, tolerance=tolerances)
def test_a_new_table_is_never_worse_and_every_bucket_has_a_worker(packets, seed, workers, tolerance):
    table = some_table(seed, workers)
    kept = table.copy()
    new = rebalanced(packets, table, workers, tolerance)
    before, after = loads(packets, table, workers), loads(packets, new, workers)
    assert max(after) <= max(before)
    assert sum(after) == sum(before)
    assert new.dtype == np.uint8
    assert int(new.max()) < workers
    assert table.tolist() == kept.tolist()
    assert new.tolist() == rebalanced(packets, table, workers, tolerance).tolist()


@settings(deadline=None)
@given(packets=counts, seed=seeds, workers=many_workers, tolerance=tolerances)
def test_nothing_moves_that_need_not(packets, seed, workers, tolerance):
    table = some_table(seed, workers)
    new = rebalanced(packets, table, workers, tolerance)
    if is_balanced(loads(packets, table, workers), tolerance):
        assert new.tolist() == table.tolist()
    assert new[packets == 0].tolist() == table[packets == 0].tolist()
    assert rebalanced(packets, new, workers, tolerance).tolist() == new.tolist()


@settings(deadline=None)
@given(packets=counts, seed=seeds, workers=many_workers)
def test_where_it_stops_no_single_move_would_relieve_the_busiest(packets, seed, workers):
    new = rebalanced(packets, some_table(seed, workers), workers, 0.0)
    load = loads(packets, new, workers)
    if not is_balanced(load, 0.0):
        busiest = load.index(max(load))
        for bucket in np.flatnonzero((new == busiest) & (packets > 0)):
            assert min(load) + int(packets[bucket]) >= max(load)


def test_one_bucket_moves_where_one_will_do():
    packets, table = np.zeros(INDIRECTION_ENTRIES, np.int64), usual_indirection(2)
    packets[[0, 2, 4, 6]] = 100, 40, 70, 90
    packets[1] = 60
    new = rebalanced(packets, table, 2, tolerance=0.05)
    assert moves(table, new).keys() == {(0, 1)}
    assert loads(packets, new, 2) == [200, 160]  # 300 and 60 before; the bucket nearest to half of the gap
    assert moves(table, rebalanced(packets, table, 2, tolerance=0.2))[0, 1].tolist() == [0]


def test_an_elephant_stays_where_it_is():
    packets = np.zeros(INDIRECTION_ENTRIES, np.int64)
    packets[5] = 1_000_000
    table = usual_indirection(4)
    assert rebalanced(packets, table, 4).tolist() == table.tolist()
    packets[9] = 10  # shares the worker with it
    assert moves(table, rebalanced(packets, table, 4)) == {(1, 0): np.array([9])}


def test_uniform_traffic_and_none_are_left_alone():
    for workers in (1, 2, 3, 8):
        table = usual_indirection(workers)
        for packets in (np.zeros(INDIRECTION_ENTRIES, np.int64), np.full(INDIRECTION_ENTRIES, 1000)):
            assert rebalanced(packets, table, workers).tolist() == table.tolist()


def test_moves_are_told_by_pairs_of_workers():
    before, after = usual_indirection(3), usual_indirection(3)
    after[[0, 3, 4]] = 2, 2, 0
    assert {pair: buckets.tolist() for pair, buckets in moves(before, after).items()} == {(0, 2): [0, 3], (1, 0): [4]}
    assert moves(before, before) == {}


@pytest.mark.parametrize(
    ("packets", "table", "workers"),
    [
        (np.zeros(127, np.int64), usual_indirection(2), 2),
        (np.zeros(128, np.int64), usual_indirection(2)[:5], 2),
        (np.zeros(128, np.int64), usual_indirection(3), 2),
        (np.zeros(128, np.int64), usual_indirection(1), 0),
        (np.full(128, -1), usual_indirection(1), 1),
    ],
)
def test_what_is_no_load_is_refused(packets, table, workers):
    with pytest.raises(ValueError, match=r"bucket|workers"):
        rebalanced(packets, table, workers)
