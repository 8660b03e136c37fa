"""A table that workers share against a dict, one call after the other; races are for tests/engine."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fajita.kernel.entry import compiled
from fajita.kernel.layout import BURST
from fajita.kernel.shared_table import copies_layout
from tests.engine.shared_workers import check_side
from tests.kernel.shared_model import CALLEES, SHAPES, SharedModel
from tests.kernel.test_table import SECRETS, key_of, keys_of

ENTER = CALLEES.enter
WORKERS = 3


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


def check(model: SharedModel) -> None:
    model.stand_still()
    assert model.counts() == model.model
    check_side(model.side)


@pytest.mark.parametrize("secrets", SECRETS)
@pytest.mark.parametrize("words", SHAPES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_shared_table_is_a_dict(call, words, secrets, data):
    model = SharedModel(call, words, SECRETS[secrets], WORKERS)
    for _ in range(data.draw(st.integers(1, 8))):
        for _ in range(data.draw(st.integers(1, 6))):
            worker = data.draw(st.integers(0, WORKERS - 1))
            model.burst(worker, data.draw(st.lists(keys_of(words), max_size=BURST)))
        check(model)
        if model.model:
            model.end(data.draw(st.lists(st.sampled_from(sorted(model.model)), unique=True, max_size=BURST)))
            check(model)


@pytest.mark.parametrize("secrets", SECRETS)
@pytest.mark.parametrize("words", SHAPES)
def test_it_grows_again_and_again_and_loses_nothing(call, words, secrets):
    model = SharedModel(call, words, SECRETS[secrets], WORKERS)
    keys = [key_of(words, flow) for flow in range(300 if secrets == "all collide" else 1500)]
    first = model.side.capacity
    for number, start in enumerate(range(0, len(keys), BURST)):
        model.burst(number % WORKERS, keys[start : start + BURST])
        model.burst((number + 1) % WORKERS, keys[start // 2 :][:BURST])
    check(model)
    assert model.side.capacity >= 2 * first
    assert sum(part.created for part in model.table.parts) == model.table.entries == len(keys)


@pytest.mark.parametrize("words", SHAPES)
def test_more_entries_of_others_than_copies_lose_nothing(call, words):
    model = SharedModel(call, words, SECRETS["random"], 2)
    copies = 1 << copies_layout(model.entry_bytes).bits
    keys = [key_of(words, flow) for flow in range(copies + copies // 4)]
    for start in range(0, len(keys), BURST):
        model.burst(0, keys[start : start + BURST])
    for start in range(0, len(keys), BURST):
        model.burst(1, keys[start : start + BURST])
    check(model)
    assert set(model.model.values()) == {2}


def test_what_cannot_grow_refuses_new_keys_and_keeps_the_old(call):
    model = SharedModel(call, 2, SECRETS["random"], WORKERS, memory=0)
    keys = [key_of(2, flow) for flow in range(1000)]
    for start in range(0, len(keys), BURST):
        model.burst(start // BURST % WORKERS, keys[start : start + BURST])
    assert len(model.model) == model.table.entries == model.side.capacity
    assert all(model.touch(1, key) for key in list(model.model))
    check(model)
