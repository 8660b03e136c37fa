"""What a plan means, for people: tables and what they cost, passes and why, what happens to other frames."""

from collections.abc import Iterator

from fajita.assignment import FAMILIES
from fajita.explain_arrays import array_lines
from fajita.explain_sharding import sharding_lines
from fajita.kernel.layout import BURST
from fajita.kernel.slots import RECORD_BYTES
from fajita.lifetime import PACKETS_PER_SWEEP, SWEPT_AT_ONCE
from fajita.nf import EXPIRE_IN
from fajita.packet import REMEMBERED_NS, Layer
from fajita.plan import NFPlan, Plan, TablePlan, TableSide
from fajita.prefetching import lines_ahead
from fajita.settings import Settings
from fajita.table_size import side_bytes

#: For how many flows the memory of a table is told.
_EXAMPLE_FLOWS = (65_536, 1_048_576)

_LINK = Layer.ETHERNET | Layer.VLAN
_IP = _LINK | Layer.IP | Layer.IPV4 | Layer.IPV6
_TRANSPORT = Layer.FLOW | Layer.PORTS | Layer.TCP | Layer.UDP | Layer.ICMP
_LATER_FRAGMENT = _IP | Layer.FRAGMENT
#: Kinds of frames and all layers that one of them may have.
_KINDS: dict[str, Layer] = {
    "ARP": _LINK,
    "malformed headers": _LINK,
    "IPv4": (_IP & ~Layer.IPV6) | _TRANSPORT | Layer.FRAGMENT,
    "IPv6": (_IP & ~Layer.IPV4) | _TRANSPORT | Layer.FRAGMENT,
    "TCP": _IP | Layer.FLOW | Layer.PORTS | Layer.TCP,
    "UDP": _IP | Layer.FLOW | Layer.PORTS | Layer.UDP,
    "ICMP": _IP | Layer.FLOW | Layer.ICMP,
}


def explain(plan: Plan) -> str:
    """Several lines of text."""
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    yield f"chain {plan.name}: {len(plan.nfs)} network functions, bursts of {BURST} packets"
    for table in plan.tables:
        yield ""
        yield from _table_lines(plan, table)
    if not plan.tables:
        yield "no tables: no network function keeps state per key"
    if plan.settings.inner:
        yield "keys and fields are those of the packet inside tunnels: GRE, IP in IP, VXLAN, GENEVE, GTP-U"
    if arrays := list(array_lines(plan)):
        yield ""
        yield from ("arrays:", *arrays)
    yield ""
    yield from sharding_lines(plan)
    yield ""
    yield "per burst:"
    for number, segment in enumerate(plan.segments):
        names = ", ".join(plan.nfs[index].nf.name for index in segment.nfs)
        tables = ", ".join(_looked_up(plan.tables[index]) for index in segment.tables)
        parse = "parse all, " if number == 0 else ""
        lookup = f"hash {tables}, prefetch tags; match tags, prefetch entries; " if segment.tables else ""
        asks = any(plan.nfs[index].translated.prefetch is not None for index in segment.nfs)
        elements = " and prefetch elements of arrays" if asks else ""
        linked = ", ".join(plan.tables[to].key.name for index in segment.tables for to in plan.tables[index].links)
        follow = f"prefetch entries of {linked} by links; " if linked else ""
        yield f"  segment {number}: {parse}{lookup}{follow}run {names}{elements}"
    action = "passed on" if plan.settings.other == "pass" else "dropped"
    yield ""
    yield _fragments(plan)
    yield f"frames that none of them is about ({', '.join(_unseen(plan))}) are {action} and counted by reason"


#: By a chain's `fragments`: what becomes of a later fragment that has no first.
_EARLY = {"pass": "passes as a packet of no flow", "flow": "is of a flow with ports 0", "drop": "is dropped"}


def _fragments(plan: Plan) -> str:
    if not plan.datagrams:
        return "later fragments are packets without ports: no network function here asks for their flow"
    return (
        f"later fragments are of the flow of their first, if that is one of the latest {plan.datagrams:,} first ones"
        f" and came less than {REMEMBERED_NS / 1e9:g} s before; without it one {_EARLY[plan.settings.fragments]}"
    )


def _looked_up(table: TablePlan) -> str:
    """The key of a table, and the packets that are looked up in it if not all are."""
    if table.link is None:
        return str(table.key)
    others = [f"IPv{family}" for family in FAMILIES if family not in table.link.families]
    return f"{table.key} ({' and '.join(others)} only)"


def _unseen(plan: Plan) -> list[str]:
    """Kinds of frames that no NF of the chain is about."""
    needed = [layer for nf in plan.nfs for layer in _needed(plan, nf)]
    unseen = [kind for kind, there in _kinds(plan).items() if not any(layer & there == layer for layer in needed)]
    return [*unseen, "unknown link types"]


def _kinds(plan: Plan) -> dict[str, Layer]:
    """The kinds of frames, and later fragments as far as NFs may be about them or not."""
    if not plan.datagrams:
        return _KINDS | {"later fragments": _LATER_FRAGMENT}
    if plan.drops_fragments:
        return _KINDS
    has_flow = Layer.FLOW if plan.settings.fragments == "flow" else Layer(0)
    return _KINDS | {"later fragments without their first": _LATER_FRAGMENT | has_flow}


def _needed(plan: Plan, nf: NFPlan) -> list[Layer]:
    """The layers that a frame must have for an NF to see it, one of these."""
    if nf.table is None:
        return [nf.layer]
    return [side.packing.layer for side in plan.tables[nf.table].sides if nf.handles(side.packing)]


def _table_lines(plan: Plan, table: TablePlan) -> Iterator[str]:
    yield f"table {table.index}: key {table.key.name} ({', '.join(table.key.fields) or 'nothing'})"
    if table.link is None:
        yield f"  a lookup of its own because: {table.why}"
    else:
        only = "" if len(table.link.families) == len(FAMILIES) else f", IPv{table.link.families[0]} only"
        yield f"  found by a link from {_named(plan, table.link.table)}{only}"
        yield f"  a table of its own because: {table.why}"
    if table.errors:
        yield "  an ICMP error has the key of the packet that it quotes (method error)"
    for side in table.sides:
        yield from _side_lines(plan, table, side)
    yield "  after the key, whose top byte marks whose state is there:"
    if table.last_seen is not None:
        yield f"    time of the last packet: bytes {table.last_seen}-{table.last_seen + 7}"
    if table.slot is not None:
        yield f"    number of its slot: bytes {table.slot}-{table.slot + 3}"
    if table.direction is not None:
        yield f"    direction of the first packet: byte {table.direction}"
    for linked, at in table.links.items():
        yield f"    place of the entry in {_named(plan, linked)}: bytes {at}-{at + 3}"
    for nf in (plan.nfs[index] for index in table.nfs):
        place = f"bytes {nf.state_start}-{nf.state_start + nf.state_bytes - 1}" if nf.state_bytes else "no fields"
        if nf.array_bytes:
            place += f", arrays in bytes {nf.array_start}-{nf.array_start + nf.array_bytes - 1}"
        families = [f"IPv{side.packing.family}" for side in table.sides if nf.handles(side.packing)]
        only = f", {families[0]} only" if len(families) < len(table.sides) else ""
        emits = ", emits records" if nf.translated.may_emit else ""
        yield f"    {nf.nf.name}: {place}{_timeout(nf)}{only}{emits}"
    yield f"  flows that are idle: {_idle(table)}"
    yield f"  flows at most: {_most(plan.settings)}"


def _named(plan: Plan, table: int) -> str:
    return f"table {table} ({plan.tables[table].key.name})"


def _timeout(nf: NFPlan) -> str:
    """When the states of an NF end."""
    if not nf.ends_idle:
        return ""
    usual = "" if nf.timeout_ns is None else f"{_seconds(nf.timeout_ns)} idle"
    if nf.expire_in is None:
        return f", given back after {usual}"
    return f", given back when {EXPIRE_IN} says{f', else after {usual}' if usual else ''}"


def _idle(table: TablePlan) -> str:
    """How flows end that have no more packets."""
    if not table.idle_ends:
        return "kept"
    if table.ends_at_ticks:
        return f"ended when all workers stand still for it, every {_seconds(table.round_ns)} of packet time"
    return (
        f"ended at their next packet, or by a search that takes {_seconds(table.round_ns)} of packet time through all"
        f" slots, {SWEPT_AT_ONCE} in {PACKETS_PER_SWEEP} packets at most"
    )


#: What becomes of the packets of new flows that find a table full.
_WHEN_FULL = {
    "drop": "packets of new ones are dropped",
    "bypass": "packets of new ones pass its network functions by",
    "evict": "a new one takes the place of one that had no packet since evictions last came by",
}


def _most(settings: Settings) -> str:
    """How many flows a table takes, and what happens then."""
    if settings.capacity is None:
        most = "as many as fit the memory that tables may take"
    else:
        most = f"{settings.capacity:,} of all families"
    return f"{most}; then {_WHEN_FULL[settings.full]}"


def _seconds(nanoseconds: int) -> str:
    return f"{nanoseconds / 1e9:g} s"


def _side_lines(plan: Plan, table: TablePlan, side: TableSide) -> Iterator[str]:
    family = f"IPv{side.packing.family}" if side.packing.family else "all packets"
    lines = f"{side.lines} cache line{'s' if side.lines > 1 else ''}"
    ahead = lines_ahead(table, side, plan.tuning)
    has_arrays = any(plan.nfs[index].nf.state_arrays for index in table.nfs)
    tags = "" if _is_linked(table, side) else ", and one of tags,"
    lines += f", {ahead} prefetched at once" if has_arrays or ahead < side.lines else f"{tags} a packet"
    slot = f", a tag byte and a slot of {RECORD_BYTES} bytes" if table.slot is not None else " and a tag byte"
    yield f"  {family}: key {side.key_bytes} bytes, entry {side.entry_bytes} bytes ({lines}){slot}"
    examples = _EXAMPLE_FLOWS if plan.settings.capacity is None else (plan.settings.capacity,)
    sizes = ", ".join(f"{side_bytes(table, side, flows) / 2**20:.3g} MiB at {flows:,} flows" for flows in examples)
    yield f"    memory: {sizes}"


def _is_linked(table: TablePlan, side: TableSide) -> bool:
    """Whether all packets of a side find their flow by a link."""
    return all(table.is_linked(family) for family in FAMILIES if side.packing.family in (0, family))
