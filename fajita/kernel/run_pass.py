"""The third pass of a segment, as text: a function that runs its NFs on each packet of the burst.

IPv6 packets go to a function of their own, so that the loop has all registers for the others.
"""

from fajita.kernel.layout import FRAMES_AHEAD, Scratch, Statistics
from fajita.kernel.link_pass import emit_places
from fajita.kernel.packet_body import PacketBody, counter
from fajita.kernel.prefetch_pass import emit_first_prefetch, emit_next_prefetch, prefetch_parameters
from fajita.kernel.prologue import emit_sides, emit_words
from fajita.kernel.shared_text import emit_worker
from fajita.kernel.split import first_parameter
from fajita.kernel.spread import emit_spread, spread_parameter
from fajita.kernel.text import Text
from fajita.packet import Layer
from fajita.plan import Plan, TableSide

#: What the pass needs of the context.
_WORDS = ("end", "address", "captured", "wire", "time_ns", "verdict", "core", "constants", "statistics", "records")


def emit_run_pass(
    text: Text, plan: Plan, number: int, scratch: Scratch, statistics: Statistics, *, live: bool = False
) -> None:
    """`run_N(context, scratch, position, count)`; the last segment's also gives the verdicts.

    live: what describes the next block's packets is asked for, besides frames.
    """
    next_scratch = spread_parameter(plan, number, "next_scratch")
    if plan.tells_ipv6:
        _emit_ipv6(text, plan, number, scratch, statistics)
    nfs = [plan.nfs[index] for index in plan.segments[number].nfs]
    counters = {nf.index: name for nf in nfs if (name := counter(plan, statistics, nf)) is not None}
    first = first_parameter(plan, number)
    text.function(
        "burst_function",
        f"run_{number}(context, scratch, position, {first}count{prefetch_parameters(plan, number)}{next_scratch})",
    )
    with text.indented():
        emit_words(text, _WORDS)
        emit_sides(text, plan.sides)
        emit_places(text, _linked_sides(plan, number, 4))
        emit_worker(text, plan)
        for name in counters.values():
            text.line(f"{name} = 0")
        is_last = number == len(plan.segments) - 1
        if is_last and live:
            emit_words(text, ("coming",))
        if is_last:
            # Near the end of the block what is asked for again costs less than to ask whether it is there.
            text.line(f"ahead = maximum(0, minimum(position + {FRAMES_AHEAD}, end - BURST))")
        emit_first_prefetch(text, plan, number)
        text.line(f"for j in range({first}count):")
        with text.indented():
            emit_next_prefetch(text, plan, number)
            if is_last:
                text.line("prefetch(load_i64(address + 8 * (ahead + j)))")
                if live:
                    # All at once they would wait for each other.
                    text.line("prefetch_unchanged(load_i64(coming + 8 * (position + j)))")
            _emit_packet(text, plan, scratch)
            if plan.tells_ipv6:
                text.line(f"if headers & {int(Layer.IPV6)}:")
                text.line(f"    run_{number}_ipv6(context, scratch, position, j{next_scratch})")
                text.line("    continue")
            emit_spread(text, plan, number, scratch, family=4)
            PacketBody(text, plan, number, scratch, statistics, family=4).emit()
        for index, name in counters.items():
            place = f"statistics + {statistics.received[index]}"
            amount = f"count - {'first - ' if first else ''}{name}" if name.startswith("missed") else name
            text.line(f"store_64({place}, load_i64({place}) + {amount})")


def _emit_ipv6(text: Text, plan: Plan, number: int, scratch: Scratch, statistics: Statistics) -> None:
    """`run_N_ipv6(context, scratch, position, j)`: the same for one IPv6 packet."""
    next_scratch = spread_parameter(plan, number, "next_scratch")
    text.function("burst_function", f"run_{number}_ipv6(context, scratch, position, j{next_scratch})")
    with text.indented():
        emit_spread(text, plan, number, scratch, family=6)
        emit_words(text, _WORDS)
        emit_sides(text, plan.sides)
        emit_places(text, _linked_sides(plan, number, 6))
        emit_worker(text, plan)
        _emit_packet(text, plan, scratch)
        PacketBody(text, plan, number, scratch, statistics, family=6).emit()


def _linked_sides(plan: Plan, number: int, family: int) -> list[TableSide]:
    """The sides whose entries packets of a family find by links in a segment."""
    tables = [table for table in plan.tables_run_in(number) if table.is_linked(family)]
    return [side for table in tables if (side := table.side_of(family)) is not None]


def _emit_packet(text: Text, plan: Plan, scratch: Scratch) -> None:
    text.line("frame = load_i64(address + 8 * (position + j))")
    text.line(f"headers = load_i64(scratch + {scratch.headers} + 8 * j)")
    text.line("length = load_u32(wire + 4 * (position + j))")
    text.line("captured_bytes = load_u32(captured + 4 * (position + j))")
    if scratch.metadata is not None:
        text.line(f"metadata = scratch + {scratch.metadata} + 8 * j")
    if plan.tuning.sprays:
        text.line("is_own = load_u8(verdict + position + j)")
