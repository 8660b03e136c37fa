"""Which worker gets a packet, and whose an entry is: what the planner chooses, and why. Pure data.

A NIC, or what stands for one, hashes some header fields of each packet as it arrives, and the hash says the worker.
Where all fields that are hashed are in the key of a table, as they were when the packet came, all packets of an entry
come to the same worker: the entry is its own. Where they are not, workers meet in entries, which may be if the order of
packets does not matter to their states (fajita.translation.commuting): then each worker has an entry of its own for the
same key, merged when they are read; or, as such entries cannot tell when a key is idle, all workers share one table.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fajita.errors import InputError
from fajita.key import Key, Packing
from fajita.rss import HashFields

if TYPE_CHECKING:
    from fajita.plan import NFPlan, Segment, TablePlan
    from fajita.settings import Settings

#: Whose the entries of a table are. Own: each key is one worker's. Replicated: several workers may have an entry for
#: the same key, which are merged when they are read. Shared: one table for all workers.
OWN, REPLICATED, SHARED = "own", "replicated", "shared"

_ADDRESSES = ((True, True), (True, False), (False, True))
_PORTS = ((True, True), (True, False), (False, True), (False, False))


def _candidates() -> tuple[HashFields, ...]:
    """What NICs can hash: one address or both, with no port, one or both; the most fields first."""
    found = [HashFields(*addresses, *ports) for addresses in _ADDRESSES for ports in _PORTS]
    found += [HashFields(True, True, both, both, symmetric=True) for both in (True, False)]
    return tuple(sorted(found, key=lambda fields: (-len(fields.fields), fields.symmetric)))


#: Finest first.
CANDIDATES = _candidates()


@dataclass(frozen=True)
class Sharding:
    """What decides a packet's worker; fields None: all packets go to one. why; change: what would change that."""

    fields: HashFields | None
    why: str
    change: str


def choose_sharding(
    tables: "list[TablePlan]",
    segments: "list[Segment]",
    nfs: "list[NFPlan]",
    settings: "Settings",
    *,
    fields: HashFields | None = None,
    sharing: str | None = None,
) -> Sharding:
    """Choose the fields, and set the `sharing` of each table.

    The finest fields with which all tables are workers' own; else those with the fewest that are not, if the order of
    packets does not matter to their states; else one worker. fields, sharing: what the user wants instead, of tables
    that are not workers' own; InputError if that would change what the chain does.
    """
    if sharing not in (None, REPLICATED, SHARED):
        raise InputError(f"tables cannot be {sharing!r}", "", f"{REPLICATED} or {SHARED}")
    choice = _Choice(tables, segments, nfs, settings)
    possible = [each for each in CANDIDATES if not choice.wrongs(each)]
    usual = min(possible, key=lambda each: len(choice.met(each)), default=None)
    if fields is None and (usual is not None or sharing is None):
        fields = usual
    else:
        fields = fields or choice.nearest()
        choice.check(fields, usual)
    for table in tables:
        table.sharing = choice.sharing_of(table, fields, sharing)
    return choice.explained(fields, usual)


def why_not_own(table: "TablePlan", fields: HashFields, segments: "list[Segment]", nfs: "list[NFPlan]") -> str:
    """Why packets of the same entry of a table may come to several workers; empty if they cannot."""
    before = list(_before_key(table, segments, nfs))
    written = [(nf, nf.translated.writes) for nf in before]
    if table.asks:
        written.append((nfs[table.nfs[0]], nfs[table.nfs[0]].translated.before_writes))
    packings = [side.packing for side in table.sides]
    return (
        _why_split(table.key, packings, fields, written)
        or _why_errors_meet(table.key, before, nfs, of_flow=table.errors)
        or _why_turned(table.key, fields)
    )


def why_apart(nf: "NFPlan", fields: HashFields, nfs: "list[NFPlan]") -> str:
    """Why packets that an NF wants together may come to several workers; empty if they cannot, or it wants nothing."""
    key = nf.nf.together
    if key is None:
        return ""
    before = nfs[: nf.index]
    packings = [packing for packing in key.packings if nf.handles(packing)]
    return (
        _why_split(key, packings, fields, [(other, other.translated.writes) for other in before])
        or _why_errors_meet(key, before, nfs, of_flow=nf.translated.takes_errors)
        or _why_turned(key, fields)
    )


def _why_split(
    key: Key, packings: list[Packing], fields: HashFields, written: "list[tuple[NFPlan, frozenset[str]]]"
) -> str:
    """Why a hash of these fields does not follow from a key. written: what was rewritten before that is read."""
    for name in fields.fields:
        if name not in key.fields:
            return f"the key {key} has no {name}"
        if not _is_whole(packings, name):
            return f"the key {key} has some bits of {name} only"
        writer = next((nf for nf, names in written if name in names), None)
        if writer is not None:
            return f"{writer.nf.name} rewrites {name} before the key {key} is read"
    return ""


def _why_turned(key: Key, fields: HashFields) -> str:
    """The same of a key of both directions."""
    if key.symmetric and not fields.symmetric:
        return f"the key {key} is the same in both directions, a hash of {fields.name} is not"
    return ""


def _why_errors_meet(key: Key, before: "Iterable[NFPlan]", nfs: "list[NFPlan]", *, of_flow: bool) -> str:
    """Why ICMP errors may come to other workers than packets with their key: they go where what they quote goes.

    before: NFs that a packet has met when the key is read. of_flow: they have the key of what they quote.
    """
    taking = next((nf for nf in nfs if nf.translated.takes_errors), None)
    if taking is None:
        return ""
    if not of_flow:
        return f"ICMP errors go where their flow goes, for {taking.nf.name}, and have another key {key}"
    writer = next((nf for nf in before if "icmp_type" in nf.translated.writes), None)
    return "" if writer is None else f"{writer.nf.name} rewrites icmp_type before the key {key} is read"


def _is_whole(packings: list[Packing], name: str) -> bool:
    """Whether all bits of a field count in a key."""
    return all(
        mask == column.value_mask
        for packing in packings
        for column, mask in zip(packing.columns, packing.masks, strict=True)
        if column.name == name
    )


def _before_key(table: "TablePlan", segments: "list[Segment]", nfs: "list[NFPlan]") -> "Iterable[NFPlan]":
    """The NFs that a packet has met when its key for a table is read."""
    if table.link is not None or table.asks:
        return nfs[: table.nfs[0]]
    return [nfs[index] for segment in segments[: table.segment] for index in segment.nfs]


def ends(table: "TablePlan", nfs: "list[NFPlan]") -> str:
    """Why the end of an entry of a table needs all packets of its key to be known; empty if it does not."""
    if table.idle_ends:
        return "its states end when a key is idle, which no worker knows by itself"
    expiring = [nfs[index].nf.name for index in table.nfs if "expire" in nfs[index].translated.hooks]
    return f"{expiring[0]} has an expire, which runs once for a key" if expiring else ""


@dataclass
class _Choice:
    """What is to be known of a chain."""

    tables: "list[TablePlan]"
    segments: "list[Segment]"
    nfs: "list[NFPlan]"
    settings: "Settings"

    def met(self, fields: HashFields) -> "list[TablePlan]":
        """The tables that are not workers' own if these fields are hashed: workers meet in their entries."""
        return [table for table in self.tables if self.why_not_own(table, fields)]

    def why_not_own(self, table: "TablePlan", fields: HashFields) -> str:
        """Why workers meet in entries of a table."""
        return why_not_own(table, fields, self.segments, self.nfs)

    def why_one(self, table: "TablePlan") -> str:
        """Why workers must not meet in entries of a table; empty if they may."""
        for nf in (self.nfs[index] for index in table.nfs):
            if not nf.translated.commutes:
                return f"the order of packets matters to {nf.nf.name}: {nf.translated.why_not}"
        if table.key.symmetric:
            return f"the order of packets matters to the key {table.key}, which is that of the first one"
        if table.evicts:
            return "a full table evicts flows (full: evict)"
        return "its flows are limited (capacity)" if self.settings.capacity is not None else ""

    def wrongs(self, fields: HashFields) -> list[str]:
        """What is wrong with fields: that workers would meet where they must not."""
        met = [(table, why) for table in self.met(fields) if (why := self.why_one(table))]
        apart = [(nf, why) for nf in self.nfs if (why := why_apart(nf, fields, self.nfs))]
        return [f"{self.why_not_own(table, fields)}, and {why}" for table, why in met] + [
            f"{why}, and {nf.nf.name} has packets that agree in it together" for nf, why in apart
        ]

    def nearest(self) -> HashFields:
        """The fields with the fewest wrongs, the finest of them."""
        return min(CANDIDATES, key=lambda fields: len(self.wrongs(fields)))

    def check(self, fields: HashFields, usual: HashFields | None) -> None:
        """InputError for fields with which workers would meet where they must not. usual: what can be."""
        for wrong in self.wrongs(fields):
            right = "one worker" if usual is None else f"{usual.name}, as without this option"
            raise InputError(f"packets cannot be spread by {fields.name}: {wrong}", "", right)

    def sharing_of(self, table: "TablePlan", fields: HashFields | None, wanted: str | None) -> str:
        """Whose the entries of a table are; InputError if they cannot be what is wanted."""
        if fields is None or not self.why_not_own(table, fields):
            return OWN
        why_shared = ends(table, self.nfs)
        if wanted == REPLICATED and why_shared:
            raise InputError(f"the table {table.key} cannot be replicated: {why_shared}", "", SHARED)
        return wanted or (SHARED if why_shared else REPLICATED)

    def explained(self, fields: HashFields | None, usual: HashFields | None) -> Sharding:
        """The choice with its reasons. usual: the one that is made if nothing else is asked for."""
        if fields is None or usual is None:
            return self._one()
        if fields != usual:
            return Sharding(fields, "this was asked for", f"if nothing is asked for, it is {usual.name}")
        met = self.met(fields)
        if met:
            names = ", ".join(str(table.key) for table in met)
            why = f"no field is in all keys; by this, workers meet in entries of the fewest tables: {names}"
            return Sharding(fields, why, f"without {self._names(met)} workers would meet nowhere")
        if not self.tables and not any(nf.nf.together for nf in self.nfs):
            return Sharding(fields, "no network function keeps state per key", "state per key")
        why = "all keys have what is hashed, so that no two workers meet in an entry"
        coarse = self.met(CANDIDATES[0])
        if not coarse:
            return Sharding(fields, why, "a network function whose key has fewer fields, or both directions")
        return Sharding(fields, why, f"without {self._names(coarse)} it would be {CANDIDATES[0].name}")

    def _one(self) -> Sharding:
        fields = self.nearest()
        why = (
            f"however packets are spread, workers meet where they must not; by {fields.name}: {self.wrongs(fields)[0]}"
        )
        table = next((table for table in self.met(fields) if self.why_one(table)), None)
        if table is None:
            apart = ", ".join(nf.nf.name for nf in self.nfs if why_apart(nf, fields, self.nfs))
            return Sharding(None, why, f"a chain without {apart}")
        change = f"a key of {self._names([table])} that has {', '.join(fields.fields)}"
        if any(nf.translated.takes_errors for nf in self.nfs) and not table.errors:
            change = f"a method error of {self._names([table])}, with which ICMP errors are of their flow there too"
        elif all(self.nfs[index].translated.commutes for index in table.nfs):
            limit = "full: evict" if table.evicts else "capacity"
            change += "" if table.key.symmetric else f"; or a chain without {limit}"
        else:
            change += "; or states of it that are declared (Sum, Max, Min, Or) and updated in no other way"
        return Sharding(None, why, change)

    def _names(self, tables: "Iterable[TablePlan]") -> str:
        """The NFs of tables."""
        return ", ".join(self.nfs[index].nf.name for table in tables for index in table.nfs)
