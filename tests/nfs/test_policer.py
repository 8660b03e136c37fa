"""Three colours against RFC 2697 and RFC 2698 with fractions, packet by packet; marks as scapy writes them."""

from collections.abc import Sequence
from fractions import Fraction
from functools import cache, partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from fajita import Chain, InputError
from fajita.engine.compiled import CompiledEngine
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.policer import Policer
from fajita.reference import ReferenceEngine
from fajita.verify import both_engines as compiled_and_reference
from fajita.verify import verify_blocks
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import LINKS, SERVICE, ethernet, ip_variants, udp_frame
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


@cache
def frame_of(source: int = 0, dscp: int = 0) -> bytes:
    addresses = {"src": f"10.0.0.{source}", "dst": SERVICE}
    return bytes(ethernet() / IP(**addresses, tos=dscp << 2) / UDP(sport=1, dport=2) / b"data")


def colours(engine: Any, nf: Policer, packets: Packets) -> list[int]:
    """Colours by the marks that packets leave with, or 2 of those that are dropped."""
    times = list(accumulate(step for *_, step in packets))
    frames = [frame_of(source, dscp) for source, _, dscp, _ in packets]
    result = run(engine, nf, frames, times, wire=[size for _, size, _, _ in packets])
    marks = {AF11: GREEN, AF12: YELLOW, AF13: RED}
    made = [
        marks[frame[15] >> 2] if verdict else RED  # the DSCP behind Ethernet
        for frame, verdict in zip(result.frames, result.verdicts, strict=True)
    ]
    summary = result.summary()
    assert summary.pop("buckets") == len({source for source, *_ in packets})
    for colour, name in enumerate(("green", "yellow", "red")):
        sizes = [size for (_, size, _, _), of in zip(packets, made, strict=True) if of == colour]
        assert (summary.pop(f"{name}_packets"), summary.pop(f"{name}_bytes")) == (len(sizes), sum(sizes))
    assert summary == {}
    return made


steps_ns = st.one_of(
    st.sampled_from((0, 1, 11, 333, 60_000, 1_000_000, SECOND, 3600 * SECOND, 10**18, -1, -5_000, -SECOND)),
    st.integers(-1000, 2_000_000),
    st.integers(-SECOND, 2 * SECOND),
)
sizes = st.one_of(
    st.sampled_from((64, 100, 101, 500, 1500, 1501, 3000, 9000, 1 << 22, (1 << 32) - 1)), st.integers(46, 2000)
)
code_points = st.one_of(st.sampled_from((0, AF11, AF12, AF13, 20, 38, 46)), st.integers(0, 63))
packet_lists = st.lists(st.tuples(st.integers(0, 2), sizes, code_points, steps_ns), min_size=1, max_size=40).map(
    lambda packets: [(0, 64, 0, SECOND * 10**6), *packets]  # so that no time is before 1970
)


@pytest.mark.parametrize("aware", [False, True], ids=["blind", "aware"])
@pytest.mark.parametrize("name", POLICERS)
@settings(max_examples=25, deadline=None)
@given(packets=packet_lists)
def test_colours_are_those_of_the_rfc(name, aware, packets):
    numbers, params = POLICERS[name]
    nf = Policer(**params, **MARK_ALL, colour_aware=aware)
    expected = expected_colours(numbers, packets, aware)
    for engine in (CompiledEngine, ReferenceEngine):
        assert colours(engine, nf, packets) == expected, engine


@pytest.mark.parametrize("name", POLICERS)
def test_what_the_kernel_computes_stays_below_63_bits(name):
    nf = Policer(**POLICERS[name][1])
    assert nf.bucket + nf.second_bucket + nf.fill_ns * nf.refill < 1 << 63
    assert nf.second_bucket + nf.peak_fill_ns * nf.peak_refill < 1 << 63
    assert nf.longest * nf.byte < 1 << 63


def hour_of_overload() -> list[tuple[int, int, int, int]]:
    """10 Mbps for an hour of packet time, in packets of many sizes at odd times."""
    packets, now = [], 0
    for number in range(36_000):
        size = 100_000 + 7919 * number % 50_000
        step = 99_000_000 + 104_729 * number % 2_000_001
        packets.append((0, size, 0, step))
        now += step
    assert abs(now - 3600 * SECOND) < SECOND
    return packets


@pytest.mark.parametrize("rate", [1_000_000, 999_983, 3_333_333])
def test_over_an_hour_each_rate_is_kept_to_the_byte(rate):
    """In lasting overload buckets are never full: what conforms is the burst and rate x time, short of one packet."""
    packets, burst = hour_of_overload(), 400_000
    hour_ns = sum(step for *_, step in packets[1:])
    given_rates = {"rate": f"{rate}bps", "burst": f"{burst}B"}
    one = colours(CompiledEngine, Policer(**given_rates, **MARK_ALL), packets)
    two = colours(CompiledEngine, Policer(**given_rates, peak_rate=f"{2 * rate}bps", **MARK_ALL), packets)

    def conforming(made: list[int], worst: int) -> int:
        return sum(size for (_, size, _, _), colour in zip(packets, made, strict=True) if colour <= worst)

    for conformed, of_rate in ((conforming(one, GREEN), rate), (conforming(two, YELLOW), 2 * rate)):
        allowed = burst + Fraction(of_rate * hour_ns, 8 * SECOND)
        assert 0 <= allowed - conformed < 150_000
    assert one == expected_colours((rate, burst, burst), packets, aware=False)
    assert two == expected_colours((rate, burst, 2 * rate, burst), packets, aware=False)


@both_engines
def test_small_steps_lose_no_fraction_of_a_byte(engine):
    """At 1 bps, 46 bytes take 368 s: 80 red packets and one in that time, and it is not a nanosecond more."""
    nf = Policer(rate="1bps", burst="64B", excess_burst="0B", **MARK_ALL)
    steps = [*[4_600_000_000 - 1] * 80, 79, 1, 0]
    packets = [(0, 64, 0, 0), *[(0, 46, 0, step) for step in steps]]
    assert colours(engine, nf, packets) == [GREEN, *[RED] * 81, GREEN, RED]


@both_engines
def test_excess_is_filled_only_once_the_burst_is_full(engine):
    nf = Policer(rate="8Gbps", burst="1000B", excess_burst="500B", **MARK_ALL)  # a byte per nanosecond
    steps = [(1000, 0), (500, 0), (46, 0), (1001, 1000), (1000, 500), (500, 0), (46, 0)]
    packets = [(0, size, 0, step) for size, step in steps]
    assert colours(engine, nf, packets) == [GREEN, YELLOW, RED, RED, GREEN, YELLOW, RED]


@both_engines
def test_yellow_takes_from_the_peak_alone_and_red_from_neither(engine):
    nf = Policer(rate="8kbps", burst="100B", peak_rate="8Mbps", peak_burst="300B", **MARK_ALL)
    packets = [(0, size, 0, 0) for size in (101, 100, 100, 50, 50, 49, 46)]
    assert colours(engine, nf, packets) == [YELLOW, GREEN, RED, YELLOW, RED, YELLOW, RED]


@both_engines
@pytest.mark.parametrize("second", [{}, {"peak_rate": "2Mbps"}], ids=["one rate", "two rates"])
def test_only_the_aware_see_the_drop_precedence_that_a_packet_comes_with(engine, second):
    before = dict.fromkeys((12, 20, 28, 36), YELLOW) | dict.fromkeys((14, 22, 30, 38), RED)
    packets = [(dscp, 64, dscp, 0) for dscp in range(64)]
    for aware, expected in ((True, [before.get(dscp, GREEN) for dscp in range(64)]), (False, [GREEN] * 64)):
        nf = Policer(rate="1Mbps", burst="2kB", **second, **MARK_ALL, colour_aware=aware)
        assert colours(engine, nf, packets) == expected


@both_engines
def test_time_that_goes_back_adds_nothing(engine):
    nf = Policer(rate="8Gbps", burst="1000B", excess_burst="0B", **MARK_ALL)
    packets = [(0, 1000, 0, 5000), (0, 500, 0, -2000), (0, 500, 0, 2000), (0, 500, 0, 499), (0, 500, 0, 1)]
    assert colours(engine, nf, packets) == [GREEN, RED, RED, RED, GREEN]


@both_engines
def test_buckets_are_full_again_after_the_timeout(engine):
    nf = Policer(rate="1bps", burst="64B", excess_burst="0B", timeout="1ms", **MARK_ALL)
    packets = [(0, 64, 0, 0), (0, 64, 0, 999_999), (0, 64, 0, 999_999), (0, 64, 0, 1_000_000)]
    assert colours(engine, nf, packets) == [GREEN, RED, RED, GREEN]


@both_engines
@pytest.mark.parametrize(("overhead", "fitting"), [(0, 1000), (-14, 1014), (24, 976)])
def test_overhead_is_counted_with_each_frame(engine, overhead, fitting):
    nf = Policer(rate="1bps", burst="1000B", excess_burst="0B", overhead=overhead, **MARK_ALL)
    assert colours(engine, nf, [(0, fitting + 1, 0, 0), (1, fitting, 0, 0)]) == [RED, GREEN]


@both_engines
def test_no_frame_is_shorter_than_nothing(engine):
    nf = Policer(rate="1bps", burst="10B", excess_burst="0B", overhead=-64, **MARK_ALL)
    assert colours(engine, nf, [(0, 60, 0, 0), (0, 74, 0, 0), (0, 60, 0, 0), (0, 65, 0, 0)]) == [*[GREEN] * 3, RED]


@both_engines
@pytest.mark.parametrize(("key", "green"), [(None, 2), ("five_tuple", 4), ("destination", 3), ("all", 1)])
def test_the_key_says_what_shares_buckets_and_is_the_source_if_left_out(engine, key, green):
    addresses = [("10.0.0.1", "10.1.0.1"), ("10.0.0.2", "10.1.0.1"), ("10.0.0.2", "10.1.0.2"), ("10.0.0.2", "10.1.0.3")]
    frames = [udp_frame(src=src, dst=dst) for src, dst in addresses]
    nf = Policer(rate="1bps", burst=f"{len(frames[0])}B", excess_burst="0B", **({"key": key} if key else {}))
    assert run(engine, nf, frames).summary()["green_packets"] == green


#: What a chain gives, and the code point that it means.
CODE_POINTS = {"AF11": 10, "AF43": 38, "CS0": 0, "CS6": 48, "EF": 46, "LE": 1, 0: 0, 63: 63}


@both_engines
@pytest.mark.parametrize(
    ("link", "value"), [*(("ethernet", value) for value in CODE_POINTS), *((link, "EF") for link in LINKS)]
)
def test_a_mark_changes_the_dscp_alone_and_the_checksum_is_scapys(engine, link, value):
    dscp = CODE_POINTS[value]
    code, build = LINKS[link]
    frames, expected = [], []
    for packet in ip_variants().values():
        for before in (0, 0xFF, 46 << 2 | 1):
            for made, tos in ((frames, before), (expected, dscp << 2 | before & 3)):
                marked = packet.copy()
                marked[IP].tos = tos
                made.append(bytes(build(marked)))
    result = run(engine, Policer(rate="1Gbps", burst="1MB", green=value), frames, links=code)
    assert result.frames == expected


@both_engines
def test_the_traffic_class_of_ipv6_is_marked(engine):
    def frame(traffic_class: int, *tags: Dot1Q) -> bytes:
        header = ethernet()
        for tag in tags:
            header /= tag
        return bytes(
            header / IPv6(src="2001:db8::1", dst="2001:db8::2", tc=traffic_class, fl=0xABCDE) / UDP() / b"data"
        )

    size = len(frame(0))
    frames = [frame(0x01), frame(46 << 2 | 2, Dot1Q(vlan=7)), frame(0xFF), frame(0x03)]
    nf = Policer(rate="1bps", burst=f"{size}B", excess_burst=f"{size + 4}B", red="CS1")
    result = run(engine, nf, frames)
    assert result.frames == [
        frame(AF11 << 2 | 1),
        frame(AF12 << 2 | 2, Dot1Q(vlan=7)),
        frame(8 << 2 | 3),
        frame(8 << 2 | 3),
    ]
    assert result.verdicts == [1] * 4


@both_engines
def test_each_colour_passes_is_marked_or_dropped_as_told(engine):
    frames = [frame_of(dscp=46)] * 3
    size = len(frames[0])
    limits = {"rate": "1bps", "burst": f"{size}B", "excess_burst": f"{size}B"}
    for treatments, dscps, drops in (
        ({}, [AF11, AF12, None], {"red": 1, "yellow": 0}),
        ({"green": "pass", "yellow": "pass", "red": "pass"}, [46, 46, 46], {"red": 0, "yellow": 0}),
        ({"green": "CS2", "yellow": "drop", "red": "LE"}, [16, None, 1], {"red": 0, "yellow": 1}),
        ({"green": "pass", "yellow": "drop", "red": "drop"}, [46, None, None], {"red": 1, "yellow": 1}),
    ):
        result = run(engine, [Policer(**limits, **treatments), FlowCounter()], frames)
        left = [Ether(frame)[IP].tos >> 2 for frame in result.frames]
        assert [dscp if out else None for dscp, out in zip(left, result.verdicts, strict=True)] == dscps
        dropped = result.counters.nfs[0].drops
        assert {reason: dropped.get(reason, 0) for reason in ("red", "yellow")} == drops
        assert result.counters.nfs[1].received == 3 - sum(drops.values())


@both_engines
def test_frames_without_ip_pass_unseen(engine):
    arp = bytes(ethernet() / ARP(psrc="10.0.0.1", pdst="10.0.0.2"))
    result = run(engine, Policer(rate="1bps", burst="1B"), [arp] * 3)
    assert (result.frames, result.verdicts) == ([arp] * 3, [1] * 3)
    assert result.counters.nfs[0].received == 0


WORKER_CHAINS = {
    "by flow": Chain([FlowCounter(), Policer(rate="8Mbps", burst="64B", excess_burst="64B", key="five_tuple")]),
    "by source": Chain([Policer(rate="8Mbps", burst="64B", peak_rate="80Mbps", colour_aware=True), FlowCounter()]),
    "by connection": Chain([Policer(rate="8Mbps", burst="64B", key="connection", timeout="1ms")]),
    "of no common key": Chain(
        [
            Policer(rate="8Mbps", burst="64B"),
            Policer(name="to", rate="8Mbps", burst="64B", peak_rate="80Mbps", key="destination"),
        ]
    ),
    "as shipped": Chain.load(Path(__file__).parents[2] / "chains" / "police.yaml"),
}


@pytest.mark.parametrize("name", WORKER_CHAINS)
def test_results_do_not_depend_on_engine_or_number_of_workers(name):
    chain, sent = WORKER_CHAINS[name], many_flows(500, repeats=3)
    for workers in (1, 2, 3):
        result = verify_blocks(chain.plan, sent.blocks(), partial(compiled_and_reference, cores=workers))
        assert (result.difference, result.packets) == (None, 1500)
    one, three = (chain.run(sent.blocks(), cores=cores).report for cores in (1, 3))
    assert [(nf["summary"], nf["dropped"]) for nf in one["nfs"]] == [
        (nf["summary"], nf["dropped"]) for nf in three["nfs"]
    ]
    assert one["drops"] == three["drops"]


GIVEN = {"rate": "1Mbps", "burst": "64kB"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rate": "1Mbps"}, "Policer needs the parameter burst; its parameters: rate, burst, excess_burst, peak_rate"),
        (GIVEN | {"burst": "0B"}, "Policer: a burst of 0 lets nothing conform; give several times the longest packet"),
        (GIVEN | {"burst": 64}, "parameter burst of Policer: 64 is not a quantity such as 64kB"),
        (GIVEN | {"rate": "1kpps"}, "Policer: rate is 1000 pps; give bits, more than 0, such as 10Mbps"),
        (GIVEN | {"rate": "0bps"}, "Policer: rate is 0 bps; give bits, more than 0, such as 10Mbps"),
        (GIVEN | {"peak_rate": "9Mpps"}, "Policer: peak_rate is 9000000 pps; give bits, more than 0, such as 10Mbps"),
        (GIVEN | {"peak_rate": "999kbps"}, "Policer: peak_rate is below rate; give at least as much"),
        (GIVEN | {"peak_rate": "2Mbps", "peak_burst": "0B"}, "Policer: a burst of 0 lets nothing conform; give"),
        (GIVEN | {"peak_burst": "1kB"}, "Policer: peak_burst goes with peak_rate; with one rate give excess_burst"),
        (
            GIVEN | {"peak_rate": "2Mbps", "excess_burst": "1kB"},
            "Policer: excess_burst goes with one rate; with peak_rate give peak_burst",
        ),
        (
            GIVEN | {"rate": "1bps", "burst": "1GB"},
            "Policer: bursts are too large for the exact rates; give smaller bursts or rates of whole kbps",
        ),
        (GIVEN | {"green": "drop"}, "Policer: green cannot be dropped; give pass or a DSCP"),
        (GIVEN | {"yellow": "AF14"}, "Policer: yellow is 'AF14'; give pass, drop, AF11 to AF43, CS0 to CS7, EF, LE or"),
        (GIVEN | {"red": 64}, "Policer: red is 64; give pass, drop, AF11 to AF43, CS0 to CS7, EF, LE or 0 to 63"),
        (GIVEN | {"red": -1}, "Policer: red is -1; give pass, drop, AF11 to AF43"),
        (GIVEN | {"overhead": 65}, "parameter overhead of Policer: Input should be less than or equal to 64"),
        (GIVEN | {"colour_aware": 1}, "parameter colour_aware of Policer: Input should be a valid boolean"),
        (GIVEN | {"key": "port"}, "there is no key port; known: address_pair, all"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(InputError) as caught:
        Policer(**params)
    assert str(caught.value).startswith(message)


def test_a_bad_parameter_of_a_chain_is_said_with_its_place(tmp_path):
    chain = tmp_path / "chain.yaml"
    chain.write_text("nfs:\n- policer: {rate: 10Mbps, burst: 64kB, peak_rate: 1Mbps}\n")
    with pytest.raises(InputError) as caught:
        Chain.load(chain)
    assert str(caught.value).startswith(f"{chain}:2: ")
    assert "peak_rate is below rate; give at least as much" in str(caught.value)
