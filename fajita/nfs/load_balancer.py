"""A load balancer for layer 4."""

from ipaddress import IPv4Address
from typing import Any, Literal

import numpy as np

from fajita import NF, PASS, Array, IPv4, Layer, Packet, five_tuple, hash_of, ipv4, source, u16, u32
from fajita.nfs._least_connections import LeastConnections
from fajita.nfs._servers import (
    DEFAULT_TABLE,
    MAXIMUM_COUNTED,
    USUAL_ROOM,
    check_table_size,
    checked_weights,
    maglev_table,
    weighted_turns,
    with_room,
)

NO_SERVER = -1


class LoadBalancer(LeastConnections, NF):
    """Sends each new flow to one of the servers and rewrites its destination address.

    round_robin gives the next server to each new flow, in turn, one turn per worker. least_connections gives it to the
    server that then has the fewest flows by its weight, of those of the worker; so flows should end by a timeout. hash
    chooses by a hash of the five-tuple, or with `key: source` of the source address, so that a flow goes to the same
    server on every worker and in every run. maglev does so by a place in a table that the hash leads to (Eisenbud et
    al., Maglev: A Fast and Reliable Software Network Load Balancer, NSDI 2016, section 3.4): a chain with one of its N
    servers less sends hardly more flows elsewhere than that server's; less than 2/N of all for up to 100 servers. More
    of them need a larger table_size, a prime. The hashes have no key: who knows them can send flows that all go to one
    server.

    weights are the servers' shares of the new flows, in their order: [3, 1, 1]; left out, all are equal. Servers that
    are down get no new flows. weights and down can change while a chain runs, from Python. A flow stays with its server
    as long as its state is there, also if that is down; with drop_down its packets are dropped then. A later fragment
    goes where its first went; one that came before it is not seen here and keeps its destination.
    """

    key = five_tuple
    about = Layer.IPV4
    keys = (source,)

    class Params:
        servers: list[IPv4]
        algorithm: Literal["round_robin", "least_connections", "hash", "maglev"] = "round_robin"
        weights: list[int] = []
        table_size: int = DEFAULT_TABLE
        down: list[IPv4] = []
        drop_down: bool = False

    class State:
        server: ipv4
        number: u16  # its place in the list, for least_connections and drop_down

    class Core:
        turn: u32
        connections: Array[u32, "counted"]  # noqa: F821 - of each server, for least_connections

    def prepare(self) -> None:
        if not self.servers:
            raise ValueError("servers is empty; give at least one address")
        weights = checked_weights(self.weights, len(self.servers))
        if unknown := set(self.down) - set(self.servers):
            raise ValueError(f"down: {IPv4Address(min(unknown))} is none of the servers")
        up = [(each, weight) for each, weight in zip(self.servers, weights, strict=True) if each not in self.down]
        if not up:
            raise ValueError("all servers are down; leave at least one")
        if self.table_size != DEFAULT_TABLE and self.algorithm != "maglev":
            raise ValueError(f"table_size is for algorithm: maglev; leave it out for {self.algorithm}")
        self.by_source = self.granularity == source
        self.is_down = [int(server in self.down) for server in self.servers]
        self.counted = len(self.servers) if self.algorithm == "least_connections" else 1
        if self.replaces is not None and self.replaces.algorithm != self.algorithm:
            what = f"algorithm was {self.replaces.algorithm} when the chain began to run, and stays so"
            raise ValueError(f"{what}; weights and down can change")
        if self.algorithm == "least_connections" and len(set(self.servers)) < len(self.servers):
            twice = next(each for each in self.servers if self.servers.count(each) > 1)
            raise ValueError(f"{IPv4Address(twice)} stands twice in servers; give it a weight of 2")
        if self.counted > MAXIMUM_COUNTED:
            raise ValueError(f"{self.counted:,} servers; least_connections takes at most {MAXIMUM_COUNTED:,}")
        if self.algorithm == "least_connections":
            self.shares = [dict(up).get(server, 0) for server in self.servers]
        elif self.algorithm == "maglev":
            # Sorted, so that the table does not depend on the order in which a chain names the servers.
            turns = weighted_turns(sorted(up))
            check_table_size(self.table_size, len(turns))
            self.places = maglev_table(turns, self.table_size)
        else:
            turns = weighted_turns(up)
            self.turns = [len(turns)]
            room = max(USUAL_ROOM, len(turns)) if self.replaces is None else len(self.replaces.places)
            self.places = with_room(turns, room)
        if self.drop_down and self.algorithm != "least_connections":
            number_of = {server: number for number, server in enumerate(self.servers)}
            self.numbers = [number_of.get(server, 0) for server in self.places]

    def new_flow(self, pkt: Packet, state: State) -> None:
        if self.algorithm == "least_connections":
            best = self.with_fewest(0, self.counted, self.core.turn, NO_SERVER)
            self.core.turn = best + 1
            self.core.connections[best] += 1
            state.server, state.number = self.servers[best], best
            return
        if self.algorithm == "maglev":
            place = self.hash_of_flow(pkt) % len(self.places)
        elif self.algorithm == "hash":
            place = self.hash_of_flow(pkt) % self.turns[0]
        else:
            place = self.core.turn % self.turns[0]
            self.core.turn += 1
        state.server = self.places[place]
        if self.drop_down:
            state.number = self.numbers[place]

    def hash_of_flow(self, pkt: Packet) -> int:
        if self.by_source:
            return hash_of(pkt.src)
        return hash_of(pkt.src, pkt.dst, pkt.flow_src_port, pkt.flow_dst_port, pkt.protocol)

    def packet(self, pkt: Packet, state: State) -> int:
        pkt.dst = state.server  # the IPv4, TCP and UDP checksums follow by themselves
        if not self.drop_down:
            return PASS
        return pkt.drop("server down") if self.is_down[state.number] != 0 else PASS

    def expire(self, state: State) -> None:
        if self.algorithm == "least_connections":
            self.core.connections[state.number] -= 1

    def summary(self, states: Any, core: dict[str, int]) -> dict[str, Any]:
        counted = zip(*np.unique(states["server"], return_counts=True), strict=True)
        flows = dict.fromkeys(self.servers, 0) | {int(server): int(count) for server, count in counted}
        return {"flows": {str(IPv4Address(server)): count for server, count in flows.items()}}
