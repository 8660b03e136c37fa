"""The walk over the blocks of a pcapng section in memory, compiled."""

import numpy as np
from numba import njit

from fajita.io.index_pcap import MAXIMUM_FRAME
from fajita.kernel.cache import cache_folder
from fajita.kernel.memory import load_be16, load_be32, load_u16, load_u32, shift_right

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

cache_folder()  # tells numba where to keep what is compiled below

_inner = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@_inner
def _load_32(address, is_big_endian):
    return load_be32(address) if is_big_endian else load_u32(address)


@_inner
def _ticks_to_ns(ticks, interface):
    """Exact, rounded down; a time out of range becomes -1 (too early) or LATEST_NS. `ticks`: 64 bits, unsigned."""
    if interface.divisor > 1:
        time_ns = np.int64(np.uint64(ticks) // np.uint64(interface.divisor))
    else:
        # The product has up to 94 bits: `upper` those from bit 32 on, fewer than 63.
        lower = (ticks & 0xFFFFFFFF) * interface.multiplier
        upper = shift_right(ticks, 32) * interface.multiplier + shift_right(lower, 32)
        if interface.shift >= 32:
            time_ns = shift_right(upper, min(interface.shift - 32, 63))
        elif shift_right(upper, interface.shift + 31) == 0:
            time_ns = (upper << (32 - interface.shift)) | shift_right(lower & 0xFFFFFFFF, interface.shift)
        else:
            return LATEST_NS
    offset_ns = interface.offset_ns
    if offset_ns > 0 and time_ns > LATEST_NS - offset_ns:
        return LATEST_NS
    return max(time_ns + offset_ns, -1)


@njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)
def index_pcapng(
    start, end, is_big_endian, interfaces, count, previous_ns, address, captured, wire, time_ns, link, link_number
):
    """Note where each whole packet block's frame lies in the memory from `start` to `end` (addresses, int64).

    is_big_endian: the byte order of the section that the memory begins in. interfaces: INTERFACE, those described.
    count: frames already in the arrays. previous_ns: the time of the frame before, for blocks that have none.
    address (uint64), captured, wire (uint32), time_ns (uint64), link (uint8), link_number (uint16): filled from there.

    Returns the address of the first block not done, the number of frames in the arrays, why it stopped, and how many
    of the new frames have a time out of range, which is 0 or LATEST_NS instead.
    """
    block = start
    capacity = len(address)
    clamped = 0
    while end - block >= 12:
        kind = _load_32(block, is_big_endian)
        if kind == SECTION_HEADER:  # reads the same in both byte orders, and begins a section that may have the other
            is_big_endian = load_be32(block + 8) == BYTE_ORDER_MAGIC
            if not is_big_endian and load_u32(block + 8) != BYTE_ORDER_MAGIC:
                return block, count, BAD_BYTE_ORDER, clamped
        length = _load_32(block + 4, is_big_endian)
        if length < 12 or length & 3 or length > MAXIMUM_BLOCK:
            return block, count, BAD_LENGTH, clamped
        if length > end - block:
            break
        if _load_32(block + length - 4, is_big_endian) != length:
            return block, count, BAD_TRAILER, clamped
        if kind in (SECTION_HEADER, INTERFACE_DESCRIPTION):
            return block, count, DESCRIPTION, clamped
        if kind in (ENHANCED_PACKET, SIMPLE_PACKET, OBSOLETE_PACKET):
            if count == capacity:
                return block, count, FULL, clamped
            frame = block + (12 if kind == SIMPLE_PACKET else 28)
            room = block + length - 4 - frame
            if room < 0:
                return block, count, BAD_LENGTH, clamped
            number = ticks = 0  # the interface's: a simple packet block belongs to the first
            if kind == ENHANCED_PACKET:
                number = _load_32(block + 8, is_big_endian)
            elif kind == OBSOLETE_PACKET:
                number = load_be16(block + 8) if is_big_endian else load_u16(block + 8)
            if number >= len(interfaces):
                return block, count, BAD_INTERFACE, clamped
            interface = interfaces[number]
            if kind == SIMPLE_PACKET:
                wire_length = _load_32(block + 8, is_big_endian)
                captured_length = min(wire_length, room)
                if interface.snap_length > 0:
                    captured_length = min(captured_length, interface.snap_length)
            else:
                ticks = (_load_32(block + 12, is_big_endian) << 32) | _load_32(block + 16, is_big_endian)
                captured_length = _load_32(block + 20, is_big_endian)
                wire_length = _load_32(block + 24, is_big_endian)
                if captured_length > room:
                    return block, count, BAD_ROOM, clamped
            if captured_length > MAXIMUM_FRAME:
                return block, count, BAD_CAPTURED, clamped
            if kind != SIMPLE_PACKET:
                previous_ns = _ticks_to_ns(ticks, interface)
                if previous_ns < 0 or previous_ns == LATEST_NS:
                    clamped += 1
                    previous_ns = max(previous_ns, 0)
            address[count] = frame
            captured[count] = captured_length
            wire[count] = wire_length
            time_ns[count] = previous_ns
            link[count] = interface.link
            link_number[count] = interface.link_number
            count += 1
        block += length
    return block, count, MORE, clamped
