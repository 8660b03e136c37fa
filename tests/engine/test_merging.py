"""What several workers have becomes one: rows sorted by key, merged as declared where keys meet, and variables."""

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fajita import (
    ANY_KEY,
    NF,
    PASS,
    Array,
    Bits,
    Chain,
    Max,
    Min,
    Or,
    Packet,
    Sum,
    flag,
    i16,
    source,
    u8,
    u16,
    u32,
    u64,
)
from fajita.engine.merging import count_keys, merge_core, merge_rows
from fajita.engine.rows import row_dtype, sort_rows
from fajita.nfs.flow_counter import FlowCounter
from fajita.plan import NFPlan
from fajita.reference import ReferenceEngine
from tests.kernel.test_begin import Merging
from tests.traffic import Traffic, traffic


class Declared(NF):
    """Has a field of every kind."""

    key = source
    keys = ANY_KEY

    class State:
        packets: Sum[u8]
        bytes: Sum[u64]
        shortest: Min[u16]
        first: Min[u64]
        last: Max[u64]
        most: Max[u32]
        flags: Or[u8]
        seen: Or[flag]
        sizes: Array[Sum[u16], 3]
        lows: Array[Min[u64], 2]
        ports: Or[Bits[11]]
        unused: u32

    class Core:
        ended: Sum[u16]
        first: Min[u64]
        last: Max[u64]
        bits: Or[u8]
        any: Or[flag]
        turn: i16
        counts: Array[Sum[u8], 2]
        marks: Or[Bits[3]]
        sample: Array[u64, 2]

    def packet(self, pkt: Packet, state: State) -> int:
        return PASS


def planned(key: str = "source") -> NFPlan:
    return Chain([Declared(key=key)]).plan.nfs[0]


def sides(key: str) -> list[Any]:
    return [side.packing for side in Chain([Declared(key=key)]).plan.sides]


def rows(packing: Any, keys: list[int], **fields: Any) -> Any:
    made = np.zeros(len(keys), row_dtype(packing, planned()))
    made[packing.columns[0].name] = np.array(keys)[:, None] if packing.family == 6 else keys
    for name, values in fields.items():
        made[name] = values
    return sort_rows(made, packing)


def in_one(parts: list[Any], packing: Any) -> Any:
    return sort_rows(np.concatenate(parts), packing)


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_own_entries_are_put_in_order(family: int) -> None:
    packing = sides("source")[family]
    parts = [rows(packing, [7, 300, 1 << 31]), rows(packing, [5, 256]), rows(packing, [])]
    merged = in_one(parts, packing)
    assert np.array_equal(merged, rows(packing, [5, 7, 256, 300, 1 << 31]))


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
def test_entries_of_the_same_key_are_merged(family: int) -> None:
    packing = sides("source")[family]
    huge = 1 << 63  # to an NF a negative number
    first = rows(
        packing,
        [1, 2],
        packets=[200, 1],
        bytes=[(1 << 64) - 1, 1],
        shortest=[60, 5],
        first=[huge, 9],
        last=[huge, 9],
        most=[1 << 31, 1],
        flags=[0b101, 1],
        seen=[1, 0],
        sizes=[[65535, 1, 0], [0, 0, 0]],
        lows=[[3, huge], [1, 1]],
        ports=[[True, False] * 5 + [False], [False] * 11],
    )
    second = rows(
        packing,
        [1, 3],
        packets=[100, 2],
        bytes=[3, 2],
        shortest=[61, 6],
        first=[7, 8],
        last=[7, 8],
        most=[5, 1],
        flags=[0b010, 2],
        seen=[0, 1],
        sizes=[[2, 2, 2], [1, 1, 1]],
        lows=[[4, 4], [1, 1]],
        ports=[[False, True] + [False] * 9, [True] * 11],
    )
    merged = merge_rows(in_one([first, second], packing), packing, planned())
    one = merged[0]
    assert [one[name] for name in ("packets", "bytes", "shortest", "first", "last", "most", "flags", "seen")] == [
        44,
        2,
        60,
        huge,
        7,
        1 << 31,
        0b111,
        1,
    ]
    assert (one["sizes"].tolist(), one["lows"].tolist()) == ([1, 3, 2], [3, huge])
    assert one["ports"].tolist() == [True, True, True, False, True, False, True, False, True, False, False]
    assert np.array_equal(merged[1:], np.concatenate([first[1:], second[1:]]))


def test_arrays_may_be_left_out() -> None:
    packing, nf = sides("source")[0], planned()
    part = np.zeros(1, row_dtype(packing, nf, arrays=False))
    part["packets"] = 3
    merged = merge_rows(in_one([part, part], packing), packing, nf)
    assert merged["packets"].tolist() == [6]


def test_a_key_of_no_fields_has_one_row() -> None:
    packing, nf = sides("all")[0], planned("all")
    part = np.zeros(1, row_dtype(packing, nf))
    part["packets"] = 3
    assert merge_rows(in_one([part, part, part[:0]], packing), packing, nf)["packets"].tolist() == [6]
    assert len(merge_rows(in_one([part[:0], part[:0]], packing), packing, nf)) == 0


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["five_tuple", "destination_port", "vlan", "src+dst_port"]))
def test_whichever_worker_had_a_packet_the_sum_is_the_same(data: st.DataObject, key: str) -> None:
    nf = Chain([FlowCounter(key=key, records=True)]).plan.nfs[0]
    for side in Chain([FlowCounter(key=key)]).plan.sides:
        dtype, packing = row_dtype(side.packing, nf), side.packing
        keys = data.draw(st.lists(st.tuples(*[st.integers(0, 2)] * len(packing.columns)), max_size=12))
        workers = data.draw(st.lists(st.integers(0, 3), min_size=len(keys), max_size=len(keys)))
        single: dict[Any, list[int]] = {}
        parts: list[dict[Any, list[int]]] = [{} for _ in range(4)]
        for number, (each, worker) in enumerate(zip(keys, workers, strict=True)):
            for states in (single, parts[worker]):
                state = states.setdefault(each, [0, 1 << 40, 0])
                state[:] = [state[0] + number, min(state[1], number), max(state[2], number)]

        def made(states: dict[Any, list[int]], dtype: Any = dtype, packing: Any = packing) -> Any:
            result = np.zeros(len(states), dtype)
            for row, (each, state) in zip(result, states.items(), strict=True):
                for column, value in zip(packing.columns, each, strict=True):
                    row[column.name] = value
                row["packets"], row["first_ns"], row["last_ns"] = state
            return sort_rows(result, packing)

        merged = merge_rows(in_one([made(part) for part in parts], packing), packing, nf)
        assert np.array_equal(merged, made(single))
        assert count_keys([made(part)[::-1] for part in parts], packing) == len(single)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(traffic(), st.randoms(use_true_random=False), st.sampled_from(["address_pair", "source", "vlan"]))
def test_workers_with_any_packets_in_any_order_have_together_what_one_has(
    packets: Traffic, random: Random, key: str
) -> None:
    plan = Chain([Merging(key=key)]).plan
    (nf,) = plan.nfs
    assert nf.translated.commutes
    single, *workers = (ReferenceEngine(plan) for _ in range(4))
    blocks = list(packets.blocks())
    for block in blocks:
        single.process(block)
    each = [block.part(index, index + 1) for block in blocks for index in range(len(block))]
    for packet in random.sample(each, len(each)):
        random.choice(workers).process(packet)
    for place, side in enumerate(plan.tables[0].sides):
        parts = [worker.rows(nf)[place] for worker in workers]
        merged = merge_rows(in_one(parts, side.packing), side.packing, nf)
        assert np.array_equal(merged, single.rows(nf)[place])


def core(**changed: Any) -> dict[str, Any]:
    usual = {"ended": 1, "first": 5, "last": 5, "bits": 1, "any": 0, "turn": -1}
    arrays = {
        "counts": np.array([200, 1], np.uint8),
        "marks": np.array([True, False, False]),
        "sample": np.array([1, 2], np.uint64),
    }
    return usual | arrays | changed


def test_variables_are_merged_as_declared_and_others_listed() -> None:
    marks, sample = np.array([False, False, True]), np.array([3, 4], np.uint64)
    second = core(ended=65535, first=1 << 63, last=1 << 63, bits=6, any=1, turn=7, marks=marks, sample=sample)
    merged = merge_core(planned(), [core(), second])
    scalars = {name: merged[name] for name in ("ended", "first", "last", "bits", "any", "turn")}
    assert scalars == {"ended": 0, "first": 1 << 63, "last": 5, "bits": 7, "any": 1, "turn": [-1, 7]}
    assert all(type(value) is int for name, value in scalars.items() if name != "turn")
    assert (merged["counts"].tolist(), merged["counts"].dtype) == ([144, 2], np.uint8)
    assert (merged["marks"].tolist(), merged["marks"].dtype) == ([True, False, True], bool)
    assert [each.tolist() for each in merged["sample"]] == [[1, 2], [3, 4]]


def test_variables_of_one_worker_look_the_same() -> None:
    merged = merge_core(planned(), [{name: value for name, value in core().items() if name != "sample"}])
    assert (merged["ended"], merged["turn"], merged["counts"].tolist()) == (1, [-1], [200, 1])
