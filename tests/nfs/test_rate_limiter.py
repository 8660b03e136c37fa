"""Token buckets against a model with fractions: the same packets pass, to the nanosecond."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, product
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fajita import InputError
from fajita.engine.compiled import CompiledEngine
from fajita.lifetime import FIRST_CLOCK_NS
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.rate_limiter import RateLimiter
from fajita.reference import ReferenceEngine
from fajita.reference.integer import wrap
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import udp_frame

FRAME = udp_frame()
FLOWS = [udp_frame(port) for port in (1, 2, 3)]
SECOND = 10**9


class Bucket:
    """A bucket of bytes or packets that fills at so many of them per nanosecond."""

    def __init__(self, per_ns: Fraction, burst: int, time_ns: int) -> None:
        self.per_ns, self.burst = per_ns, burst
        self.content, self.last_ns = Fraction(burst), time_ns

    def takes(self, amount: int, time_ns: int) -> bool:
        elapsed_ns = wrap(time_ns - self.last_ns)
        if elapsed_ns > 0:
            self.content = min(self.content + elapsed_ns * self.per_ns, Fraction(self.burst))
            self.last_ns = time_ns
        if amount > self.content:
            return False
        self.content -= amount
        return True


class Model:
    """Verdicts of a limiter of so many bytes or packets per nanosecond, packet by packet."""

    def __init__(self, nf: RateLimiter, per_ns: Fraction) -> None:
        self.nf, self.per_ns = nf, per_ns
        self.buckets: dict[int, Bucket] = {}
        self.seen_ns: dict[int, int] = {}
        self.clock_ns = FIRST_CLOCK_NS

    def verdict(self, flow: int, length: int, time_ns: int) -> int:
        self.clock_ns = max(self.clock_ns, wrap(time_ns))
        idle_ns = wrap(self.clock_ns - self.seen_ns.get(flow, self.clock_ns))
        if flow not in self.buckets or (self.nf.timeout_ns is not None and idle_ns >= self.nf.timeout_ns):
            self.buckets[flow] = Bucket(self.per_ns, self.nf.burst.amount, time_ns)
        self.seen_ns[flow] = self.clock_ns
        return int(self.buckets[flow].takes(1 if self.nf.by_packets else length, time_ns))


def as_kept(nf: RateLimiter) -> Fraction:
    """The rate that the NF's fixed point stands for, in bytes or packets per nanosecond."""
    return Fraction(nf.refill, 1 << nf.scale)


def as_given(nf: RateLimiter) -> Fraction:
    """The rate that was asked for, in bytes or packets per nanosecond."""
    return Fraction(nf.rate.per_second, SECOND * (1 if nf.by_packets else 8))


#: Packets: flow, bytes on the wire, nanoseconds since the packet before it.
Packets = Sequence[tuple[int, int, int]]


def verdicts(engine: Any, nf: RateLimiter, packets: Packets, first_ns: int = 0) -> list[int]:
    times = [time % (1 << 64) for time in accumulate((step for _, _, step in packets), initial=first_ns)][1:]
    result = run(engine, nf, [FLOWS[flow] for flow, _, _ in packets], times, wire=[size for _, size, _ in packets])
    dropped = result.verdicts.count(0)
    assert result.counters.nfs[0].received == len(packets)
    assert result.counters.nfs[0].drops == {"over rate": dropped}
    assert result.counters.packets_out == len(packets) - dropped
    return result.verdicts


def model_verdicts(nf: RateLimiter, per_ns: Fraction, packets: Packets, first_ns: int = 0) -> list[int]:
    model, time, made = Model(nf, per_ns), first_ns, []
    for flow, size, step in packets:
        time += step
        made.append(model.verdict(flow, size, time % (1 << 64)))
    return made


LIMITS: list[dict[str, Any]] = [
    {"rate": "1kbps", "burst": "100B"},
    {"rate": "8Mbps", "burst": "1500B", "timeout": "1ms"},
    {"rate": "8Gbps", "burst": "64kB"},
    {"rate": "1Tbps", "burst": "3kB"},
    {"rate": "9000000Tbps", "burst": "2kB"},
    {"rate": "1pps", "burst": 1},
    {"rate": "3Mpps", "burst": 7, "timeout": "5us"},
    {"rate": "100Gpps", "burst": 2},
]
steps_ns = st.one_of(
    st.sampled_from((0, 1, 1, 11, 12, 333, 334, 1000, 60_000, 1_000_000, SECOND, 3600 * SECOND, -1, -5_000, -SECOND)),
    st.integers(-SECOND, 2 * SECOND),
)
sizes = st.sampled_from((len(FRAME), 64, 100, 101, 1500, 1501, 9000, 65535, 1 << 22, (1 << 32) - 1))
packet_lists = st.lists(st.tuples(st.integers(0, 2), sizes, steps_ns), min_size=1, max_size=40)


@pytest.mark.parametrize("limit", LIMITS, ids=str)
@settings(max_examples=40, deadline=None)
@given(packets=packet_lists, first_ns=st.sampled_from((0, 1_700_000_000 * SECOND, (1 << 63) - 10, (1 << 64) - 10)))
@example(packets=[(0, 64, 0)] * 40, first_ns=0)
def test_the_packets_that_pass_are_those_of_the_model(limit, packets, first_ns):
    nf = RateLimiter(**limit)
    expected = model_verdicts(nf, as_kept(nf), packets, first_ns)
    for engine in (CompiledEngine, ReferenceEngine):
        assert verdicts(engine, nf, packets, first_ns) == expected, engine


@settings(max_examples=40, deadline=None)
@given(packets=packet_lists)
def test_a_byte_per_nanosecond_is_exact(packets):
    """8 Gbps are a whole number of tokens, so that nothing is rounded: the model need not ask the NF for its rate."""
    nf = RateLimiter(rate="8Gbps", burst="64kB")
    expected = model_verdicts(nf, as_given(nf), packets)
    assert verdicts(CompiledEngine, nf, packets) == expected


@pytest.mark.parametrize("burst", ["1B", "1500B", "64kB", "1MiB", "100MB"])
def test_every_rate_is_kept_to_a_thousandth_or_refused(burst):
    for prefix, digits in product(("", "k", "M", "G", "T"), (1, 8, 9, 33, 127, 999)):
        rate = f"{digits}{prefix}bps"
        try:
            nf = RateLimiter(rate=rate, burst=burst)
        except InputError:
            assert prefix in ("", "k"), rate
            continue
        fills_within_a_nanosecond = as_given(nf) >= nf.burst.amount
        assert fills_within_a_nanosecond or abs(as_kept(nf) / as_given(nf) - 1) <= Fraction(1, 1000), rate
        # What the kernel computes stays below 2**63.
        assert nf.bucket + nf.fill_ns * nf.refill < 1 << 63, rate


@both_engines
def test_steady_overload_leaves_the_rate(engine):
    """3000 packets of 1250 bytes in 30 ms are 1 Gbps; of those 100 Mbps and the burst pass."""
    nf = RateLimiter(rate="100Mbps", burst="12500B")
    made = verdicts(engine, nf, [(0, 1250, 10_000)] * 3000)
    assert made[:10] == [1] * 10
    assert sum(made) == 10 + 300 - 1


@both_engines
def test_a_bucket_begins_full_and_is_refilled_to_the_nanosecond(engine):
    nf = RateLimiter(rate="8Gbps", burst="1000B")  # a byte per nanosecond
    packets = [(0, 600, 0), (0, 400, 0), (0, 1, 0), (0, 500, 499), (0, 500, 1), (0, 1000, 5000), (0, 1, 0)]
    assert verdicts(engine, nf, packets) == [1, 1, 0, 0, 1, 1, 0]


@both_engines
def test_a_packet_larger_than_the_burst_never_passes(engine):
    nf = RateLimiter(rate="8Gbps", burst="1000B")
    packets = [(0, 1001, 0), (0, 1001, SECOND), (0, (1 << 32) - 1, SECOND), (0, 1000, 0)]
    assert verdicts(engine, nf, packets) == [0, 0, 0, 1]


@both_engines
def test_time_that_goes_back_adds_nothing(engine):
    nf = RateLimiter(rate="8Gbps", burst="1000B")
    packets = [(0, 1000, 5000), (0, 500, -2000), (0, 500, 2000), (0, 500, 499), (0, 500, 1)]
    assert verdicts(engine, nf, packets) == [1, 0, 0, 0, 1]


@both_engines
def test_flows_have_buckets_of_their_own(engine):
    nf = RateLimiter(rate="1pps", burst=1)
    packets = [(flow, 64, 1) for flow in (0, 1, 0, 1, 2, 0, 2)]
    assert verdicts(engine, nf, packets) == [1, 1, 0, 0, 1, 0, 0]


@both_engines
@pytest.mark.parametrize(("key", "passed"), [("five_tuple", 4), ("source", 2), ("destination", 3)])
def test_the_key_says_what_shares_a_bucket(engine, key, passed):
    addresses = [("10.0.0.1", "10.1.0.1"), ("10.0.0.2", "10.1.0.1"), ("10.0.0.2", "10.1.0.2"), ("10.0.0.2", "10.1.0.3")]
    frames = [udp_frame(src=src, dst=dst) for src, dst in addresses]
    result = run(engine, RateLimiter(rate="1pps", burst=1, key=key), frames)
    assert sum(result.verdicts) == passed
    assert result.summary() == {"buckets": passed, "rate": "1 pps"}


@both_engines
def test_a_bucket_is_full_again_after_the_timeout_though_every_packet_was_dropped(engine):
    nf = RateLimiter(rate="1pps", burst=1, timeout="1ms")
    packets = [(0, 64, 0), (0, 64, 999_999), (0, 64, 999_999), (0, 64, 1_000_000)]
    assert verdicts(engine, nf, packets) == [1, 0, 0, 1]


@both_engines
def test_a_dropped_packet_reaches_no_later_nf(engine):
    result = run(engine, [RateLimiter(rate="1pps", burst=1), FlowCounter()], [FRAME] * 3)
    assert [(nf.received, nf.drops) for nf in result.counters.nfs] == [(3, {"over rate": 2}), (1, {})]
    assert result.rows(1)[0][5:7] == (1, len(FRAME))
    assert result.counters.bytes_out == len(FRAME)


@both_engines
def test_frames_pass_as_they_were(engine):
    assert run(engine, RateLimiter(rate="8Gbps", burst="64kB"), FLOWS).frames == FLOWS


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rate": "1Gbps"}, "RateLimiter needs the parameter burst; its parameters: rate, burst"),
        ({"rate": "1Gb", "burst": "1kB"}, "parameter rate of RateLimiter: '1Gb' is not a quantity such as 1Gbps or"),
        ({"rate": 7, "burst": "1kB"}, "parameter rate of RateLimiter: 7 is not a quantity such as 1Gbps or 100kpps"),
        ({"rate": "1Gbps", "burst": "1kb"}, "parameter burst of RateLimiter: '1kb' is not a quantity such as 64kB"),
        ({"rate": "1Gbps", "burst": 5}, "RateLimiter: burst does not fit a rate in bps; give bytes, such as 64kB"),
        ({"rate": "1kpps", "burst": "5B"}, "RateLimiter: burst does not fit a rate in pps; give a number of packets"),
        ({"rate": "0bps", "burst": "5B"}, "RateLimiter: rate and burst have to be more than 0"),
        ({"rate": "1kpps", "burst": 0}, "RateLimiter: rate and burst have to be more than 0"),
        ({"rate": "1kpps", "burst": -1}, "RateLimiter: rate and burst have to be more than 0"),
        ({"rate": "1Gbps", "burst": "1100GB"}, "RateLimiter: burst is more than a terabyte or 2**40 packets"),
        (
            {"rate": "1bps", "burst": "1B"},
            "RateLimiter: rate is too low for so large a burst to be kept to 0.1 %; give",
        ),
        ({"rate": "1kbps", "burst": "1GB"}, "RateLimiter: rate is too low for so large a burst to be kept to 0.1 %"),
        ({"rate": "1kbps", "burst": "1kB", "timeout": "0s"}, "timeout of RateLimiter is 0s; more than 0"),
        (
            {"rate": "1kbps", "burst": "1kB", "timeout": "5"},
            "timeout of RateLimiter: '5' is not a quantity such as 30s",
        ),
        ({"rate": "1kbps", "burst": "1kB", "key": "port"}, "there is no key port; known: address_pair, all"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(InputError) as caught:
        RateLimiter(**params)
    assert str(caught.value).startswith(message)
