"""The entries of tables that several workers share: who began an entry, and room for what others do to it.

The worker that began an entry, its owner, writes in it as in one of its own; what others do is added up in an area
behind it, the foreign one, with zeros where there is nothing to add (kernel/shared_table.py).
"""

from collections.abc import Iterator
from dataclasses import replace

from fajita.entry_layout import entry_bytes
from fajita.plan import ForeignArea, ForeignField, NFPlan, Plan, TablePlan
from fajita.sharding import SHARED
from fajita.state_types import ArrayType, StateType


def for_workers(plan: Plan, workers: int) -> Plan:
    """The plan as so many workers run it: with several, the entries of shared tables have a foreign area."""
    if workers == 1 or all(table.sharing != SHARED for table in plan.tables):
        return plan
    return replace(plan, tables=[_shared(plan, table) if table.sharing == SHARED else table for table in plan.tables])


def _shared(plan: Plan, table: TablePlan) -> TablePlan:
    nfs = [plan.nfs[index] for index in table.nfs]
    end = max([table.scalar_bytes, *(nf.array_start + nf.array_bytes for nf in nfs)])
    owner = _gap(table, nfs)
    if owner is None:
        owner, end = end, end + 1
    foreign = _foreign_area(table, nfs, end)
    sides = [
        replace(side, owner=owner, entry_bytes=entry_bytes(side.key_bytes + foreign.start + foreign.bytes))
        for side in table.sides
    ]
    return replace(table, sides=sides, foreign=foreign)


def _gap(table: TablePlan, nfs: list[NFPlan]) -> int | None:
    """A byte among the states that is nobody's, as it is likely to come with them."""
    taken = [(table.last_seen, 8), (table.direction, 1), *((at, 4) for at in table.links.values())]
    taken += [(nf.state_start, nf.state_bytes) for nf in nfs]
    used = {at + byte for at, size in taken if at is not None for byte in range(size)}
    return next((byte for byte in range(table.scalar_bytes) if byte not in used), None)


def _foreign_area(table: TablePlan, nfs: list[NFPlan], end: int) -> ForeignArea:
    start = at = -(-end // 8) * 8
    last_seen = None
    if table.last_seen is not None:
        last_seen, at = at, at + 8
    fields = []
    # The largest first, so that all are aligned.
    for nf, name, kind in sorted(_kept(nfs), key=lambda each: -_element(each[2]).bytes):
        element, count = _element(kind), kind.bytes // _element(kind).bytes
        fields.append(ForeignField(nf, nf.offsets[name], at, element.bytes, count, _merge(kind), element.begin))
        at += element.bytes * count
    return ForeignArea(start, at + 1 - start, at, last_seen, tuple(fields))


def _kept(nfs: list[NFPlan]) -> Iterator[tuple[NFPlan, str, StateType | ArrayType]]:
    for nf in nfs:
        kinds: dict[str, StateType | ArrayType] = {**type(nf.nf).state_fields, **nf.nf.state_arrays}
        for name, kind in kinds.items():
            if name in nf.translated.stored:
                yield nf, name, kind


def _element(kind: StateType | ArrayType) -> StateType:
    return kind.element if isinstance(kind, ArrayType) else kind


def _merge(kind: StateType | ArrayType) -> str:
    assert kind.merge is not None, "only what commutes is shared"
    return kind.merge
