"""NFs with state in arrays of their own: each numbers the flows, and keeps what it knows of them under their numbers.

A line of 64 bytes a flow and NF, none of them in the flow's entry: the paper's NFs whose state lies behind a pointer.
"""

from typing import Any

from fajita import NF, PASS, Array, Packet, five_tuple, u32, u64


class Numbering(NF):
    """Gives every flow a number; `words` of its line belong to each flow."""

    key = five_tuple

    class Params:
        flows: int

    class State:
        number: u32

    class Core:
        given: u32
        lines: Array[u64, "words"]  # noqa: F821

    def prepare(self) -> None:
        self.words = 8 * self.flows

    def new_flow(self, pkt: Packet, state: Any) -> None:
        state.number = self.core.given
        self.core.given += 1

    def packet(self, pkt: Packet, state: Any) -> int:
        return PASS


class Volume(Numbering):
    """Packets and bytes."""

    def packet(self, pkt: Packet, state: Any) -> int:
        at = 8 * state.number
        self.core.lines[at] += 1
        self.core.lines[at + 1] += pkt.length
        return PASS


class Gaps(Numbering):
    """The time of the last packet, and the sum and the largest of the gaps between packets."""

    def packet(self, pkt: Packet, state: Any) -> int:
        at = 8 * state.number
        gap = pkt.time_ns - self.core.lines[at]
        self.core.lines[at] = pkt.time_ns
        self.core.lines[at + 1] += gap
        self.core.lines[at + 2] = max(self.core.lines[at + 2], gap)
        return PASS


class Bucket(Numbering):
    """A token bucket: bytes that may go, and when that was."""

    def packet(self, pkt: Packet, state: Any) -> int:
        at = 8 * state.number
        tokens = min(self.core.lines[at] + ((pkt.time_ns - self.core.lines[at + 1]) >> 3), 1_000_000)
        self.core.lines[at + 1] = pkt.time_ns
        if tokens < pkt.length:
            return pkt.drop("over rate")
        self.core.lines[at] = tokens - pkt.length
        return PASS


class Average(Numbering):
    """A moving average of packet sizes, in 1/256 bytes, and the last time to live."""

    def packet(self, pkt: Packet, state: Any) -> int:
        at = 8 * state.number
        before = self.core.lines[at]
        self.core.lines[at] = before + ((pkt.length << 8) - before >> 4)
        self.core.lines[at + 1] = pkt.ttl
        return PASS
