"""Elements of arrays in an entry or in the core area: read, written and prefetched, each only within its array.

An index outside reads 0; writing or prefetching there does nothing.
"""

from typing import Any

from fajita.kernel.arithmetic import left_shift
from fajita.kernel.function import KernelFunction, kernel_function
from fajita.kernel.memory import (
    load_i8,
    load_i16,
    load_i32,
    load_u8,
    load_u16,
    load_u32,
    load_u64,
    prefetch,
    store_8,
    store_16,
    store_32,
    store_64,
)


def _reader(load: Any, size: int) -> KernelFunction:
    """Make `read(start, length, index)` of arrays with elements of `size` bytes."""

    @kernel_function
    def read_element(start, length, index):
        if index < 0 or index >= length:
            return 0
        return load(start + size * index)

    return read_element


def _writer(store: Any, size: int) -> KernelFunction:
    """Make `write(value, start, length, index)`; the value comes first, as Python evaluates it first."""

    @kernel_function
    def write_element(value, start, length, index):
        if 0 <= index < length:
            store(start + size * index, value)

    return write_element


def _prefetcher(size: int) -> KernelFunction:
    """Make `prefetch(start, length, index)`."""

    @kernel_function
    def prefetch_element(start, length, index):
        if 0 <= index < length:
            prefetch(start + size * index)

    return prefetch_element


@kernel_function
def read_bits(start, length, index):
    """Bit `index`, 0 or 1."""
    if index < 0 or index >= length:
        return 0
    return (load_u8(start + (index >> 3)) >> (index & 7)) & 1


@kernel_function
def write_bits(value, start, length, index):
    """Set bit `index` if the value is not 0, else clear it."""
    if 0 <= index < length:
        place = start + (index >> 3)
        others = load_u8(place) & ~left_shift(1, index & 7)
        store_8(place, others | left_shift(value != 0, index & 7))


@kernel_function
def prefetch_bits(start, length, index):
    """Ask for the line of bit `index`."""
    if 0 <= index < length:
        prefetch(start + (index >> 3))


_LOADS = {
    "u1": load_u8,
    "u2": load_u16,
    "u4": load_u32,
    "u8": load_u64,
    "i1": load_i8,
    "i2": load_i16,
    "i4": load_i32,
    "i8": load_u64,
}
_STORES = {1: store_8, 2: store_16, 4: store_32, 8: store_64}

#: By the name they have in generated code, which ends as numpy writes the type.
ELEMENT_FUNCTIONS: dict[str, KernelFunction] = {
    **{f"read_array_{dtype}": _reader(load, int(dtype[1])) for dtype, load in _LOADS.items()},
    **{f"write_array_{size}": _writer(store, size) for size, store in _STORES.items()},
    **{f"prefetch_array_{size}": _prefetcher(size) for size in _STORES},
}
globals().update(ELEMENT_FUNCTIONS)
