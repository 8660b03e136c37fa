"""A flow table with one side beside a dict: used as the kernel uses it, its memory read as the kernel leaves it."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from fajita import table_size
from fajita.engine.memory import Budget
from fajita.engine.tables import FlowTable
from fajita.kernel import slots, table
from fajita.kernel.bounds import allow_only
from fajita.kernel.hash import HASHES
from fajita.kernel.layout import BURST
from fajita.kernel.slots import RECORD_BYTES, give_back_slot, take_slot
from fajita.kernel.table import FREE, GROUP, GROUPS_MOVED, MARK_SHIFT, MOST_OVERFLOWED, side_functions, tag_of
from fajita.key import five_tuple, source
from fajita.plan import TablePlan, TableSide
from fajita.reference.integer import wrap
from tests.kernel.callees import Callees

#: By words of the key: the key and the number of its packing; bytes of an entry; where its slot's number is, if it has.
SHAPES = {1: (source, 0, 16, 4), 2: (five_tuple, 0, 64, None), 5: (five_tuple, 1, 64, 20)}
FUNCTIONS = ("candidate", "find", "insert", "remove", "attend")
CALLEES = Callees(
    {"tag_of": tag_of, "take_slot": take_slot, "give_back_slot": give_back_slot}
    | {f"hash_{words}": HASHES[words] for words in SHAPES}
    | {
        f"{name}_{words}": getattr(side_functions(words, entry_bytes, slot), name)
        for words, (_, _, entry_bytes, slot) in SHAPES.items()
        for name in FUNCTIONS
    }
)

Key = tuple[int, ...]


class Table:
    """Each key's state is a number, which `model` has too."""

    def __init__(
        self, call: Any, words: int, secrets: tuple[int, int], first_groups: int, *, memory: int = 1 << 40
    ) -> None:
        self.call, self.words = call, words
        key, packing, self.entry_bytes, self.slot = SHAPES[words]
        self.descriptor = np.zeros(slots.TABLE_BYTES // 8, np.int64)
        self.sides = np.zeros((1, table.DESCRIPTOR_BYTES // 8), np.int64)
        self.sides[0, table.TABLE // 8] = self.descriptor.ctypes.data
        self.key = np.zeros(words, np.int64)
        side = TableSide(0, key.packings[packing], self.entry_bytes)
        plan = TablePlan(0, key, "the first with this key", 0, sides=[side], slot=self.slot)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(table_size, "FIRST_GROUPS", first_groups)
            self.table = FlowTable(plan, self.descriptor, self.sides, Budget(memory), None)
        self.side = self.table.sides[0]
        for word, secret in zip((table.SECRET_0, table.SECRET_1), secrets, strict=True):
            self.set(word, wrap(secret))
        self.model: dict[Key, int] = {}
        self.made = self.growths = 0
        self._allow_memory()

    def _allow_memory(self) -> None:
        allow_only([self.descriptor, self.sides, self.key, *self.table.areas()])

    def word(self, offset: int) -> int:
        return int(self.sides[0, offset // 8])

    def set(self, offset: int, value: int) -> None:
        self.sides[0, offset // 8] = value

    @property
    def is_moving(self) -> bool:
        return self.word(table.OLD_TAGS) != 0

    def side_call(self, name: str, *arguments: int) -> int:
        return self.call(f"{name}_{self.words}", self.sides.ctypes.data, *arguments)

    def hashed(self, key: Key) -> int:
        return self.call(f"hash_{self.words}", self.word(table.SECRET_0), self.word(table.SECRET_1), *key)

    def burst(self, keys: Iterable[Key]) -> None:
        """At most BURST keys, each looked up, and made if it is new."""
        self.prepare_burst()
        for key in keys:
            self.touch(key)

    def prepare_burst(self) -> None:
        """What the kernel and the engine do before a burst."""
        while self.word(table.COUNT) >= self.word(table.ATTENTION):
            before, was_moving = self.word(table.OLD_NEXT), self.is_moving
            if not self.side_call("attend"):
                assert not was_moving or self.word(table.OLD_NEXT) - before <= GROUPS_MOVED
                break
            assert not was_moving  # a growth begins when another is over
            self.attend()
            self.growths += self.is_moving
        assert self.word(table.COUNT) + BURST <= GROUP * (self.word(table.MASK) + 1)  # there is always a free place

    def attend(self) -> None:
        """What the engine does when the kernel asks for it."""
        self.table.attend(0)
        self._allow_memory()

    def find(self, key: Key) -> np.ndarray | None:
        """The bytes of the key's entry."""
        self.key[:] = [wrap(word) for word in key]
        address = self.side_call("find", self.hashed(key), self.key.ctypes.data)
        return self._entry_at(address) if address else None

    def _entry_at(self, address: int) -> np.ndarray:
        for _, entries in self.halves():
            if 0 <= address - entries.ctypes.data < entries.nbytes:
                start = address - entries.ctypes.data
                assert start % self.entry_bytes == 0
                return entries[start : start + self.entry_bytes]
        raise AssertionError(f"{address:#x} lies in no table")

    def touch(self, key: Key) -> None:
        """Find the key's entry; a new one gets a mark, a number as its state, and a slot."""
        entry = self.find(key)
        if key in self.model:
            assert entry is not None
            assert entry[8 * self.words - 1] == 1
            assert entry[8 * self.words :][:4].view(np.uint32)[0] == self.model[key]
            return
        assert entry is None
        address = self.side_call("insert", self.hashed(key), self.key.ctypes.data)
        entry = self._entry_at(address)
        assert not entry[8 * self.words - 1 :].any()
        entry[8 * self.words - 1] = 1
        self.made += 1
        self.model[key] = self.made
        entry[8 * self.words :][:4].view(np.uint32)[0] = self.made
        if self.slot is not None:
            slot = self.call("take_slot", self.descriptor.ctypes.data)
            entry[8 * self.words + self.slot :][:4].view(np.uint32)[0] = slot
            self.record(slot)[0] = address + 8 * self.words

    def remove(self, key: Key) -> None:
        """End the key's entry."""
        entry = self.find(key)
        assert entry is not None
        if self.slot is not None:
            self.call("give_back_slot", self.descriptor.ctypes.data, self.slot_of(entry))
        self.side_call("remove", entry.ctypes.data)
        assert not entry.any()
        del self.model[key]
        assert self.find(key) is None

    def slot_of(self, entry: np.ndarray) -> int:
        assert self.slot is not None
        return int(entry[8 * self.words + self.slot :][:4].view(np.uint32)[0])

    def record(self, slot: int) -> np.ndarray:
        (chunk,) = self.table._chunks
        return chunk[slot * RECORD_BYTES :][:RECORD_BYTES].view(np.int64)

    def halves(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Tags and entries in use, and after them those that they replace while the side moves."""
        used = self.side._areas[-2:] if self.is_moving else self.side._areas[-1:]
        return [(areas.tags, areas.entries) for areas in used[::-1]]

    def groups(self, half: int) -> int:
        return self.word((table.MASK, table.OLD_MASK)[half]) + 1

    def kept(self) -> Iterator[tuple[Key, int, int]]:
        """Of each entry in memory its key, its group and which half it is in."""
        for half, (tags, entries) in enumerate(self.halves()):
            for place in np.flatnonzero(tags[: self.groups(half) * GROUP] != FREE):
                entry = entries[place * self.entry_bytes :][: self.entry_bytes]
                words = entry[: 8 * self.words].view(np.uint64).tolist()
                words[-1] &= (1 << MARK_SHIFT) - 1
                key = tuple(words)
                assert tags[place] == self.call("tag_of", self.hashed(key))
                if self.slot is not None:
                    assert self.record(self.slot_of(entry))[0] == entry.ctypes.data + 8 * self.words
                yield key, int(place) // GROUP, half

    def check(self) -> None:
        """What holds between two bursts."""
        kept = list(self.kept())
        keys = [key for key, _, _ in kept]
        assert len(keys) == len(set(keys)) == self.side.entries == len(self.model)
        assert set(keys) == self.model.keys()
        self._check_overflow_counts(kept)
        tags, entries = self.halves()[0]
        places = self.groups(0) * GROUP
        free = entries[: places * self.entry_bytes].reshape(-1, self.entry_bytes)[tags[:places] == FREE]
        assert not free.any()
        if self.is_moving:
            moved = self.word(table.OLD_NEXT) * GROUP
            assert np.all(self.halves()[1][0][:moved] == FREE)
        for key in keys:
            self.touch(key)

    def _check_overflow_counts(self, kept: list[tuple[Key, int, int]]) -> None:
        """Each group counts the entries that went past it; in the half that empties it may count some that are gone."""
        for half, (tags, _) in enumerate(self.halves()):
            groups = self.groups(half)
            went_past = np.zeros(groups, int)
            for key, group, _ in (each for each in kept if each[2] == half):
                passed = self.hashed(key) & (groups - 1)
                while passed != group:
                    went_past[passed] += 1
                    passed = (passed + 1) % groups
            counts = tags[groups * GROUP :][:groups].astype(int)
            assert np.all(counts >= np.minimum(went_past, MOST_OVERFLOWED))
            if half == 0:
                assert np.all((counts == went_past) | (counts == MOST_OVERFLOWED))
