"""Blocks of frames: where each lies, and that nothing outside a frame is in it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.io.frames import ETHERNET, LINK_CODES, PPP, RAW_IP, UNKNOWN_LINK, FrameBlock, limited


@given(frames=st.lists(st.binary(max_size=70), max_size=20))
def test_frames_come_back_as_they_were_given(frames):
    block = FrameBlock.from_frames(frames)
    assert [bytes(block.frame(index)) for index in range(len(block))] == frames
    assert block.captured.tolist() == block.wire.tolist() == [len(frame) for frame in frames]


def test_a_frame_is_written_in_place_and_no_other():
    block = FrameBlock.from_frames([b"abc", b"defg", b""])
    block.frame(1)[:] = b"DEFG"
    assert [bytes(block.frame(index)) for index in range(3)] == [b"abc", b"DEFG", b""]
    assert len(block.frame(2)) == 0


def test_what_is_not_given():
    block = FrameBlock.from_frames([b"a"] * 3)
    assert block.time_ns.tolist() == [0, 1000, 2000]
    assert block.link.tolist() == [ETHERNET] * 3
    assert block.verdict.tolist() == [0] * 3
    assert block.first == 0
    assert len(FrameBlock.from_frames([])) == 0


def test_times_of_64_bits_and_links():
    block = FrameBlock.from_frames([b"a", b"b"], [(1 << 64) - 1, 5], link=RAW_IP, first=7)
    assert block.time_ns.tolist() == [(1 << 64) - 1, 5]
    assert (block.link.tolist(), block.first) == ([RAW_IP] * 2, 7)


def test_a_frame_is_never_shorter_on_the_wire_than_captured():
    assert FrameBlock.from_frames([b"abc", b"abc"], wire=[1500, 1]).wire.tolist() == [1500, 3]


def test_the_arrays_have_the_types_that_kernels_load():
    block = FrameBlock.from_frames([b"abc"], [1], [4])
    names = ("address", "captured", "wire", "time_ns", "link", "verdict")
    assert [getattr(block, name).dtype.str for name in names] == ["<u8", "<u4", "<u4", "<u8", "|u1", "|u1"]


def test_slots_are_used_where_they_lie():
    slots = np.zeros((3, 64), np.uint8)
    slots[:, 0] = (7, 8, 9)
    block = FrameBlock.from_slots(slots, np.array([60, 64, 0], np.uint32), np.array([1, 2, 3], np.uint64), RAW_IP)
    assert [block.frame(index)[0] for index in range(2)] == [7, 8]
    block.frame(1)[63] = 5
    assert slots[1, 63] == 5
    assert [len(block.frame(index)) for index in range(3)] == [60, 64, 0]
    assert (block.wire.tolist(), block.link.tolist()) == ([60, 64, 0], [RAW_IP] * 3)


def test_no_slots():
    empty = np.zeros((0, 64), np.uint8)
    assert len(FrameBlock.from_slots(empty, np.empty(0, np.uint32), np.empty(0, np.uint64))) == 0


def _read_only() -> np.ndarray:
    slots = np.zeros((2, 64), np.uint8)
    slots.flags.writeable = False
    return slots


@pytest.mark.parametrize(
    "slots",
    [np.zeros(64, np.uint8), np.zeros((2, 64), np.uint16), np.zeros((2, 128), np.uint8)[:, ::2], _read_only()],
    ids=["one dimension", "other type", "not contiguous", "read only"],
)
def test_slots_that_a_kernel_could_not_write_are_refused(slots):
    with pytest.raises(ValueError, match="writable C-contiguous array of uint8"):
        FrameBlock.from_slots(slots, np.array([1, 1], np.uint32), np.array([1, 1], np.uint64))


@pytest.mark.parametrize(
    ("captured", "times", "message"),
    [
        ([65, 1], [1, 1], "captured has 65, but a row has 64 bytes"),
        ([-1, 1], [1, 1], "captured has values from -1 to 1; 0 to 4294967295 are possible"),
        ([1 << 32, 1], [1, 1], "captured has values from 1 to 4294967296"),
        ([1.5, 1], [1, 1], "captured has values that are not integers"),
        ([1, 1], [1.0, 2.0], "time_ns has values that are not integers"),
        ([1, 1], [-5, 1], "time_ns has values from -5 to 1"),
        ([1], [1, 1], "captured has the shape"),
        ([[1, 1]], [1, 1], "captured has the shape"),
        ([1, 1], [1], "time_ns has the shape"),
    ],
)
@pytest.mark.parametrize("kind", [list, np.array])
def test_lengths_and_times_that_do_not_fit_the_slots_are_refused(captured, times, message, kind):
    with pytest.raises(ValueError, match=message):
        FrameBlock.from_slots(np.zeros((2, 64), np.uint8), kind(captured), kind(times))


def test_lengths_and_times_of_slots_may_be_any_integers():
    slots = np.zeros((2, 64), np.uint8)
    for lengths in ([60, 0], (60, 0), np.array([60, 0], np.int8)):
        block = FrameBlock.from_slots(slots, lengths, [5, (1 << 64) - 1])
        assert (block.captured.tolist(), block.time_ns.tolist()) == ([60, 0], [5, (1 << 64) - 1])


def test_slots_in_a_list_are_refused():
    with pytest.raises(ValueError, match="writable C-contiguous array of uint8"):
        FrameBlock.from_slots([[0] * 64], [1], [1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_ns": [1]}, "time_ns has the shape"),
        ({"time_ns": [1, -1]}, "time_ns has values from -1 to 1"),
        ({"time_ns": [1, 2.0]}, "time_ns has values that are not integers"),
        ({"wire": [60]}, "wire has the shape"),
        ({"wire": [60, -1]}, "wire has values from -1 to 60"),
    ],
)
def test_columns_that_do_not_fit_the_frames_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FrameBlock.from_frames([b"a", b"b"], **options)


def test_the_head_of_a_block_is_the_same_memory():
    block = FrameBlock.from_frames([b"a", b"b", b"c"], first=10)
    block.link_number = np.array([1, 2, 3], np.uint16)
    head = block.head(2)
    head.frame(1)[0] = ord("B")
    head.verdict[0] = 1
    assert bytes(block.frame(1)) == b"B"
    assert block.verdict.tolist() == [1, 0, 0]
    assert (len(head), head.first, head.link_number.tolist()) == (2, 10, [1, 2])


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [(None, [3, 2, 4]), (100, [3, 2, 4]), (9, [3, 2, 4]), (1, [1]), (3, [3]), (4, [3, 1]), (8, [3, 2, 3])],
)
def test_a_limit_ends_within_a_block(limit, sizes):
    blocks = [FrameBlock.from_frames([b"x"] * size) for size in (3, 2, 4)]
    assert [len(block) for block in limited(blocks, limit)] == sizes


def test_a_limit_reads_no_block_too_many():
    def blocks():
        yield FrameBlock.from_frames([b"x"] * 3)
        raise AssertionError("read on")

    assert [len(block) for block in limited(blocks(), 3)] == [3]


def test_every_known_link_type_has_a_code_that_the_parsers_know():
    assert set(LINK_CODES.values()) == set(range(ETHERNET, PPP + 1))
    assert UNKNOWN_LINK not in LINK_CODES.values()
