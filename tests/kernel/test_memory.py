"""Loads, stores, copies and clears at addresses of any alignment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.kernel import memory
from fajita.kernel.bounds import allow_only
from fajita.kernel.entry import compiled
from fajita.kernel.operation import Operation
from fajita.reference.integer import wrap
from tests.kernel.callees import Callees

# load_128 gives a value that only other operations can take; test_table covers it.
CALLEES = Callees(
    {name: made for name, made in vars(memory).items() if isinstance(made, Operation) and name != "load_128"}
)
ENTER = CALLEES.enter
#: Operation, bytes, byte order, signed.
LOADS = [
    *((f"load_u{bits}", bits // 8, "little", False) for bits in (8, 16, 32)),
    *((f"load_i{bits}", bits // 8, "little", True) for bits in (8, 16, 32, 64)),
    *((f"load_be{bits}", bits // 8, "big", False) for bits in (16, 32)),
    ("load_u64", 8, "little", True),  # a bit pattern, and every number of a kernel is signed
    ("load_be64", 8, "big", True),
]
STORES = [
    *((f"store_{bits}", bits // 8, "little") for bits in (8, 16, 32, 64)),
    *((f"store_be{bits}", bits // 8, "big") for bits in (16, 32, 64)),
]


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


@pytest.fixture(scope="module")
def area():
    return np.zeros(64, np.uint8)


@pytest.fixture
def address(area):
    allow_only([area])
    return area.ctypes.data


@pytest.mark.parametrize(("name", "size", "order", "signed"), LOADS)
@given(data=st.binary(min_size=24, max_size=24), offset=st.integers(0, 16))
def test_a_load_gives_the_number_that_lies_there(call, area, name, size, order, signed, data, offset):
    allow_only([area])
    area[:24] = np.frombuffer(data, np.uint8)
    expected = int.from_bytes(data[offset : offset + size], order, signed=signed)
    assert call(name, area.ctypes.data + offset) == expected


@pytest.mark.parametrize(("name", "size", "order"), STORES)
@given(value=st.integers(-(1 << 63), (1 << 63) - 1), offset=st.integers(0, 16))
def test_a_store_writes_the_low_bytes_and_nothing_else(call, area, name, size, order, value, offset):
    allow_only([area])
    area[:] = 0xA5
    call(name, area.ctypes.data + offset, value)
    expected = bytearray(b"\xa5" * 64)
    expected[offset : offset + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, order)
    assert bytes(area) == bytes(expected)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 31])
def test_copy(call, area, address, size):
    area[:] = np.arange(64)
    call("copy", address + 33, address + 1, size)
    assert area.tolist() == [*range(33), *range(1, 1 + size), *range(33 + size, 64)]


@pytest.mark.parametrize("size", [0, 1, 15, 16, 31])
def test_clear(call, area, address, size):
    area[:] = 7
    call("clear", address + 3, size)
    assert area.tolist() == [7] * 3 + [0] * size + [7] * (61 - size)


def test_prefetch_never_faults(call):
    for address in (0, 1, 1 << 62, wrap(-1)):
        assert call("prefetch", address) == 0
