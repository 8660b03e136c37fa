"""A worker's part of a block: every frame is one worker's, in order, as it was; verdicts come back to their frames."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fajita.engine.shards import Shard
from fajita.io.frames import FrameBlock
from fajita.rss import INDIRECTION_ENTRIES, usual_indirection
from tests.traffic import traffic

COLUMNS = ("address", "captured", "wire", "time_ns", "link")


def some_buckets(seed: int, block: FrameBlock) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, INDIRECTION_ENTRIES, len(block)).astype(np.uint8)


@settings(deadline=None, max_examples=50)
@given(packets=traffic(), workers=st.integers(1, 9), seed=st.integers(0, 99))
def test_each_frame_is_taken_once_in_order_by_its_worker(packets, workers, seed):
    shards, table = [Shard(worker) for worker in range(workers)], usual_indirection(workers)
    for block in packets.blocks():
        buckets = some_buckets(seed, block)
        for worker, shard in enumerate(shards):
            taken = shard.take(block, buckets, table)
            mine = np.flatnonzero(table[buckets] == worker)
            assert shard.indices.tolist() == mine.tolist()
            for name in COLUMNS:
                assert getattr(taken, name).tolist() == getattr(block, name)[mine].tolist()
            assert [bytes(taken.frame(index)) for index in range(len(taken))] == [
                bytes(block.frame(int(index))) for index in mine
            ]
            assert (taken.memory, taken.first) == (block.memory, block.first)


@settings(deadline=None, max_examples=20)
@given(packets=traffic(), seed=st.integers(0, 99))
def test_verdicts_come_back_to_the_frames_that_they_are_of(packets, seed):
    shards, table = [Shard(worker) for worker in range(3)], usual_indirection(3)
    for block in packets.blocks():
        buckets = some_buckets(seed, block)
        verdicts = (block.captured % 2).astype(np.uint8)
        for shard in shards:
            taken = shard.take(block, buckets, table)
            taken.verdict[:] = taken.captured % 2
        for shard in shards:
            shard.give_back(block)
        assert block.verdict.tolist() == verdicts.tolist()


def test_a_worker_without_a_bucket_has_no_frames_and_gives_nothing_back():
    block = FrameBlock.from_frames([bytes(60)] * 5)
    block.verdict[:] = 7
    shard = Shard(4)
    assert len(shard.take(block, np.zeros(5, np.uint8), usual_indirection(2))) == 0
    shard.give_back(block)
    assert block.verdict.tolist() == [7] * 5


def test_a_larger_block_gets_more_room_and_a_smaller_one_less():
    shard, table = Shard(0), usual_indirection(1)
    for count in (0, 3, 500, 0, 7):
        block = FrameBlock.from_frames([bytes([60 + index % 9]) * 60 for index in range(count)])
        taken = shard.take(block, np.zeros(count, np.uint8), table)
        assert taken.address.tolist() == block.address.tolist()


def test_what_does_not_fit_the_block_is_refused():
    block, table = FrameBlock.from_frames([bytes(60)] * 4), usual_indirection(2)
    buckets, shard = np.zeros(4, np.uint8), Shard(0)
    for wrong in (buckets[:3], buckets.astype(np.int64), np.zeros(8, np.uint8)[::2]):
        with pytest.raises(ValueError, match="buckets"):
            shard.take(block, wrong, table)
    for wrong in (table[:127], table.astype(np.int64)):
        with pytest.raises(ValueError, match="128 uint8"):
            shard.take(block, buckets, wrong)
    shard.take(block, buckets, table)
    with pytest.raises(ValueError, match="not taken from a block of 3"):
        shard.give_back(block.head(3))
