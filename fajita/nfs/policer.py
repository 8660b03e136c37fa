"""A policer in three colours."""

from math import gcd
from typing import Annotated, Any

from pydantic import Field

from fajita import ANY_KEY, NF, PASS, Array, ByteSize, Packet, Rate, Sum, source, u64

GREEN, YELLOW, RED = 0, 1, 2

#: Code points by name: class selectors (RFC 2474), assured (RFC 2597) and expedited forwarding (RFC 3246), RFC 8622.
DSCP = (
    {f"CS{number}": number << 3 for number in range(8)}
    | {f"AF{group}{drop}": group << 3 | drop << 1 for group in (1, 2, 3, 4) for drop in (1, 2, 3)}
    | {"EF": 46, "LE": 1}
)
#: The colour that a code point says: of AF its drop precedence (RFC 2597, 2), of any other none, which is green.
COLOUR_BEFORE = [
    next((int(name[3]) - 1 for name, known in DSCP.items() if known == dscp and name.startswith("AF")), GREEN)
    for dscp in range(64)
]
#: What a colour stands for beside a code point.
UNMARKED, DROPPED = -1, -2
#: The buckets, and what fits in one refill beside them, stay below it, so that no sum exceeds 63 bits.
MOST_TOKENS = 1 << 61


def treatment(colour: str, value: str | int) -> int:
    """What a chain says becomes of a colour, as a number; ValueError says what would be right."""
    number = DSCP.get(value, {"pass": UNMARKED, "drop": DROPPED}.get(value)) if isinstance(value, str) else value
    if number is None or (isinstance(value, int) and not 0 <= value < 64):
        raise ValueError(f"{colour} is {value!r}; give pass, drop, AF11 to AF43, CS0 to CS7, EF, LE or 0 to 63")
    return number


class Policer(NF):
    """Colours packets green, yellow or red by their rate, and marks or drops them by colour.

    With one rate (RFC 2697): green is what rate and burst allow, yellow what excess_burst allows beside, red the rest.
    rate fills burst first, and excess_burst with what is left over. With peak_rate two (RFC 2698): red is what exceeds
    peak_rate and peak_burst, yellow what of the rest exceeds rate and burst, green the rest. excess_burst and
    peak_burst are as large as burst if left out. Buckets begin full, and are exact: nothing is rounded.

    green, yellow and red: pass leaves a packet as it is, drop (not for green) drops it, anything else is the DSCP to
    mark it with, as a name or a number. With colour_aware a packet gets no better colour than it comes with: yellow of
    AFx2, red of AFx3, green of any other DSCP (RFC 2597).

    Rates count bits of frames on the wire, without the Ethernet checksum. overhead is added to each frame: -14 takes
    the Ethernet header off, so that bytes of IP packets count, as in the RFCs; 24 counts checksum, preamble and gap. A
    packet older than the last one adds no tokens. A packet longer than a bucket never conforms: bursts should be
    several times the longest packet.
    """

    key = source
    keys = ANY_KEY

    class Params:
        rate: Rate
        burst: ByteSize
        excess_burst: ByteSize | None = None
        peak_rate: Rate | None = None
        peak_burst: ByteSize | None = None
        colour_aware: bool = False
        green: str | int = "AF11"
        yellow: str | int = "AF12"
        red: str | int = "drop"
        overhead: Annotated[int, Field(ge=-64, le=64)] = 0

    class State:
        committed: u64
        excess: u64
        peak: u64
        last_ns: u64

    class Core:
        packets: Array[Sum[u64], 3]  # by colour
        bytes: Array[Sum[u64], 3]

    def prepare(self) -> None:
        """Choose the token: a part of a byte of which each rate brings a whole number in a nanosecond."""
        self.two_rates = self.peak_rate is not None
        self._check()
        second = self.peak_burst if self.two_rates else self.excess_burst
        second = self.burst if second is None else second
        rates = [rate.per_second for rate in (self.rate, self.peak_rate) if rate is not None]
        self.byte = 8 * 10**9 // gcd(8 * 10**9, *rates)
        self.refill, self.peak_refill = (rate * self.byte // (8 * 10**9) for rate in (rates[0], rates[-1]))
        self.bucket, self.second_bucket = self.burst * self.byte, second * self.byte
        if self.bucket + self.second_bucket + self.peak_refill >= MOST_TOKENS:
            raise ValueError("bursts are too large for the exact rates; give smaller bursts or rates of whole kbps")
        self.longest = max(self.burst, second) + 1
        # A nanosecond more than fills the buckets, of one rate both, is as good as any longer time.
        self.fill_ns = (self.bucket + (0 if self.two_rates else self.second_bucket)) // self.refill + 1
        self.peak_fill_ns = self.second_bucket // self.peak_refill + 1
        self.treatments = [treatment(colour, getattr(self, colour)) for colour in ("green", "yellow", "red")]
        if self.treatments[GREEN] == DROPPED:
            raise ValueError("green cannot be dropped; give pass or a DSCP")
        self.drops_yellow, self.drops_red = (self.treatments[colour] == DROPPED for colour in (YELLOW, RED))

    def _check(self) -> None:
        if self.two_rates and self.excess_burst is not None:
            raise ValueError("excess_burst goes with one rate; with peak_rate give peak_burst")
        if not self.two_rates and self.peak_burst is not None:
            raise ValueError("peak_burst goes with peak_rate; with one rate give excess_burst")
        for name, rate in (("rate", self.rate), ("peak_rate", self.peak_rate)):
            if rate is not None and (rate.unit != "bps" or rate.per_second < 1):
                raise ValueError(f"{name} is {rate.per_second} {rate.unit}; give bits, more than 0, such as 10Mbps")
        if self.two_rates and self.peak_rate.per_second < self.rate.per_second:
            raise ValueError("peak_rate is below rate; give at least as much")
        if self.burst < 1 or self.peak_burst == 0:
            raise ValueError("a burst of 0 lets nothing conform; give several times the longest packet, such as 64kB")

    def new_flow(self, pkt: Packet, state: State) -> None:
        state.committed = self.bucket
        if self.two_rates:
            state.peak = self.second_bucket
        else:
            state.excess = self.second_bucket
        state.last_ns = pkt.time_ns

    def packet(self, pkt: Packet, state: State) -> int:
        elapsed_ns = pkt.time_ns - state.last_ns
        if elapsed_ns > 0:
            filled = state.committed + min(elapsed_ns, self.fill_ns) * self.refill
            state.committed = min(filled, self.bucket)
            if self.two_rates:
                gained = min(elapsed_ns, self.peak_fill_ns) * self.peak_refill
                state.peak = min(state.peak + gained, self.second_bucket)
            else:
                state.excess = min(state.excess + filled - state.committed, self.second_bucket)
            state.last_ns = pkt.time_ns

        # What fits in no bucket costs what is too much for each: a capture claims what lengths it likes.
        cost = min(max(pkt.length + self.overhead, 0), self.longest) * self.byte
        colour = COLOUR_BEFORE[pkt.dscp] if self.colour_aware else GREEN
        if self.two_rates:
            if colour == RED or cost > state.peak:
                colour = RED
            else:
                state.peak -= cost
                if colour == YELLOW or cost > state.committed:
                    colour = YELLOW
                else:
                    state.committed -= cost
        elif colour == GREEN and cost <= state.committed:
            state.committed -= cost
        elif colour != RED and cost <= state.excess:
            state.excess -= cost
            colour = YELLOW
        else:
            colour = RED

        self.core.packets[colour] += 1
        self.core.bytes[colour] += pkt.length
        if colour == RED and self.drops_red:
            return pkt.drop("red")
        if colour == YELLOW and self.drops_yellow:
            return pkt.drop("yellow")
        if self.treatments[colour] != UNMARKED:
            pkt.dscp = self.treatments[colour]
        return PASS

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        counts: dict[str, Any] = {"buckets": len(states)}
        for number, colour in enumerate(("green", "yellow", "red")):
            counts[f"{colour}_packets"] = int(core["packets"][number])
            counts[f"{colour}_bytes"] = int(core["bytes"][number])
        return counts
