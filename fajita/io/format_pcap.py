"""The records of a pcap file, formatted into a buffer, compiled."""

from numba import njit

from fajita.io.index_pcap import MAXIMUM_FRAME
from fajita.kernel.cache import cache_folder
from fajita.kernel.memory import copy, load_u8, load_u16, load_u32, load_u64, store_32

RECORD_HEADER_SIZE = 16
NS_PER_SECOND = 1_000_000_000
LAST_SECOND = 2**32 - 1

#: Why formatting stopped: all frames are done, the buffer is full, or a frame that the file cannot hold.
DONE, FULL, OTHER_LINK, BAD_TIME, TOO_LONG = range(5)

cache_folder()  # tells numba where to keep what is compiled below


@njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)
def format_records(address, captured, wire, time_ns, verdict, link_number, link, frame, count, buffer, used, capacity):
    """Append the records of the frames with verdict 1, from number `frame` of the block on, to a buffer.

    address, time_ns (uint64), captured, wire (uint32), verdict (uint8), link_number (uint16): where the block's arrays
    of `count` elements lie. link: the file's link type number. buffer: where the buffer lies; `used` of its `capacity`
    bytes are filled. All are int64. Records are little-endian with nanoseconds (draft-ietf-opsawg-pcap, section 4).

    Returns the number of the first frame not dealt with, bytes used, records added, and why it stopped.
    """
    records = 0
    while frame < count:
        if load_u8(verdict + frame) == 1:
            if load_u16(link_number + frame * 2) != link:
                return frame, used, records, OTHER_LINK
            size = load_u32(captured + frame * 4)
            if size > MAXIMUM_FRAME:
                return frame, used, records, TOO_LONG
            time = load_u64(time_ns + frame * 8)
            seconds = time // NS_PER_SECOND
            # A time of 2**63 and more is a negative number here.
            if time < 0 or seconds > LAST_SECOND:
                return frame, used, records, BAD_TIME
            if used + RECORD_HEADER_SIZE + size > capacity:
                return frame, used, records, FULL
            record = buffer + used
            store_32(record, seconds)
            store_32(record + 4, time - seconds * NS_PER_SECOND)
            store_32(record + 8, size)
            store_32(record + 12, load_u32(wire + frame * 4))
            copy(record + RECORD_HEADER_SIZE, load_u64(address + frame * 8), size)
            used += RECORD_HEADER_SIZE + size
            records += 1
        frame += 1
    return frame, used, records, DONE
