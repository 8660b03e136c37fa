"""Looks for many patterns in what flows carry."""

from typing import Annotated, Any, Literal

from pydantic import Field

from fajita import NF, PASS, Array, Matcher, Packet, Sum, TextFile, five_tuple, flag, u32, u64
from fajita.nfs._pattern_file import read_patterns
from fajita.protocols import SYN_FLAG

#: Sequence numbers have 32 bits; half of them lie ahead (RFC 9293, 3.4).
NUMBERS, HALF = 0xFFFFFFFF, 0x80000000


class PayloadMatch(NF):
    """Looks for many regular expressions at once in payloads, of TCP across packets.

    With Hyperscan or Vectorscan (Wang et al., Hyperscan: A Fast Multi-pattern Regex Matcher for Modern CPUs, NSDI
    2019), an optional library. `patterns` is a file with a line for each, `id:/expression/flags`, or a list of such
    lines.

    Each direction of a TCP connection is a stream (five_tuple): bytes are looked through in the order of their sequence
    numbers, each once, and a match may straddle packets. Bytes that came before are skipped. Where some are missing
    (a gap) the stream begins anew behind them; a segment that comes for an earlier gap is looked through by itself. So
    is each datagram of UDP and ICMP, and every segment if all `streams` are taken. Later fragments have no payload.

    A packet and a pattern of which a match ends in it are an alert: a record (`--export`), of at most four patterns
    of a packet, with the pattern's id as `rule`, the packet's number within its direction, and where the match ends in
    the stream, or the payload. `drop` drops the packet, and of TCP all that follows in its direction; `mark` gives it
    `mark` as pkt.mark.
    """

    key = five_tuple

    class Params:
        patterns: TextFile
        action: Literal["alert", "drop", "mark"] = "alert"
        mark: Annotated[int, Field(ge=0, lt=1 << 32)] = 1
        streams: Annotated[int, Field(ge=1, le=1 << 24)] = 65536

    class State:
        stream: u32  # its number; 0: none yet
        begun: flag
        blocked: flag
        holed: flag
        next_seq: u32
        hole_start: u32  # of all gaps so far
        hole_end: u32
        packets: u32
        matches: u32
        rule: u32  # of the latest alert
        packet: u32
        offset: u64
        alert_ns: u64

    class Core:
        matcher: Matcher["compiled", "streams"]  # noqa: F821 - attributes
        scanned_bytes: Sum[u64]
        matches: Sum[u64]
        matched_packets: Sum[u64]
        alerts: Sum[u64]
        gaps: Sum[u64]
        late: Sum[u64]
        repeated_bytes: Sum[u64]
        without_stream: Sum[u64]
        packets_of: Array[Sum[u64], "rules"]  # noqa: F821 - an attribute

    def prepare(self) -> None:
        self.ids, self.compiled = read_patterns(self.patterns)
        self.rules = len(self.ids)

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        if state.blocked:
            return pkt.drop("after a match")
        length, skip, stream = pkt.payload_length, 0, 0
        if pkt.is_tcp:
            seq = pkt.tcp_sequence
            if pkt.tcp_flags & SYN_FLAG != 0:
                seq = (seq + 1) & NUMBERS
                state.begun = False
            if not state.begun:
                state.begun = True
                state.holed = False
                state.next_seq = seq
                self.core.matcher.restart(state.stream)
            if length == 0:
                return PASS
            ahead = (((seq - state.next_seq) & NUMBERS) ^ HALF) - HALF
            alone = False
            if ahead > 0:
                self.core.gaps += 1
                if not state.holed:
                    state.holed = True
                    state.hole_start = state.next_seq
                state.hole_end = seq
                self.core.matcher.restart(state.stream)
            elif ahead < 0:
                after_start = (((seq + length - state.hole_start) & NUMBERS) ^ HALF) - HALF
                before_end = (((state.hole_end - seq) & NUMBERS) ^ HALF) - HALF
                alone = state.holed and after_start > 0 and before_end > 0
                skip = 0 if alone else min(-ahead, length)
                self.core.late += 1 if alone else 0
                self.core.repeated_bytes += skip
            if not alone:
                if skip == length:
                    return PASS
                state.next_seq = (seq + length) & NUMBERS
                if state.stream == 0:
                    state.stream = self.core.matcher.open()
                    self.core.without_stream += 1 if state.stream == 0 else 0
                stream = state.stream
        if length == 0:
            return PASS

        self.core.scanned_bytes += length - skip
        matches = self.core.matcher.scan(pkt, stream, skip)
        if matches == 0:
            return PASS
        self.core.matches += matches
        self.core.matched_packets += 1
        state.matches += matches
        state.packet = state.packets
        state.alert_ns = pkt.time_ns
        for place in range(16):
            pattern = self.core.matcher.pattern(place)
            if pattern >= 0:
                self.core.packets_of[pattern] += 1
                self.core.alerts += 1
        state.rule = self.ids[self.core.matcher.pattern(0)]
        state.offset = self.core.matcher.end(0)
        self.emit(state)
        if self.core.matcher.pattern(1) >= 0:
            state.rule = self.ids[self.core.matcher.pattern(1)]
            state.offset = self.core.matcher.end(1)
            self.emit(state)
        if self.core.matcher.pattern(2) >= 0:
            state.rule = self.ids[self.core.matcher.pattern(2)]
            state.offset = self.core.matcher.end(2)
            self.emit(state)
        if self.core.matcher.pattern(3) >= 0:
            state.rule = self.ids[self.core.matcher.pattern(3)]
            state.offset = self.core.matcher.end(3)
            self.emit(state)
        if self.action == "drop":
            state.blocked = pkt.is_tcp
            return pkt.drop("match")
        if self.action == "mark":
            pkt.mark = self.mark
        return PASS

    def expire(self, state: State) -> None:
        self.core.matcher.close(state.stream)

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        counted = core["packets_of"]
        order = sorted(range(self.rules), key=lambda place: (-int(counted[place]), self.ids[place]))
        top = [{"rule": self.ids[place], "packets": int(counted[place])} for place in order[:10] if counted[place]]
        left_out = ("matcher", "packets_of")
        counts = {name: value for name, value in core.items() if name not in left_out}
        return {"patterns": self.rules, **counts, "top": top}
