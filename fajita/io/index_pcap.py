"""The walk over the records of a pcap file in memory, compiled."""

from numba import njit

from fajita.kernel.cache import cache_folder
from fajita.kernel.memory import load_be32, load_u32

#: The most bytes of one frame that a capture can hold; libpcap's MAXIMUM_SNAPLEN.
MAXIMUM_FRAME = 262_144

#: Why a walk stopped: it needs bytes that are not there yet, the arrays are full, or a captured length cannot be.
MORE, FULL, BAD_CAPTURED = range(3)

cache_folder()  # tells numba where to keep what is compiled below


@njit(cache=True, nogil=True, error_model="numpy", no_cfunc_wrapper=True)
def index_pcap(start, end, is_big_endian, header_size, captured_at, unit_ns, address, captured, wire, time_ns):
    """Note where each whole record's frame lies in the memory from `start` to `end` (addresses, int64).

    header_size: bytes of a record header: seconds, subseconds, and the captured and the wire length, of which the
    captured one stands at byte `captured_at` (8 or 12) and the other at 20 - captured_at.
    unit_ns: nanoseconds of one subsecond; a value above a whole second is added as it is.
    address (uint64), captured, wire (uint32), time_ns (uint64): filled from the front; as many as fit.

    Returns the address of the first record not noted, the number of those noted, and why it stopped.
    """
    record = start
    capacity = len(address)
    count = 0
    while end - record >= header_size:
        if count == capacity:
            return record, count, FULL
        if is_big_endian:
            seconds, subseconds = load_be32(record), load_be32(record + 4)
            captured_length, wire_length = load_be32(record + captured_at), load_be32(record + 20 - captured_at)
        else:
            seconds, subseconds = load_u32(record), load_u32(record + 4)
            captured_length, wire_length = load_u32(record + captured_at), load_u32(record + 20 - captured_at)
        if captured_length > MAXIMUM_FRAME:
            return record, count, BAD_CAPTURED
        frame = record + header_size
        if captured_length > end - frame:
            break
        address[count] = frame
        captured[count] = captured_length
        wire[count] = wire_length
        # At most 2**32 * 10**9 + 2**32 * 1000, so it fits 63 bits.
        time_ns[count] = seconds * 1_000_000_000 + subseconds * unit_ns
        count += 1
        record = frame + captured_length
    return record, count, MORE
