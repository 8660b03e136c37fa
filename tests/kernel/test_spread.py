"""Which entries are asked for one packet at a time."""

import pytest

from fajita import NF, PASS, Array, Chain, Packet, destination_port, u64
from fajita.kernel.generate import generate
from fajita.kernel.spread import spread_tables
from fajita.nfs.connection_tracker import ConnectionTracker
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.nat import Nat
from fajita.nfs.source_counter import SourceCounter
from fajita.tuning import Tuning

SERVERS = ["10.0.0.1"]


class Long(NF):
    """Entries of two lines."""

    key = destination_port

    class State:
        seen: Array[u64, 10]

    def packet(self, pkt: Packet, state: State) -> int:
        state.seen[pkt.ttl % 10] += 1
        return PASS


@pytest.mark.parametrize(
    ("nfs", "spread"),
    [
        ([FlowCounter(timeout="1s")], [0]),  # 64 bytes of key, time and counts, and a slot
        ([FlowCounter()], []),  # one line
        ([FlowCounter(key="source", timeout="1s")], []),
        ([LoadBalancer(servers=SERVERS, timeout="1s")], []),  # no IPv6
        ([FlowCounter(key="destination_port", timeout="1s")], []),  # one side for all packets
        ([FlowCounter(timeout="1s"), SourceCounter()], []),  # links are followed before the NFs run
    ],
)
def test_ipv6_entries_of_several_lines_are(nfs: list[NF], spread: list[int]) -> None:
    assert [table.index for table in spread_tables(Chain(nfs).plan, 0, 6)] == spread


@pytest.mark.parametrize(
    ("nfs", "spread"),
    [
        ([ConnectionTracker()], [0]),
        ([FlowCounter(timeout="1s")], []),  # one line
        ([Nat(inside=["10.0.0.0/8"], external=["192.0.2.1"], filtering="endpoint_independent")], []),
        ([Long(), LoadBalancer(servers=SERVERS)], [0]),  # no IPv6 in the chain
        ([Long(), FlowCounter()], []),  # one side for all packets, some of which are IPv6
    ],
)
def test_ipv4_entries_of_several_lines_are(nfs: list[NF], spread: list[int]) -> None:
    assert [table.index for table in spread_tables(Chain(nfs).plan, 0, 4)] == spread


def test_those_of_later_segments_are_not() -> None:
    plan = Chain([LoadBalancer(servers=SERVERS, key="source"), FlowCounter(timeout="1s")]).plan
    assert len(plan.segments) == 2
    assert spread_tables(plan, 1, 4) == spread_tables(plan, 1, 6) == []


def test_without_prefetching_no_second_line_is_asked_for() -> None:
    chain = Chain([FlowCounter(timeout="1s")])
    assert "next_scratch" in generate(chain.plan)
    assert "next_scratch" not in generate(chain.plan_with(Tuning(prefetch=False)))
