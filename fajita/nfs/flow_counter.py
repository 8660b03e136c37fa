"""Per-flow packet and byte counts, and records of flows that have ended."""

from typing import Any

from fajita import ANY_KEY, NF, PASS, Max, Min, Packet, Sum, five_tuple, u64


class FlowCounter(NF):
    """Counts the packets and bytes of every flow.

    With the key connection, packets and bytes are those that go the way of the first one, reverse_packets and
    reverse_bytes the others; with any other key all go one way. With records a flow also has the times of its earliest
    and its latest packet, and emits a record when its timeout ends it. The summary counts flows that have ended too.
    """

    key = five_tuple
    keys = ANY_KEY

    class Params:
        records: bool = False

    class State:
        packets: Sum[u64]
        bytes: Sum[u64]
        reverse_packets: Sum[u64]
        reverse_bytes: Sum[u64]
        first_ns: Min[u64]
        last_ns: Max[u64]

    class Core:
        ended_flows: Sum[u64]
        ended_packets: Sum[u64]
        ended_bytes: Sum[u64]

    def packet(self, pkt: Packet, state: State) -> int:
        if pkt.forward:
            state.packets += 1
            state.bytes += pkt.length
        else:
            state.reverse_packets += 1
            state.reverse_bytes += pkt.length
        if self.records:
            state.first_ns = min(state.first_ns, pkt.time_ns)
            state.last_ns = max(state.last_ns, pkt.time_ns)
        return PASS

    def expire(self, state: State) -> None:
        self.core.ended_flows += 1
        self.core.ended_packets += state.packets + state.reverse_packets
        self.core.ended_bytes += state.bytes + state.reverse_bytes
        if self.records:
            self.emit(state)

    def summary(self, states: Any, core: dict[str, int]) -> dict[str, Any]:
        return {
            "flows": len(states) + core["ended_flows"],
            "packets": int(states["packets"].sum() + states["reverse_packets"].sum()) + core["ended_packets"],
            "bytes": int(states["bytes"].sum() + states["reverse_bytes"].sum()) + core["ended_bytes"],
        }
