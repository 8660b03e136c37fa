"""What a chain comes to: tables, entries, passes. Pure data: `explain` prints it, the kernel is generated from it."""

from dataclasses import dataclass, field

from fajita.cache_line import LINE_BYTES
from fajita.constant_lists import ConstantLists
from fajita.key import Key, Packing
from fajita.nf import BEFORE_LOOKUP, EXPIRE_IN, NF
from fajita.packet import METADATA, Layer
from fajita.plural import counted
from fajita.settings import Settings
from fajita.sharding import OWN, SHARED, Sharding
from fajita.translation import TranslatedNF
from fajita.tuning import FULL, Tuning

#: One byte of an entry marks which NFs have state in it.
MAXIMUM_SHARING = 8


@dataclass
class NFPlan:
    """One NF in its place. table: index of its table, or None. mark: its bit in the entry's marks.

    timeout_ns: idle time after which its state ends; expire_in: offset of the field in which a state may have one of
    its own; both None: never. offsets, core_offsets, constant_offsets: bytes from the end of an entry's key, from the
    start of the core area and of the constants, the last by the names that the lists have in the kernel. offsets: of
    the fields that are stored, and of all arrays. array_start, array_bytes: its arrays in an entry, apart from the rest
    of its state. random: the place in the core area of its random numbers' state.
    """

    index: int
    translated: TranslatedNF
    table: int | None = None
    mark: int = 0
    timeout_ns: int | None = None
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
    def expire_in(self) -> int | None:
        """Where a state says after what idle time it ends (ns; 0: after the usual one), from the end of the key."""
        return self.offsets.get(EXPIRE_IN)

    @property
    def ends_idle(self) -> bool:
        """Whether states of it may end because their flow is idle."""
        return self.timeout_ns is not None or EXPIRE_IN in self.translated.stored

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
    """The memory of a table for one packing of its key. index: among the sides of all tables of the plan.

    owner: where an entry that several workers use has the number of the one that began it (fajita.shared_entry).
    """

    index: int
    packing: Packing
    entry_bytes: int = 0
    owner: int | None = None

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


@dataclass(frozen=True)
class Link:
    """Where a coarser entry is found: a finer entry of the packet remembers its place.

    table: the finer one's. families: of packets that go this way; the others are looked up. A place is a number that
    may point anywhere, as entries move and end: what is found there is used if its key is the packet's, else the flow
    is looked up and the place written down anew.
    """

    table: int
    families: tuple[int, ...]


@dataclass(frozen=True)
class ForeignField:
    """A field of an NF's state, or an array. Places are bytes from the end of an entry's key.

    count: of elements, each of so many bytes. begin: what an element begins as. The foreign area has elements xor that,
    so that all is 0 at first, and what stands for a minimum is the larger the smaller that is.
    """

    nf: NFPlan
    at: int
    foreign_at: int
    bytes: int
    count: int
    merge: str
    begin: int


@dataclass(frozen=True)
class ForeignArea:
    """Where it lies. marks: which NFs have something in it. last_seen: the time of the last packet of any other."""

    start: int
    bytes: int
    marks: int
    last_seen: int | None
    fields: tuple[ForeignField, ...]


@dataclass
class TablePlan:
    """One flow table, with a side for each packing of its key that an NF handles.

    segment: the one at whose beginning a packet's key is read and looked up. Byte offsets from the end of the key, None
    where an entry does without: last_seen, of the time of the flow's last packet; slot, of the number of its slot;
    direction, of a byte: 1 if the first packet's key had to be turned around to be kept. idle_ends: states may end
    because a flow is idle; shortest_timeout_ns: by the shortest timeout, if any has a fixed one; has_chosen_timeouts:
    some states have one of their own; round_ns: the time in which the search for idle entries goes once through all
    slots. evicts: a full table ends another flow for a new one. link: how entries are found without a search; the key
    is then read where the first NF of the table runs. links: where an entry has its links to entries of coarser tables,
    by their indices. asks: its NF has a before_lookup, after which the key is read, where the NF runs.
    scalar_bytes: from the end of the key to that of all this and of all states but for their arrays,
    which follow. errors: its NFs have `error`, so that an ICMP error has the key of what it quotes. sharing: of several
    workers, whose the entries are (fajita.sharding). foreign: in an entry that they
    share, where those have their part that did not begin it.
    """

    index: int
    key: Key
    why: str
    segment: int
    nfs: list[int] = field(default_factory=list)
    sides: list[TableSide] = field(default_factory=list)
    last_seen: int | None = None
    slot: int | None = None
    direction: int | None = None
    scalar_bytes: int = 0
    idle_ends: bool = False
    shortest_timeout_ns: int | None = None
    has_chosen_timeouts: bool = False
    round_ns: int = 0
    evicts: bool = False
    link: Link | None = None
    links: dict[int, int] = field(default_factory=dict)
    asks: bool = False
    sharing: str = OWN
    foreign: ForeignArea | None = None
    errors: bool = False

    @property
    def decided_by(self) -> frozenset[str]:
        """The fields of a packet that decide its key."""
        return frozenset(self.key.fields) | ({"icmp_type"} if self.errors else frozenset())

    @property
    def ends_at_ticks(self) -> bool:
        """Whether idle states end only when all workers stand still."""
        return self.idle_ends and self.sharing == SHARED

    @property
    def is_swept(self) -> bool:
        """Whether a worker looks for idle entries while it is at work."""
        return self.idle_ends and not self.ends_at_ticks

    @property
    def notes_deadlines(self) -> bool:
        """Whether a slot says how long its entry need not be looked at; where a table evicts it says something else."""
        return self.is_swept and not self.evicts

    @property
    def shortest_idle_ns(self) -> int:
        """No state ends that has been idle for less: the shortest timeout, or 0 where states have one of their own."""
        return 0 if self.has_chosen_timeouts else self.shortest_timeout_ns or 0

    def is_linked(self, family: int) -> bool:
        """Whether packets of a family, 4 or 6, find their entry by a link."""
        return self.link is not None and family in self.link.families

    def side_of(self, family: int) -> TableSide | None:
        """The side for packets of a family: 6, or 4 for all others."""
        return next((side for side in self.sides if side.packing.family in (0, family)), None)


@dataclass
class Segment:
    """NFs that run in one pass over a burst, after the lookups of `tables`, all made before the first of them."""

    tables: list[int] = field(default_factory=list)
    nfs: list[int] = field(default_factory=list)


@dataclass(eq=False)
class Plan:
    """What a chain compiles to; once it is made it does not change. constants: the lists that NFs index.

    datagrams: how many first fragments are remembered, so that later ones find their flow; 0: nothing needs that.
    sharding: which worker gets a packet.
    """

    name: str
    settings: Settings
    nfs: list[NFPlan]
    tables: list[TablePlan]
    segments: list[Segment]
    core_bytes: int
    constants: ConstantLists
    sharding: Sharding
    datagrams: int = 0
    tuning: Tuning = FULL

    def __repr__(self) -> str:
        return f"Plan({self.name}: {counted(len(self.nfs), 'network function')}, {counted(len(self.tables), 'table')})"

    def first_segment_of(self, table: TablePlan, side: TableSide) -> int:
        """The first segment with an NF that uses a side of a table."""
        first = next(index for index in table.nfs if self.nfs[index].handles(side.packing))
        return next(number for number, segment in enumerate(self.segments) if first in segment.nfs)

    def tables_run_in(self, number: int) -> list[TablePlan]:
        """The tables of NFs of a segment."""
        used = {self.nfs[index].table for index in self.segments[number].nfs}
        return [table for table in self.tables if table.index in used]

    def hashes_errors(self, number: int) -> bool:
        """Whether a table looked up ahead in a segment has ICMP errors under the keys of what they quote."""
        return any(self.tables[t].errors and not self.tables[t].asks for t in self.segments[number].tables)

    def asking(self, number: int) -> list[NFPlan]:
        """The NFs of a segment with a before_lookup, each of which has a table of its own."""
        return [self.nfs[index] for index in self.segments[number].nfs if self.nfs[index].translated.asks]

    def awaits(self, number: int) -> bool:
        """Whether keys of a segment are guessed when elements of arrays have come that the first pass asks for."""
        return any(nf.translated.first_foresight is not None for nf in self.asking(number))

    def is_drained(self, table: TablePlan) -> bool:
        """Whether the end of its entries means something to an NF; else they are worth more than an empty table."""
        return any("expire" in self.nfs[index].translated.hooks for index in table.nfs)

    @property
    def moments(self) -> int:
        """How many times in the chain a packet's ports are looked at for the keys of its later fragments."""
        return self.moment_of(len(self.segments))

    def moment_of(self, number: int) -> int:
        """The first moment of a segment, its beginning; then come those after the before_lookup of its NFs."""
        return number + sum(len(self.asking(earlier)) for earlier in range(number))

    def moment_in(self, nf: NFPlan, hook: str) -> int:
        """The moment whose ports a method of an NF sees in later fragments."""
        if nf.translated.asks:
            return self.moment_after_asking(nf) - (hook == BEFORE_LOOKUP)
        return self.moment_of(next(number for number, segment in enumerate(self.segments) if nf.index in segment.nfs))

    def moment_after_asking(self, nf: NFPlan) -> int:
        """The moment when the before_lookup of an NF has run."""
        number = next(number for number, segment in enumerate(self.segments) if nf.index in segment.nfs)
        return self.moment_of(number) + self.asking(number).index(nf) + 1

    @property
    def sides(self) -> list[TableSide]:
        """The sides of all tables, in the order of their indices."""
        return [side for table in self.tables for side in table.sides]

    @property
    def tells_ipv6(self) -> bool:
        """Whether some table has a side for IPv6 alone, so that the kernel has code of its own for it."""
        return any(side.packing.family == 6 for side in self.sides)

    @property
    def reshapes(self) -> bool:
        """Whether some NF changes more of a frame than its fields."""
        return any(nf.translated.reshapes for nf in self.nfs)

    @property
    def headroom(self) -> int:
        """Bytes that a frame may become longer by, on its way through the chain."""
        return sum(nf.translated.growth for nf in self.nfs)

    @property
    def asks_landing(self) -> bool:
        """Whether some NF asks where packets would land."""
        return any(nf.translated.asks_landing for nf in self.nfs)

    @property
    def takes_errors(self) -> bool:
        """Whether some NF has `error`."""
        return any(table.errors for table in self.tables)

    @property
    def has_metadata(self) -> bool:
        """Whether some NF reads or writes what is noted with a packet."""
        return any(METADATA.keys() & (nf.translated.reads | nf.translated.writes) for nf in self.nfs)

    @property
    def drops_fragments(self) -> bool:
        """Whether a later fragment that comes before its first is dropped."""
        return self.settings.fragments == "drop"

    def follows_in_group(self, nf: "NFPlan") -> bool:
        """Whether an NF sees just the packets that the one before it lets go on: same segment, table and families."""
        before = nf.index - 1
        together = any(nf.index in segment.nfs and before in segment.nfs for segment in self.segments)
        if nf.table is None or not together or self.nfs[before].table != nf.table:
            return False
        sides = self.tables[nf.table].sides
        return all(nf.handles(side.packing) == self.nfs[before].handles(side.packing) for side in sides)
