"""The compiled engine over blocks: what it counts and keeps from one to the next."""

import numpy as np
import pytest

from fajita import NF, PASS, Chain, FrameBlock, InputError, five_tuple, i8, u32, u64
from fajita.engine.compiled import CompiledEngine
from fajita.kernel.layout import BURST, FRAMES_AHEAD
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from fajita.nfs.source_counter import SourceCounter
from fajita.packet import IPV4_TYPE, UDP_PROTOCOL
from tests.traffic import ipv4_packet, udp_datagram, with_link

SRC, DST = 0x0A000001, 0xC0000201


def udp(port: int, payload: bytes = b"abc") -> bytes:
    return with_link(1, IPV4_TYPE, ipv4_packet(SRC, DST, UDP_PROTOCOL, udp_datagram(SRC, DST, port, 53, payload)))


ARP = with_link(1, 0x0806, bytes(28))


class DropsPorts(NF):
    """Drops odd ports for one reason and port 2 for another; counts in its worker."""

    key = five_tuple

    class State:
        packets: u64

    class Core:
        seen: u32
        down: i8

    def packet(self, pkt, state):
        state.packets += 1
        self.core.seen += 1
        self.core.down -= 1
        if pkt.src_port & 1:
            return pkt.drop("odd")
        return pkt.drop("two") if pkt.src_port == 2 else PASS


@pytest.fixture(scope="module")
def dropping():
    return Chain([SourceCounter(), DropsPorts(), FlowCounter(), MacSwap()], other="drop")


PORTS = [1, 2, 3, 4, 4, 5, 6, 1]


def test_verdicts_and_counters(dropping):
    engine = CompiledEngine(dropping.plan)
    frames = [udp(port) for port in PORTS] + [ARP, b""]
    block = FrameBlock.from_frames(frames, wire=[100] * len(frames))
    engine.process(block)
    goes_on = [port in (4, 6) for port in PORTS] + [True, False]  # MacSwap is about ARP on Ethernet too
    assert block.verdict.tolist() == goes_on
    counters = engine.counters()
    assert (counters.packets_in, counters.packets_out) == (10, 4)
    assert (counters.bytes_in, counters.bytes_out) == (1000, 400)
    assert counters.other == {"truncated": 1}
    assert [nf.received for nf in counters.nfs] == [8, 8, 3, 4]
    assert [nf.drops for nf in counters.nfs] == [{}, {"odd": 4, "two": 1}, {}, {}]
    assert [(table.created, table.expired, table.active) for table in counters.tables] == [(1, 0, 1), (6, 0, 6)]
    assert engine.core(dropping.plan.nfs[1]) == {"seen": [8], "down": [-8]}
    assert engine.core(dropping.plan.nfs[0]) == {}
    assert [row["packets"] for row in engine.rows(dropping.plan.nfs[2])[0]] == [2, 1]


@pytest.mark.parametrize("size", [1, 2, BURST - 1, BURST, BURST + 1, 2 * BURST, FRAMES_AHEAD + 1, 5 * BURST + 3])
def test_blocks_of_any_size_count_the_same(dropping, size):
    """What is looked up ahead of the packet that is run ends with the block."""
    total = 6 * BURST
    frames = [udp(port % 11) for port in range(total)]
    whole, parts = CompiledEngine(dropping.plan), CompiledEngine(dropping.plan)
    block = FrameBlock.from_frames(frames)
    whole.process(block)
    verdicts = []
    for start in range(0, total, size):
        part = FrameBlock.from_frames(frames[start : start + size], block.time_ns[start : start + size])
        parts.process(part)
        verdicts += part.verdict.tolist()
    assert verdicts == block.verdict.tolist()
    assert parts.counters() == whole.counters()
    for nf in (0, 1, 2):
        assert parts.rows(dropping.plan.nfs[nf])[0].tolist() == whole.rows(dropping.plan.nfs[nf])[0].tolist()


def test_a_block_without_frames_changes_nothing(dropping):
    engine = CompiledEngine(dropping.plan)
    engine.process(FrameBlock.from_frames([]))
    counters = engine.counters()
    assert (counters.packets_in, counters.packets_out, counters.bytes_in, counters.other) == (0, 0, 0, {})
    assert [table.created for table in counters.tables] == [0, 0]


def test_a_verdict_is_written_whatever_stood_there(dropping):
    block = FrameBlock.from_frames([udp(1), udp(4)])
    block.verdict[:] = (7, 9)
    CompiledEngine(dropping.plan).process(block)
    assert block.verdict.tolist() == [0, 1]


def test_engines_of_one_chain_share_nothing(dropping):
    first, second = CompiledEngine(dropping.plan), CompiledEngine(dropping.plan)
    first.process(FrameBlock.from_frames([udp(4)] * 3))
    second.process(FrameBlock.from_frames([udp(6)]))
    assert [engine.counters().packets_in for engine in (first, second)] == [3, 1]
    assert [engine.rows(dropping.plan.nfs[2])[0]["src_port"].tolist() for engine in (first, second)] == [[4], [6]]
    assert second.core(dropping.plan.nfs[1])["seen"] == [1]


def test_frames_are_rewritten_where_they_lie_and_nothing_beside_them():
    engine = CompiledEngine(Chain([LoadBalancer(servers=["10.9.8.7"]), MacSwap()]).plan)
    slots = np.full((40, 128), 0x5A, np.uint8)
    frame = np.frombuffer(udp(1), np.uint8)
    slots[:, : len(frame)] = frame
    block = FrameBlock.from_slots(slots, np.full(40, len(frame), np.uint32), np.zeros(40, np.uint64))
    engine.process(block)
    assert np.all(slots[:, len(frame) :] == 0x5A)
    assert np.all(slots[:, 30:34] == (10, 9, 8, 7))
    assert np.all(slots == slots[0])


def test_a_key_after_a_rewrite_is_the_new_one():
    chain = Chain([DestinationCounter(name="before"), LoadBalancer(servers=["10.9.8.7"]), DestinationCounter()])
    engine = CompiledEngine(chain.plan)
    engine.process(FrameBlock.from_frames([udp(port) for port in range(50)]))
    assert [engine.rows(chain.plan.nfs[index])[0]["dst"].tolist() for index in (0, 2)] == [[DST], [0x0A090807]]


def test_memory_of_the_tables(dropping):
    engine = CompiledEngine(dropping.plan)
    memory = engine.table_memory()
    sides = [table.sides for table in engine.tables]
    assert memory == [(sum(side.capacity for side in pair), sum(side.bytes for side in pair)) for pair in sides]
    assert all(nbytes > capacity * 16 for capacity, nbytes in memory)


def test_tables_that_need_more_memory_than_they_may_take_are_refused(dropping):
    least = sum(nbytes for _, nbytes in CompiledEngine(dropping.plan).table_memory())
    assert CompiledEngine(dropping.plan, memory_bytes=least).memory_bytes == least
    with pytest.raises(InputError, match=r"the tables need 16 MiB to begin with and may take 15 MiB; give them that"):
        CompiledEngine(dropping.plan, memory_bytes=least - 1)
    plan = Chain([FlowCounter()], capacity=10_000_000).plan
    with pytest.raises(InputError, match=r"may take 1,024 MiB; .* or less capacity"):
        CompiledEngine(plan, memory_bytes=1 << 30)


def test_counters_beyond_32_bits():
    engine = CompiledEngine(Chain([FlowCounter()]).plan)
    engine.process(FrameBlock.from_frames([udp(1)] * 4, wire=[(1 << 32) - 1] * 4))
    assert engine.counters().bytes_in == 4 * ((1 << 32) - 1)
    assert engine.rows(engine.plan.nfs[0])[0]["bytes"].tolist() == [4 * ((1 << 32) - 1)]
