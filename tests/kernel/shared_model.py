"""A table that several workers share beside a dict: one side, used as their kernels use it, one call after the other.

Each key's state is the number of times that it was touched.
"""

from typing import Any

import numpy as np
import pytest

from fajita import table_size
from fajita.engine.memory import Budget
from fajita.engine.shared_table import SharedPart, SharedTable
from fajita.kernel import slots, table
from fajita.kernel.atomics import add_atomic_64
from fajita.kernel.bounds import allow_only
from fajita.kernel.function import kernel_function
from fajita.kernel.hash import HASHES
from fajita.kernel.layout import BURST
from fajita.kernel.memory import load_u64, store_64
from fajita.kernel.shared_table import fold_all, shared_functions
from fajita.kernel.table import side_functions
from fajita.key import five_tuple, source
from fajita.plan import ForeignArea, TablePlan, TableSide
from fajita.reference.integer import wrap
from tests.kernel.callees import Callees

#: By words of the key: the key and the number of its packing, bytes of an entry.
SHAPES = {1: (source, 0, 64), 2: (five_tuple, 0, 64), 5: (five_tuple, 1, 128)}
#: From the end of a key: the owner's count, its number, what others counted.
OWNER, FOREIGN = 8, 16
NAMES = ("is_due", "is_of", "find", "insert", "redirected", "adopted", "home", "pour_all")

Key = tuple[int, ...]


@kernel_function
def pour(copy, state):
    add_atomic_64(state + FOREIGN, load_u64(copy))


@kernel_function
def fold(state):
    store_64(state, load_u64(state) + load_u64(state + FOREIGN))
    store_64(state + FOREIGN, 0)


def _callees() -> dict[str, Any]:
    callees: dict[str, Any] = {}
    for words, (_, _, entry_bytes) in SHAPES.items():
        shared, own = shared_functions(words, entry_bytes, OWNER, pour), side_functions(words, entry_bytes, None)
        callees |= {f"{name}_{words}": getattr(shared, name) for name in NAMES}
        callees |= {f"{name}_{words}": getattr(own, name) for name in ("attend", "remove")}
        callees |= {f"fold_{words}": fold_all(entry_bytes, 8 * words, fold), f"hash_{words}": HASHES[words]}
    return callees


CALLEES = Callees(_callees())


class SharedModel:
    """The table, so many workers, and the dict."""

    def __init__(self, call: Any, words: int, secrets: tuple[int, int], workers: int, memory: int = 1 << 40) -> None:
        self.call, self.words = call, words
        key, packing, self.entry_bytes = SHAPES[words]
        self.key = np.zeros(words, np.int64)
        side = TableSide(0, key.packings[packing], self.entry_bytes, OWNER)
        foreign = ForeignArea(FOREIGN, 8, FOREIGN, None, ())
        plan = TablePlan(0, key, "the first with this key", 0, sides=[side], foreign=foreign)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(table_size, "FIRST_GROUPS", 1)
            self.table = SharedTable(plan, workers, Budget(memory))
        self.side = self.table.sides[0]
        for word, secret in zip((table.SECRET_0, table.SECRET_1), secrets, strict=True):
            self.side.common[word // 8] = wrap(secret)
        self.sides = np.zeros((workers, table.DESCRIPTOR_BYTES // 8), np.int64)
        self.descriptors = np.zeros((workers, slots.TABLE_BYTES // 8), np.int64)
        for number in range(workers):
            self.sides[number, table.TABLE // 8] = self.descriptors[number].ctypes.data
            SharedPart(self.table, number, self.descriptors[number], self.sides[number : number + 1], self._ask)
        self.model: dict[Key, int] = {}
        self._allow_memory()

    def _allow_memory(self) -> None:
        own = (area for part in self.table.parts for area in part.areas())
        allow_only([self.key, self.sides, self.descriptors, *own])

    def _ask(self, what: str, table_index: int) -> None:
        self._allow_memory()
        common = self.side.common.ctypes.data
        if what == "folded":
            self.call(f"fold_{self.words}", common)
        while what == "moved" and self.side.common[table.OLD_TAGS // 8]:
            self.call(f"attend_{self.words}", common)

    def of(self, worker: int, name: str, *arguments: int) -> int:
        """What a function of a worker's gives."""
        return self.call(f"{name}_{self.words}", self.sides[worker].ctypes.data, *arguments)

    def hashed(self, key: Key) -> int:
        secrets = [int(self.side.common[word // 8]) for word in (table.SECRET_0, table.SECRET_1)]
        return self.call(f"hash_{self.words}", *secrets, *key)

    def burst(self, worker: int, keys: list[Key]) -> None:
        """At most BURST keys; all stand still before it if the table has to grow."""
        assert len(keys) <= BURST
        if self.of(worker, "is_due"):
            for number in range(len(self.sides)):
                self.of(number, "pour_all")
            self.table.grow()
            self._allow_memory()
        for key in keys:
            self.touch(worker, key)

    def entry_of(self, worker: int, key: Key) -> int:
        """Where a worker finds the key's entry."""
        self.key[:] = [wrap(word) for word in key]
        return self.of(worker, "find", self.hashed(key), self.key.ctypes.data)

    def touch(self, worker: int, key: Key) -> bool:
        """Count one up in a worker's name; whether the key may have an entry."""
        entry = self.entry_of(worker, key)
        assert bool(entry) == (key in self.model)
        if not entry:
            entry = self.of(worker, "insert", self.hashed(key), self.key.ctypes.data)
            if not entry:
                return False
            # As for another worker that looked for the key before: the entry, unless the table is full by now.
            assert self.of(worker, "insert", self.hashed(key), self.key.ctypes.data) in (entry, 0)
        assert self.call(f"is_of_{self.words}", entry, self.key.ctypes.data)
        state = self.of(worker, "adopted", entry + 8 * self.words)
        assert self.of(worker, "home", state) == entry + 8 * self.words
        held, copies = (int(self.sides[worker, word // 8]) for word in (table.HELD_AT, table.COPIES_AT))
        copied = self.call(f"redirected_{self.words}", entry, held, copies)
        assert copied == state - 8 * self.words
        assert self.call(f"is_of_{self.words}", copied, self.key.ctypes.data)
        self._add_one(state)
        self.model[key] = self.model.get(key, 0) + 1
        return True

    def _add_one(self, address: int) -> None:
        for part in self.table.parts:
            for area in part.areas():
                offset = address - area.ctypes.data
                if 0 <= offset < area.nbytes:
                    area.view(np.uint8)[offset : offset + 8].view(np.uint64)[0] += 1
                    return
        raise AssertionError(f"{address:#x} lies nowhere")

    def stand_still(self) -> None:
        """As kernels that return, and who reads the table."""
        for number in range(len(self.sides)):
            self.of(number, "pour_all")
        self.table.fold()

    def end(self, keys: list[Key]) -> None:
        """End entries while all stand still."""
        for key in keys:
            self.call(f"remove_{self.words}", self.side.common.ctypes.data, self.entry_of(0, key))
            del self.model[key]

    def counts(self) -> dict[Key, int]:
        """What the table has of each key."""
        (areas,) = self.side._areas
        lines = areas.entries[: areas.groups * table.GROUP * self.entry_bytes].view(np.uint64)
        lines = lines.reshape(-1, self.entry_bytes // 8)[areas.tags[: areas.groups * table.GROUP] != table.FREE]
        found = {}
        for line in lines.tolist():
            line[self.words - 1] &= table.KEY_MASK
            found[tuple(line[: self.words])] = line[self.words]
        return found
