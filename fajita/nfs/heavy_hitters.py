"""The largest senders, receivers or flows, in little memory."""

from heapq import heappush, heapreplace
from math import ceil, e, log
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fajita import NF, PASS, Array, Min, Packet, Sum, hash_of, u32, u64
from fajita.nfs._sketch_keys import HALF, MAPPED, address_of, check_memory
from fajita.protocols import ICMP_PROTOCOL, ICMPV6_PROTOCOL, SCTP_PROTOCOL, TCP_PROTOCOL, UDP_PROTOCOL

PROTOCOLS = {
    ICMP_PROTOCOL: "icmp",
    TCP_PROTOCOL: "tcp",
    UDP_PROTOCOL: "udp",
    ICMPV6_PROTOCOL: "icmp6",
    SCTP_PROTOCOL: "sctp",
}
LOW = 0xFFFFFFFF
#: 64-bit words of a key.
WORDS = {"source": 2, "destination": 2, "address_pair": 4, "five_tuple": 5}
#: Parts of a row for each key that is wanted.
PARTS = 1024

#: Ports and protocol; the upper and the lower half of the second address, and of the first or only one.
Key = tuple[int, int, int, int, int]


class HeavyHitters(NF):
    """Finds the `top` keys with the most packets or bytes, with an error that is known beforehand.

    Counts are those of a Count-Min sketch (Cormode and Muthukrishnan, An improved data stream summary: the count-min
    sketch and its applications, 2005): rows of counters, of which each packet adds to one in each row, by a hash of its
    key. A count is the least of a key's counters. None is too low, and all but 1 - `confidence` of them are too high by
    no more than `error` of all packets or bytes. That takes e / error counters in each of ln(1 / (1 - confidence))
    rows.

    In each row so many counters together, or one, as make 1,024 parts for each key that is wanted, have the key of one
    of their packets: of that for which a hash of what the packet is, by its length if bytes count, came out least. So
    it is drawn by lot from all that they have counted. A key with a share s of everything is in none of d rows of w
    parts with a probability of no more than (1 / (w s)) ** d, if the packets of a key differ, be it in time: 1e-4 for
    s = 1 / 10,000 and the parameters as they are left out. Where differences between keys are smaller than the error,
    which of them are the largest is not told.

    All this depends neither on the order of packets nor on the number of workers. The hashes have no key: who knows
    them can send what collides.

    by: addresses, pairs of them or flows one way; prefix and prefix_v6 let so many bits of an address count.
    """

    class Params:
        by: Literal["source", "destination", "address_pair", "five_tuple"] = "source"
        count: Literal["packets", "bytes"] = "packets"
        top: Annotated[int, Field(ge=1, le=100_000)] = 100
        error: Annotated[float, Field(ge=1e-7, le=0.1)] = 1e-5
        confidence: Annotated[float, Field(ge=0.5, le=0.9999)] = 0.98
        prefix: Annotated[int, Field(ge=0, le=32)] = 32
        prefix_v6: Annotated[int, Field(ge=0, le=128)] = 128

    class Core:
        total: Sum[u64]
        counts: Array[Sum[u64], "counters"]  # noqa: F821 - row by row
        lots: Array[Min[u32], "parts"]  # noqa: F821 - the least of each part of a row
        keys: Array[Min[u64], "halves"]  # noqa: F821 - whose it is, 32 bits each, and above them the lot

    def prepare(self) -> None:
        self.rows, self.width = ceil(log(1 / (1 - self.confidence))), ceil(e / self.error)
        self.narrow = min(self.width, PARTS * self.top)
        self.words = WORDS[self.by]
        self.counters, self.parts = self.rows * self.width, self.rows * self.narrow
        self.halves = self.parts * self.words * 2
        self.bytes = self.counters * 8 + self.parts * 4 + self.halves * 8
        check_memory(self.bytes, "a larger error or fewer of the top")
        self.mask = LOW & ~(LOW >> self.prefix)
        mask_v6 = (1 << 128) - (1 << 128 - self.prefix_v6)
        self.mask_high, self.mask_low = mask_v6 >> 64, mask_v6 & HALF

    def packet(self, pkt: Packet) -> int:
        src_high = 0 if pkt.is_ipv4 else pkt.src_high & self.mask_high
        src_low = MAPPED | pkt.src & self.mask if pkt.is_ipv4 else pkt.src_low & self.mask_low
        dst_high = 0 if pkt.is_ipv4 else pkt.dst_high & self.mask_high
        dst_low = MAPPED | pkt.dst & self.mask if pkt.is_ipv4 else pkt.dst_low & self.mask_low
        high = dst_high if self.by == "destination" else src_high
        low = dst_low if self.by == "destination" else src_low
        other_high = dst_high if self.words > 2 else 0
        other_low = dst_low if self.words > 2 else 0
        rest = pkt.flow_src_port << 24 | pkt.flow_dst_port << 8 | pkt.protocol if self.by == "five_tuple" else 0

        amount = pkt.length if self.count == "bytes" else 1
        self.core.total += amount
        what = pkt.ip_id << 32 | pkt.src_port << 16 | pkt.dst_port
        drawn = hash_of(pkt.time_ns, what, pkt.tcp_sequence << 32 | pkt.length, low, high ^ other_low) >> 1
        lot = drawn // max(amount, 1)
        for row in range(self.rows):
            # What is known when the chain is compiled comes first, and then costs nothing.
            hashed = hash_of(row, rest, other_high, other_low, high, low)
            self.core.counts[row * self.width + (hashed * self.width >> 32)] += amount
            part = row * self.narrow + (hashed * self.narrow >> 32)
            if lot <= self.core.lots[part]:
                self.core.lots[part] = lot
                half = part * self.words * 2
                for index in range(self.words):
                    word = high if index == 0 else low if index == 1 else other_high if index == 2 else other_low
                    word = rest if index == 4 else word
                    self.core.keys[half] = min(self.core.keys[half], lot << 32 | word >> 32 & LOW)
                    self.core.keys[half + 1] = min(self.core.keys[half + 1], lot << 32 | word & LOW)
                    half += 2  # counted, so that nobody asks ahead for what is rarely needed
        return PASS

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        total = int(core["total"])
        top = sorted(self.largest(core), key=lambda each: (-each[0], each[1]))
        return {
            self.count: total,
            "too_high_by_at_most": int(total * e / self.width),
            "memory_bytes": self.bytes,
            "top": {self.text(key): count for count, key in top},
        }

    def largest(self, core: dict[str, Any]) -> list[tuple[int, Key]]:
        """The largest counts, with their keys."""
        counts, halves = core["counts"].reshape(self.rows, -1), core["keys"].reshape(self.parts, -1)
        # No count is above the largest counter of its part, so that a search from the largest on can end early.
        most = self.most(counts)
        found: list[tuple[int, tuple[int, ...], Key]] = []
        seen: set[Key] = set()
        for part in np.argsort(most)[::-1].tolist():
            if most[part] == 0 or (len(found) == self.top and most[part] < found[0][0]):
                break
            key = self.key_of(halves[part])
            if key in seen:
                continue
            # Packets whose lots are the same may have made a key of theirs together, which then belongs elsewhere.
            if hash_of(part // self.narrow, *key) * self.narrow >> 32 != part % self.narrow:
                continue
            seen.add(key)
            count = self.count_of(counts, key)
            entry = (count, tuple(-word for word in key), key)  # of equal ones the first address
            if len(found) < self.top:
                heappush(found, entry)
            elif entry > found[0]:
                heapreplace(found, entry)
        return [(count, key) for count, _, key in found]

    def count_of(self, counts: NDArray[np.uint64], key: Key) -> int:
        """The least of a key's counters."""
        hashes = (hash_of(row, *key) for row in range(self.rows))
        return min(int(counts[row, hashed * self.width >> 32]) for row, hashed in enumerate(hashes))

    def most(self, counts: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The largest counter of each part."""
        # A part begins where the first hash is that is its own; the counter there may be its neighbour's too.
        firsts = (np.arange(self.narrow, dtype=np.uint64) << 32) // self.narrow * self.width >> 32
        most = np.maximum.reduceat(counts, firsts.astype(np.intp), axis=1)
        following = counts[:, np.append(firsts[1:], self.width - 1).astype(np.intp)]
        return np.maximum(most, following).ravel()

    def key_of(self, parts: Any) -> Key:
        """The key that lies in such parts."""
        halves = [int(part) & LOW for part in parts]
        words = [above << 32 | below for above, below in zip(halves[::2], halves[1::2], strict=True)]
        high, low, other_high, other_low, rest = words + [0] * (5 - len(words))
        return rest, other_high, other_low, high, low

    def text(self, key: Key) -> str:
        """A key, as people write it."""
        rest, other_high, other_low, high, low = key
        ports = [f" port {rest >> 24}", f" port {rest >> 8 & 0xFFFF}"] if self.words == 5 else ["", ""]
        ends = []
        for address, port in zip((address_of(high, low), address_of(other_high, other_low)), ports, strict=True):
            bits, whole = (self.prefix, 32) if address.version == 4 else (self.prefix_v6, 128)
            ends.append(f"{address}{'' if bits == whole else f'/{bits}'}{port}")
        if self.words == 2:
            return ends[0]
        protocol = f" {PROTOCOLS.get(rest & 0xFF, rest & 0xFF)}" if self.words == 5 else ""
        return " > ".join(ends) + protocol
