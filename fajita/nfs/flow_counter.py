"""Per-flow packet and byte counts."""

from typing import Any

from fajita import ANY_KEY, NF, PASS, Packet, five_tuple, u64


class FlowCounter(NF):
    """Counts the packets and bytes of every flow."""

    key = five_tuple
    keys = ANY_KEY

    class State:
        packets: u64
        bytes: u64

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        state.bytes += pkt.length
        return PASS

    def summary(self, states: Any, core: dict[str, int]) -> dict[str, Any]:
        return {
            "flows": len(states),
            "packets": int(states["packets"].sum()),
            "bytes": int(states["bytes"].sum()),
        }
