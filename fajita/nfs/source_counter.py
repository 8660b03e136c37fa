"""Packets and bytes per source address."""

from typing import Any

from fajita import NF, PASS, Packet, Sum, source, u64


class SourceCounter(NF):
    """Counts the packets and bytes of every source address.

    The summary is of the addresses that are there: not of those that a timeout has ended, as workers that each have a
    part of an address's counts could not say once that it ends.
    """

    key = source

    class State:
        packets: Sum[u64]
        bytes: Sum[u64]

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        state.bytes += pkt.length
        return PASS

    def summary(self, states: Any, core: dict[str, int]) -> dict[str, Any]:
        return {"sources": len(states), "packets": int(states["packets"].sum()), "bytes": int(states["bytes"].sum())}
