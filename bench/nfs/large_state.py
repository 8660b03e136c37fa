"""An NF whose state spans several cache lines, of which each packet needs a few."""

from typing import Any

from fajita import NF, PASS, Array, Packet, five_tuple, u32


class Sizes(NF):
    """How many packets of each size a flow had, in steps of 16 bytes, and in which of 32 slots of time they came."""

    key = five_tuple

    class State:
        sizes: Array[u32, 96]
        slots: Array[u32, 32]

    def packet(self, pkt: Packet, state: Any) -> int:
        state.sizes[pkt.length >> 4] += 1
        state.slots[(pkt.time_ns >> 20) & 31] += 1
        return PASS
