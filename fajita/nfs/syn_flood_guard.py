"""Keeps a flood of SYNs from filling the queues of servers."""

from typing import Annotated, Any, Literal

from pydantic import Field

from fajita import (
    LOOK_UP,
    NF,
    PASS,
    Array,
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
    hash_of,
    u32,
    u64,
)
from fajita.protocols import ACK_FLAG, RST_FLAG, SYN_FLAG

#: Sequence numbers are counted modulo 2**32; what fits a first window is so much ahead at most.
NUMBERS, WINDOW = 0xFFFFFFFF, 0xFFFF
#: A SYN that was lost is sent again after a second (RFC 6298, 2.1), which may be measured short.
RETRANSMITTED_MS = 500
#: So long, and so many at a time, SYNs that were dropped are known.
REFUSED_MS = 30_000
REFUSED = 1 << 20
MILLISECOND, LOW = 10**6, 0xFFFFFFFF


class SynFloodGuard(NF):
    """Lets each destination have so many half-open connections, and drops SYNs beyond (RFC 4987, 3).

    A connection is half-open from its SYN on until its client acknowledges the server's SYN, until a reset, or until
    neither has sent anything for `wait` or, at most, a sixth more. A destination is an address or, per service, an
    address and port. source_limit, if not 0, is for half-open connections of one source; spoofed ones have one each.
    What is no SYN passes, so that connections that are there survive. A SYN that is dropped takes no memory. At the
    limit that of a connection that is half-open already is dropped too when it comes again.

    With retries a SYN that was dropped passes when it comes again after half a second or more, and before half a minute
    is over, as those of clients do and those of most floods do not; the limit is then one of what comes for the first
    time.

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
        of_source: flag
        first: u32  # the client's first sequence number
        answer: u32  # the server's
        # Where it is counted.
        destination: u64
        source: u64

    class Core:
        opened: Sum[u64]
        completed: Sum[u64]
        reset: Sum[u64]
        timed_out: Sum[u64]
        uncounted: Sum[u64]
        most: Max[u64]  # half-open connections of one destination
        # By 64 bits of hashes, which are shorter than what they are of.
        by_destination: Map[1, "destinations"]  # noqa: F821
        by_source: Map[1, "most_sources"]  # noqa: F821
        refused: Array[u64, "most_refused"]  # noqa: F821 - a hash of whose SYN it was, and when, of 32 bits each

    def prepare(self) -> None:
        if self.wait <= 0:
            raise ValueError("wait is 0; give the time in which a handshake ends, such as 30s")
        if "sources" in self.given and not self.source_limit:
            raise ValueError("sources is for a source_limit; give that too, or leave sources out")
        self.both_ways = self.granularity == connection
        self.limits_sources = self.source_limit > 0
        self.most_sources = self.sources if self.limits_sources else 1
        self.most_refused = REFUSED if self.retries else 1
        # Half of it is how much later than that a state may end: a sixth of the time.
        self.shortest_expire_in = max(self.wait // 3, 1)
        self.together = everything if self.both_ways or self.limits_sources else destination

    def before_lookup(self, pkt: Packet) -> int:
        if not pkt.is_tcp:
            return PASS
        if pkt.tcp_flags & (SYN_FLAG | RST_FLAG | ACK_FLAG) != SYN_FLAG:
            return LOOK_UP
        if self.limits_sources:
            source = self.source_of(pkt)
            if self.core.by_source.get(source) >= self.source_limit:
                return pkt.drop("source limit")
        destination = self.destination_of(pkt)
        if self.core.by_destination.get(destination) < self.limit:
            return LOOK_UP
        if not self.retries:
            return pkt.drop("destination limit")
        comes_again = self.comes_again(pkt)
        return LOOK_UP if comes_again else pkt.drop("destination limit")

    def source_of(self, pkt: Packet) -> int:
        low = pkt.src if pkt.is_ipv4 else pkt.src_low
        return hash_of(0, pkt.src_high, low) << 32 | hash_of(1, pkt.src_high, low)

    def destination_of(self, pkt: Packet) -> int:
        low = pkt.dst if pkt.is_ipv4 else pkt.dst_low
        port = pkt.dst_port if self.per == "service" else 0
        return hash_of(0, pkt.dst_high, low, port) << 32 | hash_of(1, pkt.dst_high, low, port)

    def comes_again(self, pkt: Packet) -> bool:
        """Whether a SYN was dropped before, long enough ago; else it is known from now on."""
        source_low = pkt.src if pkt.is_ipv4 else pkt.src_low
        low = pkt.dst if pkt.is_ipv4 else pkt.dst_low
        ports = pkt.src_port << 16 | pkt.dst_port
        place = hash_of(0, pkt.src_high, source_low, pkt.dst_high, low, ports) % REFUSED
        whose = hash_of(1, pkt.src_high, source_low, pkt.dst_high, low, ports) >> 1
        now_ms = pkt.time_ns // MILLISECOND & LOW
        known = self.core.refused[place]
        age_ms = now_ms - known & LOW
        if known >> 32 != whose or age_ms >= REFUSED_MS:
            self.core.refused[place] = whose << 32 | now_ms
            return False
        return age_ms >= RETRANSMITTED_MS

    def new_flow(self, pkt: Packet, state: State) -> None:
        state.expire_in = self.wait

    def packet(self, pkt: Packet, state: State) -> int:
        flags = pkt.tcp_flags & (SYN_FLAG | RST_FLAG | ACK_FLAG)
        if flags == SYN_FLAG and not state.half_open:
            state.destination = self.destination_of(pkt)
            count = max(self.core.by_destination.get(state.destination), 0) + 1
            state.half_open = self.core.by_destination.set(state.destination, count)
            if state.half_open:
                self.core.opened += 1
                self.core.most = max(self.core.most, count)
                if self.limits_sources:
                    state.source = self.source_of(pkt)
                    of_source = max(self.core.by_source.get(state.source), 0) + 1
                    state.of_source = self.core.by_source.set(state.source, of_source)
                    if not state.of_source:
                        self.core.uncounted += 1
            else:
                self.core.uncounted += 1
            state.client_forward = pkt.forward
            state.answered = False
            state.first = pkt.tcp_sequence
        elif state.half_open and flags != 0 and flags != SYN_FLAG:
            completes = False
            resets = False
            if pkt.forward == state.client_forward:
                if flags == ACK_FLAG:
                    ahead = pkt.tcp_acknowledgment - state.answer - 1 & NUMBERS
                    completes = not self.both_ways or (state.answered and ahead <= WINDOW)
                elif flags & RST_FLAG != 0:
                    resets = (pkt.tcp_sequence - state.first - 1 & NUMBERS) <= WINDOW
            elif flags == SYN_FLAG | ACK_FLAG:
                state.answered = True
                state.answer = pkt.tcp_sequence
            else:
                resets = flags & RST_FLAG != 0
            if completes or resets:
                self.count_no_more(state)
                if completes:
                    self.core.completed += 1
                else:
                    self.core.reset += 1
        return PASS

    def expire(self, state: State) -> None:
        if state.half_open:
            self.count_no_more(state)
            self.core.timed_out += 1

    def count_no_more(self, state: State) -> None:
        """A connection is not half-open any longer."""
        state.half_open = False
        left = self.core.by_destination.get(state.destination) - 1
        if left > 0:
            self.core.by_destination.set(state.destination, left)
        else:
            self.core.by_destination.remove(state.destination)
        if self.limits_sources and state.of_source:
            state.of_source = False
            left_of_source = self.core.by_source.get(state.source) - 1
            if left_of_source > 0:
                self.core.by_source.set(state.source, left_of_source)
            else:
                self.core.by_source.remove(state.source)

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        half_open = sum(sum(worker.values()) for worker in core["by_destination"])
        counts = {name: int(core[name]) for name in ("opened", "completed", "reset", "timed_out", "uncounted")}
        return counts | {"half_open": half_open, "most_of_one_destination": int(core["most"])}
