"""NFs with arrays, bits, random numbers and hashes, as somebody might write them."""
# ruff: noqa: F821 - the name of a size looks like one of a type

from typing import Any

from fajita import (
    DROP,
    NF,
    PASS,
    Array,
    Bits,
    Max,
    Or,
    Packet,
    Sum,
    connection,
    five_tuple,
    flag,
    hash_of,
    i16,
    ipv4,
    mac,
    source,
    u8,
    u16,
    u32,
    u64,
)

ROWS = 4


class CountMin(NF):
    """A count-min sketch of bytes by source (Cormode, Muthukrishnan 2005)."""

    class Params:
        width: int = 1 << 14

    class Core:
        heaviest: Max[u64]
        counts: Array[Sum[u32], "size"]

    def prepare(self) -> None:
        self.size = ROWS * self.width

    def packet(self, pkt: Packet) -> int:
        least = (1 << 63) - 1
        for row in range(ROWS):
            place = row * self.width + hash_of(row, pkt.src) % self.width
            self.core.counts[place] += pkt.length
            least = min(least, self.core.counts[place])
        self.core.heaviest = max(self.core.heaviest, least)
        return PASS


class BloomFilter(NF):
    """Drops the first packet of every flow."""

    class Params:
        bits: int = 1 << 22

    class Core:
        seen: Or[Bits["bits"]]
        fresh: Sum[u64]

    def packet(self, pkt: Packet) -> int:
        if not pkt.is_udp and not pkt.is_tcp:
            return PASS
        first = hash_of(pkt.src, pkt.dst, pkt.src_port, pkt.dst_port, pkt.protocol)
        second = hash_of(first) | 1
        known = True
        for i in range(3):
            known = known and self.core.seen[(first + i * second) % self.bits]
            self.core.seen[(first + i * second) % self.bits] = True
        if known:
            return PASS
        self.core.fresh += 1
        return pkt.drop("first")


class Histogram(NF):
    """Sizes of the packets of every connection, and the gaps between them, by their logarithms."""

    key = connection

    class State:
        last_ns: u64
        sizes: Array[u16, 12]
        gaps: Array[u32, 40]
        ways: Bits[2]

    def packet(self, pkt: Packet, state: Any) -> int:
        size, bucket = pkt.length, 0
        for bit in range(11):
            if size >> bit:
                bucket = bit
        state.sizes[bucket] += 1
        if state.last_ns != 0:
            gap = pkt.time_ns - state.last_ns
            steps = 0
            for bit in range(0, len(state.gaps)):
                if gap >> bit > 0:
                    steps = bit
            state.gaps[steps] += 1
        state.last_ns = pkt.time_ns
        state.ways[1 if pkt.forward else 0] = True
        return PASS


class PerHost(NF):
    """Gives every source a number, under which its figures lie in arrays of the worker."""

    key = source

    class Params:
        hosts: int = 1 << 16

    class State:
        slot: u32

    class Core:
        given: u32
        ended: Sum[u32]
        packets: Array[Sum[u64], "hosts"]
        last_server: Array[ipv4, "hosts"]
        last_station: Array[mac, "hosts"]
        drift: Array[i16, "hosts"]
        is_client: Array[flag, "hosts"]

    def new_flow(self, pkt: Packet, state: Any) -> None:
        state.slot = self.core.given
        self.core.given += 1

    def packet(self, pkt: Packet, state: Any) -> int:
        slot = state.slot
        self.core.packets[slot] += 1
        self.core.last_server[slot] = pkt.dst
        self.core.last_station[slot] = pkt.eth_src
        self.core.drift[slot] -= pkt.length
        self.core.is_client[slot] = self.core.is_client[slot] or pkt.dst_port < 1024
        if self.core.packets[slot] > 5 and self.core.drift[slot] < 0:
            return DROP
        return PASS

    def expire(self, state: Any) -> None:
        self.core.ended += 1
        self.core.packets[state.slot] = 0


class Reservoir(NF):
    """A sample of the packets of every flow, and one of all packets (Vitter's algorithm R, 1985)."""

    key = five_tuple

    class State:
        seen: u32
        sample: Array[u64, 6]

    class Core:
        seen: u64
        sample: Array[u64, 100]

    def new_flow(self, pkt: Packet, state: Any) -> None:
        state.sample[0] = self.random(1000)

    def packet(self, pkt: Packet, state: Any) -> int:
        state.seen += 1
        if state.seen <= len(state.sample):
            state.sample[state.seen - 1] = pkt.time_ns
        elif self.random(state.seen) < len(state.sample):
            state.sample[self.random(len(state.sample))] = pkt.time_ns
        self.core.seen += 1
        place = self.core.seen - 1 if self.core.seen <= 100 else self.random(self.core.seen)
        self.core.sample[place] = pkt.time_ns
        return PASS if self.random(50) > 0 or self.random(2) == 0 else pkt.drop("bad luck")

    def expire(self, state: Any) -> None:
        self.core.sample[self.random(100)] = 0


class LargeState(NF):
    """Keeps how often a source sends to each of many ports: an entry of several kilobytes."""

    key = source

    class State:
        packets: u32
        ports: Array[u8, 4096]
        seen: Bits[4096]
        ring: Array[u64, 100]

    def packet(self, pkt: Packet, state: Any) -> int:
        state.ports[pkt.dst_port & 4095] += 1
        state.seen[pkt.src_port & 4095] = not state.seen[pkt.src_port & 4095]
        state.ring[state.packets % 100] = pkt.length
        state.packets += 1
        if state.ring[99] > 0 and state.ports[pkt.dst_port & 4095] == 1:
            return pkt.drop("scan")
        return PASS


ALL: tuple[type[NF], ...] = (CountMin, BloomFilter, Histogram, PerHost, Reservoir, LargeState)
