"""A token bucket per flow or per address."""

from fractions import Fraction
from typing import Any

from fajita import ANY_KEY, NF, PASS, Burst, Packet, Rate, five_tuple, u64


class RateLimiter(NF):
    """Drops what exceeds a rate: a token bucket (RFC 2697, 3.1, with one colour).

    rate counts bits (bps) of whole frames or packets (pps) per second; burst is the depth of the bucket, in bytes or
    packets alike. A bucket begins full. A packet older than the last one adds no tokens.
    """

    key = five_tuple
    keys = ANY_KEY

    class Params:
        rate: Rate
        burst: Burst

    class State:
        tokens: u64
        last_ns: u64

    def prepare(self) -> None:
        """Choose the fixed point: a token is 2**-scale of a byte or packet, so that no product exceeds 62 bits."""
        self.by_packets = self.rate.unit == "pps"
        if self.by_packets != (self.burst.unit == "packets"):
            wanted = "a number of packets, such as 100" if self.by_packets else "bytes, such as 64kB"
            raise ValueError(f"burst does not fit a rate in {self.rate.unit}; give {wanted}")
        if self.burst.amount < 1 or self.rate.per_second < 1:
            raise ValueError("rate and burst have to be more than 0")
        if self.burst.amount >= 1 << 40:
            raise ValueError("burst is more than a terabyte or 2**40 packets")
        self.scale = 61 - max(self.burst.amount, 1 << 18).bit_length()
        self.bucket = self.burst.amount << self.scale
        units_per_second = self.rate.per_second if self.by_packets else Fraction(self.rate.per_second, 8)
        # Tokens per nanosecond; a bucket that is full after one needs no more.
        self.refill = min(round(units_per_second * 2**self.scale / 10**9), self.bucket)
        if self.refill < 1000:
            raise ValueError(
                "rate is too low for so large a burst to be kept to 0.1 %; give a higher rate or a smaller burst"
            )
        self.fill_ns = self.bucket // self.refill + 1

    def new_flow(self, pkt: Packet, state: State) -> None:
        state.tokens = self.bucket
        state.last_ns = pkt.time_ns

    def packet(self, pkt: Packet, state: State) -> int:
        elapsed_ns = pkt.time_ns - state.last_ns
        if elapsed_ns > 0:
            state.tokens = min(state.tokens + min(elapsed_ns, self.fill_ns) * self.refill, self.bucket)
            state.last_ns = pkt.time_ns
        amount = 1 if self.by_packets else pkt.length
        if amount > state.tokens >> self.scale:  # amount << scale may not fit: a capture claims what it likes
            return pkt.drop("over rate")
        state.tokens -= amount << self.scale
        return PASS

    def summary(self, states: Any, core: dict[str, int]) -> dict[str, Any]:
        return {"buckets": len(states), "rate": f"{self.rate.per_second} {self.rate.unit}"}
