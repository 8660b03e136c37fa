"""Which flow each packet belongs to: repeatable, every flow, as concentrated as the traffic it stands for."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fajita.errors import InputError
from fajita.io.flow_order import CURVES, MAXIMUM_FLOWS, ORDERS, FlowOrder, Permutation, window_packets

PUBLISHED = Path(__file__).parents[3] / "shared" / "paper"


def top_shares(flows):
    """The share of the packets that the k busiest flows carry, at index k - 1."""
    counts = np.sort(np.bincount(flows))[::-1]
    return np.cumsum(counts) / len(flows)


@settings(max_examples=30, deadline=None)
@given(
    order=st.sampled_from(ORDERS),
    flows=st.integers(1, 300_000),
    seed=st.integers(0, 2**64),
    cuts=st.lists(st.integers(0, 40_000), max_size=5),
)
def test_chunks_do_not_change_the_order(order, flows, seed, cuts):
    chunked = FlowOrder(order, flows, seed)
    parts = [chunked.take(count) for count in cuts]
    whole = FlowOrder(order, flows, seed).take(sum(cuts))
    assert whole.dtype == np.uint32
    assert np.array_equal(np.concatenate([np.empty(0, np.uint32), *parts]), whole)
    assert not len(whole) or whole.max() < flows


def test_chunks_may_end_at_a_window():
    window = window_packets(CURVES["caida"], 100)
    halves = FlowOrder("caida", 100, 1)
    parts = [halves.take(window), halves.take(window)]
    assert np.array_equal(np.concatenate(parts), FlowOrder("caida", 100, 1).take(2 * window))
    assert not np.array_equal(parts[0], parts[1])


@pytest.mark.parametrize("order", ["uniform", "caida", "campus"])
def test_the_seed_changes_the_order(order):
    assert not np.array_equal(FlowOrder(order, 1000, 1).take(1000), FlowOrder(order, 1000, 2).take(1000))


def test_round_robin_counts():
    assert FlowOrder("roundrobin", 3, 1).take(7).tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_uniform_flows_are_equally_busy():
    counts = np.bincount(FlowOrder("uniform", 1000, 3).take(1_000_000), minlength=1000)
    # Ten standard deviations of a binomial of mean 1000.
    assert abs(counts - 1000).max() < 320


@pytest.mark.parametrize("order", CURVES)
def test_knots_are_a_concave_curve_from_the_busiest_flow_to_all(order):
    k, s = np.array(((0, 0), *CURVES[order].knots)).T
    slopes = np.diff(s) / np.diff(k)
    assert (slopes > 0).all()
    assert (np.diff(slopes) < 0).all()
    assert k[1] == 1
    assert s[-1] == 1


@pytest.mark.parametrize("order", CURVES)
def test_packets_follow_the_published_curve(order):
    file = PUBLISHED / f"{order}-flow-share-cdf.csv"
    if not file.exists():
        pytest.skip(f"{file.name} is not beside the project")
    rank, share = np.loadtxt(file).T
    curve = CURVES[order]
    shares = top_shares(FlowOrder(order, curve.flows, 1).take(curve.packets))
    assert abs(shares[rank.astype(int)] - share).max() < 0.005


@pytest.mark.parametrize("order", CURVES)
@pytest.mark.parametrize("flows", [1, 2, 7, 100, 5_000, 400_000])
def test_any_number_of_flows_follows_the_curve_by_fraction(order, flows):
    curve = CURVES[order]
    shares = top_shares(FlowOrder(order, flows, 1).take(window_packets(curve, flows)))
    assert len(shares) == flows
    expected = curve.share(np.arange(1, flows + 1) / flows)
    assert abs(shares - expected).max() < 0.005


@pytest.mark.parametrize("order", CURVES)
def test_every_flow_appears_in_a_window(order):
    curve = CURVES[order]
    assert len(np.unique(FlowOrder(order, curve.flows, 9).take(curve.packets))) == curve.flows


@pytest.mark.parametrize("order", CURVES)
def test_popular_flows_are_spread_over_the_numbers(order):
    flows = 100_000
    counts = np.bincount(FlowOrder(order, flows, 1).take(1_000_000), minlength=flows)
    popular = np.sort(np.argsort(counts)[-1000:])
    # 1000 random numbers of 100,000: about 10 pairs of neighbours, and about 100 in each tenth of the range.
    assert (np.diff(popular) == 1).sum() < 30
    tenths = np.bincount(popular // (flows // 10), minlength=10)
    assert tenths.min() > 50
    assert tenths.max() < 160


@given(size=st.integers(1, 5000), seed=st.integers(0, 2**32))
def test_permutation_is_a_bijection(size, seed):
    result = Permutation(size, np.random.default_rng(seed))(np.arange(size, dtype=np.uint64))
    assert np.array_equal(np.sort(result), np.arange(size))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("zipf", 10, 1), "unknown order 'zipf'; known are uniform, roundrobin, caida, campus"),
        (("uniform", 0, 1), "0 flows; 1 to"),
        (("uniform", MAXIMUM_FLOWS + 1, 1), "268435457 flows; 1 to 268435456"),
        (("uniform", 10, -1), "seed -1; a seed is 0 or more"),
    ],
)
def test_bad_arguments_say_what_is_right(arguments, message):
    with pytest.raises(InputError, match=message):
        FlowOrder(*arguments)
