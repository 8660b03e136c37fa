"""Random numbers against the published sequence, and what an NF can rely on."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fajita.splitmix import SplitMix, seed_of


def test_the_sequence_of_splitmix64() -> None:
    """The numbers that Vigna's reference implementation gives for the seed 1234567."""
    numbers = SplitMix("any")
    numbers._state = 1234567
    assert [numbers.below(1 << 64) for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_the_seed_is_the_name() -> None:
    assert seed_of("first") != seed_of("second")
    assert [SplitMix("a").below(1000) for _ in range(2)] == [SplitMix("a").below(1000) for _ in range(2)]


@given(limit=st.integers(-(1 << 63), (1 << 63) - 1), name=st.text())
def test_a_number_is_below_its_limit(limit: int, name: str) -> None:
    assert 0 <= SplitMix(name).below(limit) < max(limit, 1)


def test_a_limit_below_one_draws_all_the_same() -> None:
    first, second = SplitMix("a"), SplitMix("a")
    first.below(0)
    second.below(5)
    assert first.below(1 << 40) == second.below(1 << 40)


def test_numbers_are_spread_evenly() -> None:
    numbers = SplitMix("a")
    counts = Counter(numbers.below(10) for _ in range(10_000))
    assert all(900 < counts[value] < 1100 for value in range(10))
