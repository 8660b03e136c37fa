"""Keeps a flood of SYNs from filling the queues of servers."""

from typing import Annotated, Any, Literal

from pydantic import Field

from fajita import (
    NF,
    PASS,
    Duration,
    Map,
    Max,
    Packet,
    Sum,
    connection,
    destination,
    everything,
    five_tuple,
    flag,
    u16,
    u32,
    u64,
)

SYN, RST, ACK = 0x02, 0x04, 0x10
#: Sequence numbers are counted modulo 2**32; what fits a first window is so much ahead at most.
NUMBERS, WINDOW = 0xFFFFFFFF, 0xFFFF
#: A SYN that was lost is sent again after a second (RFC 6298, 2.1), which may be measured short.
RETRANSMITTED_NS = 500 * 10**6


class SynFloodGuard(NF):
    """Lets each destination have so many half-open connections, and drops SYNs beyond (RFC 4987, 3).

    A connection is half-open from its SYN on until its client acknowledges the server's SYN, until a reset, or until
    neither has sent anything for `wait`; a SYN that comes again is the same. A destination is an address or, per
    service, an address and port. source_limit, if not 0, is for half-open connections of one source; spoofed ones have
    one each. What belongs to no half-open connection passes, so that connections that are there survive.

    With retries a SYN that was dropped passes when it comes again after half a second or more, as those of clients do
    and those of most floods do not; the limit is then one of what comes for the first time.

    Both directions are looked at, by one worker: an ACK counts if it acknowledges the server's number, which who
    spoofs does not know. With `key: five_tuple` only what goes to the destination is, any ACK counts, and a connection
    that a server refuses is half-open for `wait`; so it works where answers take another way, and workers share the
    work if there is no source_limit. Only so many `destinations` and `sources` at a time are counted; SYNs to and of
    more pass, counted as uncounted.
    """

    key = connection
    keys = (five_tuple,)

    class Params:
        limit: Annotated[int, Field(ge=1)] = 1000
        per: Literal["address", "service"] = "address"
        source_limit: Annotated[int, Field(ge=0)] = 0
        retries: bool = False
        wait: Duration = "30s"
        destinations: Annotated[int, Field(ge=1, le=1 << 24)] = 65536
        sources: Annotated[int, Field(ge=1, le=1 << 24)] = 65536

    class State:
        expire_in: u64
        half_open: flag
        client_forward: flag
        answered: flag
        first: u32  # the client's first sequence number
        answer: u32  # the server's
        refused_ns: u64
        # What is counted: 0 is a port that does not count.
        port: u16
        of_source: flag
        high: u64
        low: u64
        source_high: u64
        source_low: u64

    class Core:
        opened: Sum[u64]
        completed: Sum[u64]
        reset: Sum[u64]
        timed_out: Sum[u64]
        uncounted: Sum[u64]
        most: Max[u64]  # half-open connections of one destination
        by_destination: Map[3, "destinations"]  # noqa: F821
        by_source: Map[2, "most_sources"]  # noqa: F821

    def prepare(self) -> None:
        if self.wait <= 0:
            raise ValueError("wait is 0; give the time in which a handshake ends, such as 30s")
        self.both_ways = self.granularity == connection
        self.most_sources = self.sources if self.source_limit > 0 else 1
        self.together = everything if self.both_ways or self.source_limit > 0 else destination

    def new_flow(self, pkt: Packet, state: State) -> None:
        state.expire_in = self.wait

    def packet(self, pkt: Packet, state: State) -> int:
        flags = pkt.tcp_flags & (SYN | RST | ACK) if pkt.is_tcp else 0
        if flags == SYN and not state.half_open:
            high, low = pkt.dst_high, pkt.dst_low
            source_high, source_low = pkt.src_high, pkt.src_low
            if pkt.is_ipv4:
                high, low, source_high, source_low = 0, pkt.dst, 0, pkt.src
            port = pkt.dst_port if self.per == "service" else 0
            count = max(self.core.by_destination.get(high, low, port), 0)
            comes_again = state.refused_ns != 0 and pkt.time_ns - state.refused_ns >= RETRANSMITTED_NS
            if count >= self.limit and not (self.retries and comes_again):
                if state.refused_ns == 0:
                    state.refused_ns = pkt.time_ns
                if not self.retries:
                    state.expire_in = 1  # nothing is to be known of it
                return pkt.drop("destination limit")
            if self.source_limit > 0:
                of_source = max(self.core.by_source.get(source_high, source_low), 0)
                if of_source >= self.source_limit:
                    return pkt.drop("source limit")
                state.of_source = self.core.by_source.set(source_high, source_low, of_source + 1)
                state.source_high = source_high
                state.source_low = source_low
            state.half_open = self.core.by_destination.set(high, low, port, count + 1)
            if state.half_open:
                self.core.opened += 1
                self.core.most = max(self.core.most, count + 1)
            else:
                self.core.uncounted += 1
            state.expire_in = self.wait
            state.client_forward = pkt.forward
            state.answered = False
            state.first = pkt.tcp_sequence
            state.refused_ns = 0
            state.port = port
            state.high = high
            state.low = low
        elif state.half_open and flags != 0 and flags != SYN:
            completes = False
            resets = False
            if pkt.forward == state.client_forward:
                if flags == ACK:
                    ahead = pkt.tcp_acknowledgment - state.answer - 1 & NUMBERS
                    completes = not self.both_ways or (state.answered and ahead <= WINDOW)
                elif flags & RST != 0:
                    resets = (pkt.tcp_sequence - state.first - 1 & NUMBERS) <= WINDOW
            elif flags == SYN | ACK:
                state.answered = True
                state.answer = pkt.tcp_sequence
            else:
                resets = flags & RST != 0
            if completes or resets:
                state.half_open = False
                left = self.core.by_destination.get(state.high, state.low, state.port) - 1
                if left > 0:
                    self.core.by_destination.set(state.high, state.low, state.port, left)
                else:
                    self.core.by_destination.remove(state.high, state.low, state.port)
                if completes:
                    self.core.completed += 1
                else:
                    self.core.reset += 1
                if state.of_source:
                    state.of_source = False
                    left_of_source = self.core.by_source.get(state.source_high, state.source_low) - 1
                    if left_of_source > 0:
                        self.core.by_source.set(state.source_high, state.source_low, left_of_source)
                    else:
                        self.core.by_source.remove(state.source_high, state.source_low)
        return PASS

    def expire(self, state: State) -> None:
        if state.half_open:
            self.core.timed_out += 1
            left = self.core.by_destination.get(state.high, state.low, state.port) - 1
            if left > 0:
                self.core.by_destination.set(state.high, state.low, state.port, left)
            else:
                self.core.by_destination.remove(state.high, state.low, state.port)
        if state.of_source:
            left_of_source = self.core.by_source.get(state.source_high, state.source_low) - 1
            if left_of_source > 0:
                self.core.by_source.set(state.source_high, state.source_low, left_of_source)
            else:
                self.core.by_source.remove(state.source_high, state.source_low)

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        half_open = sum(sum(worker.values()) for worker in core["by_destination"])
        counts = {name: int(core[name]) for name in ("opened", "completed", "reset", "timed_out", "uncounted")}
        return counts | {"half_open": half_open, "most_of_one_destination": int(core["most"])}
