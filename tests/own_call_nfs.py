"""An NF whose hooks call methods of its own, in every way they can."""

from fajita import DROP, LOOK_UP, NF, PASS, Map, Packet, Sum, connection, u8, u16, u32, u64

SMALL, turn = 64, 7


class Calling(NF):
    """Counts by what its methods say of packets."""

    key = connection

    class Params:
        limit: int = 5

    class State:
        packets: u64
        marks: u32
        last: u64
        port: u16
        kind: u8

    class Core:
        small: Sum[u64]
        seen: Map[1, 1000]

    def before_lookup(self, pkt: Packet) -> int:
        if self.is_foreign(pkt):
            return PASS
        return self.looked_up(pkt, pkt.src_port)

    def new_flow(self, pkt: Packet, state: State) -> None:
        self.note(pkt, state, 0)
        state.kind = self.kind_of(pkt)

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        count = 3
        distance: int = self.distance(pkt.src, pkt.dst, count)
        if not self.is_foreign(pkt) and distance > 0:
            self.note(pkt, state, distance)
        elif self.bounded(distance, self.limit) > count:
            state.marks += 1
        for step in range(count):
            place = self.place(step, state)
            if place == 2:
                break
            state.marks += place
        if pkt.is_tcp:
            return self.judged(pkt, state, "tcp")
        return self.judged(pkt, state, "other")

    def error(self, pkt: Packet, state: State) -> int:
        if not pkt.related:
            return PASS
        return self.packet(pkt, state)

    def expire(self, state: State) -> None:
        self.close(state)

    def close(self, state: State) -> None:
        if state.packets < 2:
            return
        self.core.small += 1

    def is_foreign(self, pkt: Packet) -> bool:
        return pkt.ttl == 77 or self.core.seen.get(pkt.src) > 40

    def looked_up(self, packet: Packet, port: int) -> int:
        """Its own names for all, and a parameter that it changes."""
        port += 1
        if port == 1:
            return packet.drop("port 0")
        for step in range(3):
            if packet.dst_port == step:
                return DROP
        return LOOK_UP

    def note(self, pkt: Packet, state: State, distance: int) -> None:
        state.last = pkt.time_ns
        if distance == 0:
            return
        count = distance & 0xFFFF  # hides nobody's count
        if count > 9:
            state.port = count
            return
        state.port = turn
        self.core.seen.set(pkt.src, self.core.seen.get(pkt.src) + 2)

    def kind_of(self, pkt: Packet) -> int:
        if pkt.length < SMALL:
            return 1
        elif pkt.is_udp:
            kind = 2
        else:
            kind = 3
            if pkt.is_tcp:
                return 4
        return kind + 10

    def distance(self, one: int, other: int, least: int) -> int:
        """Calls another, whose variables have the same names."""
        count = self.bounded(one - other, 1 << 40)
        return max(count, least)

    def bounded(self, count: int, most: int) -> int:
        count = abs(count)
        if count > most:
            count = most
        return count

    def place(self, step: int, state: State) -> int:
        found = 0
        for each in range(step, 4):
            if state.marks & 1 << each != 0:
                found = each
                break
        return found

    def judged(self, pkt: Packet, state: State, reason: str) -> int:
        if state.packets % 5 == 4 and reason == "tcp":
            return pkt.drop("every fifth")
        return self.passed(pkt)

    def passed(self, pkt: Packet) -> int:
        pkt.ttl = self.bounded(pkt.ttl, 200)
        return PASS
