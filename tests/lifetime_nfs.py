"""NFs whose flows end, and packets of many flows for them."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from fajita import ANY_KEY, NF, PASS, Chain, FrameBlock, Packet, five_tuple, u32, u64
from fajita.engine.counters import TableCounters
from fajita.engine.interface import Engine
from fajita.packet import IPV4_TYPE, IPV6_TYPE, UDP_PROTOCOL
from tests.traffic import (
    ETHERNET,
    IPV6_ADDRESSES,
    ipv4_packet,
    ipv6_packet,
    udp_datagram,
    with_link,
)

MICROSECOND, MILLISECOND, SECOND = 10**3, 10**6, 10**9
#: A packet: its flow's number, which is its source port, and its time.
Sent = tuple[int, int]


class Ends(NF):
    """Keeps how many flows have begun and ended, and which: ports whose flow ended once, and twice or more."""

    key = five_tuple
    keys = ANY_KEY

    class State:
        port: u32
        packets: u32

    class Core:
        begun: u64
        ended: u64
        packets: u64
        once: u64
        again: u64

    def new_flow(self, pkt: Packet, state: State) -> None:
        self.core.begun += 1
        state.port = pkt.src_port

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        return PASS

    def expire(self, state: State) -> None:
        self.core.ended += 1
        self.core.packets += state.packets
        self.core.again |= self.core.once & (1 << state.port)
        self.core.once |= 1 << state.port


def ipv4(flow: int) -> bytes:
    source = 0x0A000000 + (flow >> 16)
    datagram = udp_datagram(source, 0xC0000201, flow & 0xFFFF, 53)
    return with_link(ETHERNET, IPV4_TYPE, ipv4_packet(source, 0xC0000201, UDP_PROTOCOL, datagram))


def ipv6(flow: int) -> bytes:
    datagram = flow.to_bytes(2, "big") + bytes((0, 53, 0, 8, 0, 1))
    return with_link(ETHERNET, IPV6_TYPE, ipv6_packet(*IPV6_ADDRESSES[:2], UDP_PROTOCOL, datagram))


def block_of(frames: list[bytes], times_ns: Iterable[int]) -> FrameBlock:
    return FrameBlock.from_frames(frames, np.array([time % (1 << 64) for time in times_ns], np.uint64))


def send(engine: Engine, packets: Iterable[Sent]) -> FrameBlock:
    """IPv4 packets of these flows at these times."""
    packets = list(packets)
    block = block_of([ipv4(flow) for flow, _ in packets], [time for _, time in packets])
    engine.process(block)
    return block


def table_of(engine: Engine, table: int = 0) -> TableCounters:
    """The counters of a table, of which no flow may have got lost."""
    counted = engine.counters().tables[table]
    assert counted.created == counted.active + counted.expired + counted.evicted
    return counted


def core(engine: Any, nf: int = 0) -> dict[str, int]:
    """Its variables, of the only worker."""
    return {name: values[0] for name, values in engine.core(engine.plan.nfs[nf]).items()}


def ports(engine: Any, nf: int = 0) -> dict[int, int]:
    """Of each IPv4 flow with a state of `Ends` its port and packets."""
    return dict(engine.rows(engine.plan.nfs[nf])[0][["port", "packets"]].tolist())


def new(engine: type[Engine], *nfs: NF, **settings: Any) -> Engine:
    return engine(Chain(nfs, **settings).plan)  # type: ignore[call-arg]
