"""Calling a kernel function from Python."""

import pytest

from fajita.kernel.entry import compiled, entry
from fajita.kernel.function import kernel_function


@kernel_function
def weigh(first, second, third):
    return first + 10 * second + 100 * third


@kernel_function
def nothing():
    return 42


WEIGH, NOTHING = entry(weigh), entry(nothing)


@pytest.fixture(scope="module")
def weighed():
    @compiled(WEIGH)
    def run(arguments):
        return WEIGH(arguments)

    return run


def test_arguments_arrive_in_their_order(weighed):
    assert weighed(1, 2, 3) == 321
    assert weighed(-1, 0, 0) == -1
    assert weighed((1 << 63) - 1, 0, 0) == (1 << 63) - 1


def test_a_result_wraps(weighed):
    assert weighed((1 << 63) - 1, 0, 1) == -(1 << 63) + 99


@pytest.mark.parametrize("arguments", [(), (1,), (1, 2), (1, 2, 3, 4)])
def test_another_number_of_arguments_is_refused(weighed, arguments):
    with pytest.raises(TypeError, match=f"{len(arguments)} arguments for a kernel function of 3"):
        weighed(*arguments)


def test_a_number_that_does_not_fit_is_refused(weighed):
    with pytest.raises(OverflowError):
        weighed(1 << 63, 0, 0)


def test_without_arguments():
    @compiled(NOTHING)
    def run(arguments):
        return NOTHING(arguments)

    assert run() == 42
