"""Where things lie in the entries of a table: the key, the time of the last packet, links, and the states of NFs."""

from fajita.plan import LINE_BYTES, NFPlan, TablePlan
from fajita.sharding import SHARED


def aligned(offset: int, size: int) -> int:
    """The first multiple of `size` from `offset` on."""
    return -(-offset // size) * size


class _Room:
    """Places in what follows the key of an entry: one behind the other, or in a gap between the states of two NFs.

    Not in one within a state, which is cleared as a whole when it ends.
    """

    def __init__(self) -> None:
        self.end = 0
        self._gaps: list[tuple[int, int]] = []

    def begin_state(self, size: int) -> int:
        """Go on at a multiple of `size`."""
        start, self.end = self.end, aligned(self.end, size)
        if start < self.end:
            self._gaps.append((start, self.end))
        return self.end

    def append(self, size: int, alignment: int | None = None) -> int:
        """A place of that size behind all others; aligned to its size if nothing else is said."""
        at = aligned(self.end, alignment or size)
        self.end = at + size
        return at

    def fit(self, size: int) -> int:
        """A place of that size in a gap, or behind all others."""
        for number, (start, end) in enumerate(self._gaps):
            at = aligned(start, size)
            if at + size <= end:
                self._gaps[number] = (at + size, end)
                return at
        return self.append(size)


def lay_out(table: TablePlan, plans: list[NFPlan], linked: list[int]) -> None:
    """An entry: the key's words, the time of the last packet if entries end, the NFs' states in their order."""
    nfs, room = [plans[index] for index in table.nfs], _Room()
    if table.idle_ends or table.evicts:
        table.last_seen = room.append(8)
    if table.key.symmetric:
        table.direction = room.append(1)
    for plan in nfs:
        # A field that nothing stores is 0 for ever and takes no room.
        stored = plan.translated.stored
        fields = {name: kind for name, kind in type(plan.nf).state_fields.items() if name in stored}
        plan.state_start = room.begin_state(max((kind.bytes for kind in fields.values()), default=1))
        for name, kind in fields.items():
            plan.offsets[name] = room.append(kind.bytes)
        plan.state_bytes = room.end - plan.state_start
    if table.last_seen is not None and table.sharing != SHARED:
        table.slot = room.fit(4)
    table.links = {other: room.fit(4) for other in linked}
    table.scalar_bytes = room.end
    for plan in nfs:
        _place_arrays(plan, room)
    for side in table.sides:
        side.entry_bytes = entry_bytes(side.key_bytes + room.end)


def entry_bytes(size: int) -> int:
    """From one entry of that size to the next: a power of two up to a line, then whole ones, so that none straddles."""
    return max(16, 1 << (size - 1).bit_length()) if size <= LINE_BYTES else aligned(size, LINE_BYTES)


def _place_arrays(plan: NFPlan, room: _Room) -> None:
    arrays = plan.nf.state_arrays
    plan.array_start = room.begin_state(max((kind.element.bytes for kind in arrays.values()), default=1))
    for name, kind in arrays.items():
        plan.offsets[name] = room.append(kind.bytes, kind.element.bytes)
    plan.array_bytes = room.end - plan.array_start
