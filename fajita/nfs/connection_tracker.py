"""A connection tracker in the manner of Linux's."""

from typing import Any

from fajita import NF, PASS, Array, Duration, Packet, Sum, connection, u8, u16, u32, u64
from fajita.nfs._tcp_states import (
    ACK,
    ACK_FLAG,
    CLOSED,
    COUNT,
    ESTABLISHED,
    FIN,
    FIN_FLAG,
    FIN_WAIT,
    IGNORED,
    KINDS,
    LAST_ACK,
    MALFORMED,
    NONE,
    REFUSED,
    RST,
    STATES,
    SYN,
    SYN_ACK,
    SYN_FLAG,
    SYN_RECEIVED,
    SYN_SENT,
    SYN_SENT_BOTH,
    TIME_WAIT,
    TRANSITIONS,
)

#: What `pkt.connection_state` is after this NF; 0 of a packet that no tracker saw, and of IPv6's neighbour discovery.
UNTRACKED, INVALID, NEW, KNOWN, RELATED = range(5)
VERDICTS = ("untracked", "invalid", "new", "established", "related")

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58

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
#: A UDP flow that is answered and so old is a stream.
STREAM_MS = 2_000
MILLISECOND = 10**6
#: An invalid FIN or RST shortens what is left of a connection, down to this.
SHORTENED_NS = 120 * 10**9
#: What an entry is kept for that tracks nothing, as its only packets were invalid.
NOTHING_NS = 10**9

# Queries of ICMP by number, from 1: echo, timestamp, information, address mask (RFC 792, RFC 950), and ICMPv6's echo
# (RFC 4443) and node information (RFC 4620). By type: the query, plus 8 in a reply.
QUERY_BITS, REPLY = 7, 8
QUERIES = {8: 1, 13: 2, 15: 3, 17: 4, 0: 1 | REPLY, 14: 2 | REPLY, 16: 3 | REPLY, 18: 4 | REPLY}
QUERIES_V6 = {128: 5, 139: 6, 129: 5 | REPLY, 140: 6 | REPLY}
QUERY_OF_TYPE = [QUERIES.get(number, 0) for number in range(256)]
QUERY_OF_TYPE_V6 = [QUERIES_V6.get(number, 0) for number in range(256)]
#: ICMPv6 that is of no connection: neighbour and multicast listener discovery.
UNTRACKED_TYPES = (130, 131, 132, 133, 134, 135, 136, 143)
#: So many queries of two hosts are known at a time.
KNOWN_QUERIES = 4
QUERY_ANSWERED = 1 << 31


class ConnectionTracker(NF):
    """Tells whether packets are new, established, related or invalid, as Linux's conntrack does.

    Later NFs read it as pkt.connection_state: 0 untracked, 1 invalid, 2 new, 3 established, 4 related. A connection is
    established once both ends have sent something. TCP is followed by its flags and its windows (G. van Rooij, Real
    Stateful TCP Packet Filtering in IP Filter, 2000), with scaling and selective acknowledgments; with loose a
    connection that began before is picked up, and its windows are not judged. UDP is new until it is answered, ICMP
    queries by their identifier. ICMP errors are related to the connection of the packet that they quote. Other
    protocols are told by their addresses.

    Time-outs are Linux's. What is invalid, or may be, keeps no connection alive. With drop_invalid such packets are
    dropped; with checksums a packet whose checksum is wrong is invalid.
    """

    key = connection

    class Params:
        loose: bool = True
        liberal: bool = False
        checksums: bool = True
        drop_invalid: bool = False
        syn_sent: Duration = "2min"
        syn_received: Duration = "1min"
        established: Duration = "120h"
        fin_wait: Duration = "2min"
        close_wait: Duration = "1min"
        last_ack: Duration = "30s"
        time_wait: Duration = "2min"
        closed: Duration = "10s"
        repeated: Duration = "5min"
        unacknowledged: Duration = "5min"
        udp: Duration = "30s"
        udp_stream: Duration = "2min"
        icmp: Duration = "30s"
        generic: Duration = "10min"

    class State:
        expire_in: u64
        until_ns: u64
        status: u8
        tcp: u8
        next_query: u8
        # Of what each end has sent: behind its last byte; up to where it may send; its largest window; its latest
        # acknowledgment. The end that began is the first.
        end: Array[u32, 2]
        limit: Array[u32, 2]
        window: Array[u32, 2]
        acknowledged: Array[u32, 2]
        scale: Array[u8, 2]
        options: Array[u8, 2]
        # Of the last segment that counted, or was ignored.
        last_kind: u8
        last_way: u8
        last_options: u8
        last_scale: u8
        repeats: u8
        last_window: u16
        last_sequence: u32
        last_acknowledgment: u32
        last_end: u32
        begun_ms: u32  # of UDP
        queries: Array[u32, KNOWN_QUERIES]

    class Core:
        packets: Array[Sum[u64], 5]  # by verdict

    def prepare(self) -> None:
        self.idle = [
            NOTHING_NS,
            self.syn_sent,
            self.syn_received,
            self.established,
            self.fin_wait,
            self.close_wait,
            self.last_ack,
            self.time_wait,
            self.closed,
            self.syn_sent,
        ]
        names = [name for name, value in self.params().items() if not isinstance(value, bool)]
        for name in names:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is a time-out of 0; give more, such as 30s")

    def packet(self, pkt: Packet, state: State) -> int:
        # All of it is one method, as the methods of an NF call no others.
        now = pkt.time_ns
        if state.status & TRACKED != 0 and now >= state.until_ns:
            state.status = 0
        if not state.status & TRACKED:
            state.status = 0 if pkt.forward else TURNED
            state.tcp = NONE
        # Of a connection that has none yet this packet's end is the first.
        way = (0 if pkt.forward else 1) ^ (state.status & TURNED)
        is_new = state.status & TRACKED == 0
        is_valid = True
        idle_ns = 0  # 0: the packet keeps nothing alive
        ends = False
        state_of_flow = KNOWN if way == 1 or state.status & ANSWERED != 0 else NEW

        is_later_fragment = (
            pkt.is_fragment
            and not (pkt.is_tcp or pkt.is_udp or pkt.is_icmp)
            and pkt.protocol in (TCP, UDP, ICMP, ICMPV6)
        )
        if is_later_fragment:
            is_valid = not is_new
        elif self.checksums and not pkt.checksum_valid:
            is_valid = False
        elif pkt.protocol == TCP:
            # What of the segment was not captured counts as sent.
            missing = pkt.length - pkt.captured_length
            data = pkt.payload_length + missing
            flags = pkt.tcp_flags
            kind = KINDS[flags & 63] if pkt.is_tcp else MALFORMED
            if pkt.tcp_data_offset < 5 or pkt.tcp_options_length + missing < 4 * pkt.tcp_data_offset - 20:
                kind = MALFORMED
            sequence = pkt.tcp_sequence
            acknowledgment = pkt.tcp_acknowledgment
            window = pkt.tcp_window
            begins = flags & SYN_FLAG != 0
            end = sequence + data + (1 if begins else 0) + (1 if flags & FIN_FLAG else 0) & NUMBERS

            # The options of a SYN, and the furthest byte that is acknowledged selectively.
            offered = 0
            offered_scale = 0
            furthest = acknowledgment
            if kind <= SYN_ACK or state.options[1 - way] & SELECTIVE != 0:
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
                        offered_scale = min(pkt.tcp_options[at + 2], MAXIMUM_SCALE)
                    elif option == SELECTIVE_BLOCKS and size % 8 == 2 and state.options[1 - way] & SELECTIVE != 0:
                        for block in range(size // 8):
                            edge = 0
                            for byte in range(4):
                                edge = edge << 8 | pkt.tcp_options[at + 6 + 8 * block + byte]
                            if (furthest - edge) & BEFORE:
                                furthest = edge
                    at += size

            # What the segment's kind makes of the state.
            before = state.tcp
            after = TRANSITIONS[(way * MALFORMED + kind) * COUNT + before] if kind < MALFORMED else REFUSED
            if after == SYN_SENT and before >= TIME_WAIT:
                reset_before = state.last_kind == RST and state.last_way == way
                if (state.options[0] | state.options[1]) & CLOSES != 0 or reset_before:
                    # A closed connection is opened again (RFC 9293, 3.6.1), by whichever end.
                    state.status = 0 if pkt.forward else TURNED
                    way = 0
                    is_new = True
                    state_of_flow = NEW
                    before = NONE
                    state.tcp = NONE
                else:
                    after = IGNORED
            if is_new and after != SYN_SENT and not self.loose:
                after = REFUSED
            # A connection begins, or is picked up.
            if is_new and after < IGNORED:
                for each in range(2):
                    state.end[each] = 0
                    state.limit[each] = 0
                    state.window[each] = 0
                    state.acknowledged[each] = 0
                    state.scale[each] = 0
                    # Of a connection that is picked up the scale is not known.
                    state.options[each] = 0 if after == SYN_SENT else SELECTIVE | LIBERAL
                state.end[0] = end
                state.window[0] = max(window, 1)
                state.limit[0] = end
                if after == SYN_SENT:
                    state.scale[0] = offered_scale
                    state.options[0] = offered
                else:
                    state.limit[0] = end + max(window, 1)
                state.last_kind = MALFORMED
                state.last_way = 0
                state.last_options = 0
                state.last_scale = 0
                state.last_window = 0
                state.last_sequence = 0
                state.last_acknowledgment = 0
                state.last_end = 0
                state.repeats = 0
            other = 1 - way

            # What becomes of a segment: it counts, it does not, it is invalid; judged by the windows if not `is_sure`.
            counts = after < IGNORED
            is_valid = after != REFUSED
            is_sure = False
            last_kind = state.last_kind
            if after == IGNORED:
                if (
                    kind == SYN_ACK
                    and last_kind == SYN
                    and state.last_way == other
                    and acknowledgment == state.last_end
                ):
                    # It answers a SYN that was ignored: the ends are right, and what was known of them is not.
                    counts = True
                    before = SYN_SENT
                    after = SYN_RECEIVED
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
                else:
                    state.last_kind = kind
                    state.last_way = way
                    state.last_sequence = sequence
                    state.last_end = end
                    state.last_window = window
                    if kind == SYN and way == 0:
                        state.last_scale = offered_scale
                        state.last_options = offered | (CHALLENGED if before == LAST_ACK else 0)
                    if kind == ACK and way == 1 and before == SYN_SENT:
                        state.last_acknowledgment = acknowledgment
            elif after == TIME_WAIT and before == LAST_ACK and kind == ACK:
                if state.last_way == other and last_kind == SYN and state.last_options & CHALLENGED != 0:
                    # Not the acknowledgment of the last FIN, but an answer to a SYN that was ignored.
                    state.last_options &= ~CHALLENGED
                    counts = False
            elif after == SYN_SENT_BOTH:
                state.last_options |= BOTH_OPEN
            elif after == SYN_RECEIVED and way == 1 and kind == ACK and state.last_options & BOTH_OPEN != 0:
                after = ESTABLISHED
            elif kind == RST and is_valid:
                is_assured = before == ESTABLISHED and state.status & ASSURED != 0
                is_settled = False
                if FIN_WAIT <= before <= CLOSED:
                    is_sure = True
                    is_settled = True
                elif state.options[other] & ACKNOWLEDGES != 0 and last_kind != SYN:
                    expected = state.acknowledged[other]
                    if sequence == 0 and not is_assured:
                        is_settled = True
                    elif (sequence - expected) & BEFORE:
                        counts = False
                        is_valid = False
                    elif (
                        not is_assured
                        or sequence == expected
                        or (last_kind == ACK and state.last_way == way and sequence == state.last_end)
                    ):
                        is_settled = True
                    else:
                        # An end takes it for what may come from anybody, and asks (RFC 5961, 3.2).
                        after = before
                if counts and not is_settled:
                    answers_syn = state.status & ANSWERED != 0 and last_kind == SYN and state.last_way == other
                    answers_ack = state.status & ASSURED == 0 and last_kind == ACK
                    if (answers_syn or answers_ack) and acknowledgment == state.last_end:
                        is_sure = True
                    elif before == SYN_SENT and last_kind == ACK and state.last_way == 1:
                        is_sure = sequence == state.last_acknowledgment

            # Whether what it sends, and what it acknowledges, can be, by what both ends have sent so far.
            if counts and not is_sure:
                fits = False
                if state.window[way] == 0 and not begins:
                    # The first that this end is seen to send, of a connection that was picked up.
                    scaled = max(window << state.scale[way], 1)
                    state.end[way] = end
                    state.window[way] = scaled
                    state.limit[way] = end + scaled
                    if state.window[other] == 0:
                        state.end[other] = furthest
                        state.limit[other] = furthest
                    elif furthest == (state.end[other] + 1) & NUMBERS:
                        state.end[other] = furthest  # it answers a keep-alive
                elif begins:
                    is_later = (state.end[way] - end) & BEFORE != 0 and SYN_SENT <= state.tcp <= SYN_RECEIVED
                    is_first = state.window[way] == 0
                    if is_first or is_later:
                        state.end[way] = end
                        state.limit[way] = end
                        state.window[way] = max(window, 1)
                        if pkt.tcp_options_length > 0:
                            state.scale[way] = offered_scale
                            state.options[way] = state.options[way] & LIBERAL | offered
                        if way == 1 and state.options[0] & state.options[1] & SCALES == 0:
                            state.scale[0] = 0
                            state.scale[1] = 0
                        fits = kind == SYN and (is_first or way == 1)
                if not fits:
                    if flags & ACK_FLAG == 0 or (kind == RST and acknowledgment == 0):
                        acknowledgment = state.end[other]
                        furthest = acknowledgment
                    if kind == RST and sequence == 0 and state.tcp == SYN_SENT:
                        sequence = state.end[way]
                        end = sequence
                    is_liberal = self.liberal or state.options[way] & LIBERAL != 0
                    slowest = state.end[other] - max(state.window[way], SLOWEST_ACKNOWLEDGMENT)
                    is_ahead = (state.limit[way] - sequence) & BEFORE != 0
                    acknowledges_unseen = (state.end[other] - furthest) & BEFORE != 0
                    acknowledges_old = (furthest - slowest) & BEFORE != 0
                    is_behind = state.window[other] != 0 and (end - state.end[way] + state.window[other]) & BEFORE != 0
                    if is_ahead:
                        overshot = (end - state.limit[way] + 1) & NUMBERS
                        if (
                            not (is_behind or acknowledges_unseen or acknowledges_old)
                            and state.window[other] != 0
                            and overshot <= state.window[other]
                        ):
                            # More than the window allows; but the other end may take and acknowledge it.
                            state.end[way] = end
                            state.options[way] |= WAITS
                        elif not is_liberal:
                            is_valid = False
                        counts = is_liberal
                    elif acknowledges_unseen:
                        is_valid = is_liberal
                        counts = is_liberal
                    elif is_behind or acknowledges_old:
                        counts = is_liberal
                    else:
                        fits = True
                        scaled = window if begins else window << state.scale[way]
                        state.window[way] = max(state.window[way], scaled + furthest - acknowledgment & NUMBERS)
                        if (state.end[way] - end) & BEFORE:
                            state.end[way] = end
                            state.options[way] |= WAITS
                        if flags & ACK_FLAG:
                            if (
                                state.options[way] & ACKNOWLEDGES == 0
                                or (state.acknowledged[way] - acknowledgment) & BEFORE != 0
                            ):
                                state.acknowledged[way] = acknowledgment
                            state.options[way] |= ACKNOWLEDGES
                        if state.window[other] != 0 and (state.limit[way] - end) & BEFORE != 0:
                            state.window[other] += (end - state.limit[way]) & NUMBERS
                        if not (furthest + scaled - state.limit[other]) & BEFORE:
                            state.limit[other] = furthest + max(scaled, 1)
                        if acknowledgment == state.end[other]:
                            state.options[other] &= ~WAITS
                        if kind == ACK:
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
                if not is_valid and state.status & ASSURED != 0 and (kind in (FIN, RST)):
                    if state.last_way == other and (last_kind in (FIN, RST)):
                        # Both ends seem to have closed what is not known to be.
                        left_ns = state.until_ns - now
                        if left_ns >= SHORTENED_NS and left_ns > self.unacknowledged:
                            state.until_ns = now + self.unacknowledged
                    else:
                        state.last_kind = kind
                        state.last_way = way

            # It is taken for what it seems to be.
            if counts:
                state.last_kind = kind
                state.last_way = way
                state.tcp = after
                if after == FIN_WAIT and before != FIN_WAIT:
                    state.options[way] |= CLOSES
                idle_ns = self.idle[after]
                if state.repeats >= MAXIMUM_REPEATS and idle_ns > self.repeated:
                    idle_ns = self.repeated
                elif kind == RST:
                    idle_ns = self.closed
                elif (state.options[0] | state.options[1]) & WAITS != 0 and idle_ns > self.unacknowledged:
                    idle_ns = self.unacknowledged
                elif state.last_window == 0 and idle_ns > self.repeated:
                    idle_ns = self.repeated
                if not state.status & ANSWERED:
                    ends = kind == RST
                    if kind == SYN and before == SYN_SENT:
                        idle_ns = 0
                    if after == ESTABLISHED:
                        idle_ns = min(idle_ns, self.unacknowledged)
                elif after == ESTABLISHED and (before in (SYN_RECEIVED, ESTABLISHED)):
                    state.status |= ASSURED
        elif pkt.protocol == UDP:
            reach = pkt.payload_length + pkt.length - pkt.captured_length + 8
            is_valid = pkt.is_udp and pkt.udp_length >= 8 and (pkt.is_fragment or pkt.udp_length <= reach)
            if is_valid:
                if is_new:
                    state.begun_ms = now // MILLISECOND
                is_stream = state.status & ANSWERED != 0 and (now // MILLISECOND - state.begun_ms & NUMBERS) > STREAM_MS
                idle_ns = self.udp_stream if is_stream else self.udp
        elif pkt.protocol == ICMP or pkt.protocol == ICMPV6:
            query = 0
            if pkt.is_icmp:
                query = QUERY_OF_TYPE_V6[pkt.icmp_type] if pkt.is_ipv6 else QUERY_OF_TYPE[pkt.icmp_type]
            # An entry is of all that two hosts ask each other; which of them asks is told by the entry's first packet.
            asked_forward = (query & REPLY == 0) if pkt.forward else query & REPLY != 0
            name = (query & QUERY_BITS) << 25 | (1 << 24 if asked_forward else 0) | pkt.icmp_code << 16 | pkt.icmp_id
            place = KNOWN_QUERIES
            for each in range(KNOWN_QUERIES):
                if query != 0 and state.status & TRACKED != 0 and state.queries[each] & ~QUERY_ANSWERED == name:
                    place = each
            state_of_flow = NEW
            if pkt.is_ipv6 and pkt.is_icmp and pkt.icmp_type in UNTRACKED_TYPES:
                state_of_flow = UNTRACKED
            elif query == 0 or (query & REPLY != 0 and place == KNOWN_QUERIES):
                is_valid = False
            else:
                idle_ns = self.icmp
                if place == KNOWN_QUERIES:
                    if is_new:
                        state.next_query = 0
                        for each in range(KNOWN_QUERIES):
                            state.queries[each] = 0
                    place = state.next_query
                    state.next_query = (place + 1) % KNOWN_QUERIES
                    state.queries[place] = name
                if query & REPLY:
                    state.queries[place] |= QUERY_ANSWERED
                if state.queries[place] & QUERY_ANSWERED:
                    state_of_flow = KNOWN
        else:
            idle_ns = self.generic

        if is_valid and not is_later_fragment:
            if ends:
                state.status = 0
            elif idle_ns:
                state.status |= TRACKED
                state.until_ns = now + idle_ns
            if way == 1 and not ends:
                state.status |= ANSWERED
        state.expire_in = max(state.until_ns - now, 1) if state.status & TRACKED else NOTHING_NS
        verdict = state_of_flow if is_valid else INVALID
        pkt.connection_state = verdict
        self.core.packets[verdict] += 1
        if self.drop_invalid and not is_valid:
            return pkt.drop("invalid")
        return PASS

    def error(self, pkt: Packet, state: State) -> int:
        is_known = pkt.related and state.status & TRACKED != 0 and pkt.time_ns < state.until_ns
        # It is for the end that has sent what it quotes.
        is_valid = is_known and pkt.dst == pkt.quoted_src and (not self.checksums or pkt.checksum_valid)
        if pkt.quoted_protocol in (ICMP, ICMPV6):
            start = 40 if pkt.is_ipv6 else (pkt.payload[0] & 15) * 4
            kind = pkt.payload[start]
            query = QUERY_OF_TYPE_V6[kind] if pkt.is_ipv6 else QUERY_OF_TYPE[kind]
            asked_forward = query & REPLY != 0 if pkt.forward else query & REPLY == 0
            name = (query & QUERY_BITS) << 25 | (1 << 24 if asked_forward else 0)
            name |= pkt.payload[start + 1] << 16 | pkt.quoted_icmp_id
            is_query = False
            for each in range(KNOWN_QUERIES):
                is_query = is_query or (query != 0 and state.queries[each] & ~QUERY_ANSWERED == name)
            is_valid = is_valid and is_query
        verdict = RELATED if is_valid else INVALID
        pkt.connection_state = verdict
        self.core.packets[verdict] += 1
        if self.drop_invalid and not is_valid:
            return pkt.drop("invalid")
        return PASS

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        tracked = states[states["status"] & TRACKED != 0]
        counts = {STATES[number]: int((tracked["tcp"] == number).sum()) for number in range(1, COUNT)}
        return {
            "connections": len(tracked),
            "tcp": {name: count for name, count in counts.items() if count},
            "packets": {name: int(count) for name, count in zip(VERDICTS, core["packets"], strict=True)},
        }
