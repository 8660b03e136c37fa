"""Chains with a table that workers share: what several make of packets is what one does, however entries are found."""

import numpy as np
import pytest

from fajita import (
    NF,
    PASS,
    Chain,
    FrameBlock,
    Max,
    Min,
    Sum,
    address_pair,
    destination,
    five_tuple,
    table_size,
    u16,
    u64,
)
from tests.engine.shared_workers import Workers
from tests.traffic import (
    ETHERNET,
    IPV4_TYPE,
    IPV6_TYPE,
    UDP_PROTOCOL,
    ipv4_packet,
    ipv6_packet,
    udp_datagram,
    with_link,
)

WORKERS = 4


class PerFlow(NF):
    """Counts packets per flow."""

    key = five_tuple

    class State:
        packets: u64

    def packet(self, pkt, state):
        state.packets += 1
        return PASS


class PerDestination(NF):
    """Counts packets per destination."""

    key = destination

    class State:
        packets: Sum[u64]
        lowest: Min[u16]
        highest: Max[u16]

    def packet(self, pkt, state):
        state.packets += 1
        state.lowest = min(state.lowest, pkt.src_port)
        state.highest = max(state.highest, pkt.src_port)
        return PASS


class PerPair(NF):
    """Counts packets per pair of addresses."""

    key = address_pair

    class State:
        packets: Sum[u64]

    def packet(self, pkt, state):
        state.packets += 1
        return PASS


class OtherSource(NF):
    """Changes what decides the flow of a packet, so that flows are looked up anew."""

    def packet(self, pkt):
        pkt.src_port = pkt.src_port & 0xFF
        return PASS


class DropsOdd(NF):
    """So that some destinations never reach what follows."""

    def packet(self, pkt):
        return pkt.drop("odd") if pkt.src_port & 1 else PASS


CHAINS = {
    "looked up": [PerDestination()],
    "found by a link": [PerFlow(), PerDestination()],
    "links to others": [PerPair(), PerDestination()],
    "in two segments": [PerDestination(name="before"), OtherSource(), PerFlow(), PerDestination(name="after")],
    "reached by some packets": [PerDestination(name="before"), DropsOdd(), PerDestination(name="after")],
}


def frame(generator: np.random.Generator, destinations: int) -> bytes:
    to, port = int(generator.integers(1, destinations + 1)), int(generator.integers(0, 1 << 16))
    source = int(generator.integers(1, 20))
    body = udp_datagram(source, to, port, 53)
    if generator.random() < 0.3:
        return with_link(ETHERNET, IPV6_TYPE, ipv6_packet(source.to_bytes(16), to.to_bytes(16), UDP_PROTOCOL, body))
    return with_link(ETHERNET, IPV4_TYPE, ipv4_packet(source, to, UDP_PROTOCOL, body))


def source_of(data: bytes) -> int:
    return data[29] if data[14] >> 4 == 4 else data[37]


def rows_of(workers: Workers) -> dict[str, list[tuple[int, ...]]]:
    """The rows of the NFs of all shared tables, of both sides, as the first worker has them."""
    found = {}
    for nf in workers.plan.nfs:
        if nf.table is not None and nf.nf.name in ("before", "after", "per_destination", "per_pair"):
            found[nf.nf.name] = [
                [tuple(np.ravel(row[name]).tolist()) for name in side.dtype.names for row in side]
                for side in workers.engines[0].rows(nf)
            ]
    return found


@pytest.mark.parametrize("destinations", [5, 1000])
@pytest.mark.parametrize("name", CHAINS)
def test_several_workers_come_to_what_one_does(name, destinations, monkeypatch):
    monkeypatch.setattr(table_size, "FIRST_GROUPS", 1)
    # With ports in the hash not even pairs of addresses would be one worker's.
    shard = "five_tuple" if name == "links to others" else "source"
    several, one = (Workers(Chain(CHAINS[name]), number, shard=shard) for number in (WORKERS, 1))
    generator = np.random.default_rng(destinations)
    for _ in range(6):
        frames = [frame(generator, destinations) for _ in range(1500)]
        one.process([FrameBlock.from_frames(frames)])
        several.process(
            [
                FrameBlock.from_frames([each for each in frames if source_of(each) % WORKERS == number])
                for number in range(WORKERS)
            ]
        )
        several.check()
        assert rows_of(several) == rows_of(one)


@pytest.mark.parametrize("full", ["drop", "bypass"])
@pytest.mark.parametrize("name", ["looked up", "found by a link", "in two segments"])
def test_where_new_flows_are_refused_the_others_count_on(name, full, monkeypatch):
    monkeypatch.setattr(table_size, "FIRST_GROUPS", 1)
    workers = Workers(Chain(CHAINS[name], full=full), WORKERS, memory=0)
    generator = np.random.default_rng(3)
    for _ in range(4):
        workers.process([FrameBlock.from_frames([frame(generator, 2000) for _ in range(500)]) for _ in range(WORKERS)])
        workers.check()
    (table,) = workers.tables.values()
    assert table.entries == table.capacity
    assert table.refused > 0
    nf = next(nf for nf in workers.plan.nfs if nf.nf.name in ("before", "per_destination"))
    counted = sum(int(side["packets"].sum()) for side in workers.engines[0].rows(nf))
    assert counted == 4 * 500 * WORKERS - table.refused
