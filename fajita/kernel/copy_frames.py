"""Frames copied one behind the other, compiled: for a worker that has to have packets of others to itself."""

from fajita.kernel.entry import compiled, entry
from fajita.kernel.function import kernel_function
from fajita.kernel.memory import copy, load_i64, load_u8, load_u32, store_64


@kernel_function
def copy_others(addresses, captured, own, count, room):
    """Copy each frame whose byte at `own` is 0 to where `room` says that it is to lie, and note that in `addresses`.

    addresses, room: int64 each; captured: uint32, the bytes of a frame.
    """
    for index in range(count):
        if load_u8(own + index) == 0:
            target = load_i64(room + 8 * index)
            copy(target, load_i64(addresses + 8 * index), load_u32(captured + 4 * index))
            store_64(addresses + 8 * index, target)


_enter = entry(copy_others)


@compiled(_enter)
def copy_others_frames(arguments):
    """Call copy_others."""
    return _enter(arguments)
