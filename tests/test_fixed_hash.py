"""The hash for sketches: fixed, of so many numbers, spread well enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita import hash_of

numbers = st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=6)


def test_it_stays_what_it_is() -> None:
    """Stored sketches and their readers rely on it."""
    assert [hash_of(0), hash_of(1), hash_of(1, 2), hash_of(-1, 2, 3, 4, 5, 6)] == [
        2773512181,
        3511915551,
        1968153536,
        2915369998,
    ]


@given(values=numbers)
def test_it_has_32_bits(values: list[int]) -> None:
    assert 0 <= hash_of(*values) < 1 << 32


def test_only_64_bits_of_a_number_count() -> None:
    assert hash_of(-1) == hash_of((1 << 64) - 1) == hash_of((1 << 65) - 1)


@pytest.mark.parametrize("count", [0, 7])
def test_it_takes_one_to_six(count: int) -> None:
    with pytest.raises(TypeError, match="hash_of takes 1 to 6 integers"):
        hash_of(*range(count))


def test_rows_of_a_sketch_are_independent() -> None:
    """Of pairs that collide in one row hardly any collides in another."""
    places = [[hash_of(row, value) % 256 for value in range(4096)] for row in range(2)]
    both = sum(
        places[0][a] == places[0][b] and places[1][a] == places[1][b] for a in range(0, 4096, 7) for b in range(a)
    )
    assert both < 2 * (4096 // 7) * 2048 / 65536


@pytest.mark.parametrize("stride", [1, 8, 256, 1 << 20])
def test_regular_numbers_are_spread_evenly(stride: int) -> None:
    counts = [0] * 64
    for value in range(6400):
        counts[hash_of(value * stride) % 64] += 1
    assert min(counts) > 50
    assert max(counts) < 150
