"""Frames that become longer or shorter while they are run: where one lies and how long it is changes in its block.

A frame becomes shorter in place: what is before the bytes that go moves towards its end. One that becomes longer is
copied first, once, to an area where there is room before it, as frames of a capture lie next to each other; one in an
mbuf only if that has no room there.
"""

from fajita.kernel.bounds import CHECKED
from fajita.kernel.function import kernel_function, rare_function
from fajita.kernel.layout import CONTEXT
from fajita.kernel.memory import clear, copy, load_i64, load_u8, load_u32, store_8, store_32, store_64
from fajita.packet import MAXIMUM_FRAME, MAXIMUM_GROWTH

_ADDRESS, _CAPTURED, _WIRE, _LINK = (CONTEXT[name] for name in ("address", "captured", "wire", "link"))
_ROOM, _ROOM_FIRST, _FLOORS = CONTEXT["room"], CONTEXT["room_first"], CONTEXT["floors"]
#: Bytes between frames in the area, so that one of which nothing is left still lies in it; with bounds checks more, so
#: that a read past the end of one is not yet a read of the next.
GAP = 64 if CHECKED else 8


@kernel_function
def address_of(context, packet):
    """Where a frame of the block lies."""
    return load_i64(load_i64(context + _ADDRESS) + 8 * packet)


@kernel_function
def captured_of(context, packet):
    """Bytes of it that are there."""
    return load_u32(load_i64(context + _CAPTURED) + 4 * packet)


@kernel_function
def wire_of(context, packet):
    """Bytes that it has on the wire."""
    return load_u32(load_i64(context + _WIRE) + 4 * packet)


@kernel_function
def link_of(context, packet):
    """The code of its link type."""
    return load_u8(load_i64(context + _LINK) + packet)


@kernel_function
def _has_room(context, packet, address, count):
    """Whether a frame may grow by so many bytes where it lies: it has been copied, or its mbuf begins as far down."""
    floors = load_i64(context + _FLOORS)
    # At the end of what has been copied is a frame of which nothing is left; no other is, as the area is longer.
    if load_i64(context + _ROOM_FIRST) <= address and address <= load_i64(context + _ROOM):
        return 1
    return floors != 0 and address - count >= load_i64(floors + 8 * packet)


@rare_function
def grow(context, packet, at, count, headroom):
    """Insert so many zeros at an offset. headroom: that all calls together may need before a frame."""
    captured, wire = captured_of(context, packet), wire_of(context, packet)
    if at < 0 or at > captured or count < 1 or count > MAXIMUM_GROWTH or wire + count > MAXIMUM_FRAME:
        return
    before = address_of(context, packet)
    if not _has_room(context, packet, before, count):
        copied = load_i64(context + _ROOM) + headroom
        copy(copied, before, captured)
        store_64(context + _ROOM, copied + captured + GAP)
        before = copied
    address = before - count
    for index in range(at):
        store_8(address + index, load_u8(before + index))
    clear(address + at, count)
    _keep(context, packet, address, captured + count, wire + count)


@rare_function
def shrink(context, packet, at, count):
    """Remove so many bytes from an offset on."""
    captured = captured_of(context, packet)
    if at < 0 or count < 1 or count > captured or at > captured - count:
        return
    before = address_of(context, packet)
    for index in range(at):
        store_8(before + count + at - 1 - index, load_u8(before + at - 1 - index))
    _keep(context, packet, before + count, captured - count, wire_of(context, packet) - count)


@kernel_function
def _keep(context, packet, address, captured, wire):
    store_64(load_i64(context + _ADDRESS) + 8 * packet, address)
    store_32(load_i64(context + _CAPTURED) + 4 * packet, captured)
    store_32(load_i64(context + _WIRE) + 4 * packet, wire)
