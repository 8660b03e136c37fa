"""What a plan means, for people: tables and what they cost, passes and why, what happens to other frames."""

from collections.abc import Iterator

from fajita.explain_arrays import array_lines
from fajita.kernel.layout import BURST
from fajita.kernel.table import FILL, GROUP
from fajita.packet import Layer
from fajita.plan import NFPlan, Plan, TablePlan, TableSide
from fajita.prefetching import lines_ahead

#: For how many flows the memory of a table is told.
_EXAMPLE_FLOWS = (65_536, 1_048_576)

_LINK = Layer.ETHERNET | Layer.VLAN
_IP = _LINK | Layer.IP | Layer.IPV4 | Layer.IPV6
_TRANSPORT = Layer.FLOW | Layer.PORTS | Layer.TCP | Layer.UDP | Layer.ICMP
#: Kinds of frames and all layers that one of them may have.
_KINDS: dict[str, Layer] = {
    "ARP": _LINK,
    "malformed headers": _LINK,
    "IPv4": (_IP & ~Layer.IPV6) | _TRANSPORT,
    "IPv6": (_IP & ~Layer.IPV4) | _TRANSPORT,
    "later fragments": _IP,
    "TCP": _IP | Layer.FLOW | Layer.PORTS | Layer.TCP,
    "UDP": _IP | Layer.FLOW | Layer.PORTS | Layer.UDP,
    "ICMP": _IP | Layer.FLOW | Layer.ICMP,
}


def explain(plan: Plan) -> str:
    """Several lines of text."""
    return "\n".join(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    yield f"chain {plan.name}: {len(plan.nfs)} network functions, bursts of {BURST} packets, one core"
    for table in plan.tables:
        yield ""
        yield from _table_lines(plan, table)
    if not plan.tables:
        yield "no tables: no network function keeps state per key"
    if any(nf.nf.state_arrays or nf.nf.core_arrays for nf in plan.nfs):
        yield ""
        yield from array_lines(plan)
    yield ""
    yield "per burst:"
    for number, segment in enumerate(plan.segments):
        names = ", ".join(plan.nfs[index].nf.name for index in segment.nfs)
        tables = ", ".join(str(plan.tables[index].key) for index in segment.tables)
        parse = "parse all, " if number == 0 else ""
        lookup = f"hash {tables}, prefetch tags; match tags, prefetch entries; " if segment.tables else ""
        asks = any(plan.nfs[index].translated.prefetch is not None for index in segment.nfs)
        elements = " and prefetch elements of arrays" if asks else ""
        yield f"  segment {number}: {parse}{lookup}run {names}{elements}"
    action = "passed on" if plan.settings.other == "pass" else "dropped"
    yield ""
    yield f"frames that none of them is about ({', '.join(_unseen(plan))}) are {action} and counted by reason"


def _unseen(plan: Plan) -> list[str]:
    """Kinds of frames that no NF of the chain is about."""
    needed = [layer for nf in plan.nfs for layer in _needed(plan, nf)]
    unseen = [kind for kind, there in _KINDS.items() if not any(layer & there == layer for layer in needed)]
    return [*unseen, "unknown link types"]


def _needed(plan: Plan, nf: NFPlan) -> list[Layer]:
    """The layers that a frame must have for an NF to see it, one of these."""
    if nf.table is None:
        return [nf.layer]
    return [side.packing.layer for side in plan.tables[nf.table].sides if nf.handles(side.packing)]


def _table_lines(plan: Plan, table: TablePlan) -> Iterator[str]:
    yield f"table {table.index}: key {table.key.name} ({', '.join(table.key.fields) or 'nothing'})"
    yield f"  a lookup of its own because: {table.why}"
    for side in table.sides:
        yield from _side_lines(table, side, plan)
    yield "  after the key, whose top byte marks whose state is there:"
    if table.last_seen is not None:
        yield f"    time of the last packet: bytes {table.last_seen}-{table.last_seen + 7}"
    if table.direction is not None:
        yield f"    direction of the first packet: byte {table.direction}"
    for nf in (plan.nfs[index] for index in table.nfs):
        timeout = f", given back after {nf.nf.timeout_ns / 1e9:g} s idle" if nf.nf.timeout_ns is not None else ""
        place = f"bytes {nf.state_start}-{nf.state_start + nf.state_bytes - 1}" if nf.state_bytes else "no fields"
        if nf.array_bytes:
            place += f", arrays in bytes {nf.array_start}-{nf.array_start + nf.array_bytes - 1}"
        families = [f"IPv{side.packing.family}" for side in table.sides if nf.handles(side.packing)]
        only = f", {families[0]} only" if len(families) < len(table.sides) else ""
        yield f"    {nf.nf.name}: {place}{timeout}{only}"


def _side_lines(table: TablePlan, side: TableSide, plan: Plan) -> Iterator[str]:
    family = f"IPv{side.packing.family}" if side.packing.family else "all packets"
    lines = f"{side.lines} cache line{'s' if side.lines > 1 else ''} a packet"
    ahead = lines_ahead(table, side, plan.tuning)
    if any(plan.nfs[index].nf.state_arrays for index in table.nfs) or ahead < side.lines:
        lines = f"{side.lines} cache line{'s' if side.lines > 1 else ''}, {ahead} prefetched at once"
    yield f"  {family}: key {side.key_bytes} bytes, entry {side.entry_bytes} bytes ({lines}) and a tag byte"
    sizes = ", ".join(f"{side_bytes(side, flows) / 2**20:.3g} MiB at {flows:,} flows" for flows in _EXAMPLE_FLOWS)
    yield f"    memory: {sizes}"


def side_bytes(side: TableSide, flows: int) -> int:
    """Bytes of tags and entries of a side of a table that has grown to hold so many flows."""
    groups = 1
    while groups * FILL < flows:
        groups *= 2
    return groups * GROUP * (side.entry_bytes + 1)
