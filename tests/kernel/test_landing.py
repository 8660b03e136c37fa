"""`lands_here`, compiled: it says of any numbers what the definition of the hash and the table of indirection say."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fajita.engine.sharder import byte_tables
from fajita.kernel.bounds import allow_only
from fajita.kernel.entry import compiled
from fajita.kernel.landing import landing_function
from fajita.kernel.layout import CONTEXT, CONTEXT_WORDS
from fajita.reference.landing import lands
from fajita.rss import INDIRECTION_ENTRIES, HashFields
from fajita.sharding import CANDIDATES
from tests.kernel.callees import Callees

FIELDS = {fields.name: fields for fields in CANDIDATES} | {"nothing": None}
CALLEES = Callees({name: landing_function(fields) for name, fields in FIELDS.items()})
ENTER = CALLEES.enter
#: Any number is allowed: the low bits count.
NUMBERS = st.one_of(st.integers(0, (1 << 32) - 1), st.integers(-(1 << 63), (1 << 63) - 1))


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


def context_of(fields: HashFields | None, indirection, worker: int):
    tables = byte_tables(FIELDS["five_tuple"].key if fields is None else fields.key)
    context = np.zeros(len(CONTEXT_WORDS), np.int64)
    context[CONTEXT["bytes_hashed"] // 8] = tables.ctypes.data
    context[CONTEXT["indirection"] // 8] = indirection.ctypes.data
    context[CONTEXT["worker"] // 8] = worker
    allow_only([context, tables, indirection])
    return context


@pytest.mark.parametrize("name", FIELDS)
@settings(deadline=None)
@given(numbers=st.tuples(*[NUMBERS] * 4), workers=st.integers(1, 256), seed=st.integers(0, 9))
def test_any_numbers(call, name, numbers, workers, seed):
    random, fields = Random(seed), FIELDS[name]
    indirection = np.array([random.randrange(workers) for _ in range(INDIRECTION_ENTRIES)], np.uint8)
    for worker in {0, workers - 1, random.randrange(workers), int(indirection[5])}:
        context = context_of(fields, indirection, worker)
        expected = lands(fields, indirection, worker, *numbers)
        assert call(name, context.ctypes.data, *numbers) == expected
