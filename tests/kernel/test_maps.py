"""Maps of the core area against a dict of Python's, in memory that is watched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.engine.maps import begin_map, read_map
from fajita.kernel.bounds import REGIONS, allow_only
from fajita.kernel.entry import compiled
from fajita.kernel.maps import MAP_FUNCTIONS
from fajita.reference.map import MapView
from fajita.state_types import MAXIMUM_MAP_KEY, MapType
from tests.kernel.callees import Callees

CALLEES = Callees(dict(MAP_FUNCTIONS))
ENTER = CALLEES.enter
GUARD = 0xA5
WORDS = range(1, MAXIMUM_MAP_KEY + 1)
numbers = st.one_of(st.integers(0, 3), st.sampled_from((-1, -(1 << 63), (1 << 63) - 1, 1 << 40)))
changes = st.tuples(st.sampled_from(("get", "set", "set", "remove")), st.lists(numbers, min_size=5, max_size=5))


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


def new_map(kind: MapType) -> np.ndarray:
    """Memory with a line before and behind that nobody may touch."""
    memory = np.full(kind.bytes + 128, GUARD, np.uint8)
    memory[64:-64] = 0
    begin_map(memory[64:-64], kind)
    allow_only([memory])
    return memory


@pytest.mark.parametrize("words", WORDS)
@given(size=st.integers(1, 9), steps=st.lists(changes, max_size=60))
def test_a_map_is_a_dict_of_limited_size(call, words, size, steps):
    kind, pairs = MapType(words, size), {}
    memory, model = new_map(kind), MapView(pairs, kind)
    start = memory.ctypes.data + 64
    for method, arguments in steps:
        key, given_value = arguments[:words], arguments[4:] if method == "set" else []
        padded = key + [0] * (MAXIMUM_MAP_KEY - words)
        result = call(f"map_{method}_{words}", start, *padded, *given_value)
        assert result == getattr(model, method)(*key, *given_value)
    assert read_map(memory[64:-64], kind) == pairs
    assert memory[64:72].view(np.int64)[0] == len(pairs)
    assert (memory[:64] == GUARD).all()
    assert (memory[-64:] == GUARD).all()
    assert not REGIONS.violations


def test_keys_are_found_while_others_come_and_go(call):
    kind = MapType(1, 300)
    memory, model = new_map(kind), {}
    start = memory.ctypes.data + 64
    random = np.random.default_rng(1)
    for step in range(6000):
        key = int(random.integers(400))
        if key in model and step % 3:
            assert call("map_remove_1", start, key, 0, 0, 0) == 1
            del model[key]
        elif call("map_set_1", start, key, 0, 0, 0, step):
            model[key] = step
        else:
            assert len(model) == 300
    assert read_map(memory[64:-64], kind) == {(key,): value for key, value in sorted(model.items())}
    assert all(call("map_get_1", start, key, 0, 0, 0) == model.get(key, -1) for key in range(400))


def test_pairs_are_read_in_the_order_of_their_keys(call):
    kind = MapType(2, 50)
    memory = new_map(kind)
    keys = [(a, b) for a in (3, -1, 2) for b in (9, -9, 0)]
    for key in keys:
        call("map_set_2", memory.ctypes.data + 64, *key, 0, 0, 7)
    assert list(read_map(memory[64:-64], kind)) == sorted(keys)
