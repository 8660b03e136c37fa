"""What a chain does, on chains small enough to work out by hand."""

import pytest

from fajita import DROP, NF, PASS, Layer, Packet, destination, five_tuple, source, u8, u32, u64
from fajita.chain import Chain
from fajita.engine.counters import NFCounters, TableCounters
from fajita.io.frames import ETHERNET, UNKNOWN_LINK, FrameBlock
from fajita.packet import IPV4_TYPE, TCP_PROTOCOL, UDP_PROTOCOL
from fajita.reference import ReferenceEngine
from tests.traffic import ipv4_packet, tcp_segment, udp_datagram, with_link

A, B, C = 0x0A000001, 0x0A000002, 0x0A000003
ARP_FRAME = with_link(ETHERNET, 0x0806, bytes(28))


def udp(src: int = A, dst: int = B, src_port: int = 1, dst_port: int = 2) -> bytes:
    datagram = udp_datagram(src, dst, src_port, dst_port)
    return with_link(ETHERNET, IPV4_TYPE, ipv4_packet(src, dst, UDP_PROTOCOL, datagram))


class Counter(NF):
    key = five_tuple
    keys = (source, destination)

    class State:
        packets: u64
        began: u64

    class Core:
        ended: u32
        ended_packets: u32

    def new_flow(self, pkt: Packet, state: State) -> None:
        state.began = pkt.time_ns

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        return PASS

    def expire(self, state: State) -> None:
        self.core.ended += 1
        self.core.ended_packets += state.packets


class PortFilter(NF):
    about = Layer.IPV4

    class Params:
        port: int = 23

    def packet(self, pkt: Packet) -> int:
        if pkt.src_port == self.port:
            return DROP
        if pkt.dst_port == self.port:
            return pkt.drop("closed port")
        return PASS


class ToServer(NF):
    """Rewrites the destination, the same for every packet of a source."""

    key = source

    class State:
        packets: u8

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        pkt.dst = C
        return PASS


def run(nfs: list[NF], frames: list[bytes], times_ns: list[int] | None = None, other: str = "pass"):
    chain = Chain(nfs, other=other)
    engine = ReferenceEngine(chain.plan)
    block = FrameBlock.from_frames(frames, times_ns)
    engine.process(block)
    return engine, block


def rows(engine: ReferenceEngine, index: int = 0) -> list[tuple[int, ...]]:
    return [row for side in engine.rows(engine.plan.nfs[index]) for row in side.tolist()]


def test_each_flow_has_a_state_of_its_own():
    tcp = with_link(ETHERNET, IPV4_TYPE, ipv4_packet(A, B, TCP_PROTOCOL, tcp_segment(A, B, 1, 2)))
    engine, block = run([Counter()], [udp(), tcp, udp(), udp(B, A, 2, 1)])
    assert rows(engine) == [(A, B, 1, 2, 6, 1, 1000), (A, B, 1, 2, 17, 2, 0), (B, A, 2, 1, 17, 1, 3000)]
    assert block.verdict.tolist() == [1, 1, 1, 1]
    assert engine.counters().tables == [TableCounters(created=3, expired=0, active=3)]


def test_rows_are_sorted_by_key_and_typed():
    engine, _ = run([Counter(key="source")], [udp(src=src) for src in (C, A, B)])
    table = engine.rows(engine.plan.nfs[0])[0]
    assert table.dtype.names == ("src", "packets", "began")
    assert table["src"].tolist() == [A, B, C]
    empty, _ = run([Counter()], [])
    assert sum(map(len, empty.rows(empty.plan.nfs[0]))) == 0


def test_a_state_idle_for_its_timeout_ends_and_begins_anew():
    engine, _ = run([Counter(timeout="5us")], [udp()] * 4, [0, 4_999, 9_998, 14_998])
    assert rows(engine) == [(A, B, 1, 2, 17, 1, 14_998)]
    assert engine.core(engine.plan.nfs[0]) == {"ended": [1], "ended_packets": [3]}
    assert engine.counters().tables == [TableCounters(created=2, expired=1, active=1)]


def test_time_that_goes_backwards_does_not_turn_the_clock_back():
    engine, _ = run([Counter(timeout="5us")], [udp()] * 4, [100_000, 1_000, 6_000, 104_999])
    assert engine.counters().tables == [TableCounters(created=1, expired=0, active=1)]
    engine, _ = run([Counter(timeout="5us")], [udp()] * 4, [100_000, 1_000, 6_000, 105_000])
    assert engine.counters().tables == [TableCounters(created=2, expired=1, active=1)]


def test_of_a_shared_entry_only_the_states_idle_too_long_end():
    brief, lasting = Counter(name="brief", timeout="5us"), Counter(name="lasting")
    engine, _ = run([brief, lasting], [udp()] * 2, [0, 5_000])
    assert rows(engine, 0) == [(A, B, 1, 2, 17, 1, 5_000)]
    assert rows(engine, 1) == [(A, B, 1, 2, 17, 2, 0)]
    assert engine.counters().tables == [TableCounters(created=1, expired=0, active=1)]


def test_a_dropped_packet_touches_no_later_nf():
    engine, block = run([PortFilter(), Counter()], [udp(), udp(dst_port=23), udp(src_port=23)])
    assert block.verdict.tolist() == [1, 0, 0]
    assert len(rows(engine, 1)) == 1
    counters = engine.counters()
    assert counters.nfs == [NFCounters(3, {"dropped": 1, "closed port": 1}), NFCounters(1)]
    assert counters.tables == [TableCounters(created=1, active=1)]
    assert (counters.packets_in, counters.packets_out) == (3, 1)
    assert (counters.bytes_in, counters.bytes_out) == (3 * 42, 42)


def test_a_state_begins_with_the_first_packet_that_reaches_its_nf():
    engine, _ = run([Counter(name="early"), PortFilter(), Counter(name="late")], [udp(dst_port=23), udp()])
    assert engine.counters().tables == [TableCounters(created=2, active=2)]
    assert len(rows(engine, 0)) == 2
    assert len(rows(engine, 2)) == 1


def test_a_key_after_a_rewrite_is_the_rewritten_one():
    engine, block = run([ToServer(), Counter(key="destination")], [udp(dst=B), udp(dst=A)])
    assert rows(engine, 1) == [(C, 2, 0)]
    assert bytes(block.frame(0)) == udp(dst=C)


def test_a_key_is_read_before_the_first_nf_of_its_segment_runs():
    engine, _ = run([ToServer(), Counter(key="source", name="same"), Counter(name="fresh")], [udp(dst=B)])
    assert rows(engine, 1) == [(A, 1, 0)]
    assert rows(engine, 2) == [(A, C, 1, 2, 17, 1, 0)]


@pytest.mark.parametrize(("other", "verdict"), [("pass", 1), ("drop", 0)])
def test_frames_that_no_nf_is_about_are_counted_by_reason(other, verdict):
    later_fragment = with_link(ETHERNET, IPV4_TYPE, ipv4_packet(A, B, UDP_PROTOCOL, bytes(8), fragment=7))
    engine, block = run([Counter()], [ARP_FRAME, udp(), later_fragment, ARP_FRAME], other=other)
    assert block.verdict.tolist() == [verdict, 1, verdict, verdict]
    counters = engine.counters()
    assert counters.other == {"arp": 2, "fragment": 1}
    assert counters.nfs == [NFCounters(1)]
    assert counters.packets_out == 1 + 3 * verdict


def test_links_may_differ_within_a_block():
    engine = ReferenceEngine(Chain([Counter()]).plan)
    block = FrameBlock.from_frames([udp(), udp()])
    block.link[1] = UNKNOWN_LINK
    engine.process(block)
    assert engine.counters().other == {"unknown link type": 1}


def test_counters_are_those_of_the_moment():
    engine, block = run([Counter()], [udp()])
    before = engine.counters()
    engine.process(block)
    assert (before.packets_in, before.nfs[0].received) == (1, 1)
    assert engine.counters().packets_in == 2


def test_memory_grows_with_the_entries():
    engine, _ = run([Counter()], [udp()])
    ((entries, size),) = engine.table_memory()
    engine.process(FrameBlock.from_frames([udp(src_port=9)]))
    assert entries == 1
    assert engine.table_memory()[0][0] == 2
    assert engine.table_memory()[0][1] > size
