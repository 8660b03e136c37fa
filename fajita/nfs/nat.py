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
    hash_of,
    ipv4,
    key_of,
    u8,
    u16,
    u32,
    u64,
)
from fajita.nfs._nat_packets import (
    ASKED,
    BOTH_FINISHED,
    BOTH_SENT,
    ICMP,
    KIND,
    KIND_COUNT,
    KINDS,
    OTHER,
    OWNER_FINISHED,
    OWNER_SENT,
    QUERIES,
    REDIRECT,
    REMOTE_FINISHED,
    REMOTE_SENT,
    REPLIES,
    RESET,
    TCP,
    UDP,
)
from fajita.nfs._nat_parameters import FAR, INSIDE, MULTICAST, octets, port_range, ranges_apart, static_mappings
from fajita.nfs._tcp_states import (
    COUNT,
    IGNORED,
    MALFORMED,
    NONE,
    REFUSED,
    SYN_SENT,
    TIME_WAIT,
    TRANSITIONS,
)
from fajita.nfs._tcp_states import KINDS as SEGMENTS
from fajita.protocols import ACK_FLAG, FIN_FLAG, RST_FLAG, SYN_FLAG

SECOND = 10**9
#: In what lies at a place, beside protocol, address and port: it stays for ever, and lets everybody in.
STATIC = 1 << 52
#: Of a pool that is nearly exhausted: addresses, and ports drawn at random, that are tried for a new mapping.
MAXIMUM_ADDRESSES, MAXIMUM_DRAWS = 8, 8
#: Of protocols without ports: what a session adds to the inside address that a remote's packets go to.
ONE_SESSION, ADDRESS = 1 << 32, (1 << 32) - 1
MOST_HOSTS = 1 << 16


class Nat(NF):
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
        """A place for each protocol, external address and port; a list of the free ones, by parity if that counts.

        A list is a ring of its places and of an end. Links are kept as what they differ from those to the neighbours,
        so that the zeros with which memory begins are a ring of all places in their order.
        """
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
        self.static_places = []
        for one in static:
            number = (one.external * KIND_COUNT + KIND[one.protocol] - 1) * self.lists + one.port % self.lists
            self.static_places.append(1 + number * self.size + one.port // self.lists)
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
            for i in range(len(self.static_places)):
                place = self.static_places[i]
                self.core.inside[place] = STATIC | self.static_inside[i]
                self.core.sessions[place] = 1
                if self.mapping == "endpoint_independent":
                    self.core.mappings.set(self.static_inside[i], place)
                start = 1 + (place - 1) // self.size * self.size + self.first // self.lists
                if 0 <= place - start < self.free:
                    after = (place - start + 1 + self.core.next_free[place]) % self.ring
                    before = (place - start - 1 + self.core.previous_free[place]) % self.ring
                    self.core.next_free[start + before] = (after - before - 1) % self.ring
                    self.core.previous_free[start + after] = (before - after + 1) % self.ring

        from_inside = self.octets[pkt.src >> 24] == INSIDE
        if not from_inside:
            for i in range(len(self.inside_first)):
                if self.inside_first[i] <= pkt.src <= self.inside_last[i]:
                    from_inside = True
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
            for i in range(len(self.inside_first)):
                if self.inside_first[i] <= pkt.dst <= self.inside_last[i]:
                    return PASS

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
            missing = pkt.length - pkt.captured_length
            options = 4 * pkt.tcp_data_offset - 20
            if pkt.is_tcp and (
                SEGMENTS[pkt.tcp_flags & 63] == MALFORMED or not 0 <= options <= pkt.tcp_options_length + missing
            ):
                return pkt.drop("malformed")
            reach = 65535 if pkt.is_fragment else 8 + pkt.payload_length + missing
            if pkt.is_udp and not 8 <= pkt.udp_length <= reach:
                return pkt.drop("malformed")
            if pkt.is_error and kind != OTHER and pkt.payload_length + missing < (pkt.payload[0] & 15) * 4 + 8:
                return pkt.drop("malformed")
        self.core.from_inside = from_inside
        self.core.place = 0
        if external < 0:
            return LOOK_UP

        if self.other_protocols == "translate" and kind == OTHER:
            protocol = pkt.quoted_protocol if pkt.is_error else pkt.protocol
            remote = pkt.quoted_dst if pkt.is_error else pkt.src
            host = self.core.hosts.get(protocol << 48 | external << 32 | remote)
            if host < 0 or from_inside:
                return pkt.drop("no mapping")
            pkt.dst = host
            if pkt.is_error:
                pkt.quoted_src = host
            return LOOK_UP

        port = pkt.flow_dst_port
        if pkt.is_error:
            port = pkt.quoted_icmp_id if kind == ICMP else pkt.quoted_src_port
        elif kind == ICMP:
            port = pkt.icmp_id
        number = (external * KIND_COUNT + kind - 1) * self.lists + port % self.lists
        place = 1 + number * self.size + port // self.lists
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
        place = 0
        state.expire_in = 1  # unless there is a session
        target = self.core.inside[self.core.place]
        if self.core.place != 0 and target == 0:
            return  # its last session was this one, or had to make room for it: it has just ended
        if kind != OTHER and not pkt.is_tcp and not pkt.is_udp and not pkt.is_icmp:
            return  # a later fragment: its first had one, or is not to have one
        if self.strict and pkt.is_tcp and TRANSITIONS[SEGMENTS[pkt.tcp_flags & 63] * COUNT + NONE] == REFUSED:
            return
        open_to_all = self.filtering == "endpoint_independent" or target >= STATIC
        if self.core.from_inside:
            state.owner_forward = True
            state.remote = pkt.dst
            port = pkt.icmp_id if kind == ICMP else pkt.flow_src_port
            source = kind << 48 | pkt.src << 16 | port
            if self.other_protocols == "translate" and kind == OTHER:
                # A remote's packets go to one host; its address is known by the place of a port that nobody gets.
                for attempt in range(min(self.addresses, MAXIMUM_ADDRESSES)):
                    external = (hash_of(pkt.src) + attempt) % self.addresses
                    name = pkt.protocol << 48 | external << 32 | pkt.dst
                    host = self.core.hosts.get(name)
                    sessions = max(host & ~ADDRESS, 0) + ONE_SESSION
                    is_free = place == 0 and (host < 0 or host & ADDRESS == pkt.src)
                    if is_free and self.core.hosts.set(name, sessions | pkt.src):
                        place = 1 + external * KIND_COUNT * self.lists * self.size
                        state.other_protocol = pkt.protocol
                if place == 0:
                    return
            if self.mapping == "endpoint_independent" and place == 0:
                place = max(self.core.mappings.get(source), 0)
            if place == 0:
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
                if place == 0:
                    return
                start = 1 + (place - 1) // self.size * self.size + self.first // self.lists
                if 0 <= place - start < self.free:
                    after = (place - start + 1 + self.core.next_free[place]) % self.ring
                    before = (place - start - 1 + self.core.previous_free[place]) % self.ring
                    self.core.next_free[start + before] = (after - before - 1) % self.ring
                    self.core.previous_free[start + after] = (before - after + 1) % self.ring
                self.core.inside[place] = source
                if self.mapping == "endpoint_independent":
                    self.core.mappings.set(source, place)
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
            way = 0 if pkt.forward else 1
            stage = TRANSITIONS[(way * MALFORMED + SEGMENTS[pkt.tcp_flags & 63]) * COUNT + state.stage]
            if stage == REFUSED:
                return pkt.drop("invalid")
            if stage == SYN_SENT and state.stage >= TIME_WAIT and state.tcp & BOTH_FINISHED == 0:
                stage = IGNORED  # it was reset, or so it seemed
            if stage != IGNORED:
                state.stage = stage
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
            tcp = state.tcp
            if pkt.tcp_flags & RST_FLAG:
                tcp |= RESET
            else:
                over = tcp & RESET != 0 or tcp & BOTH_FINISHED == BOTH_FINISHED
                if over and pkt.tcp_flags & (SYN_FLAG | ACK_FLAG) == SYN_FLAG:
                    tcp = 0
                tcp = tcp & ~RESET | (OWNER_SENT if from_owner else REMOTE_SENT)
                if pkt.tcp_flags & FIN_FLAG:
                    tcp |= OWNER_FINISHED if from_owner else REMOTE_FINISHED
            state.tcp = tcp
            lasts = tcp & (BOTH_SENT | RESET) == BOTH_SENT and tcp & BOTH_FINISHED != BOTH_FINISHED
            state.expire_in = self.established if lasts else self.transitory
            if self.strict and tcp & RESET != 0 and tcp & BOTH_SENT != BOTH_SENT:
                state.expire_in = 1  # nobody has answered: there is none

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
            external = (state.place - 1) // (KIND_COUNT * self.lists * self.size)
            if state.place == 1 + external * KIND_COUNT * self.lists * self.size:
                name = state.other_protocol << 48 | external << 32 | state.remote
                host = self.core.hosts.get(name)
                if host >= 2 * ONE_SESSION:
                    self.core.hosts.set(name, host - ONE_SESSION)
                else:
                    self.core.hosts.remove(name)
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
                self.core.sessions[place] -= 1
                if self.core.sessions[place] == 0:
                    if self.mapping == "endpoint_independent":
                        self.core.mappings.remove(self.core.inside[place])
                    self.core.inside[place] = 0
                    # Behind all others that are free, so that it rests as long as it may.
                    start = 1 + (place - 1) // self.size * self.size + self.first // self.lists
                    if 0 <= place - start < self.free:
                        last = (self.free - 1 + self.core.previous_free[start + self.free]) % self.ring
                        self.core.next_free[start + last] = (place - start - last - 1) % self.ring
                        self.core.previous_free[place] = (last - place + start + 1) % self.ring
                        self.core.next_free[place] = (self.free - place + start - 1) % self.ring
                        self.core.previous_free[start + self.free] = (place - start - self.free + 1) % self.ring

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        taken = np.concatenate([inside[inside != 0] for inside in core["inside"]])
        kinds = np.bincount((taken >> np.uint64(48)).astype(np.int64) & 3, minlength=4)
        counts = {f"{name}_mappings": int(kinds[kind]) for name, kind in KIND.items()}
        return {"sessions": int((states["place"] != 0).sum())} | counts
