"""A connection tracker in the manner of Linux's."""

from typing import Any

from fajita import NF, PASS, Array, Duration, Packet, Sum, connection, u8, u16, u32, u64
from fajita.nfs._tcp_following import (
    ANSWERED,
    INVALID,
    KNOWN,
    NEW,
    NUMBERS,
    RELATED,
    TRACKED,
    TURNED,
    UNTRACKED,
    TcpFollowing,
)
from fajita.nfs._tcp_states import COUNT, NONE, STATES
from fajita.protocols import ICMP_PROTOCOL, ICMPV6_PROTOCOL, TCP_PROTOCOL, UDP_PROTOCOL

#: By `pkt.connection_state`.
VERDICTS = ("untracked", "invalid", "new", "established", "related")

#: Of which a later fragment lacks the header that tells what the packet is.
WITH_HEADERS = (TCP_PROTOCOL, UDP_PROTOCOL, ICMP_PROTOCOL, ICMPV6_PROTOCOL)
#: A UDP flow that is answered and so old is a stream.
STREAM_MS = 2_000
MILLISECOND = 10**6
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


class ConnectionTracker(TcpFollowing, NF):
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
        if state.status & TRACKED != 0 and pkt.time_ns >= state.until_ns:
            state.status = 0
        if state.status & TRACKED == 0:
            state.status = 0 if pkt.forward else TURNED
            state.tcp = NONE
        # Of a connection that has none yet this packet's end is the first.
        way = (0 if pkt.forward else 1) ^ (state.status & TURNED)
        verdict = INVALID
        if self.is_later_fragment(pkt):
            if state.status & TRACKED:
                verdict = self.standing(state, way)
        elif self.checksums and not pkt.checksum_valid:
            pass
        elif pkt.protocol == TCP_PROTOCOL:
            verdict = self.follow_tcp(pkt, state, way)
        elif pkt.protocol == UDP_PROTOCOL:
            verdict = self.follow_udp(pkt, state, way)
        elif pkt.protocol in (ICMP_PROTOCOL, ICMPV6_PROTOCOL):
            verdict = self.follow_icmp(pkt, state, way)
        else:
            verdict = self.standing(state, way)
            self.keep(pkt, state, way, self.generic)
        state.expire_in = max(state.until_ns - pkt.time_ns, 1) if state.status & TRACKED else NOTHING_NS
        return self.told(pkt, verdict)

    def is_later_fragment(self, pkt: Packet) -> bool:
        has_header = pkt.is_tcp or pkt.is_udp or pkt.is_icmp
        return pkt.is_fragment and not has_header and pkt.protocol in WITH_HEADERS

    def told(self, pkt: Packet, verdict: int) -> int:
        pkt.connection_state = verdict
        self.core.packets[verdict] += 1
        if self.drop_invalid and verdict == INVALID:
            return pkt.drop("invalid")
        return PASS

    def follow_udp(self, pkt: Packet, state: State, way: int) -> int:
        reach = pkt.payload_length + pkt.length - pkt.captured_length + 8
        if not pkt.is_udp or pkt.udp_length < 8 or (not pkt.is_fragment and pkt.udp_length > reach):
            return INVALID
        now_ms = pkt.time_ns // MILLISECOND
        if state.status & TRACKED == 0:
            state.begun_ms = now_ms
        is_stream = state.status & ANSWERED != 0 and (now_ms - state.begun_ms & NUMBERS) > STREAM_MS
        verdict = self.standing(state, way)
        self.keep(pkt, state, way, self.udp_stream if is_stream else self.udp)
        return verdict

    def follow_icmp(self, pkt: Packet, state: State, way: int) -> int:
        query = 0
        if pkt.is_icmp:
            query = self.query_of(pkt, pkt.icmp_type)
            if pkt.is_ipv6 and pkt.icmp_type in UNTRACKED_TYPES:
                self.keep(pkt, state, way, 0)
                return UNTRACKED
        # An entry is of all that two hosts ask each other; which of them asks is told by the entry's first packet.
        asked_forward = (query & REPLY == 0) if pkt.forward else query & REPLY != 0
        name = self.name_of(query, asked_forward, pkt.icmp_code, pkt.icmp_id)
        place = KNOWN_QUERIES
        if query != 0 and state.status & TRACKED != 0:
            place = self.place_of(state, name)
        if query == 0 or (query & REPLY != 0 and place == KNOWN_QUERIES):
            return INVALID
        if place == KNOWN_QUERIES:
            if state.status & TRACKED == 0:
                state.next_query = 0
                for each in range(KNOWN_QUERIES):
                    state.queries[each] = 0
            place = state.next_query
            state.next_query = (place + 1) % KNOWN_QUERIES
            state.queries[place] = name
        if query & REPLY:
            state.queries[place] |= QUERY_ANSWERED
        self.keep(pkt, state, way, self.icmp)
        return KNOWN if state.queries[place] & QUERY_ANSWERED else NEW

    def query_of(self, pkt: Packet, kind: int) -> int:
        return QUERY_OF_TYPE_V6[kind] if pkt.is_ipv6 else QUERY_OF_TYPE[kind]

    def name_of(self, query: int, asked_forward: bool, code: int, identifier: int) -> int:
        return (query & QUERY_BITS) << 25 | (1 << 24 if asked_forward else 0) | code << 16 | identifier

    def place_of(self, state: State, name: int) -> int:
        """Which of the known queries it is; KNOWN_QUERIES: none."""
        place = KNOWN_QUERIES
        for each in range(KNOWN_QUERIES):
            if state.queries[each] & ~QUERY_ANSWERED == name:
                place = each
        return place

    def error(self, pkt: Packet, state: State) -> int:
        is_known = pkt.related and state.status & TRACKED != 0 and pkt.time_ns < state.until_ns
        # It is for the end that has sent what it quotes.
        is_valid = is_known and pkt.dst == pkt.quoted_src and (not self.checksums or pkt.checksum_valid)
        if pkt.quoted_protocol in (ICMP_PROTOCOL, ICMPV6_PROTOCOL):
            start = 40 if pkt.is_ipv6 else (pkt.payload[0] & 15) * 4
            query = self.query_of(pkt, pkt.payload[start])
            asked_forward = query & REPLY != 0 if pkt.forward else query & REPLY == 0
            name = self.name_of(query, asked_forward, pkt.payload[start + 1], pkt.quoted_icmp_id)
            place = self.place_of(state, name)
            is_valid = is_valid and query != 0 and place != KNOWN_QUERIES
        return self.told(pkt, RELATED if is_valid else INVALID)

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        tracked = states[states["status"] & TRACKED != 0]
        counts = {STATES[number]: int((tracked["tcp"] == number).sum()) for number in range(1, COUNT)}
        return {
            "connections": len(tracked),
            "tcp": {name: count for name, count in counts.items() if count},
            "packets": {name: int(count) for name, count in zip(VERDICTS, core["packets"], strict=True)},
        }
