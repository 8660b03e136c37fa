"""A load balancer for layer 4."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address
from itertools import cycle
from math import gcd, isqrt
from typing import Any, Literal

import numpy as np

from fajita import NF, PASS, IPv4, Layer, Packet, five_tuple, hash_of, ipv4, source, u32

DEFAULT_TABLE = 65_537  # the paper's smaller table
MAXIMUM_TABLE = 1 << 20  # takes seconds to fill
MAXIMUM_TURNS = 1 << 16


class LoadBalancer(NF):
    """Sends each new flow to one of the servers and rewrites its destination address.

    round_robin gives the next server to each new flow, in turn, one turn per worker. hash chooses by the addresses
    and ports, so that a flow goes to the same server on every worker and in every run. maglev does so by a hash of the
    five-tuple, or with `key: source` of the source address, that leads to a place in a table (Eisenbud et al., Maglev:
    A Fast and Reliable Software Network Load Balancer, NSDI 2016, section 3.4): a chain with one of its N servers less
    sends hardly more flows elsewhere than that server's; less than 2/N of all for up to 100 servers. More of them need
    a larger table_size, a prime. The hashes have no key: who knows them can send flows that all go to one server.

    weights are the servers' shares of the new flows, in their order: [3, 1, 1]; left out, all are equal. A flow stays
    with its server as long as its state is there. A later fragment goes where its first went; one that came before it
    is not seen here and keeps its destination.
    """

    key = five_tuple
    about = Layer.IPV4
    keys = (source,)

    class Params:
        servers: list[IPv4]
        algorithm: Literal["round_robin", "hash", "maglev"] = "round_robin"
        weights: list[int] = []
        table_size: int = DEFAULT_TABLE

    class State:
        server: ipv4

    class Core:
        turn: u32

    def prepare(self) -> None:
        if not self.servers:
            raise ValueError("servers is empty; give at least one address")
        weights = checked_weights(self.weights, len(self.servers))
        self.by_source = self.granularity == source
        if self.algorithm == "maglev":
            # Sorted, so that the table does not depend on the order in which a chain names the servers.
            turns = weighted_turns(sorted(zip(self.servers, weights, strict=True)))
            check_table_size(self.table_size, len(turns))
            self.places = maglev_table(turns, self.table_size)
        elif self.table_size != DEFAULT_TABLE:
            raise ValueError(f"table_size is for algorithm: maglev; leave it out for {self.algorithm}")
        else:
            self.places = weighted_turns(zip(self.servers, weights, strict=True))

    def new_flow(self, pkt: Packet, state: State) -> None:
        if self.algorithm == "maglev":
            if self.by_source:
                place = hash_of(pkt.src)
            else:
                place = hash_of(pkt.src, pkt.dst, pkt.src_port, pkt.dst_port, pkt.protocol)
        elif self.algorithm == "hash":
            # Multiplication by 2**32 over the golden ratio (Knuth, TAOCP 3, 6.4) spreads neighbouring addresses.
            mixed = (pkt.src ^ (pkt.src_port << 16) ^ pkt.dst_port) * 0x9E3779B1
            place = (mixed >> 16) & 0xFFFFFFFF
        else:
            place = self.core.turn
            self.core.turn += 1
        state.server = self.places[place % len(self.places)]

    def packet(self, pkt: Packet, state: State) -> int:
        pkt.dst = state.server  # the IPv4, TCP and UDP checksums follow by themselves
        return PASS

    def summary(self, states: Any, core: dict[str, int]) -> dict[str, Any]:
        return {"flows": {str(IPv4Address(s)): int((states["server"] == s).sum()) for s in self.servers}}


def checked_weights(weights: list[int], servers: int) -> list[int]:
    """The weights in lowest terms, all 1 if there are none."""
    if not weights:
        return [1] * servers
    if len(weights) != servers:
        raise ValueError(f"weights: {len(weights)}, servers: {servers}; give one weight for each server")
    if min(weights) < 1:
        raise ValueError(f"a weight is {min(weights)}; give 1 or more, and leave out servers that get nothing")
    divisor = gcd(*weights)
    reduced = [weight // divisor for weight in weights]
    if sum(reduced) > MAXIMUM_TURNS:
        raise ValueError(
            f"weights add up to {sum(reduced):,} in lowest terms; give smaller ones, at most {MAXIMUM_TURNS:,} together"
        )
    return reduced


def weighted_turns(servers: Iterable[tuple[int, int]]) -> list[int]:
    """One cycle of turns of (server, weight): each server has exactly its weight's, spread over the cycle.

    Smooth weighted round robin, as nginx has it: the one with most credit is next, and pays for all.
    """
    addresses, weights = zip(*servers, strict=True)
    gains = np.array(weights, np.int64)
    credits = np.zeros_like(gains)
    turns: list[int] = []
    for _ in range(sum(weights)):
        credits += gains
        chosen = int(credits.argmax())
        credits[chosen] -= sum(weights)
        turns.append(addresses[chosen])
    return turns


def check_table_size(size: int, turns: int) -> None:
    """ValueError for a size that is no prime, less than the turns or too large."""
    if not turns <= size <= MAXIMUM_TABLE:
        right = f"give a prime from {turns:,} (the servers, by weight) to {MAXIMUM_TABLE:,}"
        raise ValueError(f"table_size is {size:,}; {right}")
    if size < 2 or any(size % divisor == 0 for divisor in range(2, isqrt(size) + 1)):
        raise ValueError(f"table_size is {size:,}, which is no prime; {DEFAULT_TABLE:,} is one")


def maglev_table(turns: Sequence[int], size: int) -> list[int]:
    """The lookup table: servers take turns, each takes the next free place of its own permutation of all places."""
    next_place = {server: hash_of(server, 0) % size for server in turns}
    skip = {server: hash_of(server, 1) % (size - 1) + 1 for server in turns}
    table = [-1] * size
    for _, server in zip(range(size), cycle(turns), strict=False):
        place, step = next_place[server], skip[server]
        while table[place] >= 0:
            place = (place + step) % size
        table[place] = server
        next_place[server] = place
    return table
