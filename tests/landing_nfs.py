"""NFs that ask where packets land, as somebody might write them."""

from fajita import ANY_KEY, NF, PASS, IPv4, Layer, Packet, Sum, connection, five_tuple, flag, ipv4, u16, u64

#: What `Masquerade` leaves as the time to live: that replies land where the flow is, or that it found no such address.
LANDS, STRAYS = 200, 100


class Masquerade(NF):
    """Gives each flow an address and a port of a pool, if possible such that replies come to the flow's worker."""

    key = five_tuple
    keys = (connection,)
    about = Layer.IPV4

    class Params:
        pool: list[IPv4]
        first: int = 1024
        count: int = 60_000
        attempts: int = 64

    class State:
        address: ipv4
        port: u16
        lands: flag

    class Core:
        turn: u64

    def new_flow(self, pkt: Packet, state: State) -> None:
        for attempt in range(self.attempts):
            turn = self.core.turn + attempt
            state.address = self.pool[turn % len(self.pool)]
            state.port = self.first + turn % self.count
            state.lands = self.lands_here(pkt.dst, state.address, pkt.dst_port, state.port)
            if state.lands:
                break
        self.core.turn += 1

    def packet(self, pkt: Packet, state: State) -> int:
        pkt.src = state.address
        pkt.src_port = state.port
        pkt.ttl = LANDS if state.lands else STRAYS
        return PASS


class Strays(NF):
    """Drops packets whose reply would not come to the same worker, and what is not about ports at all."""

    about = Layer.IPV4

    class Core:
        met: u64

    def packet(self, pkt: Packet) -> int:
        lands = self.lands_here(pkt.dst, pkt.src, pkt.dst_port, pkt.src_port)
        if lands and pkt.src_port != 0:
            self.core.met += 1
            return PASS
        return pkt.drop("portless") if lands else pkt.drop("strays")


class Wild(NF):
    """Asks with numbers that are no addresses or ports."""

    key = five_tuple
    keys = ANY_KEY

    class State:
        answers: Sum[u64]

    def packet(self, pkt: Packet, state: State) -> int:
        for i in range(4):
            far = pkt.src << 8 * i
            if self.lands_here(-far, far + pkt.src_high, -pkt.dst_port, far ^ pkt.time_ns):
                state.answers += 1 << i
        return PASS
