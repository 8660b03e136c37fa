"""Virtual services: an address and a port that stand for several servers."""

from ipaddress import IPv4Address
from typing import Any

import numpy as np

from fajita import (
    LOOK_UP,
    NF,
    PASS,
    Array,
    Duration,
    IPv4,
    Layer,
    Packet,
    connection,
    flag,
    hash_of,
    ipv4,
    u8,
    u16,
    u32,
    u64,
)
from fajita.nfs._least_connections import LeastConnections
from fajita.nfs._servers import USUAL_ROOM, maglev_table, weighted_turns, with_room
from fajita.nfs._services import HASH_SHIFT, EndpointTable, Service, check_services
from fajita.protocols import ACK_FLAG, FIN_FLAG, RST_FLAG, SYN_FLAG

ALGORITHMS = ("round_robin", "least_connections", "hash", "maglev")
ROUND_ROBIN, LEAST_CONNECTIONS = 0, 1
#: In place of a server's number: all servers are down; a server has sent something that answers nothing.
NO_SERVER, NO_CONNECTION = 0, 0xFFFF
FIN_OF_CLIENT, FIN_OF_SERVER = 1, 2


class VirtualServer(LeastConnections, NF):
    """Gives each connection to a service to one of its servers, and answers come from the service.

    services are told by destination address, port and protocol (tcp, or udp); other packets pass. Each has its servers,
    {address, port, weight, mac}, of which the port is the service's if left out and the weight 1; and its algorithm:
    round_robin, least_connections, maglev (with table_size) as `load_balancer` has them, or hash, of the five-tuple.

    forwarding: nat rewrites destination address and port, and of answers the source, which have to come this way;
    address and port of a server are of one such service only. direct leaves packets as they are but for the destination
    MAC address, which becomes the server's `mac`: the server has the service's address too, on an interface that does
    not tell others of it, and answers clients itself (direct server return).

    A connection stays with its server until it is idle for `timeout`, or for closed_timeout after a RST or a FIN of
    both sides. Servers that are down get no new ones; with drop_down what they have is dropped too. down, and weights
    and algorithms of services, can change while a chain runs, from Python; to least_connections if a service had it
    when the run began, to maglev with a table_size for which there is room, 1,021 at least.
    """

    key = connection
    about = Layer.IPV4

    class Params:
        services: list[Service]
        down: list[IPv4] = []
        drop_down: bool = False
        closed_timeout: Duration = "10s"

    class State:
        server: ipv4
        port: u16
        number: u16  # of the server among those of all services, from 1
        closed: u8
        expire_in: u64

    class Core:
        # Of the packet at hand.
        service: u16
        is_answer: flag
        turns: Array[u32, "service_count"]  # noqa: F821 - of each service
        connections: Array[u32, "server_count"]  # noqa: F821 - by server's number, for least_connections

    def prepare(self) -> None:
        check_services(self.services)
        if self.closed_timeout < 1:
            raise ValueError("closed_timeout is 0; give more, such as 10s")
        self.shortest_expire_in = max(self.closed_timeout, 10**9)
        servers = [(service, server) for service in self.services for server in service.servers]
        if unknown := set(self.down) - {server.address for _, server in servers}:
            raise ValueError(f"down: {IPv4Address(min(unknown))} is none of the servers")
        self.service_count, self.server_count = len(self.services), 1 + len(servers)
        self.service_addresses = [service.address for service in self.services]
        self.service_ports = [service.port for service in self.services]
        self.addresses = [0, *(server.address for _, server in servers)]
        self.ports = [0, *(service.port_of(server) for service, server in servers)]
        self.macs = [0, *(server.mac or 0 for _, server in servers)]
        self.is_direct = [0, *(int(service.forwarding == "direct") for service, _ in servers)]
        self.is_down = [0, *(int(server.address in self.down) for _, server in servers)]
        weights = [weight for service in self.services for weight in service.weights]
        self.shares = [0, *(weight * (not down) for weight, down in zip(weights, self.is_down[1:], strict=True))]
        self.has_direct, self.has_nat = 1 in self.is_direct[1:], 0 in self.is_direct[1:]

        fronts = {service.front: number for number, service in enumerate(self.services)}
        table = EndpointTable.of(fronts)
        self.fronts, self.front_numbers, self.front_probes = table.keys, table.numbers, table.probes
        self.front_factor, self.front_mask = table.factor, table.mask
        nat = [(service, server) for service, server in servers if service.forwarding == "nat"]
        table = EndpointTable.of({service.back(server): fronts[service.front] for service, server in nat})
        self.backs, self.back_numbers, self.back_probes = table.keys, table.numbers, table.probes
        self.back_factor, self.back_mask = table.factor, table.mask
        self._choose()

    def _choose(self) -> None:
        """Make the lists by which a service's next server is chosen."""
        self.algorithms = [ALGORITHMS.index(service.algorithm) for service in self.services]
        before = self.replaces
        self.counts_connections = LEAST_CONNECTIONS in self.algorithms
        if before is not None and self.counts_connections != before.counts_connections:
            if self.counts_connections:
                what = f"service {self.services[self.algorithms.index(LEAST_CONNECTIONS)]}: algorithm least_connections"
                raise ValueError(f"{what} is for chains that began to run with it for a service; give another")
            self.counts_connections = True
        self.server_counts = [len(service.servers) for service in self.services]
        self.first_servers = [1 + sum(self.server_counts[:number]) for number in range(self.service_count)]
        tables = [self._places_of(*each) for each in zip(self.services, self.first_servers, strict=True)]
        self.place_counts = [len(table) for table in tables]
        rooms = [
            max(len(table), service.table_size if service.algorithm == "maglev" else USUAL_ROOM)
            for service, table in zip(self.services, tables, strict=True)
        ]
        self.rooms = rooms if before is None or len(before.rooms) != len(rooms) else before.rooms
        self.first_places = [sum(self.rooms[:number]) for number in range(self.service_count)]
        for service, table, room in zip(self.services, tables, self.rooms, strict=True):
            if service.algorithm == "maglev" and len(table) > room:
                what = f"service {service}: there is no room for a table_size of {len(table):,}"
                raise ValueError(f"{what}; give at most {room:,} while the chain runs")
        filled = [with_room(table, room) for table, room in zip(tables, self.rooms, strict=True)]
        self.places = [number for table in filled for number in table]

    def _places_of(self, service: Service, first: int) -> list[int]:
        """The servers of a service that are up, by turn or by place in Maglev's table. first: number of its first."""
        number_of = {service.back(server): first + place for place, server in enumerate(service.servers)}
        weights = zip(service.servers, service.weights, strict=True)
        up = [(service.back(each), weight) for each, weight in weights if each.address not in self.down]
        if not up:
            return []
        if service.algorithm == "maglev":
            chosen = maglev_table(weighted_turns(sorted(up)), service.table_size)
        else:
            chosen = weighted_turns(up)
        return [number_of[endpoint] for endpoint in chosen]

    def before_lookup(self, pkt: Packet) -> int:
        if pkt.is_error:  # about an answer that did not get to its client; or a packet that did not get to its server
            front = pkt.quoted_src << 24 | pkt.quoted_src_port << 8 | pkt.quoted_protocol
            back = pkt.quoted_dst << 24 | pkt.quoted_dst_port << 8 | pkt.quoted_protocol
        else:
            front = pkt.dst << 24 | pkt.flow_dst_port << 8 | pkt.protocol
            back = pkt.src << 24 | pkt.flow_src_port << 8 | pkt.protocol
        first = (front * self.front_factor >> HASH_SHIFT) & self.front_mask
        for place in range(first, first + self.front_probes):
            if self.fronts[place] == front:
                self.core.service = self.front_numbers[place]
                self.core.is_answer = False
                return LOOK_UP
        if self.has_nat:
            first = (back * self.back_factor >> HASH_SHIFT) & self.back_mask
            for place in range(first, first + self.back_probes):
                if self.backs[place] == back:
                    self.core.is_answer = True
                    if pkt.is_error:
                        pkt.quoted_dst = self.service_addresses[self.back_numbers[place]]
                        pkt.quoted_dst_port = self.service_ports[self.back_numbers[place]]
                    else:
                        pkt.src = self.service_addresses[self.back_numbers[place]]
                        pkt.src_port = self.service_ports[self.back_numbers[place]]
                    return LOOK_UP
        return PASS

    def new_flow(self, pkt: Packet, state: State) -> None:
        number = NO_CONNECTION
        if not self.core.is_answer:
            service = self.core.service
            number = NO_SERVER
            turn = self.core.turns[service]
            if self.algorithms[service] == LEAST_CONNECTIONS:
                number = self.with_fewest(self.first_servers[service], self.server_counts[service], turn, NO_SERVER)
                self.core.turns[service] = number - self.first_servers[service] + 1
            elif self.place_counts[service] > 0:
                if self.algorithms[service] == ROUND_ROBIN:
                    self.core.turns[service] = turn + 1
                else:
                    turn = hash_of(pkt.src, pkt.dst, pkt.flow_src_port, pkt.flow_dst_port, pkt.protocol)
                number = self.places[self.first_places[service] + turn % self.place_counts[service]]
        state.number = number
        if number in (NO_SERVER, NO_CONNECTION):
            state.expire_in = 1  # the next packet begins anew
        else:
            state.server, state.port = self.addresses[number], self.ports[number]
        if self.counts_connections:
            self.core.connections[number] += 1

    def packet(self, pkt: Packet, state: State) -> int:
        if state.number == NO_SERVER:
            return pkt.drop("no server")
        if state.number == NO_CONNECTION:
            return pkt.drop("no connection")
        if self.drop_down and self.is_down[state.number] != 0:
            return pkt.drop("server down")
        if pkt.forward:
            if self.has_direct and (not self.has_nat or self.is_direct[state.number] != 0):
                pkt.eth_dst = self.macs[state.number]
            else:
                pkt.dst = state.server
                pkt.dst_port = state.port
        if pkt.is_tcp and pkt.tcp_flags & (FIN_FLAG | SYN_FLAG | RST_FLAG) != 0:
            if pkt.tcp_flags & RST_FLAG != 0:
                state.expire_in = self.closed_timeout
            elif pkt.tcp_flags & FIN_FLAG != 0:
                state.closed |= FIN_OF_CLIENT if pkt.forward else FIN_OF_SERVER
                if state.closed == FIN_OF_CLIENT | FIN_OF_SERVER:
                    state.expire_in = self.closed_timeout
            elif pkt.forward and pkt.tcp_flags & ACK_FLAG == 0:  # the client uses its port again
                state.closed = 0
                state.expire_in = 0
        return PASS

    def error(self, pkt: Packet, state: State) -> int:
        if not pkt.related or state.number in (NO_SERVER, NO_CONNECTION):
            return pkt.drop("no connection")
        if not pkt.forward:
            if pkt.src == state.server:
                pkt.src = pkt.quoted_dst
        elif self.has_direct and (not self.has_nat or self.is_direct[state.number] != 0):
            pkt.eth_dst = self.macs[state.number]
        else:
            pkt.dst = state.server
            pkt.quoted_src = state.server
            pkt.quoted_src_port = state.port
        return PASS

    def expire(self, state: State) -> None:
        if self.counts_connections:
            self.core.connections[state.number] -= 1

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        counts = np.bincount(states["number"], minlength=self.server_count)
        shown: dict[str, Any] = {}
        for service, first in zip(self.services, self.first_servers, strict=True):
            servers = {service.shown(server): int(counts[first + n]) for n, server in enumerate(service.servers)}
            shown[str(service)] = {"connections": sum(servers.values()), "servers": servers}
        return shown
