"""Tables in which endpoints are looked for."""

from hypothesis import given
from hypothesis import strategies as st

from fajita.nfs._services import HASH_SHIFT, EndpointTable


def found(table: EndpointTable, key: int) -> list[int]:
    """As an NF looks for it."""
    first = (key * table.factor >> HASH_SHIFT) & table.mask
    places = range(first, first + table.probes)
    return [table.numbers[place] for place in places if table.keys[place] == key]


@given(st.dictionaries(st.integers(1, (1 << 56) - 1), st.integers(0, 9), max_size=40), st.integers(0, (1 << 56) - 1))
def test_a_table_finds_what_is_in_it_and_nothing_else(numbers: dict[int, int], other: int) -> None:
    table = EndpointTable.of(numbers)
    for key in {0, other, *numbers}:
        assert found(table, key) == ([numbers[key]] if key in numbers else [])
