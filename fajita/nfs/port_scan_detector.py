"""Finds who tries what is not there."""

from math import ceil, log
from typing import Annotated, Any, Literal

from pydantic import Field

from fajita import NF, PASS, Array, Duration, Packet, Sum, flag, hash_of, i32, source, u8, u16, u32, u64
from fajita.protocols import ACK_FLAG, RST_FLAG, SYN_FLAG

#: Endpoints that are told apart for each source; the oldest are forgotten when so many are known.
SLOTS, FULL = 256, 192
#: What a slot holds: nothing, the time of an attempt, that it was answered.
FREE, TIMES, ANSWERED = 0, 254, 255
#: Likelihoods are logarithms, in so many parts.
SCALE = 1000


class PortScanDetector(NF):
    """Finds sources whose connection attempts mostly fail.

    Threshold Random Walk (Jung, Paxson, Berger and Balakrishnan, Fast Portscan Detection Using Sequential Hypothesis
    Testing, 2004): a source's first attempts at each address and port are a test of two hypotheses: a benign source's
    are answered with a probability of `benign_answered`, a scanner's of `scanner_answered`. Each outcome makes one
    likelier. With the first that makes a scanner likely enough that no more than `false_alarms` of all tests of benign
    sources end so, it is one. If enough are answered, so that no more than 1 - `detection` of scanners come so far, it
    is none, and the test begins anew. As the parameters are left out, 5 failures more than answers make a scanner, 4
    answers more than failures none.

    An attempt is TCP without ACK and RST: SYN, and what NULL, FIN and Xmas scans send. It is answered when its source
    goes on with an ACK, as only who got an answer does; a scanner that takes the answer to its SYN for enough does not.
    So replies need not be seen. It has failed when `wait` is over, up to twice; that is looked at when the source sends
    anything, or its state ends (give it a timeout). UDP and ICMP tell of no failures: see superspreaders.

    Each scanner is a record, once (`--export`), with its counts and times; what it sends from then on passes, is
    dropped, or gets `mark` as pkt.mark. A source has 256 slots for endpoints, by a hash; attempts at two of one slot
    are one, so that counts may be a little low.
    """

    key = source

    class Params:
        action: Literal["pass", "drop", "mark"] = "pass"
        mark: Annotated[int, Field(ge=0, lt=1 << 32)] = 1
        wait: Duration = "3s"
        false_alarms: Annotated[float, Field(gt=0, lt=0.5)] = 0.001
        detection: Annotated[float, Field(gt=0.5, lt=1)] = 0.99
        benign_answered: Annotated[float, Field(gt=0, lt=1)] = 0.8
        scanner_answered: Annotated[float, Field(gt=0, lt=1)] = 0.2

    class State:
        scanner: flag
        likelihood: i32  # of a scanner
        attempts: u32
        answered: u32
        failed: u32
        first_ns: u64  # of an attempt
        last_ns: u64
        alert_ns: u64
        epoch: u64  # of the latest packet, each as long as `wait`
        known: u16  # slots that are taken
        waiting: Array[u16, 2]  # attempts without an answer yet, of an even and an odd epoch
        slots: Array[u8, SLOTS]

    class Core:
        attempts: Sum[u64]
        answered: Sum[u64]
        failed: Sum[u64]
        scanners: Sum[u64]

    def prepare(self) -> None:
        if self.wait <= 0:
            raise ValueError("wait is 0; give the time in which an answer comes, such as 3s")
        if "mark" in self.given and self.action != "mark":
            raise ValueError(f"mark is for action: mark; leave it out for {self.action}")
        if self.scanner_answered >= self.benign_answered:
            raise ValueError("scanner_answered is not below benign_answered; give less")
        self.failure = round(SCALE * log((1 - self.scanner_answered) / (1 - self.benign_answered)))
        self.answer = round(SCALE * log(self.benign_answered / self.scanner_answered))
        if min(self.failure, self.answer) < 1:
            raise ValueError("scanner_answered is too near to benign_answered to tell them apart; give less")
        self.alarm = ceil(SCALE * log(self.detection / self.false_alarms))
        self.clear = -ceil(SCALE * log((1 - self.false_alarms) / (1 - self.detection)))

    def packet(self, pkt: Packet, state: State) -> int:
        epoch = max(pkt.time_ns // self.wait, state.epoch)
        this = epoch & 1
        if epoch > state.epoch:
            # Who has waited since the epoch before the last waits in vain.
            failed = state.waiting[this]
            state.waiting[this] = 0
            if epoch > state.epoch + 1:
                failed += state.waiting[1 - this]
                state.waiting[1 - this] = 0
            state.epoch = epoch
            state.failed += failed
            self.core.failed += failed
            state.likelihood = min(state.likelihood + failed * self.failure, self.alarm)

        if pkt.is_tcp and pkt.tcp_flags & RST_FLAG == 0:
            now, before = epoch % TIMES + 1, (epoch - 1) % TIMES + 1
            low = pkt.dst if pkt.is_ipv4 else pkt.dst_low
            slot = hash_of(pkt.dst_high, low, pkt.dst_port) % SLOTS
            what = state.slots[slot]
            if pkt.tcp_flags & ACK_FLAG == 0:
                if what == FREE:
                    if state.known == FULL:
                        state.known = 0
                        for each in range(SLOTS):
                            if state.slots[each] in (now, before):
                                state.known += 1
                            else:
                                state.slots[each] = FREE
                    if state.attempts == 0:
                        state.first_ns = pkt.time_ns
                    state.last_ns = pkt.time_ns
                    state.known += 1
                    state.slots[slot] = now
                    state.waiting[this] += 1
                    state.attempts += 1
                    self.core.attempts += 1
            elif pkt.tcp_flags & SYN_FLAG == 0 and what in (now, before):
                then = this if what == now else 1 - this
                if state.waiting[then] > 0:  # the slot is not of as many epochs ago as there are times
                    state.waiting[then] -= 1
                    state.slots[slot] = ANSWERED
                    state.answered += 1
                    self.core.answered += 1
                    state.likelihood -= self.answer
                    if state.likelihood <= self.clear:
                        state.likelihood = 0

        if state.likelihood >= self.alarm and not state.scanner:
            state.scanner = True
            state.alert_ns = pkt.time_ns
            self.core.scanners += 1
            self.emit(state)
        if state.scanner:
            if self.action == "drop":
                return pkt.drop("scanner")
            if self.action == "mark":
                pkt.mark = self.mark
        return PASS

    def expire(self, state: State) -> None:
        failed = state.waiting[0] + state.waiting[1]
        state.failed += failed
        self.core.failed += failed
        if state.likelihood + failed * self.failure >= self.alarm and not state.scanner:
            state.scanner = True
            state.alert_ns = state.last_ns
            self.core.scanners += 1
            self.emit(state)

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        waiting = states["waiting"].astype(int).sum(axis=1)
        would_be = ~states["scanner"].astype(bool) & (states["likelihood"] + waiting * self.failure >= self.alarm)
        counts = {name: int(core[name]) for name in ("scanners", "attempts", "answered", "failed")}
        return counts | {"waiting": int(waiting.sum()), "scanners_if_those_fail": int(would_be.sum())}
