"""The third pass of a segment, as text: a function that runs its NFs on each packet of the burst.

IPv6 packets go to a function of their own, so that the loop has all registers for the others.
"""

from fajita.kernel.layout import FRAMES_AHEAD, FRAMES_FARTHER, Scratch, Statistics
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
_IPV6 = int(Layer.IPV6)


def emit_run_pass(
    text: Text, plan: Plan, number: int, scratch: Scratch, statistics: Statistics, *, live: bool = False
) -> None:
    """`run_N(context, scratch, position, count)`; the last segment's also gives the verdicts.

    live: what describes the next block's packets is asked for, besides frames.
    """
    _RunPass(text, plan, number, scratch, statistics, live).emit()


class _RunPass:
    """Writes the functions of one segment."""

    def __init__(
        self, text: Text, plan: Plan, number: int, scratch: Scratch, statistics: Statistics, live: bool
    ) -> None:
        self.text, self.plan, self.number = text, plan, number
        self.scratch, self.statistics, self.live = scratch, statistics, live
        self.is_last = number == len(plan.segments) - 1
        #: What both functions take to ask for what later packets need.
        self.ahead = f"{prefetch_parameters(plan, number)}{spread_parameter(plan, number, 'next_scratch')}"

    def emit(self) -> None:
        text, plan, number, statistics = self.text, self.plan, self.number, self.statistics
        if plan.tells_ipv6:
            self._emit_ipv6()
        nfs = [plan.nfs[index] for index in plan.segments[number].nfs]
        counters = {nf.index: name for nf in nfs if (name := counter(plan, statistics, nf)) is not None}
        first = first_parameter(plan, number)
        text.function("burst_function", f"run_{number}(context, scratch, position, {first}count{self.ahead})")
        with text.indented():
            self._emit_begin(family=4)
            for name in counters.values():
                text.line(f"{name} = 0")
            emit_first_prefetch(text, plan, number)
            self._emit_loop(first.removesuffix(", ") or "0")
            for index, name in counters.items():
                place = f"statistics + {statistics.received[index]}"
                amount = f"count - {'first - ' if first else ''}{name}" if name.startswith("missed") else name
                text.line(f"store_64({place}, load_i64({place}) + {amount})")

    def _emit_loop(self, start: str) -> None:
        text, ipv6 = self.text, f"run_{self.number}_ipv6(context, scratch, position"
        if self.plan.tells_ipv6:
            # Often all packets of a burst are of one family.
            text.line(f"start = {start}")
            text.line(f"if start < count and {self._headers('start')} & {_IPV6}:")
            text.line(f"    start = {ipv6}, start, count{self.ahead})")
            start = "start"
        text.line(f"for j in range({'' if start == '0' else f'{start}, '}count):")
        with text.indented():
            text.line(f"headers = {self._headers('j')}")
            if self.plan.tells_ipv6:
                text.line(f"if headers & {_IPV6}:")
                text.line(f"    {ipv6}, j, j + 1{self.ahead})")
                text.line("    continue")
            self._emit_packet(family=4)

    def _emit_ipv6(self) -> None:
        """`run_N_ipv6(context, scratch, position, first, count)`: the same for the IPv6 packets from one on up to the
        next that is none, whose number it gives."""
        text = self.text
        text.function("burst_function", f"run_{self.number}_ipv6(context, scratch, position, first, count{self.ahead})")
        with text.indented():
            self._emit_begin(family=6)
            text.line("for j in range(first, count):")
            with text.indented():
                text.line(f"headers = {self._headers('j')}")
                text.line(f"if headers & {_IPV6} == 0:")
                text.line("    return j")
                self._emit_packet(family=6)
            text.line("return count")

    def _headers(self, packet: str) -> str:
        return f"load_i64(scratch + {self.scratch.headers} + 8 * {packet})"

    def _emit_begin(self, family: int) -> None:
        """What the loop over packets of a family needs."""
        text, plan = self.text, self.plan
        emit_words(text, _WORDS)
        emit_sides(text, plan.sides)
        emit_places(text, _linked_sides(plan, self.number, family))
        emit_worker(text, plan)
        if self.is_last and self.live:
            emit_words(text, ("coming",))
        if self.is_last:
            # Near the end of the block what is asked for again costs less than to ask whether it is there.
            for name, packets in (("ahead", FRAMES_AHEAD), ("farther", FRAMES_FARTHER)):
                text.line(f"{name} = maximum(0, minimum(position + {packets}, end - BURST))")

    def _emit_packet(self, family: int) -> None:
        """What is done with a packet of a family, and what is asked for meanwhile; `headers` is there."""
        text, plan, number = self.text, self.plan, self.number
        emit_next_prefetch(text, plan, number)
        if self.is_last:
            text.line("prefetch(load_i64(address + 8 * (ahead + j)))")
            text.line("prefetch_farther(load_i64(address + 8 * (farther + j)))")
        if self.is_last and self.live:
            # All at once they would wait for each other.
            text.line("prefetch_unchanged(load_i64(coming + 8 * (position + j)))")
        text.line("frame = load_i64(address + 8 * (position + j))")
        text.line("length = load_u32(wire + 4 * (position + j))")
        text.line("captured_bytes = load_u32(captured + 4 * (position + j))")
        if self.scratch.metadata is not None:
            text.line(f"metadata = scratch + {self.scratch.metadata} + 8 * j")
        if plan.tuning.sprays:
            text.line("is_own = load_u8(verdict + position + j)")
        emit_spread(text, plan, number, self.scratch, family=family)
        PacketBody(text, plan, number, self.scratch, self.statistics, family=family).emit()


def _linked_sides(plan: Plan, number: int, family: int) -> list[TableSide]:
    """The sides whose entries packets of a family find by links in a segment."""
    tables = [table for table in plan.tables_run_in(number) if table.is_linked(family)]
    return [side for table in tables if (side := table.side_of(family)) is not None]
