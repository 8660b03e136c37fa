"""Packets and bytes per destination address."""

from typing import Any

from fajita import NF, PASS, Packet, Sum, destination, u64


class DestinationCounter(NF):
    """Counts the packets and bytes of every destination address.

    The summary is of the addresses that are there: not of those that a timeout has ended, as workers that each have a
    part of an address's counts could not say once that it ends.
    """

    key = destination

    class State:
        packets: Sum[u64]
        bytes: Sum[u64]

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        state.bytes += pkt.length
        return PASS

    def summary(self, states: Any, core: dict[str, int]) -> dict[str, Any]:
        return {
            "destinations": len(states),
            "packets": int(states["packets"].sum()),
            "bytes": int(states["bytes"].sum()),
        }
