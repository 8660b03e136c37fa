"""Fields declared as Min begin at the largest value, in both engines, and again when a state begins anew."""

import pytest
from hypothesis import HealthCheck, given, settings

from fajita import ANY_KEY, NF, PASS, Array, Chain, Max, Min, Or, Packet, Sum, five_tuple, flag, u8, u16, u32, u64
from fajita.engine.compiled import CompiledEngine
from fajita.reference import ReferenceEngine
from fajita.state_types import Bits
from fajita.verify import verify_blocks
from tests.traffic import Traffic, many_flows, traffic


class Merging(NF):
    """Has a field of every kind that is merged, and keeps what it had of flows that ended."""

    key = five_tuple
    keys = ANY_KEY

    class State:
        packets: Sum[u16]
        shortest: Min[u32]
        first_ns: Min[u64]
        ttl: Min[u8]
        never: Min[u32]
        longest: Max[u32]
        flags: Or[u8]
        tcp: Or[flag]
        lengths: Array[Min[u16], 5]
        highest: Array[Max[u64], 3]
        ports: Or[Bits[70]]
        unused: Array[Min[u16], 2]

    class Core:
        shortest: Min[u32]
        first_ns: Min[u64]
        lengths: Array[Min[u8], 3]
        ended: Sum[u64]

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        state.shortest = min(state.shortest, pkt.length)
        state.first_ns = min(state.first_ns, pkt.time_ns)
        state.ttl = min(state.ttl, pkt.ttl)
        state.longest = max(state.longest, pkt.length)
        state.flags |= pkt.tcp_flags
        if pkt.is_tcp:
            state.tcp = True
        i = pkt.length % 5
        state.lengths[i] = min(state.lengths[i], pkt.length & 0xFFFF)
        state.highest[i % 3] = max(state.highest[i % 3], pkt.src)
        state.ports[pkt.dst_port % 70] = True
        if state.never != 0:
            return pkt.drop("what nothing assigns is 0")
        return PASS

    def expire(self, state: State) -> None:
        self.core.ended += state.shortest ^ state.lengths[0] ^ (state.first_ns << 1)
        self.core.shortest = min(self.core.shortest, state.shortest)


CHAINS = {
    "kept": Chain([Merging()]),
    "ending": Chain([Merging(timeout="5us"), Merging(name="sources", key="source", timeout="1ms")]),
    "evicted": Chain([Merging(), Merging(name="again", timeout="1us")], capacity=3, full="evict"),
}


@pytest.mark.parametrize("name", CHAINS)
def test_both_engines_agree(name: str) -> None:
    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(traffic(max_packets=120))
    def check(packets: Traffic) -> None:
        result = verify_blocks(CHAINS[name].plan, packets.blocks())
        assert result.difference is None

    check()


@pytest.mark.parametrize("engine", [CompiledEngine, ReferenceEngine])
def test_what_a_state_begins_as(engine: type) -> None:
    running = engine(CHAINS["kept"].plan)
    core = running.core(running.plan.nfs[0])
    assert (core["shortest"], core["first_ns"], core["ended"]) == ((1 << 32) - 1, (1 << 63) - 1, 0)
    assert core["lengths"].tolist() == [255] * 3
    for block in many_flows(3, 2).blocks():
        running.process(block)
    rows = running.rows(running.plan.nfs[0])[0]
    assert rows["shortest"].tolist() == [64] * 3
    assert rows["first_ns"].tolist() == [0, 1000, 2000]
    assert rows["lengths"].tolist() == [[65535, 65535, 65535, 65535, 64]] * 3
    assert rows["never"].tolist() == [0] * 3
    assert rows["unused"].tolist() == [[0, 0]] * 3
