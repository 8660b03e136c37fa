"""What is asked for before an NF runs: the lines of entries, and the elements of which arrays."""

from typing import TYPE_CHECKING

from fajita.state_types import ArrayType
from fajita.translation import with_prefetch
from fajita.translation.lists import AREA as LISTS
from fajita.translation.lists import list_type
from fajita.tuning import Tuning

if TYPE_CHECKING:
    from fajita.plan import NFPlan, Plan, TablePlan, TableSide

#: Of a longer entry the lines up to the end of its scalars, but no more than these: a processor has room for a dozen
#: lines on their way, and its own prefetcher brings those that follow.
MAXIMUM_LINES = 4
#: What is smaller stays in the second-level cache by itself: an array of Core, or a list; and what all flows have of
#: entries and elements, by the number of flows there are as the kernel runs.
SMALLEST_ARRAY = 256 << 10
SMALLEST_TOTAL = 1 << 20


def lines_ahead(table: "TablePlan", side: "TableSide", tuning: Tuning) -> int:
    """How many lines of an entry are asked for as soon as it is known where it probably is."""
    if not tuning.prefetch:
        return 1
    if side.lines <= MAXIMUM_LINES:
        return side.lines
    return min(side.lines_up_to(side.key_bytes + table.scalar_bytes), MAXIMUM_LINES)


def bounding_table(plan: "Plan", nf: "NFPlan") -> "TablePlan | None":
    """A table whose number of flows bounds how many elements of Core an NF's hook asks for; None if nothing does."""
    hook, asked = nf.translated.prefetch, nf.translated.asked
    if hook is None or asked is None or asked.reads is None:
        return None
    own = [] if nf.table is None else [plan.tables[nf.table]]
    others = [] if "state" in hook.arguments else plan.tables
    return next((table for table in [*own, *others] if asked.reads <= set(table.key.fields)), None)


def add_prefetch(plan: "NFPlan", sides: list["TableSide"], tuning: Tuning) -> None:
    """Give an NF the hook that asks for the elements of its arrays. sides: of its table."""
    arrays = [("core", name) for name in plan.nf.core_arrays] + [("state", name) for name in plan.nf.state_arrays]
    arrays += [(LISTS, name) for name, _ in large_lists(plan)]
    if arrays:
        wanted = {array for array in arrays if tuning.prefetch and is_wanted(plan, sides, *array)}
        plan.translated = with_prefetch(plan.translated, wanted)


def large_lists(plan: "NFPlan") -> list[tuple[str, ArrayType]]:
    """The lists of an NF that do not stay in the cache, by their names in the kernel."""
    kinds = ((name, list_type(values)) for name, values in plan.translated.lists.items())
    return [(name, kind) for name, kind in kinds if kind.bytes >= SMALLEST_ARRAY]


def is_wanted(plan: "NFPlan", sides: list["TableSide"], area: str, name: str) -> bool:
    """Whether the elements of an array, or of a large list, are worth to be asked for; sides: of its NF's table."""
    if area == LISTS:
        return True
    if area == "core":
        return plan.nf.core_arrays[name].bytes >= SMALLEST_ARRAY
    return any(side.lines > MAXIMUM_LINES for side in sides)
