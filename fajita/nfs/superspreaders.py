"""Who talks to unusually many, in little memory."""

from math import ceil, e, log
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from fajita import NF, PASS, Array, Max, Min, Packet, hash_of, u8, u32, u64
from fajita.nfs._distinct import HASH_BITS, distinct
from fajita.nfs._sketch_keys import MAPPED, address_of, check_memory
from fajita.protocols import ACK_FLAG, SYN_FLAG, TCP_PROTOCOL

LOW = 0xFFFFFFFF
SYN_OR_ACK = SYN_FLAG | ACK_FLAG
#: Registers for all pairs of addresses together.
ALL = 4096
ALL_BITS = ALL.bit_length() - 1


class Superspreaders(NF):
    """Finds the addresses that send to many others, or that many send to.

    Listed are those that send to `threshold` others or more, or, by destination, are sent to by so many. Rows of cells
    count different things (SpreadSketch: Tang, Huang and Lee, INFOCOM 2020). In each row a hash of the source chooses
    the cell, which counts pairs of source and destination by HyperLogLog (Flajolet, Fusy, Gandouet and Meunier, 2007):
    `registers` of a byte, with the largest rank of the pairs' hashes. A source's count is that of the least of its
    registers in all rows. Of a cell's pairs the one with the least of another hash tells whose it is.

    The standard error of a count is 1.04 / sqrt(registers), 6.5 % for 256: of sources with exactly `threshold`
    destinations half are listed, of those with a fifth less none in a thousand, and of those with a quarter more all
    but one. Sources that share cells make a count higher, all but 1 - `confidence` of them by no more than `error` of
    all pairs. That takes e / error cells in each of ln(1 / (1 - confidence)) rows; with a share s of all pairs a source
    goes unseen in d rows of w with a probability of at most (1 / (w s)) ** d. All this depends neither on the order of
    packets nor on the number of workers. The hashes have no key: who knows them can send what collides.

    A server sends to all its clients; with attempts only a SYN without ACK counts of TCP, so that it is
    none; later fragments, and what was captured without its whole TCP header, do not.
    """

    class Params:
        by: Literal["source", "destination"] = "source"
        threshold: Annotated[int, Field(ge=1)] = 500
        registers: Literal[64, 128, 256, 512, 1024, 2048, 4096] = 256
        error: Annotated[float, Field(ge=1e-6, le=0.1)] = 5e-4
        confidence: Annotated[float, Field(ge=0.5, le=0.9999)] = 0.98
        attempts: bool = False

    class Core:
        all: Array[Max[u8], ALL]  # registers for all pairs
        ranks: Array[Max[u8], "ranks_size"]  # noqa: F821 - cell by cell, row by row
        lots: Array[Min[u32], "cells"]  # noqa: F821 - the least of each cell
        keys: Array[Min[u64], "halves"]  # noqa: F821 - whose it is, 32 bits each, and above them the lot

    def prepare(self) -> None:
        self.rows, self.width = ceil(log(1 / (1 - self.confidence))), ceil(e / self.error)
        self.cells = self.rows * self.width
        self.ranks_size, self.halves = self.cells * self.registers, self.cells * 4
        self.bytes = ALL + self.ranks_size + self.cells * 4 + self.halves * 8
        check_memory(self.bytes, "a larger error or fewer registers")
        self.bits = self.registers.bit_length() - 1

    def packet(self, pkt: Packet) -> int:
        if (
            self.attempts
            and pkt.protocol == TCP_PROTOCOL
            and (not pkt.is_tcp or pkt.tcp_flags & SYN_OR_ACK != SYN_FLAG)
        ):
            return PASS
        src_high = 0 if pkt.is_ipv4 else pkt.src_high
        src_low = MAPPED | pkt.src if pkt.is_ipv4 else pkt.src_low
        dst_high = 0 if pkt.is_ipv4 else pkt.dst_high
        dst_low = MAPPED | pkt.dst if pkt.is_ipv4 else pkt.dst_low
        high = src_high if self.by == "source" else dst_high
        low = src_low if self.by == "source" else dst_low
        other_high = dst_high if self.by == "source" else src_high
        other_low = dst_low if self.by == "source" else src_low

        # Hashes of the pair: what rank it has in which register, and its lot.
        spread = hash_of(0, high, low, other_high, other_low)
        lot = hash_of(1, high, low, other_high, other_low) >> 1
        rank = HASH_BITS - self.bits + 1 - (spread >> self.bits).bit_length()
        among_all = HASH_BITS - ALL_BITS + 1 - (spread >> ALL_BITS).bit_length()
        place = spread & ALL - 1
        self.core.all[place] = max(self.core.all[place], among_all)
        for row in range(self.rows):
            cell = row * self.width + (hash_of(row, high, low) * self.width >> 32)
            register = cell * self.registers + (spread & self.registers - 1)
            self.core.ranks[register] = max(self.core.ranks[register], rank)
            if lot <= self.core.lots[cell]:
                self.core.lots[cell] = lot
                half = cell * 4
                for index in range(2):
                    word = high if index == 0 else low
                    self.core.keys[half] = min(self.core.keys[half], lot << 32 | word >> 32 & LOW)
                    self.core.keys[half + 1] = min(self.core.keys[half + 1], lot << 32 | word & LOW)
                    half += 2  # counted, so that nobody asks ahead for what is rarely needed
        return PASS

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        pairs = round(float(distinct(core["all"][None])[0]))
        found = sorted(self.found(core).items(), key=lambda each: (-each[1], each[0]))
        return {
            "pairs": pairs,
            "standard_error": round(1.04 / self.registers**0.5, 4),
            "too_high_by_at_most": int(pairs * e / self.width),
            "memory_bytes": self.bytes,
            f"{self.by}s": len(found),
            "largest": {str(address_of(*key)): count for key, count in found},
        }

    def found(self, core: dict[str, Any]) -> dict[tuple[int, int], int]:
        """The counts that reach the threshold, by whose they are."""
        ranks = core["ranks"].reshape(self.cells, self.registers)
        keys = core["keys"].reshape(self.cells, 4) & np.uint64(LOW)
        counts: dict[tuple[int, int], int] = {}
        for cell in np.flatnonzero(distinct(ranks) >= self.threshold).tolist():
            first, second, third, fourth = keys[cell].tolist()
            high, low = first << 32 | second, third << 32 | fourth
            cells = [row * self.width + (hash_of(row, high, low) * self.width >> 32) for row in range(self.rows)]
            # Pairs whose lots are the same may have made a key of theirs together, which then belongs elsewhere.
            if cell in cells and (high, low) not in counts:
                counts[high, low] = round(float(distinct(ranks[cells].min(axis=0)[None])[0]))
        return {key: count for key, count in counts.items() if count >= self.threshold}
