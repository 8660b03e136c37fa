"""Where things lie in the memory that the kernel and the engine share: the context, the statistics, the scratch area.

Both sides take the offsets from here. All words are int64.
"""

from dataclasses import dataclass

from fajita.packet import OTHER_REASONS
from fajita.plan import Plan

#: The most packets that one pass handles. 16 beat 32 up to 1 M flows (a burst's lines and headers stay in the cache).
BURST = 16

#: Words of the context, the only argument of the kernel.
CONTEXT_WORDS = (
    "position",  # the next frame of the block; the kernel moves it on
    "end",  # frames in the block
    "address",  # from here on addresses: the arrays of the block
    "captured",
    "wire",
    "time_ns",
    "link",
    "verdict",
    "scratch",
    "core",
    "constants",
    "statistics",
    "tables",  # the descriptors of the tables, one after the other
)
CONTEXT: dict[str, int] = {name: 8 * index for index, name in enumerate(CONTEXT_WORDS)}


@dataclass(frozen=True)
class Statistics:
    """Byte offsets of the counters: of the chain, of each reason for `other`, of each NF and each of its reasons."""

    in_bytes: int
    out_packets: int
    out_bytes: int
    other: int
    nf_in: tuple[int, ...]
    nf_drops: tuple[tuple[int, ...], ...]
    total: int


def place_statistics(plan: Plan) -> Statistics:
    """One word per counter."""
    at = 24 + 8 * len(OTHER_REASONS)
    nf_in, nf_drops = [], []
    for nf in plan.nfs:
        nf_in.append(at)
        reasons = len(nf.translated.reasons)
        nf_drops.append(tuple(at + 8 + 8 * reason for reason in range(reasons)))
        at += 8 + 8 * reasons
    return Statistics(0, 8, 16, 24, tuple(nf_in), tuple(nf_drops), at)


@dataclass(frozen=True)
class TableScratch:
    """Byte offsets in the scratch area, for one table: per packet of a burst its hash, its entry, its key's words."""

    hashed: int
    entry: int
    key: int


@dataclass(frozen=True)
class Scratch:
    """The scratch area: what one pass over a burst leaves for the next. status: 1 seen by an NF, 2 dropped."""

    headers: int
    status: int
    tables: tuple[TableScratch, ...]
    total: int


def place_scratch(plan: Plan) -> Scratch:
    """Arrays of BURST words, one after the other."""
    at = 16 * BURST
    tables = []
    for table in plan.tables:
        tables.append(TableScratch(at, at + 8 * BURST, at + 16 * BURST))
        at += 8 * BURST * (2 + table.key.words)
    return Scratch(0, 8 * BURST, tuple(tables), at)
