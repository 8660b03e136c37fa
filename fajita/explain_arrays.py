"""The arrays, large lists and maps of a chain's NFs, for people: their sizes, what of them is prefetched and what not.

Why not is said, too.
"""

from collections.abc import Iterator

from fajita.plan import NFPlan, Plan
from fajita.prefetching import LISTS, MAXIMUM_LINES, SMALLEST_ARRAY, is_wanted, large_lists
from fajita.translation import ArrayAccess


def array_lines(plan: Plan) -> Iterator[str]:
    """A paragraph for each NF that has arrays."""
    for nf in plan.nfs:
        for area, where, arrays in (
            ("state", "each state", nf.nf.state_arrays),
            ("core", "each worker", nf.nf.core_arrays),
        ):
            for name, kind in arrays.items():
                yield f"  {nf.nf.name}: {name} of {where}, {kind.name}, {_size(kind.bytes)}"
                yield from _accesses(plan, nf, area, name)
        for name, kind in large_lists(nf):
            what = f"{kind.length:,} numbers of {kind.element.bytes} bytes"
            yield f"  {nf.nf.name}: {name.partition('__list_')[2] or name}, a list of {what}, {_size(kind.bytes)}"
            yield from _accesses(plan, nf, LISTS, name)
        for name, map_ in nf.nf.core_maps.items():
            yield f"  {nf.nf.name}: {name} of each worker, {map_.name}, {_size(map_.bytes)}"


def _accesses(plan: Plan, nf: NFPlan, area: str, name: str) -> Iterator[str]:
    for access in nf.translated.accesses:
        if (access.area, access.array) == (area, name):
            yield f"    {access.text}: {_prefetched(plan, nf, access)}"


def _size(size: int) -> str:
    return f"{size:,} bytes" if size < 1 << 20 else f"{size / 2**20:,.4g} MiB"


def _prefetched(plan: Plan, nf: NFPlan, access: ArrayAccess) -> str:
    """What is done about an access of `packet` before it runs."""
    sides = [] if nf.table is None else plan.tables[nf.table].sides
    if not plan.tuning.prefetch:
        return "not prefetched (--no-prefetch)"
    if not is_wanted(nf, sides, access.area, access.array):
        if access.area == "state":
            return f"prefetched with the entry, which has at most {MAXIMUM_LINES} cache lines"
        return f"not prefetched: below {_size(SMALLEST_ARRAY)} it stays in the cache"
    if access.in_doubt:
        return "not prefetched: of a list, and not every packet needs it"
    if not access.ahead:
        return "not prefetched: the index is known only as the packet is handled"
    if access.is_fixed:
        return "not prefetched: every packet touches it"
    return "prefetched"
