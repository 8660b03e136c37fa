"""What counters of addresses have in common."""

from typing import Any

from fajita import NF, PASS, Packet, Sum, source, u64


class AddressCounter(NF):
    """Counts the packets and bytes of every address of one side. counted: what they are in the report."""

    key = source
    counted = "sources"

    class State:
        packets: Sum[u64]
        bytes: Sum[u64]

    class Core:
        ended: Sum[u64]
        ended_packets: Sum[u64]
        ended_bytes: Sum[u64]

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        state.bytes += pkt.length
        return PASS

    def expire(self, state: State) -> None:
        self.core.ended += 1
        self.core.ended_packets += state.packets
        self.core.ended_bytes += state.bytes

    def summary(self, states: Any, core: dict[str, int]) -> dict[str, Any]:
        return {
            self.counted: len(states) + core["ended"],
            "packets": int(states["packets"].sum()) + core["ended_packets"],
            "bytes": int(states["bytes"].sum()) + core["ended_bytes"],
        }
