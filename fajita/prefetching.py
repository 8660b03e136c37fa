"""What is asked for before an NF runs: the lines of entries, and the elements of which arrays."""

from typing import TYPE_CHECKING

from fajita.translation import with_prefetch
from fajita.tuning import Tuning

if TYPE_CHECKING:
    from fajita.plan import NFPlan, TablePlan, TableSide

#: Of a longer entry the lines up to the end of its scalars, but no more than these: a processor has room for a dozen
#: lines on their way, and its own prefetcher brings those that follow.
MAXIMUM_LINES = 4
#: Arrays of Core that are smaller stay in the second-level cache by themselves.
SMALLEST_ARRAY = 64 << 10


def lines_ahead(table: "TablePlan", side: "TableSide", tuning: Tuning) -> int:
    """How many lines of an entry are asked for as soon as it is known where it probably is."""
    if not tuning.prefetch:
        return 1
    if side.lines <= MAXIMUM_LINES:
        return side.lines
    return min(side.lines_up_to(side.key_bytes + table.scalar_bytes), MAXIMUM_LINES)


def add_prefetch(plan: "NFPlan", sides: list["TableSide"], tuning: Tuning) -> None:
    """Give an NF the hook that asks for the elements of its arrays. sides: of its table."""
    nf = plan.nf
    wanted: set[tuple[str, str]] = set()
    if tuning.prefetch:
        wanted |= {("core", name) for name, kind in nf.core_arrays.items() if kind.bytes >= SMALLEST_ARRAY}
        if any(side.lines > MAXIMUM_LINES for side in sides):
            wanted |= {("state", name) for name in nf.state_arrays}
    if nf.core_arrays or nf.state_arrays:
        plan.translated = with_prefetch(plan.translated, wanted)
