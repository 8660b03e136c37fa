"""From a chain to tables, entry layouts and passes. Pure data: `explain` prints it, the kernel is generated from it."""

from dataclasses import dataclass, field

from fajita.errors import InputError
from fajita.key import Key, Packing
from fajita.nf import NF
from fajita.packet import Layer
from fajita.prefetching import add_prefetch
from fajita.settings import Settings
from fajita.translation import TranslatedNF, translate
from fajita.tuning import FULL, Tuning

LINE_BYTES = 64
#: One byte of an entry marks which NFs have state in it.
MAXIMUM_SHARING = 8
#: Elements of a list among an NF's parameters.
MAXIMUM_LIST = 1 << 24


@dataclass
class NFPlan:
    """One NF in its place. table: index of its table, or None. mark: its bit in the entry's marks.

    offsets, core_offsets, constant_offsets: bytes from the end of an entry's key, from the start of the core area and
    of the constants, the last by the names that the lists have in the kernel. array_start, array_bytes: its arrays in
    an entry, apart from the rest of its state. random: the place in the core area of its random numbers' state.
    """

    index: int
    translated: TranslatedNF
    table: int | None = None
    mark: int = 0
    offsets: dict[str, int] = field(default_factory=dict)
    core_offsets: dict[str, int] = field(default_factory=dict)
    constant_offsets: dict[str, int] = field(default_factory=dict)
    state_start: int = 0
    state_bytes: int = 0
    array_start: int = 0
    array_bytes: int = 0
    random: int | None = None

    @property
    def places(self) -> dict[str, int]:
        """All three by the names that they have in the kernel, where a state and a core variable may be namesakes."""
        prefix = self.translated.prefix
        state = {f"{prefix}__state_{name}": offset for name, offset in self.offsets.items()}
        core = {f"{prefix}__core_{name}": offset for name, offset in self.core_offsets.items()}
        random = {} if self.random is None else {f"{prefix}__random": self.random}
        return state | core | random | self.constant_offsets

    @property
    def nf(self) -> NF:
        """The NF itself."""
        return self.translated.nf

    @property
    def layer(self) -> Layer:
        """Of an NF without a key: what a frame must have for it."""
        return Layer.IP if self.nf.about is None else self.nf.about

    def handles(self, packing: Packing) -> bool:
        """Whether the NF is about packets whose key is packed so: one about IPv4 alone leaves IPv6 flows out."""
        other = {4: Layer.IPV6, 6: Layer.IPV4}.get(packing.family, Layer(0))
        return self.nf.about is None or not self.nf.about & other


@dataclass
class TableSide:
    """The memory of a table for one packing of its key. index: among the sides of all tables of the plan."""

    index: int
    packing: Packing
    entry_bytes: int = 0

    @property
    def key_bytes(self) -> int:
        """Where the key of an entry ends: what follows is laid out alike on both sides."""
        return 8 * self.packing.words

    @property
    def lines(self) -> int:
        """Cache lines an entry spans."""
        return self.lines_up_to(self.entry_bytes)

    @staticmethod
    def lines_up_to(size: int) -> int:
        """Cache lines that the first bytes of an entry span."""
        return -(-size // LINE_BYTES)


@dataclass
class TablePlan:
    """One flow table, with a side for each packing of its key that an NF handles.

    segment: the one at whose beginning a packet's key is read and looked up. last_seen: byte offset, from the end of
    the key, of the time of the flow's last packet, None where nothing expires. direction: of a byte, for a key of both
    directions: 1 if the first packet's key had to be turned around to be kept. scalar_bytes: from the end of the key to
    that of all states but for their arrays, which follow.
    """

    index: int
    key: Key
    why: str
    segment: int
    nfs: list[int] = field(default_factory=list)
    sides: list[TableSide] = field(default_factory=list)
    last_seen: int | None = None
    direction: int | None = None
    scalar_bytes: int = 0
    shortest_timeout_ns: int = 0

    def side_of(self, family: int) -> TableSide | None:
        """The side for packets of a family: 6, or 4 for all others."""
        return next((side for side in self.sides if side.packing.family in (0, family)), None)


@dataclass
class Segment:
    """NFs that run in one pass over a burst, after the lookups of `tables`, all made before the first of them."""

    tables: list[int] = field(default_factory=list)
    nfs: list[int] = field(default_factory=list)


@dataclass
class Plan:
    """What a chain compiles to. constants: the values of the lists that NFs index, as int64."""

    name: str
    settings: Settings
    nfs: list[NFPlan]
    tables: list[TablePlan]
    segments: list[Segment]
    core_bytes: int
    constants: list[int]
    tuning: Tuning = FULL

    def __repr__(self) -> str:
        return (
            f"Plan({self.name}: {_counted(len(self.nfs), 'network function')}, {_counted(len(self.tables), 'table')})"
        )

    def first_segment_of(self, table: TablePlan, side: TableSide) -> int:
        """The first segment with an NF that uses a side of a table."""
        first = next(index for index in table.nfs if self.nfs[index].handles(side.packing))
        return next(number for number, segment in enumerate(self.segments) if first in segment.nfs)

    @property
    def sides(self) -> list[TableSide]:
        """The sides of all tables, in the order of their indices."""
        return [side for table in self.tables for side in table.sides]

    @property
    def tells_ipv6(self) -> bool:
        """Whether some table has a side for IPv6 alone, so that the kernel has code of its own for it."""
        return any(side.packing.family == 6 for side in self.sides)

    def follows_in_group(self, nf: "NFPlan") -> bool:
        """Whether an NF sees just the packets that the one before it lets go on: same segment, table and families."""
        before = nf.index - 1
        together = any(nf.index in segment.nfs and before in segment.nfs for segment in self.segments)
        if nf.table is None or not together or self.nfs[before].table != nf.table:
            return False
        sides = self.tables[nf.table].sides
        return all(nf.handles(side.packing) == self.nfs[before].handles(side.packing) for side in sides)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def make_plan(name: str, nfs: list[NF], settings: Settings, tuning: Tuning = FULL) -> Plan:
    """Check the NFs' sources and plan the chain; InputError for what cannot be run."""
    plans = [_plan_nf(index, nf) for index, nf in enumerate(nfs)]
    tables, segments = _assign_tables(plans)
    _add_sides(tables, plans)
    for table in tables:
        _lay_out(table, plans)
    for plan in plans:
        add_prefetch(plan, [] if plan.table is None else tables[plan.table].sides, tuning)
    core_bytes = _place_core(plans)
    return Plan(name, settings, plans, tables, segments, core_bytes, _place_constants(plans), tuning)


def _plan_nf(index: int, nf: NF) -> NFPlan:
    return NFPlan(index, translate(nf))


def _add_sides(tables: list[TablePlan], plans: list[NFPlan]) -> None:
    index = 0
    for table in tables:
        for packing in table.key.packings:
            if any(plans[nf].handles(packing) for nf in table.nfs):
                table.sides.append(TableSide(index, packing))
                index += 1
        for nf in table.nfs:
            if not any(plans[nf].handles(side.packing) for side in table.sides):
                what = (
                    f"{plans[nf].nf.name} is about {plans[nf].nf.about!r}, of which no packet has the key {table.key}"
                )
                raise InputError(what, "", "another key")


def _assign_tables(plans: list[NFPlan]) -> tuple[list[TablePlan], list[Segment]]:
    """NFs with the same key share a table until a header field of the key is rewritten in between.

    A rewrite makes every key that contains the field stale, but for one case: where an NF gives each flow of its own
    key one fixed new header (a load balancer, a NAT), the flow stays one flow, and NFs with the same key stay with it.
    An NF whose key needs a lookup after a rewrite in the same segment opens a new segment; any other lookup is made at
    the beginning of the segment, before its NFs. Where an NF has the key of a table but cannot share it, the key is the
    same nevertheless: it is read where the table's is.
    """
    tables: list[TablePlan] = []
    segments = [Segment()]
    current: dict[str, TablePlan] = {}
    rewritten_ever: dict[str, str] = {}
    rewritten_in_segment: set[str] = set()
    for plan in plans:
        key = plan.nf.granularity
        if key is not None:
            table = current.get(key.name)
            if table is None and rewritten_in_segment & set(key.fields):
                segments.append(Segment())
                rewritten_in_segment = set()
            refusal = "" if table is None else _refusal_to_share(table, plan, plans, segments[-1])
            if table is None or refusal:
                lookup = len(segments) - 1 if table is None else table.segment
                table = TablePlan(len(tables), key, refusal or _why(key, rewritten_ever), lookup)
                tables.append(table)
                segments[lookup].tables.append(table.index)
                current[key.name] = table
            plan.table, plan.mark = table.index, len(table.nfs)
            table.nfs.append(plan.index)
        segments[-1].nfs.append(plan.index)
        writes = plan.translated.writes
        rewritten_in_segment |= writes
        rewritten_ever |= dict.fromkeys(writes, plan.nf.name)
        current = {
            name: table
            for name, table in current.items()
            if not writes & set(table.key.fields) or (table.index == plan.table and plan.translated.rewrites_per_flow)
        }
    return tables, segments


def _refusal_to_share(table: TablePlan, plan: NFPlan, plans: list[NFPlan], segment: Segment) -> str:
    """Why an NF of this segment cannot use a table that has its key; empty if it can.

    A segment runs for a whole burst before the next. If a lookup in it ended states of NFs of the next, it would do so
    before earlier packets of the burst have met those.
    """
    if len(table.nfs) >= MAXIMUM_SHARING:
        return f"an entry serves at most {MAXIMUM_SHARING} network functions"
    expires = any(plans[index].nf.timeout_ns is not None for index in [*table.nfs, plan.index])
    if expires and not set(table.nfs) <= set(segment.nfs):
        return "a timeout ends states, and between the network functions with this key lies another lookup"
    return ""


def _why(key: Key, rewritten: dict[str, str]) -> str:
    stale = {rewritten[name] for name in key.fields if name in rewritten}
    if stale:
        return f"{', '.join(sorted(stale))} rewrites a field of the key before it"
    return "the first with this key"


def _aligned(offset: int, size: int) -> int:
    return -(-offset // size) * size


def _lay_out(table: TablePlan, plans: list[NFPlan]) -> None:
    """An entry: the key's words, the time of the last packet if anything expires, the NFs' states in their order."""
    offset = 0  # from the end of the key
    timeouts = [t for t in (plans[index].nf.timeout_ns for index in table.nfs) if t is not None]
    if timeouts:
        table.last_seen, table.shortest_timeout_ns = offset, min(timeouts)
        offset += 8
    if table.key.symmetric:
        table.direction = offset
        offset += 1
    for index in table.nfs:
        plan = plans[index]
        fields = type(plan.nf).state_fields
        plan.state_start = _aligned(offset, max((kind.bytes for kind in fields.values()), default=1))
        offset = plan.state_start
        for name, kind in fields.items():
            offset = _aligned(offset, kind.bytes)
            plan.offsets[name] = offset
            offset += kind.bytes
        plan.state_bytes = offset - plan.state_start
    table.scalar_bytes = offset
    for index in table.nfs:
        offset = _place_arrays(plans[index], offset)
    for side in table.sides:
        size = side.key_bytes + offset
        # Entries do not straddle cache lines: a power of two up to a line, then whole lines.
        side.entry_bytes = max(16, 1 << (size - 1).bit_length()) if size <= LINE_BYTES else _aligned(size, LINE_BYTES)


def _place_arrays(plan: NFPlan, offset: int) -> int:
    """Place the arrays of an NF's state from an offset on; the offset where they end."""
    arrays = plan.nf.state_arrays
    if arrays:
        offset = plan.array_start = _aligned(offset, max(kind.element.bytes for kind in arrays.values()))
    for name, kind in arrays.items():
        offset = _aligned(offset, kind.element.bytes)
        plan.offsets[name] = offset
        offset += kind.bytes
    plan.array_bytes = offset - plan.array_start if arrays else 0
    return offset


def _place_core(plans: list[NFPlan]) -> int:
    offset = 0
    for plan in plans:
        for name, kind in type(plan.nf).core_fields.items():
            offset = _aligned(offset, kind.bytes)
            plan.core_offsets[name] = offset
            offset += kind.bytes
        offset = _aligned(offset, 8)
    for plan in plans:
        if plan.translated.draws:
            plan.random, offset = offset, offset + 8
    for plan in plans:
        for name, array in plan.nf.core_arrays.items():
            plan.core_offsets[name] = offset = _aligned(offset, LINE_BYTES)
            offset = _aligned(offset + array.bytes, 8)
    return offset


def _place_constants(plans: list[NFPlan]) -> list[int]:
    values: list[int] = []
    for plan in plans:
        for name, elements in plan.translated.lists.items():
            if len(elements) > MAXIMUM_LIST:
                raise InputError(f"{plan.nf.name}: {name} has {len(elements)} elements", "", f"at most {MAXIMUM_LIST}")
            plan.constant_offsets[name] = len(values) * 8
            values.extend(elements)
    return values
