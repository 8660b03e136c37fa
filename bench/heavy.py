"""NFs that are heavy on the processor or on memory, as much as is asked for; for the experiments beside this file."""

from typing import Any

from fajita import NF, PASS, Array, Layer, Packet, Sum, five_tuple, u32, u64


class CpuHeavy(NF):
    """Does so many rounds of xorshift (Marsaglia 2003) for each packet, as encryption would; keeps no state.

    The time to live takes the outcome, so that the work is not for nothing.
    """

    about = Layer.IPV4

    class Params:
        rounds: int

    def packet(self, pkt: Packet) -> int:
        mixed = pkt.src ^ (pkt.src_port << 32) ^ pkt.dst_port
        for _ in range(self.rounds):
            mixed = mixed ^ (mixed << 13)
            mixed = mixed ^ ((mixed >> 7) & 0x01FFFFFFFFFFFFFF)
            mixed = mixed ^ (mixed << 17)
        pkt.ttl = 64 + (mixed & 1)
        return PASS


class MemoryHeavy(NF):
    """Counts each packet in so many lines of a table of the worker's, which lie anywhere in it."""

    key = five_tuple

    class Params:
        lines: int
        megabytes: int = 64

    class State:
        seed: u64

    class Core:
        table: Array[Sum[u32], "elements"]  # noqa: F821

    def prepare(self) -> None:
        self.elements = self.megabytes << 18

    def new_flow(self, pkt: Packet, state: Any) -> None:
        state.seed = (pkt.src ^ (pkt.src_port << 16)) * 0x9E3779B97F4A7C15

    def packet(self, pkt: Packet, state: Any) -> int:
        for line in range(self.lines):
            at = ((state.seed >> 20) + line * 0x61C88647) % self.elements
            self.core.table[at] += 1
        return PASS
