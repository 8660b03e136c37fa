"""The loop of a worker on an interface, with a NIC that the test plays."""

from collections.abc import Sequence
from threading import Barrier, Event, current_thread, main_thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fajita import Chain, InputError
from fajita.engine.live import LiveWorkers
from fajita.engine.workers import compiled_engine, live_engine
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.verify import verify_blocks
from tests.fake_nic import BehindNIC, FakeNIC
from tests.reshaping_nfs import Squeeze, Stretch, Tag, Untag
from tests.traffic import Traffic, many_flows, traffic

SERVERS = ["10.0.0.1", "10.0.0.9", "172.16.0.1"]

CHAINS = {
    "flows that end": Chain(
        [FlowCounter(timeout="5us", records=True), LoadBalancer(servers=SERVERS, timeout="1ms")], fragments="flow"
    ),
    "hosts that workers could share": Chain(
        [FlowCounter(timeout="1s"), SourceCounter(timeout="5us"), DestinationCounter(timeout="1ms")]
    ),
    "frames that become longer and shorter": Chain(
        [Tag(), FlowCounter(key="vlan"), Untag(), Stretch(), Squeeze(), FlowCounter(name="after")], other="drop"
    ),
    "packets that are dropped": Chain([RateLimiter(rate="100kpps", burst=1), MacSwap()], other="drop", inner=True),
}


def assert_same_behind_a_nic(chain: Chain, packets: Traffic, bursts: Sequence[int], room: int) -> None:
    nic = FakeNIC(bursts, room)
    result = verify_blocks(
        chain.plan,
        packets.blocks(),
        lambda plan: {"from blocks": compiled_engine(plan, 1), "from a NIC": BehindNIC(plan, nic)},
    )
    assert result.difference is None, str(result.difference)


@pytest.mark.parametrize("name", CHAINS)
@settings(max_examples=20, deadline=None)
@given(
    packets=traffic(), bursts=st.lists(st.integers(0, 40), min_size=1, max_size=4).filter(any), room=st.integers(1, 40)
)
def test_packets_of_a_nic_fare_as_those_of_a_capture(name: str, packets: Traffic, bursts: list[int], room: int) -> None:
    assert_same_behind_a_nic(CHAINS[name], packets, bursts, room)


@pytest.mark.parametrize("name", CHAINS)
def test_tables_grow_and_records_are_taken_meanwhile(name: str) -> None:
    assert_same_behind_a_nic(CHAINS[name], many_flows(4000, repeats=2), [64, 0, 3], 64)


def block_of(count: int):
    (block, *_) = many_flows(count, repeats=1).blocks()
    return block


def test_what_goes_on_is_sent_in_order_and_the_rest_is_not() -> None:
    nic, block = FakeNIC(), block_of(300)
    expected = [bytes(block.frame(index)) for index in range(len(block))]
    behind = BehindNIC(Chain([FlowCounter()]).plan, nic)
    behind.process(block)
    assert nic.sent == expected
    nic.sent.clear()
    BehindNIC(Chain([RateLimiter(rate="1pps", burst=1, key="all")]).plan, nic).process(block_of(300))
    assert nic.sent == expected[:1]


def test_no_more_packets_are_received_than_the_limit() -> None:
    nic = FakeNIC([7, 0, 50])
    engine = live_engine(Chain([FlowCounter()]).plan, 1)
    nic.load(block_of(300))
    workers = LiveWorkers(engine, [nic], limit=101)
    workers.start()
    while not workers.wait(0.1):
        pass
    workers.stop()
    assert engine.counters().packets_in == len(nic.sent) == 101


class AheadNIC(FakeNIC):
    """One that has received all its frames ahead and gives them though it is told to receive none."""

    def look_ahead(self) -> NDArray[np.uint64]:
        self.told: list[int] = []
        self.coming = np.zeros(len(self.block), np.uint64)
        return self.coming

    def _receive(self, queue: int, most: int) -> int:
        self.told.append(most)
        return super()._receive(queue, most or len(self.block))


def test_what_has_been_received_ahead_is_run_before_a_worker_stops() -> None:
    nic, engine = AheadNIC([10], room=10), live_engine(Chain([FlowCounter()]).plan, 1)
    nic.load(block_of(40))
    workers = LiveWorkers(engine, [nic])
    workers.keep_house()
    workers.start()
    assert nic.finished.wait(10)
    workers.stop()
    # As it is wanted back before the first.
    assert set(nic.told[:5]) == {0}
    assert engine.counters().packets_in == len(nic.sent) == 40


def test_a_worker_with_a_limit_receives_nothing_ahead() -> None:
    nic = AheadNIC()
    LiveWorkers(live_engine(Chain([FlowCounter()]).plan, 1), [nic], limit=10)
    assert not hasattr(nic, "told")


def test_a_worker_stops_though_no_packet_comes_and_accounts_for_its_time() -> None:
    nic = FakeNIC()
    engine = live_engine(Chain([FlowCounter()]).plan, 1)
    workers = LiveWorkers(engine, [nic])
    workers.start()
    workers.keep_house()
    workers.stop()
    assert nic.calls == ["begin", "end"]
    assert [load.busy_seconds for load in engine.loads()] == [1.5]


def test_workers_whose_start_is_interrupted_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Barrier):
        def wait(self, timeout: float | None = None) -> int:
            if current_thread() is main_thread():
                raise KeyboardInterrupt
            return super().wait(timeout)

    nic = FakeNIC()
    workers = LiveWorkers(live_engine(Chain([FlowCounter()]).plan, 1), [nic])
    monkeypatch.setattr("fajita.engine.live.Barrier", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        workers.start()
    workers.stop()
    assert nic.calls == []


def test_what_fails_in_a_worker_is_told() -> None:
    class Broken(FakeNIC):
        def begin(self) -> None:
            raise InputError("no cable")

    workers = LiveWorkers(live_engine(Chain([FlowCounter()]).plan, 1), [Broken()])
    workers.start()
    assert workers.wait(10)
    with pytest.raises(InputError, match="no cable"):
        workers.stop()


class StuckNIC(FakeNIC):
    """One that takes no packet until it is hurried, as a driver that waits for room."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full, self.has_room = Event(), Event()

    def hurry(self) -> None:
        super().hurry()
        self.has_room.set()

    def _transmit(self, queue: int, count: int) -> int:
        self.is_full.set()
        assert self.has_room.wait(10)
        return super()._transmit(queue, count)


def test_a_worker_that_waits_for_room_to_send_is_hurried_when_it_is_to_stop() -> None:
    nic = StuckNIC()
    workers = LiveWorkers(live_engine(Chain([FlowCounter()]).plan, 1), [nic])
    nic.load(block_of(10))
    workers.start()
    assert nic.is_full.wait(10)
    workers.stop()
    assert nic.calls == ["begin", "hurry", "end"]
    assert workers.packets_in == 10


def test_a_tick_does_not_wait_for_a_worker_that_waits_for_room_and_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    nic = StuckNIC()
    nic.now_ns = lambda: 1 << 62
    workers = LiveWorkers(live_engine(CHAINS["hosts that workers could share"].plan, 2), [nic, FakeNIC()])
    nic.load(block_of(10))
    monkeypatch.setattr("fajita.engine.live._TICK_PATIENCE_S", 0)
    workers.start()
    try:
        assert nic.is_full.wait(10)
        workers.tick()
        assert ended(workers) == 0
        nic.has_room.set()
        workers.tick()
        assert ended(workers) == 0  # it is not yet tried again
        monkeypatch.setattr("fajita.engine.live._TICK_PATIENCE_S", 10)
        workers._tick_after = 0
        workers.tick()
        assert ended(workers) == 2
    finally:
        workers.stop()


def ended(workers: LiveWorkers) -> int:
    """States that ended in tables that workers share."""
    tables = zip(workers.engine.plan.tables, workers.engine.counters().tables, strict=True)
    return sum(counted.expired for table, counted in tables if table.ends_at_ticks)


class ClockNIC(FakeNIC):
    """One whose packets come at the time of its clock."""

    clock_ns = 1_000_000_000

    def now_ns(self) -> int | None:
        return self.clock_ns


def test_states_end_by_the_clock_though_no_packet_comes() -> None:
    nic = ClockNIC()
    behind = BehindNIC(Chain([FlowCounter(timeout="30s")]).plan, nic)
    behind.process(block_of(10))
    (table,) = behind.tables
    assert (table.entries, table.expired) == (10, 0)
    nic.clock_ns += 40_000_000_000
    (worker,) = behind._workers.workers
    worker.keep_house()
    assert (table.entries, table.expired) == (0, 10)
