"""Where things lie in the memory that the kernel and the engine share: the context, the statistics, the scratch area.

Both sides take the offsets from here. All words are int64.
"""

from dataclasses import dataclass

from fajita.lifetime import PACKETS_PER_SWEEP
from fajita.packet import OTHER_REASONS
from fajita.plan import NFPlan, Plan

#: The most packets that one pass handles. 16 beat 32 up to 1 M flows (a burst's lines and headers stay in the cache).
BURST = PACKETS_PER_SWEEP

#: How far ahead of the packet whose NFs run a frame is prefetched: while they run, no frame is read, and the
#: processor's own prefetcher stands still. Without it `three` is a third slower at 1 k and 64 k flows.
FRAMES_AHEAD = 3 * BURST
#: And how far ahead for the second-level cache, from where it is then fetched soon (docs/decisions/4-passes.md).
FRAMES_FARTHER = 2 * FRAMES_AHEAD

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
    "sides",  # the descriptors of the sides of all tables, one after the other
    "tables",  # those of the tables
    "records",  # those of the buffers for records
    "fragments",  # what is remembered of first fragments
    "clock",  # the latest packet time so far
    "clocks",  # what it has come to at each packet of the block, in the whole input; or the packets' times
    "before",  # packets before this block
    "drained",  # 0, or 1 + the table whose entries are to be ended
    "settled",  # 0, or 1 + the table whose idle states are to be ended
    "listed",  # the addresses of those, as slots have them: from here
    "listed_end",  # to here
    "stop",  # the address of a word that is not 0 when all workers are to stand still
    "folded",  # 0, or 1 + the table of which what is foreign in entries is to become their own
    "moved",  # 0, or 1 + the table whose entries are to be moved to a larger one
    "bytes_hashed",  # of a chain with an NF that asks where packets land: what each byte adds to the bucket
    "indirection",  # the worker of each bucket
    "worker",  # the number of this one
    "room",  # where the next frame that becomes longer is copied to
    "room_first",  # where the first was, of this block
    "floors",  # of frames from ports, how far down each may grow where it lies: addresses; 0 where none may
    "gained",  # what frames from ports have become longer by on the wire, in all
    "blank",  # stands for the state of a flow that has none, from the end of the key on
    "coming",  # of packets from an interface, addresses of where those of the next block are described
)
CONTEXT: dict[str, int] = {name: 8 * index for index, name in enumerate(CONTEXT_WORDS)}

#: What the kernel returns: the block is done, or the buffers for records have to be emptied before it goes on, or
#: another worker wants all to stand still; any other number is 1 + the side that has to grow.
DONE, RECORDS_FULL, STOPPED = 0, -1, -2


@dataclass(frozen=True)
class Statistics:
    """Byte offsets of the counters: of the chain, of each reason for `other`, of each NF and each of its reasons.

    received: None for an NF that gets just what the one before it in the segment, with the same table, lets go on.
    """

    in_bytes: int
    dropped_packets: int
    dropped_bytes: int
    other: int
    received: tuple[int | None, ...]
    drops: tuple[tuple[int, ...], ...]
    total: int


def place_statistics(plan: Plan) -> Statistics:
    """One word per counter."""
    at = 24 + 8 * len(OTHER_REASONS)
    received: list[int | None] = []
    drops = []
    for nf in plan.nfs:
        follows = plan.follows_in_group(nf)
        received.append(None if follows else at)
        at += 0 if follows else 8
        drops.append(tuple(at + 8 * reason for reason in range(len(nf.translated.reasons))))
        at += 8 * len(nf.translated.reasons)
    return Statistics(0, 8, 16, 24, tuple(received), tuple(drops), at)


def counts_missed(plan: Plan, nf: NFPlan) -> bool:
    """Whether of an NF those packets are counted that it misses, as nothing before it can drop one."""
    return nf.table is not None and not any(plan.nfs[index].translated.may_drop for index in range(nf.index))


@dataclass(frozen=True)
class TableScratch:
    """Byte offsets in the scratch area, for one table: per packet of a burst its hash, its entry, its key's words.

    entry: before the packet's NFs run, where its entry probably is; then, where the entry's key ends. direction: 1 if
    the key is that of the other direction. key_bytes: from one packet's key to the next, room for the longer side's.
    linked: of a table that workers share, where a link leads, or the copy of what is there. error: of a table whose NFs
    have `error`, whether an ICMP packet has the key of what it quotes.
    """

    hashed: int
    entry: int
    direction: int
    key: int
    key_bytes: int
    linked: int | None
    error: int | None = None


@dataclass(frozen=True)
class Scratch:
    """A scratch area: what one pass over a burst leaves for the next. There is one for each burst on its way.

    status: 1 seen by an NF, 2 dropped. clock: the clock at the packet.
    datagram: of a fragment, what `fragments` says which slot it is about. metadata: a word; None if nothing uses it.
    awaiting: one word for the burst, not 0 if keys of it have still to be guessed; None if no key is.
    """

    headers: int
    status: int
    clock: int
    tables: tuple[TableScratch, ...]
    datagram: int
    metadata: int | None
    awaiting: int | None
    total: int


def place_scratch(plan: Plan) -> Scratch:
    """Arrays of BURST words, one after the other."""
    at = 24 * BURST
    tables = []
    for table in plan.tables:
        key_bytes = max(side.key_bytes for side in table.sides)
        linked = at + (24 + key_bytes) * BURST if table.foreign is not None and table.link is not None else None
        error = at + (24 + key_bytes) * BURST if table.errors else None  # such a table has no link
        tables.append(TableScratch(at, at + 8 * BURST, at + 16 * BURST, at + 24 * BURST, key_bytes, linked, error))
        at += (24 + key_bytes + (0 if linked is None and error is None else 8)) * BURST
    datagram, at = at, at + (8 * BURST if plan.datagrams else 0)
    metadata, at = (at, at + 8 * BURST) if plan.has_metadata else (None, at)
    awaiting, total = (at, at + 64) if any(table.asks for table in plan.tables) else (None, at)
    return Scratch(0, 8 * BURST, 16 * BURST, tuple(tables), datagram, metadata, awaiting, total)
