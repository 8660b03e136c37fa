"""Mbufs of any shape from a NIC that the test plays: none is misread, none is lost."""

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fajita import Chain
from fajita.dpdk.library import library
from fajita.engine.compiled import CompiledEngine
from fajita.engine.live import LiveWorkers
from fajita.engine.workers import live_engine
from fajita.io.frames import FrameBlock
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from fajita.plan import Plan
from tests.reshaping_nfs import Squeeze, Stretch, Tag, Untag
from tests.traffic import many_flows, traffic

#: Bytes of a frame in an mbuf, and in one that takes a frame of several.
ROOM, LARGE = 256, 1024
HEADROOM = 128
CHAIN = Chain([MacSwap(), FlowCounter(key="connection"), LoadBalancer(servers=["10.0.0.9"])], inner=True)

#: Where frames become longer and shorter; beside the other, as its kernel has more to do.
RESHAPING = Chain([Tag(), Stretch(), FlowCounter(key="vlan"), Untag(), Squeeze()])


@dataclass
class Shape:
    """How a frame is cut into segments, and what else is odd about it."""

    frame: bytes
    lengths: list[int]
    headroom: int = HEADROOM
    is_shared: bool = False

    @property
    def fits(self) -> bool:
        """Whether it can be had in one piece."""
        return (len(self.lengths) == 1 and not self.is_shared) or len(self.frame) <= LARGE or self.can_be_joined

    @property
    def can_be_joined(self) -> bool:
        return not self.is_shared and self.headroom + len(self.frame) <= HEADROOM + ROOM


class PlayedNIC:
    """Gives mbufs, so many at each poll, and keeps the frames that it is given."""

    def __init__(self, mbufs: list[Any], bursts: list[int], taken: list[int]) -> None:
        _, ffi = library()
        self._mbufs, self._bursts, self._taken, self._polls = mbufs, bursts, taken, 0
        self.sent: list[bytes] = []
        kind = "uint16_t(uint16_t, uint16_t, struct rte_mbuf **, uint16_t)"
        self.receive = ffi.callback(kind, self._receive)
        self.transmit = ffi.callback(kind, self._transmit)

    def _receive(self, port: int, queue: int, mbufs: Any, most: int) -> int:
        self._polls += 1
        count = min(self._bursts[self._polls % len(self._bursts)], most, len(self._mbufs))
        for index in range(count):
            mbufs[index] = self._mbufs.pop(0)
        return count

    def _transmit(self, port: int, queue: int, mbufs: Any, count: int) -> int:
        self._polls += 1
        count = min(self._taken[self._polls % len(self._taken)], count)
        self.sent += [read(mbufs[index]) for index in range(count)]
        for index in range(count):
            library().lib.fajita_free_mbuf(mbufs[index])
        return count

    def add(self, mbufs: list[Any]) -> None:
        """These have come."""
        self._mbufs += mbufs

    def mbufs(self) -> list[Any]:
        """Those that have not been received yet."""
        return list(self._mbufs)

    @property
    def left(self) -> int:
        return len(self._mbufs)


def read(mbuf: Any) -> bytes:
    lib, ffi = library()
    room = ffi.new("uint8_t[]", 1 << 16)
    return bytes(ffi.buffer(room, lib.fajita_read_mbuf(mbuf, room, 1 << 16)))


class Pools:
    """The mbufs of a test."""

    def __init__(self) -> None:
        lib, _ = library()
        self.frames = lib.fajita_make_pool(b"test frames", 1023, ROOM, 0)
        self.clones = lib.fajita_make_pool(b"test clones", 255, 0, 0)
        self.large = lib.fajita_make_pool(b"test large", 255, LARGE, 0)

    def in_use(self) -> int:
        return sum(library().lib.fajita_mbufs_in_use(pool) for pool in (self.frames, self.clones, self.large))

    def free(self) -> None:
        for pool in (self.frames, self.clones, self.large):
            library().lib.fajita_free_pool(pool)

    def mbuf(self, shape: Shape) -> Any:
        lib, ffi = library()
        segments = len(shape.lengths)
        made = lib.fajita_make_mbuf(self.frames, shape.frame, shape.lengths, segments, shape.headroom)
        assert made != ffi.NULL
        if not shape.is_shared:
            return made
        clone = lib.fajita_clone_mbuf(made, self.clones)
        lib.fajita_free_mbuf(made)
        return clone


@pytest.fixture(scope="module")
def pools(environment: None) -> Iterator[Pools]:
    made = Pools()
    yield made
    made.free()


def port(number: int) -> Any:
    return SimpleNamespace(number=number, receive_queues=1, description=SimpleNamespace(driver="played"))


def run_live(plan: Plan, nic: PlayedNIC, pools: Pools, room: int = 64) -> tuple[CompiledEngine, Any]:
    """Until all mbufs have been received; the engine, and what was counted on the way."""
    from fajita.dpdk.queue import Lane, WorkerQueue

    queue = WorkerQueue([Lane(port(0), port(1))], 0, pools.large, [None], room)
    queue.words.lane[0].receive, queue.words.lane[0].transmit = nic.receive, nic.transmit
    engine = live_engine(plan, 1)
    assert isinstance(engine, CompiledEngine)
    workers = LiveWorkers(engine, [queue])
    workers.start()
    while nic.left and not workers.wait(0.002):
        pass
    workers.stop()
    (counts,) = queue.counts()
    return engine, counts


@st.composite
def shapes(draw: st.DrawFn) -> list[Shape]:
    made = []
    for frame in draw(traffic(max_packets=24)).frames:
        frame += bytes(draw(st.sampled_from((0, 0, 0, 300, 1200))))
        cuts = draw(st.lists(st.integers(0, ROOM), max_size=5))
        lengths, left = [], len(frame)
        while left > ROOM or cuts:
            lengths.append(min(cuts.pop() if cuts else ROOM, left))
            left -= lengths[-1]
        lengths.append(left)
        headroom = draw(st.sampled_from((0, 2, HEADROOM)))
        made.append(Shape(frame, lengths, headroom, draw(st.integers(0, 5)) == 0))
    return made


def passed(plan: Plan, frames: list[bytes]) -> list[bytes]:
    """What an engine makes of these frames."""
    block = FrameBlock.from_frames(frames, [1] * len(frames))
    live_engine(plan, 1).process(block)
    return [bytes(block.frame(index)) for index in range(len(block)) if block.verdict[index] == 1]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(mbufs=shapes(), bursts=st.lists(st.integers(0, 32), min_size=1, max_size=4).filter(any), room=st.integers(1, 64))
def test_frames_in_mbufs_of_any_shape_fare_as_frames_in_memory(
    pools: Pools, mbufs: list[Shape], bursts: list[int], room: int
) -> None:
    plan = CHAIN.plan
    nic = PlayedNIC([pools.mbuf(shape) for shape in mbufs], bursts, [32])
    engine, counts = run_live(plan, nic, pools, room)
    mbufs_with_bytes = [shape for shape in mbufs if shape.frame]
    whole = [shape.frame for shape in mbufs_with_bytes if shape.fits]
    empty, too_long = len(mbufs) - len(mbufs_with_bytes), len(mbufs_with_bytes) - len(whole)
    assert nic.sent == passed(plan, whole)
    assert (counts.in_packets, counts.too_long, counts.malformed) == (len(whole), too_long, empty)
    assert engine.counters().packets_in == len(whole)
    assert engine.counters().bytes_in == counts.in_bytes == sum(map(len, whole))
    assert pools.in_use() == 0


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(mbufs=shapes(), room=st.integers(1, 64))
def test_frames_that_become_longer_or_shorter_do_so_in_mbufs_as_in_memory(
    pools: Pools, mbufs: list[Shape], room: int
) -> None:
    plan = RESHAPING.plan
    nic = PlayedNIC([pools.mbuf(shape) for shape in mbufs], [32, 1], [32])
    engine, counts = run_live(plan, nic, pools, room)
    whole = [shape.frame for shape in mbufs if shape.frame and shape.fits]
    made = passed(plan, whole)
    assert nic.sent == [frame for frame in made if 0 < len(frame) <= HEADROOM + LARGE]
    refused = len(mbufs) - len(whole) + len(made) - len(nic.sent)
    assert counts.too_long + counts.malformed == refused
    assert engine.counters().packets_out == len(made)
    assert engine.counters().bytes_in == counts.in_bytes == sum(map(len, whole))
    assert engine.counters().bytes_out == sum(map(len, made))
    assert counts.out_bytes == sum(map(len, nic.sent))
    assert pools.in_use() == 0


@pytest.mark.parametrize(
    ("data_offset", "data_length", "packet_length", "is_malformed"),
    [
        (HEADROOM, 60, 60, False),
        (0, HEADROOM + ROOM, HEADROOM + ROOM, False),
        (1, HEADROOM + ROOM, HEADROOM + ROOM, True),
        (HEADROOM, ROOM + 1, ROOM + 1, True),
        (0xFFFF, 60, 60, True),
        (0xFFFF, 0xFFFF, 0xFFFF, True),
        (HEADROOM, 0xFFFF, 60, True),
        (HEADROOM, 60, 0xFFFFFFFF, True),
        (HEADROOM, 60, 61, True),
        (HEADROOM, 60, 0, True),
        (HEADROOM, 0, 0, True),
    ],
)
def test_an_mbuf_that_contradicts_itself_is_refused(
    pools: Pools, data_offset: int, data_length: int, packet_length: int, is_malformed: bool
) -> None:
    made = [pools.mbuf(Shape(bytes(60), [60])) for _ in range(3)]
    library().lib.fajita_bend_mbuf(made[1], data_offset, data_length, packet_length)
    nic = PlayedNIC(made, [32], [32])
    _, counts = run_live(CHAIN.plan, nic, pools)
    assert counts.malformed == is_malformed
    assert counts.in_packets == counts.out_packets == 3 - is_malformed
    assert pools.in_use() == 0


def test_segments_that_are_not_as_long_as_is_said_are_refused(pools: Pools) -> None:
    made = [pools.mbuf(Shape(bytes(180), [60, 60, 60])) for _ in range(2)]
    library().lib.fajita_bend_mbuf(made[0], HEADROOM, 60, 181)
    nic = PlayedNIC(made, [32], [32])
    _, counts = run_live(CHAIN.plan, nic, pools)
    assert (counts.malformed, counts.in_packets, counts.copied) == (1, 1, 0)
    assert pools.in_use() == 0


def test_a_port_that_takes_few_at_a_time_gets_all(pools: Pools) -> None:
    frames = [bytes([number]) * 60 for number in range(200)]
    nic = PlayedNIC([pools.mbuf(Shape(frame, [60])) for frame in frames], [32], [0, 0, 3, 1])
    _, counts = run_live(Chain([FlowCounter()]).plan, nic, pools)
    assert nic.sent == frames
    assert (counts.out_packets, counts.out_bytes, counts.unsent) == (200, 12_000, 0)


def test_what_a_port_does_not_take_is_counted_and_nothing_hangs(pools: Pools) -> None:
    nic = PlayedNIC([pools.mbuf(Shape(bytes(60), [60])) for _ in range(100)], [32], [0])
    engine, counts = run_live(Chain([FlowCounter()]).plan, nic, pools)
    assert (counts.in_packets, counts.out_packets, counts.out_bytes, counts.unsent) == (100, 0, 0, 100)
    assert engine.counters().packets_out == 100
    assert pools.in_use() == 0


def test_a_queue_that_is_used_again_begins_anew(pools: Pools) -> None:
    from fajita.dpdk.queue import RETRIES, Lane, WorkerQueue

    nic = PlayedNIC([], [32], [32])
    queue = WorkerQueue([Lane(port(0), port(1))], 0, pools.large, [None])
    queue.words.lane[0].receive, queue.words.lane[0].transmit = nic.receive, nic.transmit
    engine = live_engine(Chain([FlowCounter()]).plan, 1)
    workers = LiveWorkers(engine, [queue])
    for _ in range(2):
        queue.hurry()
        queue.words.busy_cycles = 1 << 40
        workers.start()
        workers.stop()
    assert queue.words.retries == RETRIES
    assert [load.busy_seconds for load in engine.loads()] == [0]


COUNTER = Chain([FlowCounter()])
FRAME = bytes(range(60))


def external(pools: Pools) -> Any:
    return library().lib.fajita_make_external_mbuf(pools.frames, FRAME, len(FRAME))


@pytest.mark.parametrize(
    ("make", "copied"),
    [
        (lambda pools: pools.mbuf(Shape(FRAME, [60])), 0),
        (lambda pools: pools.mbuf(Shape(FRAME, [60], headroom=4)), 0),
        (lambda pools: pools.mbuf(Shape(FRAME, [60], headroom=3)), 1),
        (lambda pools: pools.mbuf(Shape(FRAME, [60], is_shared=True)), 1),
        (lambda pools: pools.mbuf(Shape(FRAME, [20, 40])), 0),
        (lambda pools: pools.mbuf(Shape(FRAME, [20, 40], headroom=0)), 1),
        (external, 1),
    ],
)
def test_a_tag_that_the_device_took_out_is_put_back(pools: Pools, make: Any, copied: int) -> None:
    mbuf = make(pools)
    library().lib.fajita_strip_tag(mbuf, 0x2123)
    nic = PlayedNIC([mbuf], [32], [32])
    _, counts = run_live(COUNTER.plan, nic, pools)
    assert nic.sent == [FRAME[:12] + b"\x81\x00\x21\x23" + FRAME[12:]]
    assert (counts.copied, counts.malformed) == (copied, 0)
    assert pools.in_use() == 0


def test_a_frame_outside_of_its_mbuf_is_taken_as_it_lies_unless_others_see_it(pools: Pools) -> None:
    lib, _ = library()
    alone, seen = external(pools), external(pools)
    clone = lib.fajita_clone_mbuf(seen, pools.clones)
    nic = PlayedNIC([alone, seen], [32], [32])
    _, counts = run_live(Chain([MacSwap()]).plan, nic, pools)
    assert counts.copied == 1
    assert nic.sent == [FRAME[6:12] + FRAME[:6] + FRAME[12:]] * 2
    assert read(clone) == FRAME
    lib.fajita_free_mbuf(clone)
    assert pools.in_use() == 0


def test_a_frame_that_somebody_else_has_too_is_copied(pools: Pools) -> None:
    lib, _ = library()
    mbuf = pools.mbuf(Shape(FRAME, [60]))
    lib.fajita_claim_mbuf(mbuf, 1, 2)
    nic = PlayedNIC([mbuf], [32], [32])
    _, counts = run_live(Chain([MacSwap()]).plan, nic, pools)
    assert (counts.copied, read(mbuf)) == (1, FRAME)
    lib.fajita_free_mbuf(mbuf)
    assert pools.in_use() == 0


def test_an_mbuf_that_nobody_has_is_refused_and_not_given_back_a_second_time(pools: Pools) -> None:
    lib, _ = library()
    mbuf = pools.mbuf(Shape(FRAME, [60]))
    lib.fajita_claim_mbuf(mbuf, 1, 0)
    _, counts = run_live(COUNTER.plan, PlayedNIC([mbuf], [32], [32]), pools)
    assert (counts.malformed, counts.in_packets) == (1, 0)
    lib.fajita_claim_mbuf(mbuf, 1, 1)
    lib.fajita_free_mbuf(mbuf)
    assert pools.in_use() == 0


@pytest.mark.parametrize(
    ("lengths", "claimed"), [([60], 0), ([60], 2), ([20, 40], 1), ([20, 40], 3), ([20, 20, 20], 2)]
)
def test_one_that_has_not_as_many_segments_as_it_says_is_refused(
    pools: Pools, lengths: list[int], claimed: int
) -> None:
    mbuf = pools.mbuf(Shape(FRAME, lengths))
    library().lib.fajita_claim_mbuf(mbuf, claimed, 1)
    _, counts = run_live(COUNTER.plan, PlayedNIC([mbuf], [32], [32]), pools)
    assert (counts.malformed, counts.in_packets, counts.copied) == (1, 0, 0)
    assert pools.in_use() == 0


def test_where_there_is_no_mbuf_to_copy_to_that_is_counted_as_such(pools: Pools) -> None:
    lib, _ = library()
    few = lib.fajita_make_pool(b"test few", 1, LARGE, 0)
    held = lib.fajita_make_mbuf(few, FRAME, [60], 1, HEADROOM)
    assert held != library().ffi.NULL
    nic = PlayedNIC([pools.mbuf(Shape(FRAME, [60], is_shared=True))], [32], [32])
    _, counts = run_live(COUNTER.plan, nic, SimpleNamespace(large=few))
    assert (counts.no_memory, counts.too_long, counts.in_packets) == (1, 0, 0)
    lib.fajita_free_mbuf(held)
    lib.fajita_free_pool(few)
    assert pools.in_use() == 0


class Handing:
    """Queues that hand packets over to each other, polled by the test; all packets are the last one's."""

    def __init__(self, nics: list[PlayedNIC], pools: Pools, room: int) -> None:
        from fajita.dpdk.queue import Lane, WorkerQueue

        self._lib, ffi = library()
        self._nics, numbers = nics, range(len(nics))
        self.queues = [WorkerQueue([Lane(port(0), port(1))], n, pools.large, [None], room) for n in numbers]
        self.rings = {
            (a, b): self._lib.fajita_make_ring(b"test %d %d" % (a, b), 64, 0)
            for a in numbers
            for b in numbers
            if a != b
        }
        for number, (queue, nic) in enumerate(zip(self.queues, nics, strict=True)):
            to = [self.rings.get((number, other), ffi.NULL) for other in numbers]
            queue.connect(to, [self.rings.get((other, number), ffi.NULL) for other in numbers])
            queue.spread(number, np.full(128, len(nics) - 1, np.uint8))
            lane = queue.words.lane[0]
            lane.in_queue, lane.receive, lane.transmit = 0, nic.receive, nic.transmit

    def poll(self, number: int) -> list[bytes]:
        """What a worker gets at a time."""
        queue = self.queues[number]
        count = self._lib.fajita_receive(queue.queue, len(queue.block))
        count = self._lib.fajita_exchange(queue.queue, count)
        frames = [bytes(queue.block.frame(index)) for index in range(count)]
        queue.block.verdict[:count] = 1
        if count:
            self._lib.fajita_transmit(queue.queue, count)
        return frames

    def close(self) -> None:
        for ring in self.rings.values():
            self._lib.fajita_free_ring(ring)


def test_of_several_who_hand_packets_over_each_gets_a_turn(pools: Pools) -> None:
    def nic(number: int, frames: int) -> PlayedNIC:
        return PlayedNIC([pools.mbuf(Shape(bytes([number]) * 60, [60])) for _ in range(frames)], [32], [32])

    handing = Handing([nic(0, 32), nic(1, 32), nic(2, 0)], pools, room=8)
    got = []
    for _ in range(4):
        assert handing.poll(0) == handing.poll(1) == []
        got += [frame[0] for frame in handing.poll(2)]
    assert (got.count(0), got.count(1)) == (16, 16)
    handing.close()
    assert pools.in_use() == 0


def test_time_is_busy_also_for_who_hands_all_over_and_until_the_last_packet_has_gone(pools: Pools) -> None:
    nics = [PlayedNIC([pools.mbuf(Shape(FRAME, [60]))], [32], [32]), PlayedNIC([], [32], [32])]
    handing = Handing(nics, pools, room=8)
    assert (handing.poll(0), handing.poll(1)) == ([], [FRAME])
    for queue in handing.queues:
        assert queue.busy_seconds() > 0
        assert queue.words.busy_since == 0
    handing.close()
    assert pools.in_use() == 0


def test_in_a_hurry_a_port_gets_a_burst_once(pools: Pools) -> None:
    nic = PlayedNIC([pools.mbuf(Shape(FRAME, [60])) for _ in range(8)], [32], [1])
    handing = Handing([nic], pools, room=8)
    handing.queues[0].hurry()
    assert len(handing.poll(0)) == 8
    (counts,) = handing.queues[0].counts()
    assert (counts.out_packets, counts.unsent) == (1, 7)
    assert pools.in_use() == 0


def test_a_peer_that_stops_reading_keeps_none_of_several_workers_from_ending(pools: Pools) -> None:
    """Each waits in the driver for room, or for room in the other's ring."""
    from fajita.dpdk.queue import Lane, WorkerQueue

    lib, _ = library()
    plan, is_full, is_hurried = Chain([FlowCounter()]).plan, Event(), Event()

    class Hurried(WorkerQueue):
        def hurry(self) -> None:
            super().hurry()
            is_hurried.set()

    class FullNIC(PlayedNIC):
        """Waits for room, as some drivers do, until it is told not to."""

        def _transmit(self, port: int, queue: int, mbufs: Any, count: int) -> int:
            is_full.set()
            assert is_hurried.wait(10)
            return 0

    (block, *_) = many_flows(500, repeats=1).blocks()
    frames = [bytes(block.frame(index)) for index in range(len(block))]
    nics = [FullNIC([pools.mbuf(Shape(frame, [len(frame)])) for frame in frames], [32], [0]), FullNIC([], [1], [0])]
    queues = [Hurried([Lane(port(0), port(1))], number, pools.large, [None], 64) for number in (0, 1)]
    rings = [lib.fajita_make_ring(b"test %d" % number, 64, 0) for number in (0, 1)]
    nothing = library().ffi.NULL
    queues[0].connect([nothing, rings[0]], [nothing, rings[1]])
    queues[1].connect([rings[1], nothing], [rings[0], nothing])
    for queue, nic in zip(queues, nics, strict=True):
        queue.words.lane[0].in_queue = 0
        queue.words.lane[0].receive, queue.words.lane[0].transmit = nic.receive, nic.transmit
    workers = LiveWorkers(live_engine(plan, 2), queues)
    workers.start()
    assert is_full.wait(10)
    workers.stop()
    received = sum(queue.counts()[0].in_packets for queue in queues)
    assert 0 < received < len(frames)
    assert sum(queue.counts()[0].unsent for queue in queues) == workers.packets_in == received
    for mbuf in nics[0]._mbufs:
        lib.fajita_free_mbuf(mbuf)
    for ring in rings:
        lib.fajita_free_ring(ring)
    assert pools.in_use() == 0
