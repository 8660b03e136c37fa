"""NFs with `error`, for tests."""

from fajita import ANY_KEY, NF, PASS, Packet, Sum, connection, u32, u64


class Errors(NF):
    """Keeps of ICMP errors which flows they are about, whichever state those are in, and writes what they quote."""

    key = connection
    keys = ANY_KEY

    class Params:
        writes: bool = True

    class State:
        packets: u32
        errors: u32

    class Core:
        order: u64

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        return PASS

    def error(self, pkt: Packet, state: State) -> int:
        state.errors += 1
        seen = state.packets << 16 | state.errors << 8 | (2 if pkt.forward else 0) | (1 if pkt.related else 0)
        self.core.order = (self.core.order ^ seen) * 0x100000001B3 + 1
        if self.writes:
            pkt.quoted_src = pkt.quoted_dst
            pkt.quoted_dst_port += 1
        return PASS if pkt.related else pkt.drop("of no flow")


class CountsErrors(NF):
    """Counts packets and errors of connections, and errors of none."""

    key = connection
    keys = ANY_KEY

    class State:
        packets: u32
        there: u32
        back: u32

    class Core:
        unrelated: Sum[u64]

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        return PASS

    def error(self, pkt: Packet, state: State) -> int:
        if not pkt.related:
            self.core.unrelated += 1
        elif pkt.forward:
            state.there += 1
        else:
            state.back += 1
        return PASS
