"""Random numbers and the fixed hash: the compiled ones are those of Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita import hash_of
from fajita.fixed_hash import MAXIMUM_NUMBERS
from fajita.kernel import draw as kernel
from fajita.kernel.bounds import allow_only
from fajita.kernel.entry import compiled
from fajita.kernel.operation import Operation
from fajita.splitmix import SplitMix, seed_of
from tests.kernel.callees import Callees

HASHES = {f"hash_of_{count}": getattr(kernel, f"hash_of_{count}") for count in range(1, MAXIMUM_NUMBERS + 1)}


def fixed(count: int, hash_operation: Operation) -> Operation:
    """With a number of arguments that can be seen."""
    names = ", ".join(f"number_{index}" for index in range(count))
    return Operation(
        hash_operation.name, eval(f"lambda builder, {names}: emit(builder, {names})", {"emit": hash_operation.emit})
    )


CALLEES = Callees({"draw": kernel.draw} | {name: fixed(n + 1, HASHES[name]) for n, name in enumerate(HASHES)})
ENTER = CALLEES.enter
words = st.integers(-(1 << 63), (1 << 63) - 1)


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


@given(name=st.text(), limits=st.lists(words, max_size=8))
def test_numbers_are_drawn_as_python_draws_them(call, name, limits):
    state, numbers = np.zeros(1, np.int64), SplitMix(name)
    allow_only([state])
    for limit in limits:
        assert call("draw", state.ctypes.data, seed_of(name), limit) == numbers.below(limit)


@given(numbers=st.lists(words, min_size=1, max_size=MAXIMUM_NUMBERS))
def test_hashes_are_those_of_python(call, numbers):
    assert call(f"hash_of_{len(numbers)}", *numbers) == hash_of(*numbers)
