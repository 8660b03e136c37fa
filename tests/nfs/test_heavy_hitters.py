"""Counts within the stated bound, the true largest keys, and the same sketch for any order and number of workers."""

from collections import Counter
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6

from fajita import Chain, FrameBlock, InputError
from fajita.io.flow_order import FlowOrder
from fajita.io.synthetic import synthetic_block
from fajita.nfs._sketch_keys import MAPPED, address_of
from fajita.nfs.heavy_hitters import HeavyHitters
from fajita.nfs.source_counter import SourceCounter
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import LINKS, ethernet, ip_variants, tcp_frame, udp_frame

WINDOWS_XP = Path(__file__).parents[3] / "shared" / "pcaps" / "malcolm--WinXP.pcap"
SKETCH = ("counts", "lots", "keys")
#: Small, so that keys share counters.
SMALL = {"error": 0.01, "confidence": 0.9}


def ipv6_frame(src: str, dst: str = "2001:db8::1") -> bytes:
    return bytes(ethernet() / IPv6(src=src, dst=dst) / UDP(sport=1, dport=2) / (b"x" * 20))


def skewed(order: str, *, flows: int = 65536, packets: int = 300_000) -> tuple[FrameBlock, Counter[int]]:
    """Packets of flows of which few have most, and how many each source has."""
    block = synthetic_block(FlowOrder(order, flows, 1), packets)
    sources = np.ascontiguousarray(block.memory[:, 26:30]).view(">u4").ravel()  # type: ignore[index, call-overload]
    return block, Counter(sources.tolist())


def sketch(nf: HeavyHitters, blocks: Any, cores: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = Chain([nf]).run(blocks, cores=cores).core("heavy_hitters")
    return found


@both_engines
def test_few_keys_are_counted_exactly_the_largest_first(engine):
    sources = ["10.0.0.1"] * 3 + ["10.0.0.2"] * 7 + ["255.255.255.255"] + ["0.0.0.0"] * 2
    frames = [udp_frame(port, src=source) for port, source in enumerate(sources)]
    frames += [ipv6_frame(source) for source in ("fe80::2", "::", "fe80::2", "fe80::2", "fe80::2")]
    result = run(engine, HeavyHitters(top=4), frames)
    assert list(result.summary()["top"].items()) == [("10.0.0.2", 7), ("fe80::2", 4), ("10.0.0.1", 3), ("0.0.0.0", 2)]
    assert result.summary()["packets"] == 18
    assert result.frames == frames


@both_engines
def test_of_equal_counts_the_first_addresses_are_shown(engine):
    frames = [udp_frame(src=f"10.0.0.{number}") for number in (9, 3, 7, 1, 5)]
    assert list(run(engine, HeavyHitters(top=3), frames).summary()["top"]) == ["10.0.0.1", "10.0.0.3", "10.0.0.5"]


@both_engines
def test_bytes_are_those_on_the_wire(engine):
    frames = [udp_frame(src="10.0.0.1")] * 5 + [udp_frame(src="10.0.0.2")]
    result = run(engine, HeavyHitters(count="bytes"), frames, wire=[100] * 5 + [9000])
    assert result.summary()["top"] == {"10.0.0.2": 9000, "10.0.0.1": 500}
    assert result.summary()["bytes"] == 9500


@both_engines
def test_lengths_that_a_capture_claims_do_no_harm(engine):
    frames = [udp_frame(src="10.0.0.1"), udp_frame(src="10.0.0.2"), udp_frame(src="10.0.0.3")]
    result = run(engine, HeavyHitters(count="bytes"), frames, wire=[2**32 - 1, 2**31, 62])
    assert list(result.summary()["top"].items()) == [("10.0.0.1", 2**32 - 1), ("10.0.0.2", 2**31), ("10.0.0.3", 62)]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"by": "destination"}, {"10.9.0.1": 3, "2001:db8::1": 1}),
        ({"by": "address_pair"}, {"10.0.0.1 > 10.9.0.1": 2, "10.0.1.2 > 10.9.0.1": 1, "fe80::2 > 2001:db8::1": 1}),
        (
            {"by": "five_tuple"},
            {
                "10.0.0.1 port 7 > 10.9.0.1 port 53 udp": 1,
                "10.0.0.1 port 65535 > 10.9.0.1 port 80 tcp": 1,
                "10.0.1.2 port 7 > 10.9.0.1 port 53 udp": 1,
                "fe80::2 port 1 > 2001:db8::1 port 2 udp": 1,
            },
        ),
        ({"prefix": 16, "prefix_v6": 10}, {"10.0.0.0/16": 3, "fe80::/10": 1}),
        ({"prefix": 0, "prefix_v6": 0}, {"0.0.0.0/0": 3, "::/0": 1}),
        (
            {"by": "address_pair", "prefix": 23, "prefix_v6": 127},
            {"10.0.0.0/23 > 10.9.0.0/23": 3, "fe80::2/127 > 2001:db8::/127": 1},
        ),
    ],
    ids=str,
)
@both_engines
def test_keys(engine, params, expected):
    frames = [
        udp_frame(7, src="10.0.0.1", dst="10.9.0.1"),
        tcp_frame(65535, src="10.0.0.1", dst="10.9.0.1"),
        udp_frame(7, src="10.0.1.2", dst="10.9.0.1"),
        ipv6_frame("fe80::2"),
    ]
    assert run(engine, HeavyHitters(**params), frames).summary()["top"] == expected


@both_engines
def test_a_later_fragment_is_of_the_flow_of_its_first(engine):
    parts = fragment(IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / (b"x" * 100), fragsize=40)
    result = run(engine, HeavyHitters(by="five_tuple"), [bytes(ethernet() / part) for part in parts])
    assert result.summary()["top"] == {"10.0.0.1 port 1 > 10.0.0.2 port 2 udp": 3}


@both_engines
@pytest.mark.parametrize("link", LINKS)
def test_every_kind_of_packet_counts(engine, link):
    code, build = LINKS[link]
    frames = [bytes(build(packet)) for packet in ip_variants().values()]
    assert list(run(engine, HeavyHitters(), frames, links=code).summary()["top"].values()) == [len(frames)]


@pytest.mark.parametrize("order", ["caida", "campus"])
def test_the_true_hundred_largest_are_found(order):
    block, true = skewed(order)
    report = Chain([HeavyHitters()]).run([block]).report["nfs"][0]["summary"]
    expected = sorted(((-count, source) for source, count in true.items()))[:100]
    assert report["top"] == {str(IPv4Address(source)): -count for count, source in expected}


@pytest.mark.skipif(not WINDOWS_XP.is_file(), reason="the real captures (../shared/pcaps) are not here")
@pytest.mark.parametrize("count", ["packets", "bytes"])
def test_the_true_hundred_largest_of_a_real_capture_are_found(count):
    chain = Chain([HeavyHitters(count=count), SourceCounter()])
    run_of_both = chain.run(WINDOWS_XP)
    rows = run_of_both.table("source_counter").to_pylist()
    assert run_of_both.report["nfs"][0]["summary"]["top"] == {row["src"]: row[count] for row in rows}


@pytest.mark.parametrize("order", ["caida", "campus", "uniform"])
def test_no_count_is_too_low_and_few_are_too_high_by_more_than_the_error(order):
    block, true = skewed(order)
    nf = HeavyHitters(**SMALL)
    counts = sketch(nf, [block])["counts"].reshape(nf.rows, nf.width)
    assert counts.sum(axis=1).tolist() == [len(block)] * nf.rows
    errors = [nf.count_of(counts, (0, 0, 0, 0, MAPPED | source)) - count for source, count in true.items()]
    assert min(errors) >= 0
    assert max(errors) > 0
    beyond = sum(error > nf.error * len(block) for error in errors)
    assert beyond <= (1 - nf.confidence) * len(true)


def test_whose_a_part_is_follows_the_shares_of_its_packets():
    """Thirty sources with 2 % each among many others, one row: at least 1 - 1 / (w s) of them are found."""
    nf = HeavyHitters(error=0.01, confidence=0.5, top=30)
    assert (nf.rows, nf.width, nf.narrow) == (1, 272, 272)
    frames = [udp_frame(src=f"10.0.0.{number}") for number in range(30)] * 60
    frames += [udp_frame(src=str(IPv4Address(0x0B000000 + number))) for number in range(1200)]
    block = FrameBlock.from_frames(frames, range(0, 3000 * 1000, 1000))
    top = Chain([nf]).run([block]).report["nfs"][0]["summary"]["top"]
    assert sum(address.startswith("10.") for address in top) >= 30 * (1 - 1 / (nf.width * 0.02))


@pytest.mark.parametrize(
    "params", [SMALL, SMALL | {"by": "five_tuple", "count": "bytes"}, SMALL | {"by": "address_pair"}], ids=str
)
def test_the_sketch_does_not_depend_on_workers_or_the_order_of_packets(params):
    block, _ = skewed("campus", flows=5000, packets=40_000)
    one = sketch(HeavyHitters(**params), [block])
    shuffled = np.random.default_rng(1).permutation(len(block))
    columns = (block.address, block.captured, block.wire, block.time_ns, block.link, block.verdict)
    others = [sketch(HeavyHitters(**params), [block], cores) for cores in (2, 5)]
    others.append(
        sketch(HeavyHitters(**params), [FrameBlock(*(column[shuffled] for column in columns), memory=block.memory)])
    )
    for other in others:
        assert all(np.array_equal(one[name], other[name]) for name in SKETCH)
        assert HeavyHitters(**params).summary(None, one) == HeavyHitters(**params).summary(None, other)


def test_a_key_that_two_packets_made_together_is_left_out():
    nf = HeavyHitters(error=0.01, confidence=0.5)
    core = sketch(nf, [FrameBlock.from_frames([udp_frame()])])
    taken = np.flatnonzero(core["counts"])[0]
    core["keys"][4 * taken : 4 * taken + 4] += 1
    assert nf.summary(None, core)["top"] == {}


def test_the_search_for_the_largest_begins_with_no_less_than_they_have():
    """The parts of a row need not end where its counters do."""
    nf = HeavyHitters(error=0.001, top=1, confidence=0.5)
    assert (nf.width, nf.narrow) == (2719, 1024)
    counts = np.random.default_rng(1).integers(0, 1000, (nf.rows, nf.width)).astype(np.uint64)
    most = nf.most(counts)
    for hashed in [*range(0, 1 << 32, 999_983), *(edge - each for edge in (1 << 32, 1 << 31) for each in (1, 2))]:
        assert counts[0, hashed * nf.width >> 32] <= most[hashed * nf.narrow >> 32]


def test_memory_is_as_stated():
    summary = Chain([HeavyHitters()]).run([FrameBlock.from_frames([udp_frame()])]).report["nfs"][0]["summary"]
    core = sketch(HeavyHitters(), [FrameBlock.from_frames([udp_frame()])])
    assert summary["memory_bytes"] == sum(core[name].nbytes for name in SKETCH)
    assert summary["memory_bytes"] == 23_444_128


def test_addresses_of_both_families_are_told_apart():
    assert [str(address_of(*halves)) for halves in ((0, MAPPED | 1), (0, 1), (1 << 63, 2))] == [
        "0.0.0.1",
        "::1",
        "8000::2",
    ]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"by": "port"}, "parameter by of HeavyHitters: Input should be 'source', 'destination', 'address_pair' or"),
        ({"top": 0}, "parameter top of HeavyHitters: Input should be greater than or equal to 1"),
        ({"error": 0.5}, "parameter error of HeavyHitters: Input should be less than or equal to 0.1"),
        ({"confidence": 1.0}, "parameter confidence of HeavyHitters: Input should be less than or equal to 0.9999"),
        ({"prefix": 33}, "parameter prefix of HeavyHitters: Input should be less than or equal to 32"),
        ({"prefix_v6": -1}, "parameter prefix_v6 of HeavyHitters: Input should be greater than or equal to 0"),
        ({"key": "source"}, "HeavyHitters cannot be keyed by 'source'; it takes no key"),
        (
            {"error": 1e-7, "top": 100_000},
            "HeavyHitters: a sketch of 4,784,176,144 bytes; at most 4,294,967,296 are possible: give a larger error or",
        ),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(InputError) as caught:
        HeavyHitters(**params)
    assert str(caught.value).startswith(message)


def test_a_larger_error_takes_less_memory():
    sizes = [HeavyHitters(error=error).counters for error in (1e-6, 1e-5, 1e-4, 1e-3)]
    assert all(fine > 9 * coarse for fine, coarse in pairwise(sizes))
