import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fajita import NF, PASS, Chain, five_tuple, i16, u64
from fajita.engine.rows import row_dtype, sort_rows, state_column, states_only


class Namesakes(NF):
    """Has states named as fields of its key."""

    key = five_tuple

    class State:
        src: u64
        packets: i16

    def packet(self, pkt, state):
        state.packets += 1
        return PASS


@pytest.fixture(scope="module")
def plan():
    return Chain([Namesakes()]).plan


def test_a_row_is_the_key_then_the_state(plan):
    dtype = row_dtype(five_tuple.packings[0], plan.nfs[0])
    expected = [("src", "u4"), ("dst", "u4"), ("src_port", "u2"), ("dst_port", "u2"), ("protocol", "u1")]
    assert dtype == np.dtype([*expected, ("state_src", "u8"), ("packets", "i2")])


def test_only_a_namesake_of_the_key_is_renamed():
    assert [state_column(name, {"src"}) for name in ("src", "packets")] == ["state_src", "packets"]


def test_rows_are_sorted_by_the_fields_of_the_key_in_their_order(plan):
    dtype = row_dtype(five_tuple.packings[0], plan.nfs[0])
    keys = [(1, 9, 9, 9, 9), (2, 0, 0, 0, 0), (1, 9, 9, 9, 8), (1, 2, 65535, 0, 0), (1 << 31, 0, 0, 0, 0)]
    rows = np.array([(*key, number, -number) for number, key in enumerate(keys)], dtype)
    ordered = sort_rows(rows, five_tuple.packings[0])
    assert [tuple(row)[:5] for row in ordered.tolist()] == sorted(keys)
    assert all(keys[row["state_src"]][1] == row["dst"] for row in ordered)


def test_states_have_the_names_of_the_nf(plan):
    rows = np.array([(1, 2, 3, 4, 5, 6, -7)], row_dtype(five_tuple.packings[0], plan.nfs[0]))
    states = states_only([rows], five_tuple, plan.nfs[0])
    assert states.dtype == np.dtype([("src", "u8"), ("packets", "i2")])
    assert states.tolist() == [(6, -7)]


def test_no_rows(plan):
    rows = np.empty(0, row_dtype(five_tuple.packings[0], plan.nfs[0]))
    assert len(sort_rows(rows, five_tuple.packings[0])) == len(states_only([rows], five_tuple, plan.nfs[0])) == 0


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(*[st.sampled_from((0, 1, 5, (1 << 32) - 1))] * 2, *[st.integers(0, 3)] * 2), max_size=60))
def test_rows_are_sorted_by_every_field_of_the_key_and_equal_ones_keep_their_order(plan, keys):
    packing = five_tuple.packings[0]
    rows = np.zeros(len(keys), row_dtype(packing, plan.nfs[0]))
    for row, (number, (src, dst, src_port, dst_port)) in zip(rows, enumerate(keys), strict=True):
        row["src"], row["dst"], row["src_port"], row["dst_port"], row["packets"] = src, dst, src_port, dst_port, number
    ordered = sort_rows(rows, packing)
    expected = sorted(range(len(keys)), key=lambda number: keys[number])
    assert ordered["packets"].tolist() == expected
