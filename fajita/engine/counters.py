"""What an engine counts; both engines give the same numbers for the same frames. Workers' counts add up."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Self


def _add(left: Any, right: Any) -> Any:
    """The sum of two counts, or of all counts with the same name, in the same place."""
    if isinstance(left, dict):
        return {name: left.get(name, 0) + right.get(name, 0) for name in dict.fromkeys([*left, *right])}
    if isinstance(left, list):
        return [_add(one, other) for one, other in zip(left, right, strict=True)]
    return left + right


class Addable:
    """A dataclass of counters that can be added up."""

    def __add__(self, other: Self) -> Self:
        kind: Any = type(self)
        return kind(*(_add(getattr(self, each.name), getattr(other, each.name)) for each in fields(kind)))


@dataclass
class NFCounters(Addable):
    """Packets that reached an NF and those it dropped, by reason; records it emitted."""

    received: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    records: int = 0


@dataclass
class TableCounters(Addable):
    """Flow entries of one table: begun, ended idle or at the end of the run, ended for another, now there.

    refused: packets of new flows that found the table full, and were dropped or passed its NFs by.
    """

    created: int = 0
    expired: int = 0
    evicted: int = 0
    refused: int = 0
    active: int = 0


@dataclass
class FragmentCounters(Addable):
    """Later fragments that found the flow of their first, and those that came early: none was remembered."""

    followed: int = 0
    early: int = 0


@dataclass
class Counters(Addable):
    """Packets and bytes (on the wire) in and out; `other` by reason: frames that no NF was about."""

    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    other: dict[str, int] = field(default_factory=dict)
    fragments: FragmentCounters = field(default_factory=FragmentCounters)
    nfs: list[NFCounters] = field(default_factory=list)
    tables: list[TableCounters] = field(default_factory=list)


@dataclass(frozen=True)
class WorkerLoad:
    """The packets that a worker had, and the time that it took for them."""

    packets: int
    busy_seconds: float


def add_counters(workers: Iterable[Counters]) -> Counters:
    """The counters of all workers together, of one at least."""
    first, *others = workers
    return sum(others, first)
