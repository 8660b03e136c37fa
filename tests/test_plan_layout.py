"""How entries are laid out: nothing overlaps, and lines are few."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fajita import planner
from fajita.key import destination, five_tuple, source
from fajita.plan import LINE_BYTES, MAXIMUM_SHARING, Plan, TablePlan
from fajita.prefetching import lines_ahead
from fajita.settings import Settings
from fajita.state_types import Array, flag, i8, i16, i32, i64, ipv4, mac, u8, u16, u32, u64
from fajita.tuning import Tuning
from tests.planning import BITS, plan, with_state

TYPES = (u8, u16, u32, u64, i8, i16, i32, i64, flag, ipv4, mac)


@st.composite
def layouts(draw: st.DrawFn) -> Plan:
    fields = st.lists(st.sampled_from(TYPES), max_size=12)
    state = st.lists(st.tuples(st.sampled_from(TYPES), st.booleans()), max_size=12)
    timeouts, keys = st.sampled_from((None, "1s", "5us")), st.sampled_from((source, source, five_tuple, destination))
    numbers = range(draw(st.integers(1, 12)))
    return plan(*(with_state(number, draw(state), draw(fields), draw(timeouts), draw(keys)) for number in numbers))


def taken(planned: Plan, table: TablePlan) -> list[tuple[int, int]]:
    """Offset and size of all that an entry holds after its key."""
    places = []
    for offset, size in ((table.last_seen, 8), (table.slot, 4), (table.direction, 1)):
        if offset is not None:
            places.append((offset, size))
    places += [(offset, 4) for offset in table.links.values()]
    for nf in (planned.nfs[index] for index in table.nfs):
        fields = type(nf.nf).state_fields
        scalars = {name: offset for name, offset in nf.offsets.items() if name in fields}
        assert list(scalars) == [name for name in fields if name in nf.translated.stored]
        places += [(offset, fields[name].bytes) for name, offset in scalars.items()]
    return places


def check_places(places: list[tuple[int, int]], end: int) -> None:
    used: set[int] = set()
    for offset, size in places:
        assert offset % size == 0
        span = set(range(offset, offset + size))
        assert not used & span
        used |= span
    assert all(offset < end for offset in used)


ARRAYS = (Array[u8, 3], Array[u64, 5], Array[i16, 1], Array[ipv4, 70], *BITS)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from((*TYPES, *ARRAYS)), st.booleans()), max_size=6),
            st.lists(st.sampled_from((*TYPES, *ARRAYS)), max_size=6),
        ),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from((None, "1s")),
)
def test_layout_with_arrays(fields: list[tuple[list[tuple[Any, bool]], list[Any]]], timeout: str | None) -> None:
    """Scalars lie where they would without arrays, which follow, in one piece for each NF."""
    planned = plan(*(with_state(number, *both, timeout) for number, both in enumerate(fields)))
    bare = plan(
        *(
            with_state(
                number,
                [(kind, is_stored) for kind, is_stored in state if kind not in ARRAYS],
                [kind for kind in core if kind not in ARRAYS],
                timeout,
            )
            for number, (state, core) in enumerate(fields)
        )
    )
    (table,) = planned.tables
    assert table.scalar_bytes == bare.tables[0].scalar_bytes
    places, core = taken(planned, table), []
    for nf, other in zip(planned.nfs, bare.nfs, strict=True):
        scalars = [offset for name, offset in nf.offsets.items() if name not in nf.nf.state_arrays]
        assert scalars == list(other.offsets.values())
        variables = [offset for name, offset in nf.core_offsets.items() if name not in nf.nf.core_arrays]
        assert variables == list(other.core_offsets.values())
        core += [(nf.core_offsets[name], kind.bytes) for name, kind in type(nf.nf).core_fields.items()]
        for name, kind in nf.nf.state_arrays.items():
            assert nf.offsets[name] % kind.element.bytes == 0
            assert nf.array_start <= nf.offsets[name]
            assert nf.offsets[name] + kind.bytes <= nf.array_start + nf.array_bytes
            places += [(nf.offsets[name] + byte, 1) for byte in range(kind.bytes)]
        for name, kind in nf.nf.core_arrays.items():
            assert nf.core_offsets[name] % LINE_BYTES == 0
            core += [(nf.core_offsets[name] + byte, 1) for byte in range(kind.bytes)]
        assert nf.array_start >= table.scalar_bytes or not nf.array_bytes
    check_places(core, planned.core_bytes)
    for side in table.sides:
        check_places(places, side.entry_bytes - side.key_bytes)


def test_lines_of_entries_that_are_asked_for_at_once() -> None:
    def lines(*state: Any, prefetch: bool = True) -> list[int]:
        tuning = Tuning(prefetch=prefetch)
        planned = planner.make_plan(
            "lines", [with_state(0, [(kind, True) for kind in state], (), None)], Settings(), tuning
        )
        return [lines_ahead(planned.tables[0], side, tuning) for side in planned.tables[0].sides]

    assert lines(u64) == [1, 1]
    assert lines(*[u64] * 7) == [1, 2]
    assert lines(u64, Array[u8, 200]) == [4, 4]
    assert lines(u64, Array[u8, 300]) == [1, 1]
    assert lines(*[u64] * 9, Array[u8, 300]) == [2, 2]
    assert lines(*[u64] * 100) == [4, 4]
    assert lines(u64, Array[u8, 200], prefetch=False) == [1, 1]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(layouts())
def test_layout(planned: Plan) -> None:
    """Everything is aligned, nothing overlaps, an NF's state is in one piece, no entry straddles a line needlessly."""
    core = [(nf.core_offsets[name], kind.bytes) for nf in planned.nfs for name, kind in type(nf.nf).core_fields.items()]
    check_places(core, planned.core_bytes)
    assert planned.core_bytes % 8 == 0
    for table in planned.tables:
        assert len(table.nfs) <= MAXIMUM_SHARING
        ends = [0 if table.last_seen is None else 8]
        for nf in (planned.nfs[index] for index in table.nfs):
            assert nf.state_start >= ends[-1]
            ends.append(nf.state_start + nf.state_bytes)
            assert all(nf.state_start <= offset < ends[-1] for offset in nf.offsets.values())
        for side in table.sides:
            check_places(taken(planned, table), side.entry_bytes - side.key_bytes)
            if side.entry_bytes <= LINE_BYTES:
                assert LINE_BYTES % side.entry_bytes == 0
            else:
                assert side.entry_bytes % LINE_BYTES == 0
            assert side.lines == max(1, side.entry_bytes // LINE_BYTES)
            # Not a byte more than the rounding needs.
            end = side.key_bytes + max((at + size for at, size in taken(planned, table)), default=0)
            assert side.entry_bytes < max(17, 2 * end if end <= LINE_BYTES else end + LINE_BYTES)
