"""What the memory of one side of a flow table takes."""

from fajita.kernel.slots import RECORD_BYTES
from fajita.kernel.table import FILL, GROUP
from fajita.plan import TablePlan, TableSide

#: Groups of a table in which no flow has been yet.
FIRST_GROUPS = 64


def groups_for(entries: int) -> int:
    """How many groups a table has that has grown to hold so many entries."""
    groups = FIRST_GROUPS
    while groups * FILL < entries:
        groups *= 2
    return groups


def area_sizes(side: TableSide, groups: int) -> tuple[int, int]:
    """Bytes of tags with their groups' counts, and of entries."""
    places = groups * GROUP
    return places + groups, places * side.entry_bytes


def record_bytes(table: TablePlan, groups: int) -> int:
    """Bytes of the records of entries' slots, where a table has such."""
    return groups * FILL * RECORD_BYTES if table.slot is not None else 0


def side_bytes(table: TablePlan, side: TableSide, entries: int) -> int:
    """Bytes of all that, in a table that has grown to hold so many entries."""
    groups = groups_for(entries)
    return sum(area_sizes(side, groups)) + record_bytes(table, groups)
