"""A side of a flow table against a dict, and its invariants read off the memory, while it grows and shrinks too."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fajita import table_size
from fajita.kernel import table as layout
from fajita.kernel.entry import compiled
from fajita.kernel.layout import BURST
from fajita.kernel.table import FILL, FREE, GROUP, MARK_SHIFT, MOST_OVERFLOWED, PAGE
from tests.kernel.table_model import CALLEES, SHAPES, Key, Table

ENTER = CALLEES.enter


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


#: Secrets by what they do to keys of 56 bits: mix them; send all to the same group with the same tag; make the lower
#: bits of a key its group, and the tags of all the same; make the upper bits its group and tag.
SECRETS = {
    "random": (0xA0761D6478BD642F, 0xE7037ED1A0B428DB),
    "all collide": (0, 0),
    "groups chosen": (1, 1),
    "groups and tags chosen": (1, 1 << 32),
}


def keys_of(words: int) -> st.SearchStrategy[Key]:
    """Keys of few distinct words, so that they return and share groups and tags."""
    last = st.one_of(
        st.integers(0, 40),
        st.builds(lambda tag, group: tag << 24 | group << 32, st.integers(0, 3), st.integers(0, 3)),
        st.integers(0, (1 << MARK_SHIFT) - 1),
    )
    first = st.one_of(st.integers(0, 3), st.integers((1 << 64) - 3, (1 << 64) - 1))
    return st.tuples(*[first] * (words - 1), last)


def key_of(words: int, flow: int) -> Key:
    return (*[flow % 7] * (words - 1), (flow * 0x9E3779B97F4A7C15 >> 7) % (1 << MARK_SHIFT))


@pytest.mark.parametrize("secrets", SECRETS)
@pytest.mark.parametrize("words", SHAPES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_table_is_a_dict(call, words, secrets, data):
    table = Table(call, words, SECRETS[secrets], first_groups=2)
    for _ in range(data.draw(st.integers(1, 12))):
        table.burst(data.draw(st.lists(keys_of(words), max_size=BURST)))
        if table.model:
            for key in data.draw(st.lists(st.sampled_from(sorted(table.model)), unique=True, max_size=BURST)):
                table.remove(key)
        table.check()


@pytest.mark.parametrize("secrets", SECRETS)
@pytest.mark.parametrize("words", SHAPES)
def test_it_grows_again_and_again_and_loses_nothing(call, words, secrets):
    table = Table(call, words, SECRETS[secrets], first_groups=4)
    flows = 400 if secrets == "all collide" else 1500
    keys = [key_of(words, flow) for flow in range(flows)]
    for start in range(0, flows, BURST):
        table.burst(keys[start : start + BURST])
        if start % (BURST * 7) == 0:
            table.check()
    table.check()
    assert table.growths >= (3 if secrets == "all collide" else 5)


@pytest.mark.parametrize("secrets", ["random", "all collide"])
@pytest.mark.parametrize("words", SHAPES)
def test_flows_that_come_and_go_do_not_make_it_grow(call, words, secrets):
    """Ten times as many as fit, but never more than a few at once."""
    table = Table(call, words, SECRETS[secrets], first_groups=8)
    keys = [key_of(words, flow) for flow in range(10 * 8 * FILL)]
    for start in range(0, len(keys), BURST):
        table.burst(keys[start : start + BURST])
        for key in keys[max(0, start - BURST) : start]:
            table.remove(key)
        if start % (BURST * 9) == 0:
            table.check()
    table.check()
    assert table.growths == 0


@pytest.mark.parametrize("words", SHAPES)
def test_entries_end_in_the_half_that_empties(call, words):
    table = Table(call, words, SECRETS["random"], first_groups=64)
    keys = [key_of(words, flow) for flow in range(64 * FILL)]
    for start in range(0, len(keys), BURST):
        table.burst(keys[start : start + BURST])
    while not table.is_moving:
        table.prepare_burst()
    for number in range(8):
        old = [key for key, _, half in table.kept() if half == 1]
        assert len(old) > 20 * BURST
        for key in old[number::50]:
            table.remove(key)
        table.burst(key_of(words, len(keys) + BURST * number + flow) for flow in range(BURST))
        table.check()
    while table.is_moving:
        table.prepare_burst()
        table.check()


def test_a_group_that_most_went_past_counts_no_more(call):
    """The count of a byte stays where it is full; what the search goes past too often costs time, not entries."""
    table = Table(call, 1, SECRETS["all collide"], first_groups=64)
    keys = [key_of(1, flow) for flow in range(GROUP + MOST_OVERFLOWED + 40)]
    for start in range(0, len(keys), BURST):
        table.burst(keys[start : start + BURST])
    table.check()
    group = table.hashed(keys[0]) & table.word(layout.MASK)
    counts = table.halves()[0][0][table.groups(0) * GROUP :]
    assert counts[group] == MOST_OVERFLOWED
    assert counts[(group + 4) % 64] == len(keys) - 5 * GROUP
    for key in keys[::2] + keys[1::2]:
        table.remove(key)
    assert counts[group] == MOST_OVERFLOWED
    assert counts[:64].astype(int).sum() == sum(count == MOST_OVERFLOWED for count in counts[:64]) * MOST_OVERFLOWED
    assert np.all(table.halves()[0][0][: 64 * GROUP] == FREE)


@pytest.mark.parametrize("words", SHAPES)
def test_a_growth_is_over_before_the_next_must_begin(call, words):
    """With nothing but new flows, and the table as it is when a worker begins."""
    table = Table(call, words, SECRETS["random"], table_size.FIRST_GROUPS)
    flow, growing = 0, False
    while table.growths < 4 or growing:
        table.prepare_burst()
        for _ in range(BURST):
            table.touch((*[flow] * (words - 1), 3 * flow))
            flow += 1
        was_growing, growing = growing, table.is_moving
        if was_growing and not growing:
            assert table.word(layout.COUNT) + BURST <= table.word(layout.LIMIT)
    table.check()


def test_the_memory_to_come_is_touched_a_page_a_burst(call):
    table = Table(call, 2, SECRETS["random"], first_groups=1 << 12)
    groups = table.groups(0)
    table.set(layout.COUNT, table.word(layout.ATTENTION))
    assert table.side_call("attend") == 1
    table.attend()
    pages, start = table.word(layout.PAGES_LEFT), table.word(layout.PAGES_AT)
    assert pages == 2 * groups * GROUP * table.entry_bytes // PAGE == 4
    for page in range(1, pages + 1):
        assert table.side_call("attend") == 0
        assert (table.word(layout.PAGES_LEFT), table.word(layout.PAGES_AT)) == (pages - page, start + page * PAGE)
        assert not table.is_moving
    # Then nothing is due until the table has to grow.
    assert table.word(layout.ATTENTION) == table.word(layout.LIMIT) - BURST + 1
    table.set(layout.COUNT, table.word(layout.ATTENTION))
    assert table.side_call("attend") == 1
    table.attend()
    assert table.is_moving
    assert table.groups(0) == 2 * groups


def test_flows_that_come_fast_do_not_wait_for_the_pages(call):
    table = Table(call, 2, SECRETS["random"], first_groups=1 << 12)
    table.set(layout.COUNT, table.word(layout.ATTENTION))
    table.side_call("attend")
    table.attend()
    assert table.side_call("attend") == 0
    table.set(layout.COUNT, table.word(layout.LIMIT) - BURST + 1)
    assert table.word(layout.PAGES_LEFT) > 0
    assert table.side_call("attend") == 1
    table.attend()
    assert table.is_moving


@pytest.mark.parametrize("words", SHAPES)
def test_a_candidate_is_where_a_known_flow_is_or_nowhere(call, words):
    table = Table(call, words, SECRETS["random"], first_groups=64)
    keys = [(*[flow] * (words - 1), flow << 8) for flow in range(500)]
    for start in range(0, len(keys), BURST):
        table.burst(keys[start : start + BURST])
    at_once, nowhere = 0, 12345
    tags, entries, mask = (table.word(word) for word in (layout.TAGS, layout.ENTRIES_AT, layout.MASK))
    for key in keys:
        found = call(f"candidate_{words}", tags, entries, mask, table.hashed(key), nowhere)
        at_once += found == table.find(key).ctypes.data
        assert found == nowhere or (found - entries) % table.entry_bytes == 0
    assert at_once > 0.9 * len(keys)
    unknown = call(f"candidate_{words}", tags, entries, mask, table.hashed((1 << 40,) * words), nowhere)
    assert unknown == nowhere or (unknown - entries) % table.entry_bytes == 0


def test_marks_are_no_part_of_the_key(call):
    table = Table(call, 1, SECRETS["random"], first_groups=64)
    table.burst([(7,)])
    entry = table.find((7,))
    entry[7] = 0xFF
    assert table.find((7,)).ctypes.data == entry.ctypes.data
    assert table.side.entries == 1
