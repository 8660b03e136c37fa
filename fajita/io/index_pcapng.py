"""The walk over the blocks of a pcapng section in memory, compiled."""

import numpy as np

from fajita.io.index_pcap import load_32
from fajita.kernel.arithmetic import divide_unsigned, maximum, minimum, shift_right_unsigned
from fajita.kernel.entry import compiled, entry
from fajita.kernel.function import kernel_function
from fajita.kernel.memory import (
    load_be16,
    load_be32,
    load_i64,
    load_u16,
    load_u32,
    store_8,
    store_16,
    store_32,
    store_64,
)
from fajita.protocols import MAXIMUM_FRAME

#: The longest block that is believed, of any type; the same as Wireshark's limit.
MAXIMUM_BLOCK = 16 << 20
#: The latest time that fits 63 bits of nanoseconds, in April 2262.
LATEST_NS = 2**63 - 1

#: Block types (draft-ietf-opsawg-pcapng section 4); the walk steps over all others.
SECTION_HEADER, INTERFACE_DESCRIPTION = 0x0A0D0D0A, 1
OBSOLETE_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 2, 3, 6
#: The byte order magic of a section header, as it reads in the section's own order.
BYTE_ORDER_MAGIC = 0x1A2B3C4D

#: Why a walk stopped: it needs bytes that are not there yet; the arrays are full; here is a whole section header or
#: interface description; or something cannot be.
(
    MORE,
    FULL,
    DESCRIPTION,
    BAD_BYTE_ORDER,
    BAD_LENGTH,
    BAD_TRAILER,
    BAD_INTERFACE,
    BAD_ROOM,
    BAD_CAPTURED,
) = range(9)

#: What the walk needs to know of an interface. A time is floor(ticks * multiplier / 2**shift) / divisor + offset_ns,
#: where multiplier is at most 10**9, shift 0 to 95, and divisor is 1 unless multiplier is 1 and shift 0.
INTERFACE = np.dtype(
    [(name, np.int64) for name in ("link", "link_number", "snap_length", "multiplier", "shift", "divisor", "offset_ns")]
)
INTERFACE_BYTES = INTERFACE.itemsize
LINK, LINK_NUMBER, SNAP_LENGTH, MULTIPLIER, SHIFT, DIVISOR, OFFSET_NS = (8 * word for word in range(7))


@kernel_function
def _ticks_to_ns(ticks, interface):
    """Exact, rounded down; a time out of range becomes -1 (too early) or LATEST_NS. `ticks`: 64 bits, unsigned."""
    divisor, shift = load_i64(interface + DIVISOR), load_i64(interface + SHIFT)
    if divisor > 1:
        time_ns = divide_unsigned(ticks, divisor)
    else:
        # The product has up to 94 bits: `upper` those from bit 32 on, fewer than 63.
        multiplier = load_i64(interface + MULTIPLIER)
        lower = (ticks & 0xFFFFFFFF) * multiplier
        upper = shift_right_unsigned(ticks, 32) * multiplier + shift_right_unsigned(lower, 32)
        if shift >= 32:
            time_ns = shift_right_unsigned(upper, minimum(shift - 32, 63))
        elif shift_right_unsigned(upper, shift + 31) == 0:
            time_ns = (upper << (32 - shift)) | shift_right_unsigned(lower & 0xFFFFFFFF, shift)
        else:
            return LATEST_NS
    offset_ns = load_i64(interface + OFFSET_NS)
    if offset_ns > 0 and time_ns > LATEST_NS - offset_ns:
        return LATEST_NS
    return maximum(time_ns + offset_ns, -1)


@kernel_function
def _interface_number(block, kind, is_big_endian):
    """Of a packet block; a simple one belongs to the first interface."""
    if kind == ENHANCED_PACKET:
        return load_32(block + 8, is_big_endian)
    if kind == OBSOLETE_PACKET:
        return load_be16(block + 8) if is_big_endian else load_u16(block + 8)
    return 0


@kernel_function
def index_blocks(
    results,
    start,
    end,
    is_big_endian,
    interfaces,
    described,
    count,
    previous_ns,
    capacity,
    address,
    captured,
    wire,
    time_ns,
    link,
    link_number,
):
    """Note where each whole packet block's frame lies in the memory from `start` to `end`.

    is_big_endian: the byte order of the section that the memory begins in. interfaces: INTERFACE, `described` of them.
    count: frames already in the arrays. previous_ns: the time of the frame before, for blocks that have none.
    address (uint64), captured, wire (uint32), time_ns (uint64), link (uint8), link_number (uint16): where arrays of
    `capacity` elements lie, filled from `count` on. results: where three int64 are put: the address of the first block
    not done, the number of frames in the arrays, and how many of the new ones have a time out of range, which is 0 or
    LATEST_NS instead.

    Returns why it stopped.
    """
    block = start
    clamped = 0
    stop = MORE
    while end - block >= 12:
        kind = load_32(block, is_big_endian)
        if kind == SECTION_HEADER:  # reads the same in both byte orders, and begins a section that may have the other
            is_big_endian = load_be32(block + 8) == BYTE_ORDER_MAGIC
            if not is_big_endian and load_u32(block + 8) != BYTE_ORDER_MAGIC:
                stop = BAD_BYTE_ORDER
                break
        length = load_32(block + 4, is_big_endian)
        if length < 12 or length & 3 != 0 or length > MAXIMUM_BLOCK:
            stop = BAD_LENGTH
            break
        if length > end - block:
            break
        if load_32(block + length - 4, is_big_endian) != length:
            stop = BAD_TRAILER
            break
        if kind in (SECTION_HEADER, INTERFACE_DESCRIPTION):
            stop = DESCRIPTION
            break
        if kind in (ENHANCED_PACKET, SIMPLE_PACKET, OBSOLETE_PACKET):
            if count == capacity:
                stop = FULL
                break
            frame = block + (12 if kind == SIMPLE_PACKET else 28)
            room = block + length - 4 - frame
            if room < 0:
                stop = BAD_LENGTH
                break
            number = _interface_number(block, kind, is_big_endian)
            if number >= described:
                stop = BAD_INTERFACE
                break
            interface = interfaces + number * INTERFACE_BYTES
            if kind == SIMPLE_PACKET:
                wire_length = load_32(block + 8, is_big_endian)
                captured_length = minimum(wire_length, room)
                if load_i64(interface + SNAP_LENGTH) > 0:
                    captured_length = minimum(captured_length, load_i64(interface + SNAP_LENGTH))
            else:
                captured_length = load_32(block + 20, is_big_endian)
                wire_length = load_32(block + 24, is_big_endian)
                if captured_length > room:
                    stop = BAD_ROOM
                    break
            if captured_length > MAXIMUM_FRAME:
                stop = BAD_CAPTURED
                break
            if kind != SIMPLE_PACKET:
                ticks = (load_32(block + 12, is_big_endian) << 32) | load_32(block + 16, is_big_endian)
                previous_ns = _ticks_to_ns(ticks, interface)
                if previous_ns < 0 or previous_ns == LATEST_NS:
                    clamped += 1
                    previous_ns = maximum(previous_ns, 0)
            store_64(address + 8 * count, frame)
            store_32(captured + 4 * count, captured_length)
            store_32(wire + 4 * count, wire_length)
            store_64(time_ns + 8 * count, previous_ns)
            store_8(link + count, load_i64(interface + LINK))
            store_16(link_number + 2 * count, load_i64(interface + LINK_NUMBER))
            count += 1
        block += length
    store_64(results, block)
    store_64(results + 8, count)
    store_64(results + 16, clamped)
    return stop


_enter = entry(index_blocks)


@compiled(_enter)
def index_pcapng(arguments):
    """Call index_blocks."""
    return _enter(arguments)
