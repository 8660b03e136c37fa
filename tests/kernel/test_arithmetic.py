"""Arithmetic of kernels against Python's integers, cut to 64 bits."""

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fajita.kernel import arithmetic
from fajita.kernel.entry import compiled
from fajita.kernel.operation import Operation
from fajita.reference.integer import wrap
from tests.kernel.callees import Callees

CALLEES = Callees({name: made for name, made in vars(arithmetic).items() if isinstance(made, Operation)})
ENTER = CALLEES.enter

LEAST, MOST = -(1 << 63), (1 << 63) - 1
EDGES = (LEAST, LEAST + 1, -2, -1, 0, 1, 2, 63, 64, 65, MOST - 1, MOST)
int64 = st.one_of(st.sampled_from(EDGES), st.integers(LEAST, MOST), st.integers(-100, 100))


def unsigned(value: int) -> int:
    return value & ((1 << 64) - 1)


MODEL: dict[str, Callable[[int, int], int]] = {
    "floor_divide": lambda left, right: left // right if right else 0,
    "floor_modulo": lambda left, right: left % right if right else 0,
    "divide_unsigned": lambda left, right: unsigned(left) // (unsigned(right) or 1),
    "left_shift": lambda value, count: value << count % 64,
    "right_shift": lambda value, count: value >> count % 64,
    "shift_right_unsigned": lambda value, count: unsigned(value) >> count % 64,
    "minimum": min,
    "maximum": max,
    "is_above": lambda left, right: unsigned(left) > unsigned(right),
    "absolute": lambda value, _: abs(value),
    "bit_length": lambda value, _: value.bit_length(),
}


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


def test_every_operation_has_a_model():
    assert MODEL.keys() == {name for name, made in vars(arithmetic).items() if isinstance(made, Operation)}


@pytest.mark.parametrize("name", MODEL)
def test_edges(call, name):
    for left in EDGES:
        for right in EDGES:
            if name != "divide_unsigned" or right != 0:
                assert call(name, left, right) == wrap(MODEL[name](left, right)), (left, right)


@settings(max_examples=300)
@given(left=int64, right=int64)
@example(left=LEAST, right=-1)
@example(left=7, right=0)
@example(left=-1, right=64)
def test_operations_compute_what_python_does(call, left, right):
    for name, model in MODEL.items():
        if name != "divide_unsigned" or right != 0:
            assert call(name, left, right) == wrap(model(left, right)), name


@given(left=int64, right=int64)
def test_quotient_and_remainder_belong_together(call, left, right):
    quotient, remainder = call("floor_divide", left, right), call("floor_modulo", left, right)
    if right == 0:
        assert (quotient, remainder) == (0, 0)
    else:
        assert wrap(quotient * right + remainder) == left
        assert 0 <= remainder < right or right < remainder <= 0
