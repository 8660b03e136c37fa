"""Slots against a list, and what goes through them against the definition in fajita.lifetime."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fajita import lifetime
from fajita.kernel import slots
from fajita.kernel.bounds import allow_only
from fajita.kernel.entry import compiled
from fajita.kernel.slots import CHUNK_BITS, RECORD_BYTES, TABLE_BYTES
from tests.kernel.callees import Callees

NAMES = ("record_of", "take_slot", "give_back_slot", "add_one", "chosen_or", "next_due")
CALLEES = Callees({name: getattr(slots, name) for name in NAMES})
ENTER = CALLEES.enter

word64 = st.integers(-(1 << 63), (1 << 63) - 1)


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


class Table:
    """The descriptor of a table, and two chunks of records."""

    def __init__(self, call) -> None:
        self.call = call
        self.words = np.zeros(TABLE_BYTES // 8, np.int64)
        self.chunks = [np.zeros(RECORD_BYTES << CHUNK_BITS, np.uint8) for _ in range(2)]
        self.directory = np.array([chunk.ctypes.data for chunk in self.chunks], np.int64)
        self.words[slots.DIRECTORY // 8] = self.directory.ctypes.data
        allow_only([self.words, self.directory, *self.chunks])

    def record(self, slot: int) -> np.ndarray:
        at = RECORD_BYTES * (slot & slots.CHUNK_MASK)
        return self.chunks[slot >> CHUNK_BITS][at : at + RECORD_BYTES].view(np.int64)

    def take(self) -> int:
        slot = self.call("take_slot", self.words.ctypes.data)
        record = self.record(slot)
        assert record.ctypes.data == self.call("record_of", self.words.ctypes.data, slot)
        assert record[0] == 0
        record[:] = (1000 + slot, 77)  # as an entry begins
        return slot

    def give_back(self, slot: int) -> None:
        self.call("give_back_slot", self.words.ctypes.data, slot)
        assert self.record(slot)[0] == 0


@settings(deadline=None)
@given(steps=st.lists(st.integers(-1, 30), max_size=60))
def test_the_slot_given_back_last_is_taken_first_and_else_a_new_one(call, steps):
    """A step is -1 to take a slot, or gives back one of those taken."""
    table, taken, free, ever = Table(call), [], [], 0
    for step in steps:
        if step >= 0 and taken:
            slot = taken.pop(step % len(taken))
            table.give_back(slot)
            free.append(slot)
        else:
            slot = table.take()
            assert slot == (free.pop() if free else ever)
            ever = max(ever, slot + 1)
            taken.append(slot)
        assert table.words[slots.SLOTS // 8] == ever
        assert [slot for slot in range(ever) if table.record(slot)[0]] == sorted(taken)


def test_records_go_on_in_the_next_chunk(call):
    table, last = Table(call), (1 << CHUNK_BITS) - 1
    table.words[slots.SLOTS // 8] = last
    assert [table.take() for _ in range(3)] == [last, last + 1, last + 2]
    for slot in (last, last + 1):
        table.give_back(slot)
    assert [table.take() for _ in range(3)] == [last + 1, last, last + 3]


@given(
    due=word64, clock=word64, round_ns=st.integers(1, (1 << 63) - 1), slot_count=st.integers(0, 1 << 31) | st.just(0)
)
def test_when_the_next_slot_is_due(call, due, clock, round_ns, slot_count):
    assert call("next_due", due, clock, round_ns, slot_count) == lifetime.next_due(due, clock, round_ns, slot_count)


@given(clock=st.integers(0, 1 << 61), round_ns=st.integers(1, 1 << 61), slot_count=st.integers(1, 1 << 31))
def test_the_hand_makes_up_for_a_round_at_most(clock, round_ns, slot_count):
    step = max(round_ns // slot_count, 1)
    for late in (0, 1, round_ns, round_ns + 1, 1 << 62):
        due = lifetime.next_due(clock - late, clock, round_ns, slot_count)
        assert due == clock - min(late, round_ns) + step


@given(chosen=word64, otherwise=word64)
def test_a_chosen_idle_time_is_one_that_is_not_0(call, chosen, otherwise):
    assert call("chosen_or", chosen, otherwise) == (chosen or otherwise)


def test_a_counter_counts_one_up(call):
    table = Table(call)
    table.words[:] = (1 << 32) - 1
    call("add_one", table.words.ctypes.data + 8)
    assert table.words.tolist() == [(1 << 32) - 1, 1 << 32, *[(1 << 32) - 1] * (len(table.words) - 2)]
