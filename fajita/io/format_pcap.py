"""The records of a pcap file, formatted into a buffer, compiled."""

from fajita.kernel.arithmetic import divide_unsigned
from fajita.kernel.entry import compiled, entry
from fajita.kernel.function import kernel_function
from fajita.kernel.memory import copy, load_u8, load_u16, load_u32, load_u64, store_32, store_64
from fajita.protocols import MAXIMUM_FRAME

RECORD_HEADER_SIZE = 16
NS_PER_SECOND = 1_000_000_000
LAST_SECOND = 2**32 - 1

#: Why formatting stopped: all frames are done, the buffer is full, or a frame that the file cannot hold.
DONE, FULL, OTHER_LINK, BAD_TIME, TOO_LONG = range(5)


@kernel_function
def append_records(
    results, address, captured, wire, time_ns, verdict, link_number, link, frame, count, buffer, used, capacity
):
    """Append the records of the frames with verdict 1, from number `frame` of the block on, to a buffer.

    address, time_ns (uint64), captured, wire (uint32), verdict (uint8), link_number (uint16): where the block's arrays
    of `count` elements lie. link: the file's link type number. buffer: where the buffer lies; `used` of its `capacity`
    bytes are filled. Records are little-endian with nanoseconds (draft-ietf-opsawg-pcap, section 4). results: where
    three int64 are put: the number of the first frame not dealt with, bytes used, records added.

    Returns why it stopped.
    """
    records = 0
    stop = DONE
    while frame < count:
        if load_u8(verdict + frame) == 1:
            size, time = load_u32(captured + frame * 4), load_u64(time_ns + frame * 8)
            seconds = divide_unsigned(time, NS_PER_SECOND)
            if load_u16(link_number + frame * 2) != link:
                stop = OTHER_LINK
                break
            if size > MAXIMUM_FRAME:
                stop = TOO_LONG
                break
            if seconds > LAST_SECOND:
                stop = BAD_TIME
                break
            if used + RECORD_HEADER_SIZE + size > capacity:
                stop = FULL
                break
            record = buffer + used
            store_32(record, seconds)
            store_32(record + 4, time - seconds * NS_PER_SECOND)
            store_32(record + 8, size)
            store_32(record + 12, load_u32(wire + frame * 4))
            copy(record + RECORD_HEADER_SIZE, load_u64(address + frame * 8), size)
            used += RECORD_HEADER_SIZE + size
            records += 1
        frame += 1
    store_64(results, frame)
    store_64(results + 8, used)
    store_64(results + 16, records)
    return stop


_enter = entry(append_records)


@compiled(_enter)
def format_records(arguments):
    """Call append_records."""
    return _enter(arguments)
