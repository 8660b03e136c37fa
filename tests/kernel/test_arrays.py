"""Elements of arrays against a list of Python's: within the array what is written, outside it 0 and no write at all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.kernel.arrays import ELEMENT_FUNCTIONS, prefetch_bits, read_bits, write_bits
from fajita.kernel.bounds import REGIONS, allow_only
from fajita.kernel.entry import compiled
from fajita.reference.array import cut
from fajita.state_types import StateType
from tests.kernel.callees import Callees

CALLEES = Callees(
    {**ELEMENT_FUNCTIONS, "read_bits": read_bits, "write_bits": write_bits, "prefetch_bits": prefetch_bits}
)
ENTER = CALLEES.enter
LENGTH, GUARD = 11, 0xA5
indices = st.one_of(st.integers(-3, LENGTH + 3), st.sampled_from((-(1 << 63), (1 << 63) - 1, 1 << 61, 1 << 60)))
words = st.integers(-(1 << 63), (1 << 63) - 1)


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


def guarded(size: int) -> np.ndarray:
    """Zeros with bytes before and behind that nobody may touch."""
    memory = np.full(size + 32, GUARD, np.uint8)
    memory[16:-16] = 0
    allow_only([memory])
    return memory


def assert_guards_are_whole(memory: np.ndarray) -> None:
    assert (memory[:16] == GUARD).all()
    assert (memory[-16:] == GUARD).all()


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"])
@given(writes=st.lists(st.tuples(indices, words), max_size=12))
def test_an_array_is_a_list(call, dtype, writes):
    size = int(dtype[1])
    kind, memory, model = StateType("any", size, signed=dtype[0] == "i"), guarded(LENGTH * size), [0] * LENGTH
    start = memory.ctypes.data + 16
    for index, value in writes:
        call(f"write_array_{size}", value, start, LENGTH, index)
        call(f"prefetch_array_{size}", start, LENGTH, index)
        if 0 <= index < LENGTH:
            model[index] = cut(value, kind)
        expected = model[index] if 0 <= index < LENGTH else 0
        read = call(f"read_array_{dtype}", start, LENGTH, index)
        assert read & ((1 << 64) - 1) == expected & ((1 << 64) - 1)
    assert memory[16:-16].view(dtype).tolist() == model
    assert_guards_are_whole(memory)


@given(writes=st.lists(st.tuples(indices, st.booleans()), max_size=12))
def test_bits_are_a_list_of_flags(call, writes):
    memory, model = guarded(2), [False] * LENGTH
    start = memory.ctypes.data + 16
    for index, value in writes:
        call("write_bits", int(value), start, LENGTH, index)
        call("prefetch_bits", start, LENGTH, index)
        if 0 <= index < LENGTH:
            model[index] = value
        assert call("read_bits", start, LENGTH, index) == (0 <= index < LENGTH and model[index])
    assert np.unpackbits(memory[16:-16], bitorder="little").tolist() == [*model, *[False] * 5]
    assert_guards_are_whole(memory)
    assert not REGIONS.violations
