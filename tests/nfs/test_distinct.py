"""Estimates from HyperLogLog registers: exact for none and one, without bias, as far off as stated."""

import tracemalloc

import numpy as np
import pytest

from fajita.nfs._distinct import HASH_BITS, distinct


def registers_of(things: int, size: int, trials: int) -> np.ndarray:
    """Rows of registers that have seen so many random hashes."""
    bits = size.bit_length() - 1
    hashes = np.random.default_rng(things).integers(0, 1 << HASH_BITS, (trials, things))
    rows = np.zeros((trials, size), np.uint8)
    # frexp gives the bit length of a number that a float holds.
    ranks = HASH_BITS - bits + 1 - np.frexp((hashes >> bits).astype(float))[1]
    for row, taken, rank in zip(rows, hashes & size - 1, ranks, strict=True):
        np.maximum.at(row, taken, rank.astype(np.uint8))
    return rows


@pytest.mark.parametrize("size", [64, 256, 4096])
def test_none_and_one_are_exact(size):
    estimates = [distinct(registers_of(things, size, 50)) for things in (0, 1)]
    assert estimates[0].tolist() == [0] * 50
    assert estimates[1].round(1).tolist() == [1] * 50


@pytest.mark.parametrize("size", [64, 256, 1024])
@pytest.mark.parametrize("share", [0.1, 1, 2.5, 5, 50])
def test_the_error_is_as_stated_and_has_no_bias(size, share):
    things, trials = int(size * share), 200
    errors = distinct(registers_of(things, size, trials)) / things - 1
    expected = 1.04 / size**0.5
    assert errors.std() < 1.2 * expected
    assert abs(errors.mean()) < 4 * expected / trials**0.5 + 0.005


def test_many_rows_take_little_more_memory_than_their_registers():
    rows = np.tile(registers_of(100, 64, 50), (4000, 1))
    tracemalloc.start()
    try:
        estimates = distinct(rows)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert estimates.tolist() == distinct(rows[:50]).tolist() * 4000
    assert most < rows.nbytes / 2


def test_registers_that_are_all_full_are_more_than_can_be_told():
    full = np.full((2, 64), HASH_BITS - 6 + 1, np.uint8)
    full[1, 0] -= 1
    estimates = distinct(full)
    assert estimates[0] == np.inf
    assert 1e10 < estimates[1] < np.inf
