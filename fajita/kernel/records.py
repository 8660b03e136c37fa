"""Records that NFs emit: copies of whole entries, in a buffer for each NF and side of its table.

A copy of an entry is what tables know how to read as rows. The kernel asks once a burst whether every buffer has room
for all that the burst may emit, and returns to the engine, which empties the buffers, if one has not.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fajita.kernel.function import rare_function
from fajita.kernel.layout import BURST
from fajita.kernel.memory import copy, load_i64, store_64
from fajita.kernel.text import Text
from fajita.lifetime import SWEPT_AT_ONCE
from fajita.plan import NFPlan, Plan, TableSide
from fajita.translation import TranslatedNF

#: The words (int64) of a buffer's descriptor: where the next record goes; the last place at which a burst may begin;
#: the bytes of an entry, and of its key.
NEXT_AT, LAST_AT, ENTRY_BYTES, KEY_BYTES = (8 * word for word in range(4))
DESCRIPTOR_BYTES = 32

#: The most times that one packet makes `expire` of an NF run: an entry makes room for a new one, and the packet's own
#: flow has been idle too long.
EXPIRES_PER_PACKET = 2


@rare_function
def emit_record(records, state):
    """Append a copy of the entry whose key ends at `state` to the buffer with the descriptor `records`."""
    target, size = load_i64(records + NEXT_AT), load_i64(records + ENTRY_BYTES)
    copy(target, state - load_i64(records + KEY_BYTES), size)
    store_64(records + NEXT_AT, target + size)


def records_per_burst(nf: TranslatedNF) -> int:
    """The most records of an NF that a burst makes."""
    by_packet = nf.emits.get("new_flow", 0) + nf.emits.get("packet", 0)
    ends = BURST * EXPIRES_PER_PACKET + SWEPT_AT_ONCE
    return BURST * by_packet + ends * nf.emits.get("expire", 0)


@dataclass(frozen=True)
class RecordPlace:
    """The buffer of an NF for a side of its table; offset: of its descriptor, among those of all of a worker."""

    nf: NFPlan
    side: TableSide
    offset: int


def place_records(plan: Plan) -> tuple[RecordPlace, ...]:
    """The buffers of a worker, those of a side next to each other, in the order of its NFs."""
    pairs = [(nf, side) for table in plan.tables for side in table.sides for nf in _emitting(plan, table.nfs)]
    return tuple(RecordPlace(nf, side, DESCRIPTOR_BYTES * index) for index, (nf, side) in enumerate(pairs))


def records_of_side(plan: Plan, side: TableSide) -> str:
    """What hooks get as `records` for a side's entries, as text: the address of its first descriptor, 0 without one."""
    return next((f"records + {place.offset}" for place in place_records(plan) if place.side is side), "0")


def emit_constants(text: Text, plan: Plan) -> None:
    """`NF__records`: how far the descriptor of an NF is from the first of the side."""
    for table in plan.tables:
        for number, nf in enumerate(_emitting(plan, table.nfs)):
            text.line(f"{nf.translated.prefix}__records = {DESCRIPTOR_BYTES * number}")


def emit_room_check(text: Text, plan: Plan, otherwise: tuple[str, ...]) -> None:
    """What to do otherwise, if a buffer may not take what a burst emits."""
    for place in place_records(plan):
        descriptor = f"records + {place.offset}"
        text.line(f"if load_i64({descriptor} + NEXT_AT) > load_i64({descriptor} + LAST_AT):  # {place.nf.nf.name}")
        for line in otherwise:
            text.line(f"    {line}")


def _emitting(plan: Plan, nfs: list[int]) -> Iterator[NFPlan]:
    return (plan.nfs[index] for index in nfs if plan.nfs[index].translated.may_emit)
