"""A load balancer for layer 4."""

from ipaddress import IPv4Address
from typing import Any, Literal

from fajita import NF, PASS, IPv4, Layer, Packet, five_tuple, ipv4, source, u32


class LoadBalancer(NF):
    """Sends each new flow to one of the servers and rewrites its destination address.

    round_robin gives the next server to each new flow, in turn, one turn per worker. hash chooses by the addresses
    and ports, so that a flow goes to the same server on every worker and in every run. A later fragment goes where its
    first went; one that came before it is not seen here and keeps its destination.
    """

    key = five_tuple
    about = Layer.IPV4
    keys = (source,)

    class Params:
        servers: list[IPv4]
        algorithm: Literal["round_robin", "hash"] = "round_robin"

    class State:
        server: ipv4

    class Core:
        turn: u32

    def prepare(self) -> None:
        if not self.servers:
            raise ValueError("servers is empty; give at least one address")

    def new_flow(self, pkt: Packet, state: State) -> None:
        if self.algorithm == "hash":
            # Multiplication by 2**32 over the golden ratio (Knuth, TAOCP 3, 6.4) spreads neighbouring addresses.
            mixed = (pkt.src ^ (pkt.src_port << 16) ^ pkt.dst_port) * 0x9E3779B1
            state.server = self.servers[((mixed >> 16) & 0xFFFFFFFF) % len(self.servers)]
        else:
            state.server = self.servers[self.core.turn % len(self.servers)]
            self.core.turn += 1

    def packet(self, pkt: Packet, state: State) -> int:
        pkt.dst = state.server  # the IPv4, TCP and UDP checksums follow by themselves
        return PASS

    def summary(self, states: Any, core: dict[str, int]) -> dict[str, Any]:
        return {"flows": {str(IPv4Address(s)): int((states["server"] == s).sum()) for s in self.servers}}
