"""The walk over the records of a pcap file in memory, compiled."""

from fajita.kernel.entry import compiled, entry
from fajita.kernel.function import kernel_function
from fajita.kernel.memory import load_be32, load_u32, store_32, store_64
from fajita.protocols import MAXIMUM_FRAME

#: Why a walk stopped: it needs bytes that are not there yet, the arrays are full, or a captured length cannot be.
MORE, FULL, BAD_CAPTURED = range(3)


@kernel_function
def load_32(address, is_big_endian):
    """A word of 32 bits in the byte order of the file."""
    return load_be32(address) if is_big_endian else load_u32(address)


@kernel_function
def index_records(
    results, start, end, is_big_endian, header_size, captured_at, unit_ns, capacity, address, captured, wire, time_ns
):
    """Note where each whole record's frame lies in the memory from `start` to `end`.

    header_size: bytes of a record header: seconds, subseconds, and the captured and the wire length, of which the
    captured one stands at byte `captured_at` (8 or 12) and the other at 20 - captured_at.
    unit_ns: nanoseconds of one subsecond; a value above a whole second is added as it is.
    address (uint64), captured, wire (uint32), time_ns (uint64): where arrays of `capacity` elements lie, filled from
    the front. results: where two int64 are put: the address of the first record not noted, the number of those noted.

    Returns why it stopped.
    """
    record = start
    count = 0
    stop = MORE
    while end - record >= header_size:
        if count == capacity:
            stop = FULL
            break
        captured_length = load_32(record + captured_at, is_big_endian)
        if captured_length > MAXIMUM_FRAME:
            stop = BAD_CAPTURED
            break
        frame = record + header_size
        if captured_length > end - frame:
            break
        seconds, subseconds = load_32(record, is_big_endian), load_32(record + 4, is_big_endian)
        store_64(address + 8 * count, frame)
        store_32(captured + 4 * count, captured_length)
        store_32(wire + 4 * count, load_32(record + 20 - captured_at, is_big_endian))
        # At most 2**32 * 10**9 + 2**32 * 1000, so it fits 63 bits.
        store_64(time_ns + 8 * count, seconds * 1_000_000_000 + subseconds * unit_ns)
        count += 1
        record = frame + captured_length
    store_64(results, record)
    store_64(results + 8, count)
    return stop


_enter = entry(index_records)


@compiled(_enter)
def index_pcap(arguments):
    """Call index_records."""
    return _enter(arguments)
