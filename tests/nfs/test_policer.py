"""Three colours against RFC 2697 and RFC 2698 with fractions, packet by packet; marks as scapy writes them."""

from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet as ScapyPacket

from fajita import Chain, FrameBlock, InputError
from fajita.engine.compiled import CompiledEngine
from fajita.io.frames import ETHERNET
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.policer import Policer
from fajita.reference import ReferenceEngine
from fajita.verify import both_engines as compiled_and_reference
from fajita.verify import verify_blocks
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import CLIENT, LINKS, SERVICE, ip_variants, udp_frame
from tests.traffic import many_flows

SECOND = 10**9
GREEN, YELLOW, RED = 0, 1, 2
AF11, AF12, AF13 = 10, 12, 14
#: What makes every colour visible.
MARK_ALL = {"green": "AF11", "yellow": "AF12", "red": "AF13"}


class SingleRate:
    """RFC 2697, 3, with tokens that come continuously: bytes; rate in bytes per nanosecond."""

    def __init__(self, rate: Fraction, burst: int, excess: int) -> None:
        self.rate, self.cbs, self.ebs = rate, Fraction(burst), Fraction(excess)
        self.tc, self.te = self.cbs, self.ebs

    def fill(self, elapsed_ns: int) -> None:
        tokens = elapsed_ns * self.rate
        for_committed = min(tokens, self.cbs - self.tc)
        self.tc += for_committed
        self.te += min(tokens - for_committed, self.ebs - self.te)

    def colour(self, size: int, before: int) -> int:
        if before == GREEN and self.tc - size >= 0:
            self.tc -= size
            return GREEN
        if before in (GREEN, YELLOW) and self.te - size >= 0:
            self.te -= size
            return YELLOW
        return RED


class TwoRates:
    """RFC 2698, 3."""

    def __init__(self, rate: Fraction, burst: int, peak_rate: Fraction, peak_burst: int) -> None:
        self.cir, self.cbs, self.pir, self.pbs = rate, Fraction(burst), peak_rate, Fraction(peak_burst)
        self.tc, self.tp = self.cbs, self.pbs

    def fill(self, elapsed_ns: int) -> None:
        self.tc = min(self.tc + elapsed_ns * self.cir, self.cbs)
        self.tp = min(self.tp + elapsed_ns * self.pir, self.pbs)

    def colour(self, size: int, before: int) -> int:
        if before == RED or self.tp - size < 0:
            return RED
        self.tp -= size
        if before == YELLOW or self.tc - size < 0:
            return YELLOW
        self.tc -= size
        return GREEN


#: Bits per second and bytes as numbers, for the models, and what a chain gives in their place.
POLICERS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "one rate": ((10**7, 3000, 6000), {"rate": "10Mbps", "burst": "3kB", "excess_burst": "6kB"}),
    "one rate, excess as burst": ((8 * 10**9, 1500, 1500), {"rate": "8Gbps", "burst": "1500B"}),
    "no excess": ((10**6, 1500, 0), {"rate": "1Mbps", "burst": "1500B", "excess_burst": "0B"}),
    "a bit a second": ((1, 100, 101), {"rate": "1bps", "burst": "100B", "excess_burst": "101B"}),
    "an odd rate": ((333_333_337, 64_000, 64_000), {"rate": "333333337bps", "burst": "64kB"}),
    "more than a byte a nanosecond": (
        (9 * 10**18, 2000, 100_000),
        {"rate": "9000000Tbps", "burst": "2kB", "excess_burst": "100kB"},
    ),
    "two rates": (
        (10**7, 3000, 2 * 10**7, 6000),
        {"rate": "10Mbps", "burst": "3kB", "peak_rate": "20Mbps", "peak_burst": "6kB"},
    ),
    "two rates, peak as burst": (
        (1_000_003, 1500, 9_999_991, 1500),
        {"rate": "1000003bps", "burst": "1500B", "peak_rate": "9999991bps"},
    ),
    "twice the same rate": (
        (8 * 10**6, 100, 8 * 10**6, 10_000),
        {"rate": "8Mbps", "burst": "100B", "peak_rate": "8Mbps", "peak_burst": "10kB"},
    ),
    "far apart": (
        (1000, 10_000, 10**13, 500),
        {"rate": "1kbps", "burst": "10kB", "peak_rate": "10Tbps", "peak_burst": "500B"},
    ),
}


def model(numbers: Sequence[int]) -> SingleRate | TwoRates:
    rate = Fraction(numbers[0], 8 * SECOND)
    if len(numbers) == 3:
        return SingleRate(rate, *numbers[1:])
    return TwoRates(rate, numbers[1], Fraction(numbers[2], 8 * SECOND), numbers[3])


#: Packets: source, bytes on the wire, DSCP, nanoseconds since the packet before it.
Packets = Sequence[tuple[int, int, int, int]]


def expected_colours(numbers: Sequence[int], packets: Packets, aware: bool) -> list[int]:
    """Colours by the models, one of them per source."""
    before = {AF11 + 8 * group + 2 * colour: colour for group in range(4) for colour in (GREEN, YELLOW, RED)}
    models: dict[int, SingleRate | TwoRates] = {}
    latest: dict[int, int] = {}
    colours, now = [], 0
    for source, size, dscp, step in packets:
        now += step
        meter = models.setdefault(source, model(numbers))
        meter.fill(max(0, now - latest.get(source, now)))
        latest[source] = max(now, latest.get(source, now))
        colours.append(meter.colour(size, before.get(dscp, GREEN) if aware else GREEN))
    return colours


def frame_of(source: int = 0, dscp: int = 0) -> bytes:
    return bytes(Ether(src=2 * "02:", dst="02:") / b"") if False else _frame(source, dscp)
