"""Which NFs of a chain share a table, where a table is looked up, and which entries are found by a link instead."""

from dataclasses import dataclass, field

from fajita.key import Key
from fajita.nf import BEFORE_LOOKUP
from fajita.packet import FLOW_PORTS, HALVES
from fajita.plan import MAXIMUM_SHARING, Link, NFPlan, Segment, TablePlan

#: Families of packets that code is made for; 4 is also anything that is not IPv6.
FAMILIES = (4, 6)


def assign_tables(plans: list[NFPlan], *, evicts: bool, links: bool) -> tuple[list[TablePlan], list[Segment]]:
    """NFs with the same key share a table until a header field of the key is rewritten in between.

    A rewrite makes every key that contains the field stale, but for one case: where an NF gives each flow of its own
    key one fixed new header (a load balancer, a NAT), the flow stays one flow, and NFs with the same key stay with it.
    A table is looked up at the beginning of a segment, before the NFs of that; one whose key is rewritten in the
    segment opens a new one. But where an entry of a finer key, found before in the segment, can remember the place of
    the coarser one, that is no lookup, and the key is read where its first NF runs. Where an NF has the key of a table
    but cannot share it, the key is the same nevertheless: it is read where the table's is, so that table has no link.
    An NF with a before_lookup has a table that no other uses. It is looked up ahead by a key that is a guess.
    """
    unlinked: set[int] = set()
    while True:
        assignment = _Assignment(plans, evicts, links, unlinked)
        if assignment.run():
            return assignment.tables, assignment.segments


@dataclass
class _Assignment:
    """One attempt. unlinked: NFs whose table must not have a link; one more after an attempt that failed."""

    plans: list[NFPlan]
    evicts: bool
    links: bool
    unlinked: set[int]
    tables: list[TablePlan] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=lambda: [Segment()])
    #: By the key's name and whether ICMP errors have the key of what they quote.
    current: dict[tuple[str, bool], TablePlan] = field(default_factory=dict)
    rewritten_ever: dict[str, str] = field(default_factory=dict)
    #: By field, who has rewritten it in this segment.
    rewritten: dict[str, list[NFPlan]] = field(default_factory=dict)

    def run(self) -> bool:
        """Go through the chain; False if it has to be gone through again."""
        for plan in self.plans:
            key = plan.nf.granularity
            if any(self._is_rewritten(name, family) for name in _read_first(plan) for family in _families(plan)):
                self._open_segment()
            if key is not None and plan.translated.asks:
                self._own_table(plan, key)
            elif key is not None:
                table = self.current.get((key.name, plan.translated.takes_errors))
                refusal = "" if table is None else _refusal_to_share(table, plan, self.plans, self.segments[-1])
                if table is not None and table.link is not None and (refusal or self._widens(table, plan)):
                    self.unlinked.add(table.nfs[0])
                    return False
                if table is None or refusal:
                    table = self._new_table(plan, key, table, refusal)
                plan.table, plan.mark = table.index, len(table.nfs)
                table.nfs.append(plan.index)
            self.segments[-1].nfs.append(plan.index)
            self._note_rewrites(plan)
        return True

    def _new_table(self, plan: NFPlan, key: Key, shared: TablePlan | None, refusal: str) -> TablePlan:
        link = None if refusal or plan.index in self.unlinked else self._link(plan, key)
        linked = () if link is None else link.families
        if shared is None and any(
            self._is_stale(plan, key, family) for family in _families(plan) if family not in linked
        ):
            self._open_segment()
            link = None
        lookup = len(self.segments) - 1 if shared is None else shared.segment
        why = refusal or _why(key, self.rewritten_ever)
        if shared is None and (key.name, not plan.translated.takes_errors) in self.current:
            why = "only one of the network functions with this key has the method error"
        table = TablePlan(len(self.tables), key, why, lookup, evicts=self.evicts, link=link)
        table.errors = plan.translated.takes_errors
        self.tables.append(table)
        if any(not table.is_linked(family) for family in _families(plan)):
            self.segments[lookup].tables.append(table.index)
        self.current[key.name, table.errors] = table
        return table

    def _own_table(self, plan: NFPlan, key: Key) -> None:
        """A table for an NF with a before_lookup."""
        why = f"{plan.nf.name} has a {BEFORE_LOOKUP}, after which the key is read"
        table = TablePlan(
            len(self.tables),
            key,
            why,
            len(self.segments) - 1,
            [plan.index],
            evicts=self.evicts,
            asks=True,
            errors=plan.translated.takes_errors,
        )
        self.tables.append(table)
        self.segments[-1].tables.append(table.index)
        plan.table = table.index

    def _open_segment(self) -> None:
        self.segments.append(Segment())
        self.rewritten.clear()

    def _widens(self, table: TablePlan, plan: NFPlan) -> bool:
        """Whether an NF sees packets of a family that the first NF of its table, where the key is read, does not."""
        return not set(_families(plan)) <= set(_families(self.plans[table.nfs[0]]))

    def _is_stale(self, plan: NFPlan, key: Key, family: int) -> bool:
        """Whether packets of a family have a field of the key rewritten since the segment began."""
        names = (*key.fields, "icmp_type") if plan.translated.takes_errors else key.fields
        return any(self._is_rewritten(name, family) for name in names)

    def _is_rewritten(self, name: str, family: int) -> bool:
        return any(family in _families(writer) for writer in self.rewritten.get(name, ()))

    def _link(self, plan: NFPlan, key: Key) -> Link | None:
        """The first table looked up in this segment whose entries can know where those of the key are."""
        # A later fragment has no ports: what its key has for them is known where it is looked up.
        # An ICMP error may have no entry in the finer table, and there is none to begin in the coarser one.
        if not self.links or plan.translated.takes_errors or {"src_port", "dst_port"} & set(key.fields):
            return None
        found_before = dict.fromkeys(self.plans[index].table for index in self.segments[-1].nfs)
        for number in found_before:
            if number is None or self.tables[number].segment != len(self.segments) - 1 or self.tables[number].asks:
                continue
            finer = self.tables[number]
            if (
                finer.link is None
                and not finer.errors
                and _is_function_of(key, finer.key)
                and self._is_fixed_per_flow(key, finer)
            ):
                has = {family for index in finer.nfs for family in _families(self.plans[index])}
                families = tuple(family for family in _families(plan) if family in has)
                if families:
                    return Link(number, families)
        return None

    def _is_fixed_per_flow(self, key: Key, finer: TablePlan) -> bool:
        """Whether what was rewritten of the key is the same for all packets of a flow of the finer table."""
        writers = [writer for name in key.fields for writer in self.rewritten.get(name, ())]
        return all(writer.table == finer.index and writer.translated.rewrites_per_flow for writer in writers)

    def _note_rewrites(self, plan: NFPlan) -> None:
        writes = plan.translated.writes
        for name in writes:
            self.rewritten.setdefault(name, []).append(plan)
        self.rewritten_ever |= dict.fromkeys(writes, plan.nf.name)
        self.current = {
            name: table
            for name, table in self.current.items()
            if not writes & table.decided_by or (table.index == plan.table and plan.translated.rewrites_per_flow)
        }


def _read_first(plan: NFPlan) -> set[str]:
    """The header fields that have to be as they come to an NF where its segment begins.

    Those that its before_lookup looks at, and its key: by them the entry is asked for ahead. And ports, if it asks for
    those of its flow, as a first fragment leaves them there for later ones.
    """
    key = plan.nf.granularity
    ports = {name for name, _ in FLOW_PORTS.values()} if plan.translated.reads_flow_ports else set()
    if key is None or not plan.translated.asks:
        return ports
    return ports | {HALVES.get(name, name) for name in plan.translated.before_reads} | set(key.fields)


def _families(plan: NFPlan) -> tuple[int, ...]:
    """The families of packets that an NF sees, of those with its key if it has one."""
    if plan.nf.granularity is None:
        return FAMILIES
    handled = [packing.family for packing in plan.nf.granularity.packings if plan.handles(packing)]
    return tuple(family for family in FAMILIES if family in handled or 0 in handled)


def _is_function_of(coarser: Key, finer: Key) -> bool:
    """Whether all packets with the same finer key have the same coarser one, but for rewrites."""
    if finer.symmetric and not coarser.symmetric:
        return False
    return set(coarser.fields) <= set(finer.fields) and coarser.name != finer.name and not _is_masked(finer)


def _is_masked(key: Key) -> bool:
    """Whether a key has only some bits of a field: a prefix."""
    return any(part.mask != -1 for packing in key.packings for part in packing.parts)


def _refusal_to_share(table: TablePlan, plan: NFPlan, plans: list[NFPlan], segment: Segment) -> str:
    """Why an NF of this segment cannot use a table that has its key; empty if it can.

    A segment runs for a whole burst before the next. If a lookup in it ended states of NFs of the next, it would do so
    before earlier packets of the burst have met those.
    """
    if len(table.nfs) >= MAXIMUM_SHARING:
        return f"an entry serves at most {MAXIMUM_SHARING} network functions"
    if set(table.nfs) <= set(segment.nfs):
        return ""
    if any(plans[index].ends_idle for index in [*table.nfs, plan.index]):
        return "a timeout ends states, and between the network functions with this key lies another lookup"
    if table.evicts:
        return "a full table evicts flows, and between the network functions with this key lies another lookup"
    return ""


def _why(key: Key, rewritten: dict[str, str]) -> str:
    stale = {rewritten[name] for name in key.fields if name in rewritten}
    if stale:
        return f"{', '.join(sorted(stale))} rewrites a field of the key before it"
    return "the first with this key"
