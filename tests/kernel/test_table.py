"""The flow table against a dict, and its invariants read off the memory, while it grows too."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fajita.engine import tables
from fajita.engine.tables import FlowTable
from fajita.kernel import table as layout
from fajita.kernel.bounds import allow_only
from fajita.kernel.entry import compiled
from fajita.kernel.hash import HASHES
from fajita.kernel.layout import BURST
from fajita.kernel.table import FREE, GONE, GROUP, GROUPS_MOVED, MARK_SHIFT, table_functions, tag_of
from fajita.key import five_tuple, source
from fajita.plan import TablePlan, TableSide
from fajita.reference.integer import wrap
from tests.kernel.callees import Callees

#: Key, bytes of an entry: by words of the key.
SHAPES = {1: (source, 16), 2: (five_tuple, 64)}
CALLEES = Callees(
    {"tag_of": tag_of}
    | {f"hash_{words}": HASHES[words] for words in SHAPES}
    | {
        f"{callee.name}_{words}": callee
        for words, (_, entry_bytes) in SHAPES.items()
        for callee in table_functions(words, entry_bytes)
    }
)
ENTER = CALLEES.enter

Key = tuple[int, ...]


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


class Table:
    """A table that is used as the burst loop does: it may move or begin to grow before each burst."""

    def __init__(self, call: Any, words: int, secrets: tuple[int, int], first_groups: int) -> None:
        self.call, self.words = call, words
        key, self.entry_bytes = SHAPES[words]
        self.descriptor = np.zeros(layout.DESCRIPTOR_BYTES // 8, np.int64)
        self.key = np.zeros(words, np.int64)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "_FIRST_GROUPS", first_groups)
            side = TableSide(0, key.packings[0], self.entry_bytes)
            plan = TablePlan(0, key, "the first with this key", 0, sides=[side])
            self.table = FlowTable(plan, side, self.descriptor)
        for word, secret in zip((layout.SECRET_0, layout.SECRET_1), secrets, strict=True):
            self.descriptor[word // 8] = wrap(secret)
        self.model: dict[Key, int] = {}
        self.growths = 0
        self._allow_memory()

    def _allow_memory(self) -> None:
        allow_only([self.descriptor, self.key, *self.table.areas()])

    def word(self, offset: int) -> int:
        return int(self.descriptor[offset // 8])

    def hashed(self, key: Key) -> int:
        secrets = self.word(layout.SECRET_0), self.word(layout.SECRET_1)
        return self.call(f"hash_{self.words}", *secrets, *key)

    def burst(self, keys: Iterable[Key]) -> None:
        """At most BURST keys, each looked up, and made if it is new."""
        self.prepare_burst()
        for key in keys:
            self.touch(key)

    def prepare_burst(self) -> None:
        if self.word(layout.OLD_TAGS) == 0 and self.word(layout.COUNT) + BURST > self.word(layout.LIMIT):
            self.table.grow()
            self.growths += 1
            self._allow_memory()
        if self.word(layout.OLD_TAGS) != 0:
            before = self.word(layout.OLD_NEXT)
            self.call(f"move_{self.words}", self.descriptor.ctypes.data)
            assert self.word(layout.OLD_NEXT) - before <= GROUPS_MOVED
        assert self.word(layout.COUNT) + BURST <= 16 * (self.word(layout.MASK) + 1)  # a search always ends

    def resolve(self, key: Key) -> np.ndarray:
        """The bytes of the key's entry."""
        self.key[:] = [wrap(word) for word in key]
        address = self.call(
            f"resolve_{self.words}", self.descriptor.ctypes.data, self.hashed(key), self.key.ctypes.data
        )
        for _, entries in self.halves():
            if 0 <= address - entries.ctypes.data < entries.nbytes:
                start = address - entries.ctypes.data
                assert start % self.entry_bytes == 0
                return entries[start : start + self.entry_bytes]
        raise AssertionError(f"{address:#x} lies in no table")

    def touch(self, key: Key) -> None:
        """Find the key's entry; a new one gets a mark and its number as its state."""
        entry = self.resolve(key)
        marks_at, state = 8 * self.words - 1, entry[8 * self.words :]
        if key in self.model:
            assert entry[marks_at] == 1
            assert state[:4].view(np.uint32)[0] == self.model[key]
        else:
            assert entry[marks_at] == 0
            assert not state.any()
            entry[marks_at] = 1
            self.model[key] = len(self.model)
            state[:4].view(np.uint32)[0] = self.model[key]

    def halves(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Tags and entries of the table in use, and after it those of the one that it replaces."""
        areas = self.table.areas()
        pairs = list(zip(areas[::2], areas[1::2], strict=True))
        return pairs[::-1] if self.word(layout.OLD_TAGS) else pairs[-1:]

    def kept(self) -> Iterator[tuple[Key, int, int]]:
        """Of each entry in memory its key, its group and which half it is in."""
        for half, (tags, entries) in enumerate(self.halves()):
            groups = self.word((layout.MASK, layout.OLD_MASK)[half]) + 1
            for place in np.flatnonzero(tags > GONE):
                assert place < groups * GROUP
                words = entries[place * self.entry_bytes :][: 8 * self.words].view(np.uint64).tolist()
                words[-1] &= (1 << MARK_SHIFT) - 1
                key = tuple(words)
                assert tags[place] == self.call("tag_of", self.hashed(key))
                yield key, int(place) // GROUP, half

    def check(self) -> None:
        """What holds between two bursts."""
        kept = list(self.kept())
        keys = [key for key, _, _ in kept]
        assert len(keys) == len(set(keys)) == self.table.entries == self.table.created == len(self.model)
        assert set(keys) == self.model.keys()
        in_use, *old = self.halves()
        assert not np.any(in_use[0] == GONE)
        if old:
            moved = self.word(layout.OLD_NEXT) * GROUP
            assert np.all(old[0][0][:moved] <= GONE)
        self._check_searches(kept)
        for key in keys:
            self.touch(key)
        assert self.table.created == len(self.model)

    def _check_searches(self, kept: list[tuple[Key, int, int]]) -> None:
        """No free place lies between where the search for an entry begins and where the entry is."""
        for key, group, half in kept:
            tags, mask = self.halves()[half][0], self.word((layout.MASK, layout.OLD_MASK)[half])
            searched = self.hashed(key) & mask
            while searched != group:
                assert np.all(tags[searched * GROUP :][:GROUP] != FREE)
                searched = (searched + 1) & mask


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


@pytest.mark.parametrize("secrets", SECRETS)
@pytest.mark.parametrize("words", SHAPES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_table_is_a_dict(call, words, secrets, data):
    table = Table(call, words, SECRETS[secrets], first_groups=2)
    for _ in range(data.draw(st.integers(1, 12))):
        table.burst(data.draw(st.lists(keys_of(words), max_size=BURST)))
        table.check()


@pytest.mark.parametrize("secrets", SECRETS)
@pytest.mark.parametrize("words", SHAPES)
def test_it_grows_again_and_again_and_loses_nothing(call, words, secrets):
    table = Table(call, words, SECRETS[secrets], first_groups=4)
    flows = 400 if secrets == "all collide" else 1500
    keys = [(flow % 7, (flow * 0x9E3779B97F4A7C15 >> 7) % (1 << MARK_SHIFT))[-words:] for flow in range(flows)]
    for start in range(0, flows, BURST):
        table.burst(keys[start : start + BURST])
        if start % (BURST * 7) == 0:
            table.check()
    table.check()
    assert table.growths >= (3 if secrets == "all collide" else 5)


@pytest.mark.parametrize("words", SHAPES)
def test_a_growth_is_over_before_the_next_must_begin(call, words):
    """With nothing but new flows, and the table as it is when a worker begins."""
    table = Table(call, words, SECRETS["random"], tables._FIRST_GROUPS)
    flow, growing = 0, False
    while table.growths < 4 or growing:
        table.prepare_burst()
        for _ in range(BURST):
            table.touch((flow, 3 * flow)[-words:])
            flow += 1
        was_growing, growing = growing, table.word(layout.OLD_TAGS) != 0
        if was_growing and not growing:
            assert table.word(layout.COUNT) + BURST <= table.word(layout.LIMIT)
    table.check()


@pytest.mark.parametrize("words", SHAPES)
def test_a_candidate_is_where_a_known_flow_is_or_nowhere(call, words):
    table = Table(call, words, SECRETS["random"], first_groups=64)
    keys = [(flow, flow << 8)[-words:] for flow in range(500)]
    for start in range(0, len(keys), BURST):
        table.burst(keys[start : start + BURST])
    at_once, nowhere = 0, 12345
    for key in keys:
        tags, entries = table.word(layout.TAGS), table.word(layout.ENTRIES_AT)
        found = call(f"candidate_{words}", tags, entries, table.word(layout.MASK), table.hashed(key), 0)
        at_once += found == table.resolve(key).ctypes.data
        assert found == nowhere or (found - entries) % table.entry_bytes == 0
    assert at_once > 0.9 * len(keys)
    unknown = call(
        f"candidate_{words}", tags, entries, table.word(layout.MASK), table.hashed((1 << 40,) * words), nowhere
    )
    assert unknown == nowhere or (unknown - entries) % table.entry_bytes == 0


def test_marks_are_no_part_of_the_key(call):
    table = Table(call, 1, SECRETS["random"], first_groups=64)
    table.burst([(7,)])
    entry = table.resolve((7,))
    entry[7] = 0xFF
    assert table.resolve((7,)).ctypes.data == entry.ctypes.data
    assert table.table.entries == 1
