"""NFs with a before_lookup, as somebody might write them, and some that nobody would."""

from fajita import (
    ANY_KEY,
    DROP,
    LOOK_UP,
    NF,
    PASS,
    Array,
    IPv4,
    Layer,
    Packet,
    Sum,
    connection,
    five_tuple,
    ipv4,
    source,
    u16,
    u32,
    u64,
)


class Translator(NF):
    """A NAT with one address: what it gives a connection's first packet, replies are turned back by."""

    key = connection
    keys = ANY_KEY
    about = Layer.IPV4

    class Params:
        address: IPv4 = "192.0.2.7"
        size: int = 4

    class State:
        place: u32
        packets: u64

    class Core:
        turn: u64
        inside: Array[ipv4, "size"]  # noqa: F821
        inside_port: Array[u16, "size"]  # noqa: F821
        strays: u64

    def before_lookup(self, pkt: Packet) -> int:
        if pkt.dst == self.address:
            place = pkt.dst_port % self.size
            if self.core.inside[place] == 0:
                self.core.strays += 1
                return pkt.drop("nobody's")
            pkt.dst = self.core.inside[place]
            pkt.dst_port = self.core.inside_port[place]
            return LOOK_UP
        return LOOK_UP if pkt.is_tcp or pkt.is_udp or pkt.protocol == 60 else PASS

    def new_flow(self, pkt: Packet, state: State) -> None:
        self.core.turn += 1
        state.place = self.core.turn % self.size
        self.core.inside[state.place] = pkt.src
        self.core.inside_port[state.place] = pkt.src_port

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        if pkt.forward:
            pkt.src = self.address
            pkt.src_port = state.place
        return PASS if state.packets < 100 else DROP

    def expire(self, state: State) -> None:
        self.core.inside[state.place] = 0


class Chatter(NF):
    """Every method reads and writes the same variables and draws from the same numbers."""

    key = five_tuple
    keys = ANY_KEY

    class State:
        seen: u64

    class Core:
        number: u64
        numbers: Array[u64, 5]

    def before_lookup(self, pkt: Packet) -> int:
        drawn = self.random(7)
        self.core.number = self.core.number * 3 + drawn
        self.core.numbers[self.core.number % 5] += pkt.length
        pkt.src_port = self.core.number & 3
        if drawn == 1:
            return PASS
        if drawn == 2:
            return pkt.drop("drawn")
        pkt.src = self.core.numbers[drawn] & 3
        pkt.src_low = self.core.number & 1
        return LOOK_UP

    def new_flow(self, pkt: Packet, state: State) -> None:
        state.seen = self.core.number ^ self.random(1000)

    def packet(self, pkt: Packet, state: State) -> int:
        self.core.number ^= state.seen + self.random(9)
        pkt.dst_port = self.core.number & 3
        return DROP if self.core.number % 11 == 0 else PASS

    def expire(self, state: State) -> None:
        self.core.number = self.core.number * 5 + state.seen + self.random(9)


class Ports(NF):
    """Gives packets other ports before their key is read."""

    key = five_tuple
    keys = ANY_KEY

    class Params:
        step: int = 1

    class State:
        packets: Sum[u64]

    def before_lookup(self, pkt: Packet) -> int:
        pkt.dst_port = pkt.src_port + self.step
        return PASS if pkt.src_port == 443 else LOOK_UP

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        return PASS


class Only(NF):
    """Counts the packets of hosts with one kind of address."""

    key = source
    keys = ANY_KEY

    class State:
        packets: Sum[u64]

    def before_lookup(self, pkt: Packet) -> int:
        return LOOK_UP if (pkt.src ^ pkt.src_low) & 1 else PASS

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        return PASS


class FlowPorts(NF):
    """Counts by the port that all fragments of a datagram have, before and after it is rewritten."""

    key = connection
    keys = ANY_KEY

    class State:
        first: u16
        ports: Sum[u64]

    class Core:
        by_port: Array[Sum[u64], 65536]

    def before_lookup(self, pkt: Packet) -> int:
        self.core.by_port[pkt.flow_dst_port] += 1
        if pkt.flow_src_port == 65535:
            return PASS
        pkt.dst_port = pkt.flow_dst_port + 1
        self.core.by_port[pkt.flow_dst_port] += 100
        return LOOK_UP

    def new_flow(self, pkt: Packet, state: State) -> None:
        state.first = pkt.flow_src_port

    def packet(self, pkt: Packet, state: State) -> int:
        state.ports += pkt.flow_dst_port
        pkt.src_port = pkt.flow_dst_port
        self.core.by_port[pkt.flow_src_port] += 10000
        return PASS


class Sees(NF):
    """Counts by the ports of flows, without state."""

    class Core:
        by_port: Array[Sum[u64], 1024]

    def packet(self, pkt: Packet) -> int:
        self.core.by_port[pkt.flow_src_port % 1000] += 1
        self.core.by_port[pkt.flow_dst_port % 1000] += 1000
        return DROP if pkt.flow_dst_port == 54 else PASS
