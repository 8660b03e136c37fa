"""External ports of a NAT: where each has its place, which are free, and which mapping gets one.

A place is a protocol, an external address and a port. The free ones are in lists, by parity if that counts. A list is a
ring of its places and of an end. Links are kept as what they differ from those to the neighbours, so that the zeros
with which memory begins are a ring of all places in their order.
"""

from typing import Any

from fajita import Packet, hash_of
from fajita.nfs._nat_packets import ICMP, KIND_COUNT, OTHER

#: In what lies at a place, beside protocol, address and port: it stays for ever, and lets everybody in.
STATIC = 1 << 52
#: Of a pool that is nearly exhausted: addresses, and ports drawn at random, that are tried for a new mapping.
MAXIMUM_ADDRESSES, MAXIMUM_DRAWS = 8, 8
#: Of protocols without ports: what a session adds to the inside address that a remote's packets go to.
ONE_SESSION, ADDRESS = 1 << 32, (1 << 32) - 1


class NatPorts:
    """Gives places to mappings, and takes them back. kind: of `_nat_packets`; external: an address's number."""

    core: Any
    random: Any
    mapping: str
    allocation: str
    other_protocols: str
    addresses: int
    first: int
    last: int
    static_inside: list[int]
    static_places: list[int]

    #: Lists for a protocol and an address, ports for which each has room, those that may be free, and with the end.
    lists: int
    size: int
    free: int
    ring: int

    def place_of(self, kind: int, external: int, port: int) -> int:
        """The place of an endpoint; 0 is none's."""
        number = (external * KIND_COUNT + kind - 1) * self.lists + port % self.lists
        return 1 + number * self.size + port // self.lists

    def start_of(self, place: int) -> int:
        """The first place that may be free of the list that a place belongs to."""
        return 1 + (place - 1) // self.size * self.size + self.first // self.lists

    def keep_static(self) -> None:
        """Give the static mappings their places."""
        for i in range(len(self.static_places)):
            place = self.static_places[i]
            self.core.inside[place] = STATIC | self.static_inside[i]
            self.core.sessions[place] = 1
            if self.mapping == "endpoint_independent":
                self.core.mappings.set(self.static_inside[i], place)
            self.take(place)

    def take(self, place: int) -> None:
        """Take a place out of its list."""
        start = self.start_of(place)
        if 0 <= place - start < self.free:
            after = (place - start + 1 + self.core.next_free[place]) % self.ring
            before = (place - start - 1 + self.core.previous_free[place]) % self.ring
            self.core.next_free[start + before] = (after - before - 1) % self.ring
            self.core.previous_free[start + after] = (before - after + 1) % self.ring

    def mapping_of(self, pkt: Packet, state: Any, kind: int) -> int:
        """The place of the mapping of a host that has sent a packet, a new one if need be; 0 if there is none."""
        port = pkt.icmp_id if kind == ICMP else pkt.flow_src_port
        source = kind << 48 | pkt.src << 16 | port
        if self.other_protocols == "translate" and kind == OTHER:
            return self.place_of_host(pkt, state)
        place = 0
        if self.mapping == "endpoint_independent":
            place = max(self.core.mappings.get(source), 0)
        if place == 0:
            place = self.free_place(pkt, kind, port)
            if place != 0:
                self.take(place)
                self.core.inside[place] = source
                if self.mapping == "endpoint_independent":
                    self.core.mappings.set(source, place)
        return place

    def place_of_host(self, pkt: Packet, state: Any) -> int:
        """A remote's packets go to one host; its address is known by the place of a port that nobody gets."""
        place = 0
        for attempt in range(min(self.addresses, MAXIMUM_ADDRESSES)):
            external = (hash_of(pkt.src) + attempt) % self.addresses
            name = pkt.protocol << 48 | external << 32 | pkt.dst
            host = self.core.hosts.get(name)
            sessions = max(host & ~ADDRESS, 0) + ONE_SESSION
            is_free = place == 0 and (host < 0 or host & ADDRESS == pkt.src)
            if is_free and self.core.hosts.set(name, sessions | pkt.src):
                place = 1 + external * KIND_COUNT * self.lists * self.size
                state.other_protocol = pkt.protocol
        return place

    def free_place(self, pkt: Packet, kind: int, port: int) -> int:
        """A place for a new mapping of a host's port; 0 if none is free."""
        place = 0
        for attempt in range(min(self.addresses, MAXIMUM_ADDRESSES)):
            external = (hash_of(pkt.src) + attempt) % self.addresses
            base = 1 + (external * KIND_COUNT + kind - 1) * self.lists * self.size
            own = base + port % self.lists * self.size + port // self.lists
            may_keep = self.allocation == "preserve" and (self.first <= port <= self.last or kind == ICMP)
            if may_keep and self.core.inside[own] == 0:
                place = own
            for turn in range(self.lists):
                start = base + (port + turn) % self.lists * self.size + self.first // self.lists
                if self.allocation == "random":
                    for _ in range(MAXIMUM_DRAWS):
                        drawn = start + self.random(self.free)
                        if place == 0 and self.core.inside[drawn] == 0:
                            place = drawn
                longest = (self.free + 1 + self.core.next_free[start + self.free]) % self.ring
                if place == 0 and longest != self.free:
                    place = start + longest
            if place != 0:
                break
        return place

    def end_session(self, place: int) -> None:
        """A session less has the place; with its last one it is free."""
        self.core.sessions[place] -= 1
        if self.core.sessions[place] == 0:
            if self.mapping == "endpoint_independent":
                self.core.mappings.remove(self.core.inside[place])
            self.core.inside[place] = 0
            # Behind all others that are free, so that it rests as long as it may.
            start = self.start_of(place)
            if 0 <= place - start < self.free:
                last = (self.free - 1 + self.core.previous_free[start + self.free]) % self.ring
                self.core.next_free[start + last] = (place - start - last - 1) % self.ring
                self.core.previous_free[place] = (last - place + start + 1) % self.ring
                self.core.next_free[place] = (self.free - place + start - 1) % self.ring
                self.core.previous_free[start + self.free] = (place - start - self.free + 1) % self.ring

    def leave_host(self, state: Any) -> None:
        """A session less leads a remote's packets to a host, if it was of a protocol without ports."""
        external = (state.place - 1) // (KIND_COUNT * self.lists * self.size)
        if state.place == 1 + external * KIND_COUNT * self.lists * self.size:
            name = state.other_protocol << 48 | external << 32 | state.remote
            host = self.core.hosts.get(name)
            if host >= 2 * ONE_SESSION:
                self.core.hosts.set(name, host - ONE_SESSION)
            else:
                self.core.hosts.remove(name)
