"""ICMP errors and the flows that they are about, as text: functions apart from those for other packets.

In the lookups of a segment `hash_N_icmp` gives an ICMP packet its keys: where the NFs of a table have `error`, an error
has that of the packet that it quotes. When the NFs run, `error_N_I_ipvF` finds the entry, begins none, and runs `error`
of the NFs that stand together, the first of which is number I.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from fajita.kernel.ask_pass import emit_quoted_key
from fajita.kernel.begin import emit_begin
from fajita.kernel.deadline import longest_idle, may_end_sooner
from fajita.kernel.layout import Scratch, Statistics, counts_missed
from fajita.kernel.prologue import emit_sides, emit_words
from fajita.kernel.text import Text
from fajita.packet import Layer
from fajita.plan import NFPlan, Plan, TablePlan, TableSide

_ICMP, _IPV6 = int(Layer.ICMP), int(Layer.IPV6)
_WORDS = ("address", "captured", "wire", "time_ns", "core", "constants", "statistics", "blank")


@dataclass(frozen=True)
class ErrorGroup:
    """NFs of one table that stand together in a segment and handle a family. is_first: no others of it come before."""

    table: TablePlan
    side: TableSide
    nfs: tuple[NFPlan, ...]
    is_first: bool
    number: int
    family: int

    @property
    def function(self) -> str:
        """The name of its function."""
        return f"error_{self.number}_{self.nfs[0].index}_ipv{self.family}"


def error_groups(plan: Plan, number: int, family: int) -> Iterator[ErrorGroup]:
    """Those of a segment."""
    nfs = [plan.nfs[index] for index in plan.segments[number].nfs]
    met: set[int] = set()
    for t, group in groupby(nfs, key=lambda nf: nf.table):
        side = None if t is None or not plan.tables[t].errors else plan.tables[t].side_of(family)
        if t is None or side is None:
            continue
        handling = tuple(nf for nf in group if nf.handles(side.packing))
        if handling:
            is_first = t not in met and number == plan.first_segment_of(plan.tables[t], side)
            met.add(t)
            yield ErrorGroup(plan.tables[t], side, handling, is_first, number, family)


def is_error_of(table: TablePlan, scratch: Scratch) -> str:
    """A test of a packet in the run pass: it is an ICMP error, and has the key of what it quotes."""
    if table.asks:
        return f"quoted != 0 and hashed_{table.index} != 0"
    return f"headers & {_ICMP} != 0 and load_i64(scratch + {scratch.tables[table.index].error} + 8 * j) != 0"


def emit_errors(text: Text, plan: Plan, number: int, scratch: Scratch, statistics: Statistics) -> None:
    """The functions of a segment's groups."""
    for family in (4, 6) if plan.tells_ipv6 else (4,):
        for group in error_groups(plan, number, family):
            _emit_group(text, plan, group, scratch, statistics)


def _emit_group(text: Text, plan: Plan, group: ErrorGroup, scratch: Scratch, statistics: Statistics) -> None:
    """`error_N_I_ipvF(context, scratch, position, j, headers)`: 0, or 1 + the reason for which an NF dropped it."""
    table, side, place = group.table, group.side, scratch.tables[group.table.index]
    text.function("rare_function", f"{group.function}(context, scratch, position, j, headers)")
    with text.indented():
        emit_words(text, _WORDS)
        emit_sides(text, [side])
        text.line("frame = load_i64(address + 8 * (position + j))")
        text.line("length = load_u32(wire + 4 * (position + j))")
        text.line("captured_bytes = load_u32(captured + 4 * (position + j))")
        if scratch.metadata is not None:
            text.line(f"metadata = scratch + {scratch.metadata} + 8 * j")
        if table.asks:
            emit_quoted_key(text, table, side, scratch)
        if group.is_first:
            hashed = f"load_i64(scratch + {place.hashed} + 8 * j)"
            key = f"scratch + {place.key} + {place.key_bytes} * j"
            text.line(f"known = find_{side.index}(side_{side.index}, {hashed}, {key})")
            text.line(f"known = known + {side.key_bytes} if known != 0 else 0")
            text.line(f"store_64(scratch + {place.entry} + 8 * j, known)")
        else:
            text.line(f"known = load_i64(scratch + {place.entry} + 8 * j)")
        text.line("marks = load_u8(known - 1) if known != 0 else 0")
        if table.idle_ends:
            text.line(f"clock = load_i64(scratch + {scratch.clock} + 8 * j)")
            text.line(f"idle_ns = clock - load_i64(known + {table.last_seen}) if known != 0 else 0")
        for nf in group.nfs:
            _emit_nf(text, plan, group, nf, scratch, statistics)
        text.line("return 0")


def _emit_nf(text: Text, plan: Plan, group: ErrorGroup, nf: NFPlan, scratch: Scratch, statistics: Statistics) -> None:
    table = group.table
    text.line(f"# {nf.nf.name}")
    text.line(f"related = marks & {1 << nf.mark} != 0")
    if nf.ends_idle:
        text.line("if related:")
        text.line(f"    related = idle_ns < {longest_idle(nf, 'known')}")
    text.line("if related == 0:  # what is written to the state is lost")
    with text.indented():
        text.line(f"clear(blank + {nf.state_start}, {nf.state_bytes})")
        if nf.array_bytes:
            text.line(f"clear(blank + {nf.array_start}, {nf.array_bytes})")
        emit_begin(text, nf, "blank")
    text.line("state = known if related else blank")
    if table.direction is not None:
        # The error goes the other way than what it quotes.
        text.line("forward = 0")
        text.line("if related:")
        direction = f"load_i64(scratch + {scratch.tables[table.index].direction} + 8 * j)"
        text.line(f"    forward = {direction} != load_u8(known + {table.direction})")
    counted = statistics.received[nf.index]
    if counted is not None and not counts_missed(plan, nf):
        text.line(f"store_64(statistics + {counted}, load_i64(statistics + {counted}) + 1)")
    hook = nf.translated.hooks["error"]
    names = {"flow_ports": "0", "captured": "captured_bytes", "time_ns": "load_i64(time_ns + 8 * (position + j))"}
    call = f"{hook.function}({', '.join(names.get(name, name) for name in hook.arguments)})"
    text.line(f"{'code = ' if nf.translated.may_drop else ''}{call}")
    if may_end_sooner(table, nf, "error"):
        text.line("if related:")
        text.line(f"    look_sooner_{table.index}(context, known)")
    if not nf.translated.may_drop:
        return
    text.line("if code != 0:")
    with text.indented():
        text.line(f"dropped = statistics + {statistics.drops[nf.index][0] - 8} + 8 * code")
        text.line("store_64(dropped, load_i64(dropped) + 1)")
        text.line("return code")
