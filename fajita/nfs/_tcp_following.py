"""TCP as a connection tracker follows it: by flags, and by what both ends may send and acknowledge.

After Linux's nf_conntrack_proto_tcp, and G. van Rooij, Real Stateful TCP Packet Filtering in IP Filter, 2000.
"""

from typing import Any

from fajita import Packet
from fajita.nfs._tcp_states import (
    ACK,
    CLOSED,
    COUNT,
    ESTABLISHED,
    FIN,
    FIN_WAIT,
    IGNORED,
    KINDS,
    LAST_ACK,
    MALFORMED,
    NONE,
    REFUSED,
    RST,
    SYN,
    SYN_ACK,
    SYN_RECEIVED,
    SYN_SENT,
    SYN_SENT_BOTH,
    TIME_WAIT,
    TRANSITIONS,
)
from fajita.protocols import ACK_FLAG, FIN_FLAG, SYN_FLAG

#: What `pkt.connection_state` is after the tracker; 0: no tracker saw it, or it is IPv6's neighbour discovery.
UNTRACKED, INVALID, NEW, KNOWN, RELATED = range(5)

# Bits of `status`: the connection goes against the entry's first packet; there is one at all; the other end has sent
# something; it is worth keeping.
TURNED, TRACKED, ANSWERED, ASSURED = 1, 2, 4, 8

# Bits of `options`, of what an end has sent: it scales windows; it acknowledges selectively; it sent the first FIN;
# nothing that it sends is out of window; it waits for an acknowledgment; `acknowledged` is one that it sent.
SCALES, SELECTIVE, CLOSES, LIBERAL, WAITS, ACKNOWLEDGES = 1, 2, 4, 8, 16, 32
# And of `last_options`: an ACK may be about an ignored SYN (RFC 5961, 4), both ends have sent a SYN.
CHALLENGED, BOTH_OPEN = 64, 128

# TCP options (RFC 9293, 3.1; RFC 7323; RFC 2018), and the largest shift of RFC 7323, 2.3.
END_OF_OPTIONS, NO_OPERATION, WINDOW_SCALE, SELECTIVE_PERMITTED, SELECTIVE_BLOCKS = 0, 1, 3, 4, 5
MAXIMUM_SCALE = 14
MAXIMUM_OPTIONS = 40

# Sequence numbers are counted modulo 2**32: a is before b if (a - b) & BEFORE.
NUMBERS, BEFORE = 0xFFFFFFFF, 1 << 31
#: So far behind what was sent an acknowledgment may be, where windows are smaller.
SLOWEST_ACKNOWLEDGMENT = 66_000
#: After so many segments like the one before, the other end seems gone.
MAXIMUM_REPEATS = 3
#: An invalid FIN or RST shortens what is left of a connection, down to this.
SHORTENED_NS = 120 * 10**9

# What a reset is: of this connection; to be judged by the windows; so, but not where it was expected; of another.
SURE, IN_DOUBT, UNEXPECTED, STRAY = range(4)
# What a segment is by the windows: it counts; it may be, and does not count; it cannot be.
COUNTS, UNCERTAIN, IMPOSSIBLE = range(3)


class TcpFollowing:
    """What a tracker does with a segment. way: 0 from the end that began the connection, 1 from the other.

    kind: of `_tcp_states`. before, after: the connection's state. end: the number behind the segment's last byte.
    options: what `options_of` makes of them.
    """

    # The tracker's parameters, and its time-outs by state.
    loose: bool
    liberal: bool
    closed: int
    repeated: int
    unacknowledged: int
    idle: list[int]

    def follow_tcp(self, pkt: Packet, state: Any, way: int) -> int:
        """The verdict on a segment; one that counts changes the state, and keeps it."""
        kind = self.kind_of(pkt)
        end = self.end_of(pkt)
        options = self.options_of(pkt, state, way, kind)
        before = state.tcp
        after = TRANSITIONS[(way * MALFORMED + kind) * COUNT + before] if kind < MALFORMED else REFUSED
        if after == SYN_SENT and before >= TIME_WAIT:
            after = IGNORED
            reset_before = state.last_kind == RST and state.last_way == way
            if (state.options[0] | state.options[1]) & CLOSES != 0 or reset_before:
                # A closed connection is opened again (RFC 9293, 3.6.1), by whichever end.
                state.status = 0 if pkt.forward else TURNED
                way = 0
                before = NONE
                after = SYN_SENT
                state.tcp = NONE
        if state.status & TRACKED == 0:
            if after != SYN_SENT and not self.loose:
                after = REFUSED
            if after < IGNORED:
                self.begin(pkt, state, after, end, options)

        is_sure = False
        if after == REFUSED:
            return INVALID
        elif after == IGNORED:
            if not self.answers_ignored(pkt, state, way, kind):
                self.note_ignored(pkt, state, way, kind, end, options)
                return self.uncounted(pkt, state, way)
            self.take_ignored(state, way)
            before = SYN_SENT
            after = SYN_RECEIVED
        elif after == TIME_WAIT and before == LAST_ACK and kind == ACK:
            if state.last_way == 1 - way and state.last_kind == SYN and state.last_options & CHALLENGED != 0:
                # Not the acknowledgment of the last FIN, but an answer to a SYN that was ignored.
                state.last_options &= ~CHALLENGED
                return self.uncounted(pkt, state, way)
        elif after == SYN_SENT_BOTH:
            state.last_options |= BOTH_OPEN
        elif after == SYN_RECEIVED and way == 1 and kind == ACK and state.last_options & BOTH_OPEN != 0:
            after = ESTABLISHED
        elif kind == RST:
            reset = self.reset_of(pkt, state, way, before)
            if reset == STRAY:
                return INVALID
            if reset == UNEXPECTED:
                after = before  # an end takes it for what may come from anybody, and asks (RFC 5961, 3.2)
            is_sure = reset == SURE

        if not is_sure:
            is_opening = self.opens(pkt, state, way, kind, end, options)
            if not is_opening:
                judged = self.judged(pkt, state, way, kind, end, options)
                if judged == IMPOSSIBLE:
                    self.note_impossible(pkt, state, way, kind)
                    return INVALID
                if judged == UNCERTAIN:
                    return self.uncounted(pkt, state, way)
        return self.counted(pkt, state, way, kind, before, after)

    def kind_of(self, pkt: Packet) -> int:
        # What of the segment was not captured counts as sent.
        reach = pkt.tcp_options_length + pkt.length - pkt.captured_length
        if not pkt.is_tcp or pkt.tcp_data_offset < 5 or reach < 4 * pkt.tcp_data_offset - 20:
            return MALFORMED
        return KINDS[pkt.tcp_flags & 63]

    def end_of(self, pkt: Packet) -> int:
        data = pkt.payload_length + pkt.length - pkt.captured_length
        flags = pkt.tcp_flags
        return pkt.tcp_sequence + data + (1 if flags & SYN_FLAG else 0) + (1 if flags & FIN_FLAG else 0) & NUMBERS

    def options_of(self, pkt: Packet, state: Any, way: int, kind: int) -> int:
        """What a SYN offers, plus its scale << 8, plus the furthest byte that is acknowledged << 16."""
        offered = 0
        scale = 0
        furthest = pkt.tcp_acknowledgment
        is_selective = state.options[1 - way] & SELECTIVE != 0
        if kind <= SYN_ACK or is_selective:
            at = 0
            for _option in range(MAXIMUM_OPTIONS):
                option = pkt.tcp_options[at]
                if at >= pkt.tcp_options_length or option == END_OF_OPTIONS:
                    break
                if option == NO_OPERATION:
                    at += 1
                    continue
                size = pkt.tcp_options[at + 1]
                if size < 2 or at + size > pkt.tcp_options_length:
                    break
                if option == SELECTIVE_PERMITTED and size == 2:
                    offered |= SELECTIVE
                elif option == WINDOW_SCALE and size == 3:
                    offered |= SCALES
                    scale = min(pkt.tcp_options[at + 2], MAXIMUM_SCALE)
                elif option == SELECTIVE_BLOCKS and size % 8 == 2 and is_selective:
                    for block in range(size // 8):
                        edge = 0
                        for byte in range(4):
                            edge = edge << 8 | pkt.tcp_options[at + 6 + 8 * block + byte]
                        if (furthest - edge) & BEFORE:
                            furthest = edge
                at += size
        return furthest << 16 | scale << 8 | offered

    def begin(self, pkt: Packet, state: Any, after: int, end: int, options: int) -> None:
        """A connection begins, or is picked up; then its scale is not known."""
        for each in range(2):
            state.end[each] = 0
            state.limit[each] = 0
            state.window[each] = 0
            state.acknowledged[each] = 0
            state.scale[each] = 0
            state.options[each] = 0 if after == SYN_SENT else SELECTIVE | LIBERAL
        window = max(pkt.tcp_window, 1)
        state.end[0] = end
        state.window[0] = window
        state.limit[0] = end
        if after == SYN_SENT:
            state.scale[0] = options >> 8 & 0xFF
            state.options[0] = options & 0xFF
        else:
            state.limit[0] = end + window
        state.last_kind = MALFORMED
        state.last_way = 0
        state.last_options = 0
        state.last_scale = 0
        state.last_window = 0
        state.last_sequence = 0
        state.last_acknowledgment = 0
        state.last_end = 0
        state.repeats = 0

    def answers_ignored(self, pkt: Packet, state: Any, way: int, kind: int) -> bool:
        """Whether it answers a SYN that was ignored."""
        is_answer = kind == SYN_ACK and state.last_kind == SYN and state.last_way == 1 - way
        return is_answer and pkt.tcp_acknowledgment == state.last_end

    def take_ignored(self, state: Any, way: int) -> None:
        """The ends are right about a SYN that was ignored, and what was known of them is not."""
        other = 1 - way
        state.last_options &= ~CHALLENGED
        state.end[other] = state.last_end
        state.limit[other] = state.last_end
        state.window[other] = max(state.last_window, 1)
        state.scale[other] = state.last_scale
        state.options[other] = state.last_options
        state.end[way] = 0
        state.limit[way] = 0
        state.window[way] = 0
        state.acknowledged[way] = 0
        state.scale[way] = 0
        state.options[way] &= LIBERAL

    def note_ignored(self, pkt: Packet, state: Any, way: int, kind: int, end: int, options: int) -> None:
        state.last_kind = kind
        state.last_way = way
        state.last_sequence = pkt.tcp_sequence
        state.last_end = end
        state.last_window = pkt.tcp_window
        if kind == SYN and way == 0:
            state.last_scale = options >> 8 & 0xFF
            state.last_options = options & 0xFF | (CHALLENGED if state.tcp == LAST_ACK else 0)
        if kind == ACK and way == 1 and state.tcp == SYN_SENT:
            state.last_acknowledgment = pkt.tcp_acknowledgment

    def reset_of(self, pkt: Packet, state: Any, way: int, before: int) -> int:
        other = 1 - way
        sequence = pkt.tcp_sequence
        last_kind = state.last_kind
        if FIN_WAIT <= before <= CLOSED:
            return SURE
        if state.options[other] & ACKNOWLEDGES != 0 and last_kind != SYN:
            is_assured = before == ESTABLISHED and state.status & ASSURED != 0
            expected = state.acknowledged[other]
            if sequence == 0 and not is_assured:
                return IN_DOUBT
            if (sequence - expected) & BEFORE:
                return STRAY
            follows = last_kind == ACK and state.last_way == way and sequence == state.last_end
            return IN_DOUBT if not is_assured or sequence == expected or follows else UNEXPECTED
        answers_syn = state.status & ANSWERED != 0 and last_kind == SYN and state.last_way == other
        answers_ack = state.status & ASSURED == 0 and last_kind == ACK
        if (answers_syn or answers_ack) and pkt.tcp_acknowledgment == state.last_end:
            return SURE
        if before == SYN_SENT and last_kind == ACK and state.last_way == 1 and sequence == state.last_acknowledgment:
            return SURE
        return IN_DOUBT

    def opens(self, pkt: Packet, state: Any, way: int, kind: int, end: int, options: int) -> bool:
        """Note what an end says of itself in its first segment or its SYN; whether no more is to be judged."""
        other = 1 - way
        window = pkt.tcp_window
        is_first = state.window[way] == 0
        if pkt.tcp_flags & SYN_FLAG == 0:
            if is_first:
                # The first that this end is seen to send, of a connection that was picked up.
                furthest = options >> 16
                scaled = max(window << state.scale[way], 1)
                state.end[way] = end
                state.window[way] = scaled
                state.limit[way] = end + scaled
                if state.window[other] == 0:
                    state.end[other] = furthest
                    state.limit[other] = furthest
                elif furthest == (state.end[other] + 1) & NUMBERS:
                    state.end[other] = furthest  # it answers a keep-alive
            return False
        is_later = (state.end[way] - end) & BEFORE != 0 and SYN_SENT <= state.tcp <= SYN_RECEIVED
        if not is_first and not is_later:
            return False
        state.end[way] = end
        state.limit[way] = end
        state.window[way] = max(window, 1)
        if pkt.tcp_options_length > 0:
            state.scale[way] = options >> 8 & 0xFF
            state.options[way] = state.options[way] & LIBERAL | options & 0xFF
        if way == 1 and state.options[0] & state.options[1] & SCALES == 0:
            state.scale[0] = 0
            state.scale[1] = 0
        return kind == SYN and (is_first or way == 1)

    def judged(self, pkt: Packet, state: Any, way: int, kind: int, end: int, options: int) -> int:
        """Whether what it sends, and what it acknowledges, can be, by what both ends have sent so far."""
        other = 1 - way
        sequence = pkt.tcp_sequence
        acknowledgment = pkt.tcp_acknowledgment
        furthest = options >> 16
        if pkt.tcp_flags & ACK_FLAG == 0 or (kind == RST and acknowledgment == 0):
            acknowledgment = state.end[other]
            furthest = acknowledgment
        if kind == RST and sequence == 0 and state.tcp == SYN_SENT:
            sequence = state.end[way]
            end = sequence
        is_liberal = self.liberal or state.options[way] & LIBERAL != 0
        slowest = state.end[other] - max(state.window[way], SLOWEST_ACKNOWLEDGMENT)
        acknowledges_unseen = (state.end[other] - furthest) & BEFORE != 0
        acknowledges_old = (furthest - slowest) & BEFORE != 0
        is_behind = state.window[other] != 0 and (end - state.end[way] + state.window[other]) & BEFORE != 0
        if (state.limit[way] - sequence) & BEFORE:
            overshot = (end - state.limit[way] + 1) & NUMBERS
            is_usual = not (is_behind or acknowledges_unseen or acknowledges_old)
            if is_usual and state.window[other] != 0 and overshot <= state.window[other]:
                # More than the window allows; but the other end may take and acknowledge it.
                state.end[way] = end
                state.options[way] |= WAITS
                return COUNTS if is_liberal else UNCERTAIN
            return COUNTS if is_liberal else IMPOSSIBLE
        if acknowledges_unseen:
            return COUNTS if is_liberal else IMPOSSIBLE
        if is_behind or acknowledges_old:
            return COUNTS if is_liberal else UNCERTAIN
        self.move_windows(pkt, state, way, end, acknowledgment, furthest)
        if kind == ACK:
            self.note_repeats(pkt, state, way, sequence, acknowledgment, end)
        return COUNTS

    def move_windows(self, pkt: Packet, state: Any, way: int, end: int, acknowledgment: int, furthest: int) -> None:
        other = 1 - way
        scaled = pkt.tcp_window if pkt.tcp_flags & SYN_FLAG else pkt.tcp_window << state.scale[way]
        state.window[way] = max(state.window[way], scaled + furthest - acknowledgment & NUMBERS)
        if (state.end[way] - end) & BEFORE:
            state.end[way] = end
            state.options[way] |= WAITS
        if pkt.tcp_flags & ACK_FLAG:
            if state.options[way] & ACKNOWLEDGES == 0 or (state.acknowledged[way] - acknowledgment) & BEFORE != 0:
                state.acknowledged[way] = acknowledgment
            state.options[way] |= ACKNOWLEDGES
        if state.window[other] != 0 and (state.limit[way] - end) & BEFORE != 0:
            state.window[other] += (end - state.limit[way]) & NUMBERS
        if not (furthest + scaled - state.limit[other]) & BEFORE:
            state.limit[other] = furthest + max(scaled, 1)
        if acknowledgment == state.end[other]:
            state.options[other] &= ~WAITS

    def note_repeats(self, pkt: Packet, state: Any, way: int, sequence: int, acknowledgment: int, end: int) -> None:
        window = pkt.tcp_window
        if (
            state.last_way == way
            and state.last_sequence == sequence
            and state.last_acknowledgment == acknowledgment
            and state.last_end == end
            and state.last_window == window
        ):
            state.repeats = min(state.repeats + 1, MAXIMUM_REPEATS)
        else:
            state.last_way = way
            state.last_sequence = sequence
            state.last_acknowledgment = acknowledgment
            state.last_end = end
            state.last_window = window
            state.repeats = 0

    def note_impossible(self, pkt: Packet, state: Any, way: int, kind: int) -> None:
        """Both ends may have closed what is not known to be."""
        if state.status & ASSURED == 0 or kind not in (FIN, RST):
            return
        if state.last_way == 1 - way and state.last_kind in (FIN, RST):
            left_ns = state.until_ns - pkt.time_ns
            if left_ns >= SHORTENED_NS and left_ns > self.unacknowledged:
                state.until_ns = pkt.time_ns + self.unacknowledged
        else:
            state.last_kind = kind
            state.last_way = way

    def counted(self, pkt: Packet, state: Any, way: int, kind: int, before: int, after: int) -> int:
        """It is taken for what it seems to be."""
        state.last_kind = kind
        state.last_way = way
        state.tcp = after
        if after == FIN_WAIT and before != FIN_WAIT:
            state.options[way] |= CLOSES
        idle_ns = self.idle_after(state, kind, after)
        verdict = self.standing(state, way)
        if state.status & ANSWERED == 0:
            if kind == RST:
                state.status = 0
                return verdict
            if kind == SYN and before == SYN_SENT:
                idle_ns = 0
            if after == ESTABLISHED:
                idle_ns = min(idle_ns, self.unacknowledged)
        elif after == ESTABLISHED and before in (SYN_RECEIVED, ESTABLISHED):
            state.status |= ASSURED
        self.keep(pkt, state, way, idle_ns)
        return verdict

    def idle_after(self, state: Any, kind: int, after: int) -> int:
        """How long the connection may be idle from now on."""
        idle_ns = self.idle[after]
        if state.repeats >= MAXIMUM_REPEATS and idle_ns > self.repeated:
            return self.repeated
        if kind == RST:
            return self.closed
        if (state.options[0] | state.options[1]) & WAITS != 0 and idle_ns > self.unacknowledged:
            return self.unacknowledged
        if state.last_window == 0 and idle_ns > self.repeated:
            return self.repeated
        return idle_ns

    def uncounted(self, pkt: Packet, state: Any, way: int) -> int:
        """It may be of the connection, and keeps nothing alive."""
        verdict = self.standing(state, way)
        self.keep(pkt, state, way, 0)
        return verdict

    def standing(self, state: Any, way: int) -> int:
        """What a packet of the connection is: new until the other end has sent something."""
        return KNOWN if way == 1 or state.status & ANSWERED != 0 else NEW

    def keep(self, pkt: Packet, state: Any, way: int, idle_ns: int) -> None:
        """Keep the connection for so long; 0: as long as it would be anyway."""
        if idle_ns != 0:
            state.status |= TRACKED
            state.until_ns = pkt.time_ns + idle_ns
        if way == 1:
            state.status |= ANSWERED
