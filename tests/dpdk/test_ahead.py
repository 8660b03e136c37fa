"""What a queue receives ahead, while others are at work: it comes next, in order, by its lane, and none is lost."""

from collections.abc import Iterator
from typing import Any

import pytest

from fajita.dpdk.library import library
from tests.dpdk.test_mbufs import PlayedNIC, Pools, Shape, port


@pytest.fixture(scope="module")
def pools(environment: None) -> Iterator[Pools]:
    made = Pools()
    yield made
    made.free()


class Polled:
    """A queue of lanes from NICs that the test plays, which it polls; the first byte of a frame is its number."""

    def __init__(self, pools: Pools, numbers: list[range], room: int) -> None:
        from fajita.dpdk.queue import Lane, WorkerQueue

        self._lib, _ = library()
        made = [[pools.mbuf(Shape(bytes([number]) * 60, [60])) for number in part] for part in numbers]
        self.nics = [PlayedNIC(mbufs, [32], [32]) for mbufs in made]
        lanes = [Lane(port(number), port(number)) for number in range(len(numbers))]
        self.queue = WorkerQueue(lanes, 0, pools.large, [None] * len(lanes), room)
        for lane, nic in zip(self.queue.words.lane, self.nics, strict=False):
            lane.receive, lane.transmit = nic.receive, nic.transmit
        self.coming = self.queue.look_ahead()

    def poll(self, most: int) -> list[int]:
        """The numbers of the frames that are given, which are all sent."""
        count = self._lib.fajita_receive(self.queue.queue, most)
        numbers = [int(self.queue.block.frame(index)[0]) for index in range(count)]
        self.queue.block.verdict[:count] = 1
        self._lib.fajita_transmit(self.queue.queue, count)
        return numbers

    def left(self) -> list[int]:
        """Mbufs that the NICs still have."""
        return [nic.left for nic in self.nics]


def test_when_a_block_is_full_the_next_is_received_and_comes_next(pools: Pools) -> None:
    polled = Polled(pools, [range(20)], room=8)
    assert polled.poll(8) == [*range(8)]
    assert polled.left() == [4]
    assert polled.poll(8) == [*range(8, 16)]
    assert polled.left() == [0]
    assert polled.poll(8) == [16, 17, 18, 19]
    assert polled.poll(8) == []
    assert pools.in_use() == 0


def test_it_is_given_though_nothing_else_is_to_be_received(pools: Pools) -> None:
    polled = Polled(pools, [range(20)], room=8)
    polled.poll(8)
    assert polled.poll(0) == [*range(8, 16)]
    assert polled.poll(0) == []
    assert polled.left() == [4]
    assert polled.poll(8) == [16, 17, 18, 19]


def test_a_block_that_is_not_full_is_filled_with_what_has_come_since(pools: Pools) -> None:
    polled = Polled(pools, [range(10)], room=8)
    polled.poll(8)
    polled.nics[0].add([pools.mbuf(Shape(bytes([number]) * 60, [60])) for number in range(10, 13)])
    assert polled.poll(8) == [8, 9, 10, 11, 12]


def test_frames_of_two_lanes_go_out_by_their_own(pools: Pools) -> None:
    polled = Polled(pools, [range(21), range(100, 121)], room=16)
    came: list[int] = []
    while any(polled.left()):
        came += polled.poll(16)
    came += polled.poll(0)
    assert [number for number in came if number < 100] == [*range(21)]
    assert [number for number in came if number >= 100] == [*range(100, 121)]
    for nic, first in zip(polled.nics, (0, 100), strict=True):
        assert [frame[0] for frame in nic.sent] == [*range(first, first + 21)]
    assert [(counts.in_packets, counts.out_packets) for counts in polled.queue.counts()] == [(21, 21)] * 2
    assert pools.in_use() == 0


def test_mbufs_that_are_refused_leave_room_for_others(pools: Pools) -> None:
    polled = Polled(pools, [range(8)], room=8)
    bent = [pools.mbuf(Shape(bytes([number]) * 60, [60])) for number in range(8, 16)]
    for mbuf in bent[1:]:
        library().lib.fajita_bend_mbuf(mbuf, 0xFFFF, 60, 60)
    polled.nics[0].add([*bent, pools.mbuf(Shape(bytes([16]) * 60, [60]))])
    assert polled.poll(8) == [*range(8)]
    assert polled.poll(8) == [8, 16]
    (counts,) = polled.queue.counts()
    assert (counts.malformed, counts.in_packets) == (7, 10)
    assert pools.in_use() == 0


def test_what_is_left_at_the_end_is_given_back(pools: Pools) -> None:
    polled = Polled(pools, [range(8), range(100, 108)], room=8)
    polled.poll(8)
    assert pools.in_use() == 8
    polled.queue.end()
    assert pools.in_use() == 0
    assert polled.poll(0) == []


def test_what_is_asked_for_are_the_mbufs_that_come_next(pools: Pools) -> None:
    polled = Polled(pools, [range(6)], room=3)
    _, ffi = library()
    mbufs: list[Any] = [int(ffi.cast("intptr_t", mbuf)) for mbuf in polled.nics[0].mbufs()]
    polled.poll(3)
    assert polled.coming.tolist() == mbufs[3:]
    assert polled.poll(0) == [3, 4, 5]
