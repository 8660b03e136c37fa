"""A network address and port translator for IPv4."""

from typing import Any, Literal

import numpy as np

from fajita import (
    LOOK_UP,
    NF,
    PASS,
    Array,
    Duration,
    Layer,
    Map,
    Packet,
    everything,
    flag,
    ipv4,
    key_of,
    u8,
    u16,
    u32,
    u64,
)
from fajita.nfs._nat_packets import (
    ASKED,
    ICMP,
    KIND,
    KIND_COUNT,
    KINDS,
    OTHER,
    QUERIES,
    REDIRECT,
    REPLIES,
    TCP,
    UDP,
    NatPackets,
)
from fajita.nfs._nat_parameters import FAR, INSIDE, MULTICAST, octets, port_range, ranges_apart, static_mappings
from fajita.nfs._nat_ports import STATIC, NatPorts
from fajita.nfs._tcp_states import COUNT, NONE, REFUSED, TRANSITIONS
from fajita.nfs._tcp_states import KINDS as SEGMENTS

SECOND = 10**9
MOST_HOSTS = 1 << 16


class Nat(NatPackets, NatPorts, NF):
    """Translates inside addresses and ports to outside ones and back: NAPT44 of RFC 4787, 5382, 5508.

    What comes from inside (prefixes) gets an external address (addresses and prefixes) and a port of `ports`; what
    goes to an external address is translated back or dropped; everything else passes, multicast and what stays inside
    too. Of ICMP, queries from inside are translated by their identifier, and errors with the packet that they quote;
    other messages are dropped. other_protocols: dropped, or their addresses are translated: a remote's packets go to
    one host. strict drops what no connection has, as rules do that drop what Linux finds invalid: lengths and flags
    that cannot be, segments that the state of a connection does not allow. The TTL is left alone.

    mapping: an inside address and port has one external endpoint for all destinations, or one for each. All mappings
    of a host have the same external address as long as that has ports. filtering says who may send to a mapping:
    anybody, addresses (RFC 4787, REQ-8, where that matters more than transparency, so it is the default) or addresses
    and ports that its host has sent to. allocation: of a new mapping's port: the host's own if it is free, else the
    one that has been free for longest; that one; or a random one. parity: even ports become even ones while there
    are some. Nothing is done for contiguity, as RFC 4787 asks for nothing. static mappings let everybody in:
    {external: "203.0.113.7:80/tcp", inside: "10.0.0.5:8080"}.

    A mapping lives as long as it has sessions: pairs of an inside and a remote endpoint that have not been idle for
    udp, icmp or, of TCP, established (both have sent, neither a reset, and not both a FIN) or transitory. With
    `fragments: drop` in the chain no fragment leaves untranslated that comes before its first.
    """

    key = key_of(
        "src", "dst", "src_port", "dst_port", "protocol", "icmp_id", name="session", layer=Layer.FLOW, symmetric=True
    )
    about = Layer.IPV4

    class Params:
        inside: list[str]
        external: list[str]
        ports: str = "1024-65535"
        mapping: Literal["endpoint_independent", "address_and_port_dependent"] = "endpoint_independent"
        filtering: Literal["endpoint_independent", "address_dependent", "address_and_port_dependent"] = (
            "address_dependent"
        )
        allocation: Literal["preserve", "sequential", "random"] = "preserve"
        parity: bool = True
        other_protocols: Literal["drop", "translate"] = "drop"
        strict: bool = False
        static: list[dict[str, str]] = []
        established: Duration = "7440s"
        transitory: Duration = "240s"
        udp: Duration = "300s"
        icmp: Duration = "60s"

    class State:
        # Of the session's owner, who is inside, and the remote, as the owner sees that. In an order without gaps.
        expire_in: u64
        place: u32  # of the owner's mapping; 0: the session is refused
        external: ipv4
        remote: ipv4
        peer_place: u32  # of a remote that is inside, too: its mapping
        port: u16
        peer_port: u16
        other_protocol: u8
        tcp: u8
        stage: u8  # if strict: of a TCP connection; of ICMP, which queries there were
        owner_forward: flag  # the owner has begun the session
        permitted: flag  # the remote, for the owner's mapping
        open: flag  # the remote, who is inside, lets the owner in

    class Core:
        begun: flag
        # Of the packet at hand: where it comes from; the place of the external endpoint that it went to, or 0.
        from_inside: flag
        place: u32
        address: ipv4
        port: u16
        # By place: the protocol, address and port inside, 0 if it is free; how many sessions; links of free places.
        inside: Array[u64, "places"]  # noqa: F821
        sessions: Array[u32, "places"]  # noqa: F821
        next_free: Array[u32, "places"]  # noqa: F821
        previous_free: Array[u32, "places"]  # noqa: F821
        mappings: Map[1, "most_mappings"]  # noqa: F821
        permissions: Map[1, "most_permissions"]  # noqa: F821
        hosts: Map[1, "most_hosts"]  # noqa: F821

    def prepare(self) -> None:
        """A place for each protocol, external address and port; a list of the free ones, by parity if that counts."""
        inside, external = ranges_apart(self.inside, self.external)
        self.inside_first, self.inside_last = inside
        self.external_first, self.external_last = external
        self.octets = octets(inside, external)
        sizes = [last - first + 1 for first, last in zip(self.external_first, self.external_last, strict=True)]
        self.external_before = [sum(sizes[:index]) for index in range(len(sizes))]
        self.addresses = sum(sizes)
        self.first, self.last = port_range(self.ports)
        self.lists = 2 if self.parity else 1
        if (self.last + 1 - self.first) % self.lists or self.first % self.lists:
            raise ValueError(f"ports is {self.ports}; with parity give an even one to an odd one, such as 1024-65535")
        self.free = (self.last + 1 - self.first) // self.lists
        self.ring = self.free + 1
        self.size = 65536 // self.lists + 1
        self.places = 1 + self.addresses * KIND_COUNT * self.lists * self.size
        by_endpoint = self.mapping == "endpoint_independent"
        static = static_mappings(self.static, inside, external, by_endpoint)
        self.static_inside = [KIND[one.protocol] << 48 | one.inside << 16 | one.inside_port for one in static]
        self.static_places = [self.place_of(KIND[one.protocol], one.external, one.port) for one in static]
        # ICMP identifiers may be any.
        all_ports = self.addresses * (65536 + 2 * self.lists * self.free) + len(static)
        self.most_mappings = all_ports if by_endpoint else 1
        self.most_permissions = max(all_ports, 1 << 20) if self.filtering == "address_dependent" else 1
        self.most_hosts = MOST_HOSTS if self.other_protocols == "translate" else 1
        # Sessions of all workers share the ports and what is known of them.
        self.together = everything
        # Half of it is the longest that a port is kept after a session's end.
        self.shortest_expire_in = min(10 * SECOND, self.established, self.transitory, self.udp, self.icmp)

    def before_lookup(self, pkt: Packet) -> int:
        if len(self.static_places) > 0 and not self.core.begun:
            self.core.begun = True
            self.keep_static()
        from_inside = self.is_inside(pkt.src)
        # Most packets are of TCP and UDP and go to where a look at an octet shows that it is far away.
        if not self.strict and from_inside and self.octets[pkt.dst >> 24] == FAR and (pkt.is_udp or pkt.is_tcp):
            self.core.from_inside = True
            self.core.place = 0
            return LOOK_UP
        external = -1
        for i in range(len(self.external_first)):
            if self.external_first[i] <= pkt.dst <= self.external_last[i]:
                external = self.external_before[i] + pkt.dst - self.external_first[i]
        if external < 0:
            if not from_inside or pkt.dst >= MULTICAST:
                return PASS
            if self.is_inside(pkt.dst):
                return PASS
        return self.let_in(pkt, from_inside, external)

    def is_inside(self, address: int) -> bool:
        is_inside = self.octets[address >> 24] == INSIDE
        if not is_inside:
            for i in range(len(self.inside_first)):
                if self.inside_first[i] <= address <= self.inside_last[i]:
                    is_inside = True
        return is_inside

    def let_in(self, pkt: Packet, from_inside: bool, external: int) -> int:
        """What becomes of a packet that is the NAT's. external: the number of the address that it goes to, or -1."""
        kind = TCP if pkt.is_tcp else UDP
        if not pkt.is_tcp and not pkt.is_udp:
            kind = KINDS[pkt.quoted_protocol if pkt.is_error else pkt.protocol]
            if kind == OTHER and self.other_protocols == "drop":
                return pkt.drop("protocol")
            if kind == ICMP and not pkt.is_error:
                if not pkt.is_icmp:
                    return pkt.drop("icmp fragment")
                if external < 0 and pkt.icmp_type not in QUERIES:
                    return pkt.drop("icmp type")
                if external >= 0 and pkt.icmp_type not in REPLIES:
                    return pkt.drop("icmp type")
            if pkt.is_error and pkt.icmp_type == REDIRECT:
                return pkt.drop("icmp type")
            if pkt.is_error and pkt.quoted_src != pkt.dst:
                return pkt.drop("no session")  # it is not for who has sent what it is about
            if kind != OTHER and not pkt.is_icmp and (pkt.flow_dst_port == 0 or pkt.src_port != 0):
                return pkt.drop("header not captured")
        if self.strict:
            is_malformed = self.is_malformed(pkt, kind)
            if is_malformed:
                return pkt.drop("malformed")
        self.core.from_inside = from_inside
        self.core.place = 0
        if external < 0:
            return LOOK_UP
        if self.other_protocols == "translate" and kind == OTHER:
            return self.lead_to_host(pkt, from_inside, external)
        return self.lead_to_mapping(pkt, kind, external)

    def lead_to_host(self, pkt: Packet, from_inside: bool, external: int) -> int:
        """Of a protocol without ports: to the host that a remote's packets go to."""
        protocol = pkt.quoted_protocol if pkt.is_error else pkt.protocol
        remote = pkt.quoted_dst if pkt.is_error else pkt.src
        host = self.core.hosts.get(protocol << 48 | external << 32 | remote)
        if host < 0 or from_inside:
            return pkt.drop("no mapping")
        pkt.dst = host
        if pkt.is_error:
            pkt.quoted_src = host
        return LOOK_UP

    def lead_to_mapping(self, pkt: Packet, kind: int, external: int) -> int:
        """To the address and port inside that an external endpoint stands for."""
        port = pkt.flow_dst_port
        if pkt.is_error:
            port = pkt.quoted_icmp_id if kind == ICMP else pkt.quoted_src_port
        elif kind == ICMP:
            port = pkt.icmp_id
        place = self.place_of(kind, external, port)
        inside = self.core.inside[place]
        if inside == 0:
            return pkt.drop("no mapping")
        self.core.place = place
        self.core.address = pkt.dst
        self.core.port = port
        if pkt.is_error:
            pkt.dst = inside >> 16
            pkt.quoted_src = inside >> 16
            if kind == ICMP:
                pkt.quoted_icmp_id = inside
            else:
                pkt.quoted_src_port = inside
        else:
            pkt.dst = inside >> 16
            pkt.dst_port = inside
            pkt.icmp_id = inside
        return LOOK_UP

    def new_flow(self, pkt: Packet, state: State) -> None:
        kind = KINDS[pkt.protocol]
        state.expire_in = 1  # unless there is a session
        target = self.core.inside[self.core.place]
        if self.core.place != 0 and target == 0:
            return  # its last session was this one, or had to make room for it: it has just ended
        if kind != OTHER and not pkt.is_tcp and not pkt.is_udp and not pkt.is_icmp:
            return  # a later fragment: its first had one, or is not to have one
        if self.strict and pkt.is_tcp and TRANSITIONS[SEGMENTS[pkt.tcp_flags & 63] * COUNT + NONE] == REFUSED:
            return
        open_to_all = self.filtering == "endpoint_independent" or target >= STATIC
        place = 0
        if self.core.from_inside:
            state.owner_forward = True
            state.remote = pkt.dst
            place = self.mapping_of(pkt, state, kind)
            if place == 0:
                return
            if self.core.place != 0:
                state.peer_place = self.core.place
                state.remote = self.core.address
                state.peer_port = self.core.port
                state.open = open_to_all
                self.core.sessions[self.core.place] += 1
        else:
            state.remote = pkt.src
            if kind == OTHER:
                return
            if not open_to_all:
                if self.filtering == "address_and_port_dependent":
                    return
                if self.core.permissions.get(self.core.place << 32 | pkt.src) < 0:
                    return
            place = self.core.place
        self.begin_session(state, kind, place)

    def begin_session(self, state: State, kind: int, place: int) -> None:
        state.place = place
        self.core.sessions[place] += 1
        number, index = (place - 1) // self.size, (place - 1) % self.size
        state.port = index * self.lists + number % self.lists
        external = number // self.lists // KIND_COUNT
        for i in range(len(self.external_first)):
            if external >= self.external_before[i]:
                state.external = self.external_first[i] + external - self.external_before[i]
        if self.filtering == "address_dependent":
            permission = place << 32 | state.remote
            state.permitted = self.core.permissions.set(permission, max(self.core.permissions.get(permission), 0) + 1)
        state.expire_in = self.transitory if kind == TCP else self.icmp if kind == ICMP else self.udp

    def packet(self, pkt: Packet, state: State) -> int:
        if self.strict and pkt.is_tcp:
            is_valid = self.follow_stage(pkt, state)
            if not is_valid:
                return pkt.drop("invalid")
        if state.place == 0:
            if KINDS[pkt.protocol] != OTHER and not pkt.is_tcp and not pkt.is_udp and not pkt.is_icmp:
                return pkt.drop("fragment")
            return pkt.drop("no port") if state.owner_forward else pkt.drop("filtered")
        from_owner = pkt.forward == state.owner_forward
        if self.strict and pkt.is_icmp:
            asked = ASKED[pkt.icmp_type] << 4 * min(pkt.icmp_code, 1)
            if from_owner:
                state.stage |= asked
            elif state.stage & asked == 0:
                return pkt.drop("invalid")
        if pkt.is_tcp:
            self.follow_tcp(pkt, state, from_owner)

        if from_owner:
            if state.peer_place != 0 and not state.open:
                if self.filtering == "address_dependent":
                    state.open = self.core.permissions.get(state.peer_place << 32 | state.external) > 0
                if not state.open:
                    return pkt.drop("filtered")
            pkt.src = state.external
            pkt.src_port = state.port
            pkt.icmp_id = state.port
        elif state.peer_place != 0:
            state.open = True
            pkt.src = state.remote
            pkt.src_port = state.peer_port
            pkt.icmp_id = state.peer_port
        return PASS

    def error(self, pkt: Packet, state: State) -> int:
        if not pkt.related or state.place == 0:
            return pkt.drop("no session")
        # Who sends it has got the packet that it quotes, as that was when it had been translated.
        if pkt.forward == state.owner_forward:
            pkt.src = state.external
            pkt.quoted_dst = state.external
            pkt.quoted_dst_port = state.port
            pkt.quoted_icmp_id = state.port
        elif state.peer_place != 0:
            pkt.src = state.remote
            pkt.quoted_dst = state.remote
            pkt.quoted_dst_port = state.peer_port
            pkt.quoted_icmp_id = state.peer_port
        return PASS

    def expire(self, state: State) -> None:
        if self.other_protocols == "translate":
            self.leave_host(state)
        if state.permitted:
            permission = state.place << 32 | state.remote
            sessions = self.core.permissions.get(permission)
            if sessions > 1:
                self.core.permissions.set(permission, sessions - 1)
            else:
                self.core.permissions.remove(permission)
        for i in range(2):
            place = state.place if i == 0 else state.peer_place
            if place != 0:
                self.end_session(place)

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        taken = np.concatenate([inside[inside != 0] for inside in core["inside"]])
        kinds = np.bincount((taken >> np.uint64(48)).astype(np.int64) & 3, minlength=4)
        counts = {f"{name}_mappings": int(kinds[kind]) for name, kind in KIND.items()}
        return {"sessions": int((states["place"] != 0).sum())} | counts
