"""What is done to several packets at once is what is done to each."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.kernel.bounds import allow_only
from fajita.kernel.entry import compiled
from fajita.kernel.vectors import sum_u32
from tests.kernel.callees import Callees

CALLEES = Callees({"sum_u32": sum_u32})
ENTER = CALLEES.enter


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


@given(words=st.lists(st.integers(0, (1 << 32) - 1), max_size=70))
def test_a_column_of_any_length_is_summed(call, words):
    column = np.array([*words, 0xFFFFFFFF], np.uint32)
    allow_only([column], [])
    assert call("sum_u32", column.ctypes.data, len(words)) == sum(words)
