import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.reference.integer import Int64, Int64List, int64_length, int64_range, to_int64, wrap

int64 = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from((-(1 << 63), (1 << 63) - 1, -1, 0, 1)))


@pytest.mark.parametrize(
    "operation", [operator.add, operator.sub, operator.mul, operator.and_, operator.or_, operator.xor]
)
@given(left=int64, right=int64)
def test_arithmetic_wraps_as_that_of_the_processor_does(operation, left, right):
    expected = int(operation(np.array([left]), np.array([right]))[0])
    results = [operation(Int64(left), right), operation(left, Int64(right)), operation(Int64(left), Int64(right))]
    assert results == [expected] * 3
    assert {type(result) for result in results} == {Int64}


@given(left=int64, right=int64)
def test_division_rounds_down(left, right):
    quotient, remainder = Int64(left) // right, Int64(left) % right
    if right == 0:
        assert (quotient, remainder) == (0, 0)
    else:
        assert wrap(quotient * int(right) + remainder) == left
        assert 0 <= remainder < right or right < remainder <= 0


def test_the_one_quotient_that_does_not_fit_wraps():
    assert Int64(-(1 << 63)) // -1 == -(1 << 63)
    assert Int64(-(1 << 63)) % -1 == 0


@given(value=int64, count=int64)
def test_shift_counts_are_taken_modulo_64(value, count):
    assert Int64(value) << count == wrap(value << count % 64)
    assert Int64(value) >> count == value >> count % 64
    assert value << Int64(count) == Int64(value) << count


@given(value=int64)
def test_signs(value):
    assert -Int64(value) == wrap(-value)
    assert abs(Int64(value)) == wrap(abs(value))
    assert ~Int64(value) == ~value
    assert [type(result) for result in (-Int64(value), +Int64(value), ~Int64(value), abs(Int64(value)))] == [Int64] * 4


@given(value=int64)
def test_the_length_of_a_number_is_one_to_compute_with(value):
    assert Int64(value).bit_length() == value.bit_length()
    assert type(Int64(value).bit_length()) is Int64


@given(value=st.integers())
def test_any_number_keeps_its_low_64_bits(value):
    assert (Int64(value) - value) % (1 << 64) == 0
    assert -(1 << 63) <= Int64(value) < 1 << 63


def test_an_index_outside_a_list_reads_zero():
    values = Int64List([5, 1 << 64, (1 << 63)])
    assert [values[index] for index in (-1, 0, 1, 2, 3)] == [0, 5, 0, -(1 << 63), 0]
    assert len(values) == 3


def test_what_an_nf_sees_of_its_parameters():
    assert type(to_int64(7)) is Int64
    assert to_int64(True) is True
    assert to_int64("hash") == "hash"
    assert to_int64([1, 2])[9] == 0
    assert to_int64(["a"]) == ["a"]


def test_loops_and_lengths_give_integers_of_64_bits():
    assert [type(value) for value in (*int64_range(2), int64_length([1]))] == [Int64] * 3
    assert list(int64_range(5, 0, -2)) == [5, 3, 1]
