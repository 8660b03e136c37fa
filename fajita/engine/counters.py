"""What an engine counts; both engines give the same numbers for the same frames."""

from dataclasses import dataclass, field


@dataclass
class NFCounters:
    """Packets that reached an NF and those it dropped, by reason; records it emitted."""

    received: int = 0
    drops: dict[str, int] = field(default_factory=dict)
    records: int = 0


@dataclass
class TableCounters:
    """Flow entries of one table: begun, ended idle or at the end of the run, ended for another, now there.

    refused: packets of new flows that found the table full, and were dropped or passed its NFs by.
    """

    created: int = 0
    expired: int = 0
    evicted: int = 0
    refused: int = 0
    active: int = 0


@dataclass
class FragmentCounters:
    """Later fragments that found the flow of their first, and those that came early: none was remembered."""

    followed: int = 0
    early: int = 0


@dataclass
class Counters:
    """Packets and bytes (on the wire) in and out; `other` by reason: frames that no NF was about."""

    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    other: dict[str, int] = field(default_factory=dict)
    fragments: FragmentCounters = field(default_factory=FragmentCounters)
    nfs: list[NFCounters] = field(default_factory=list)
    tables: list[TableCounters] = field(default_factory=list)
