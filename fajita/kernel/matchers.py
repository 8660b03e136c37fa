"""Matchers in the core area: many patterns looked for in payloads by a library, which is called by address.

The addresses of its functions are data, so that a kernel is kept on disk like any other. A stream has a number from 1
on, the one given back last first; its slot has the library's stream, which stays when it is closed and is used again,
and a word: OPEN, or the number of the next that is free. What a scan finds is noted in the matcher's words.
"""

from fajita.kernel.fields import payload_start, start_of_transport
from fajita.kernel.function import address_of, burst_function, kernel_function
from fajita.kernel.live import call
from fajita.kernel.memory import load_i64, store_64
from fajita.matcher_type import MATCHER_HEADER_BYTES, MOST_NOTED, STREAM_SLOT_BYTES

#: The words (int64) of a matcher: its open streams, the most there may be, those there ever were at once, the free one
#: to take next; the addresses of functions, databases and working memory; matches of the last scan, patterns noted.
COUNT, MOST, KNOWN, FREE, SCAN_STREAM, SCAN, OPEN_STREAM, RESET_STREAM, STREAMS, BLOCKS, SCRATCH, MATCHES, NOTED = (
    8 * word for word in range(13)
)
#: Of each pattern noted its place in the list and where the match ends.
NOTES = NOTED + 8
#: What the second word of an open stream's slot is.
OPEN = -1


@kernel_function
def slot_at(matcher, number):
    """Where the slot of a stream is."""
    return matcher + MATCHER_HEADER_BYTES + STREAM_SLOT_BYTES * number


@kernel_function
def slot_of_open(matcher, number):
    """The slot of an open stream; 0 if that is none."""
    if number < 1 or number > load_i64(matcher + KNOWN):
        return 0
    slot = slot_at(matcher, number)
    return slot if load_i64(slot + 8) == OPEN else 0


@burst_function
def note_match(pattern, start, end, flags, matcher):
    """What the library calls for each match (match_event_handler); 0: go on. Of 32 bits the upper half is anything."""
    pattern &= 0xFFFFFFFF
    store_64(matcher + MATCHES, load_i64(matcher + MATCHES) + 1)
    noted = load_i64(matcher + NOTED)
    for index in range(noted):
        if load_i64(matcher + NOTES + 16 * index) == pattern:
            return 0
    if noted < MOST_NOTED:
        store_64(matcher + NOTES + 16 * noted, pattern)
        store_64(matcher + NOTES + 16 * noted + 8, end)
        store_64(matcher + NOTED, noted + 1)
    return 0


address_of_note_match = address_of(note_match)


@kernel_function
def payload_address(frame, headers):
    """Where the payload begins, if there is any."""
    return start_of_transport(frame, headers) + payload_start(frame, headers)


@burst_function
def matcher_scan(matcher, payload, length, number, skip):
    """Look for the patterns in a payload from byte `skip` on, in an open stream or else by itself: the matches."""
    store_64(matcher + MATCHES, 0)
    store_64(matcher + NOTED, 0)
    if skip < 0 or skip >= length:
        return 0
    note, scratch = address_of_note_match(), load_i64(matcher + SCRATCH)
    slot = slot_of_open(matcher, number)
    if slot != 0:
        scan, stream = load_i64(matcher + SCAN_STREAM), load_i64(slot)
        call(scan, stream, payload + skip, length - skip, 0, scratch, note, matcher)
    else:
        scan, database = load_i64(matcher + SCAN), load_i64(matcher + BLOCKS)
        call(scan, database, payload + skip, length - skip, 0, scratch, note, matcher)
    return load_i64(matcher + MATCHES)


@burst_function
def matcher_open(matcher):
    """The number of a new stream; 0 if there may be no more."""
    number = load_i64(matcher + FREE)
    if number != 0:
        slot = slot_at(matcher, number)
        store_64(matcher + FREE, load_i64(slot + 8))
        call(load_i64(matcher + RESET_STREAM), load_i64(slot), 0, 0, 0, 0)
    else:
        number = load_i64(matcher + KNOWN) + 1
        if number > load_i64(matcher + MOST):
            return 0
        slot = slot_at(matcher, number)
        if call(load_i64(matcher + OPEN_STREAM), load_i64(matcher + STREAMS), 0, slot) & 0xFFFFFFFF != 0:
            return 0
        store_64(matcher + KNOWN, number)
    store_64(slot + 8, OPEN)
    store_64(matcher + COUNT, load_i64(matcher + COUNT) + 1)
    return number


@burst_function
def matcher_restart(matcher, number):
    """Forget what a stream has seen; whether it is open."""
    slot = slot_of_open(matcher, number)
    if slot == 0:
        return 0
    call(load_i64(matcher + RESET_STREAM), load_i64(slot), 0, 0, 0, 0)
    return 1


@burst_function
def matcher_close(matcher, number):
    """Give a stream back; whether it was open."""
    slot = slot_of_open(matcher, number)
    if slot == 0:
        return 0
    store_64(slot + 8, load_i64(matcher + FREE))
    store_64(matcher + FREE, number)
    store_64(matcher + COUNT, load_i64(matcher + COUNT) - 1)
    return 1


@kernel_function
def matcher_pattern(matcher, index):
    """Which pattern the last scan noted there; -1: none."""
    if index < 0 or index >= load_i64(matcher + NOTED):
        return -1
    return load_i64(matcher + NOTES + 16 * index)


@kernel_function
def matcher_end(matcher, index):
    """Where the first match of that pattern ends, in bytes from the stream's or the payload's beginning; -1: none."""
    if index < 0 or index >= load_i64(matcher + NOTED):
        return -1
    return load_i64(matcher + NOTES + 16 * index + 8)
