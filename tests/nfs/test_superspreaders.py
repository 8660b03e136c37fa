"""Who sends to many is found, with counts as exact as stated, and the same for any order and number of workers."""

from collections import Counter
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import TCP, fragment
from scapy.layers.inet6 import IPv6

from fajita import Chain, FrameBlock, InputError
from fajita.io.flow_order import FlowOrder
from fajita.io.synthetic import synthetic_block
from fajita.nfs.superspreaders import Superspreaders
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import LINKS, ethernet, ip_packet, ip_variants, tcp_frame, udp_frame

FLOOD = Path(__file__).parents[3] / "shared" / "pcaps" / "stopddos--pkt.TCP.synflood.spoofed.pcap"
SKETCH = ("all", "ranks", "lots", "keys")
#: Exact for few, and quickly read.
FINE = {"registers": 4096, "error": 0.02}
#: Spreaders and how many they send to.
SPREADERS = {0x0A000000 + number: 200 * 2**number for number in range(8)}


def address(number: int) -> str:
    return str(IPv4Address(number))


def with_spreaders(flows: int = 20_000) -> tuple[FrameBlock, int]:
    """Packets of many sources to a few destinations each, then those of spreaders; and how many pairs there are."""
    spread = sum(SPREADERS.values())
    block = synthetic_block(FlowOrder("uniform", flows, 1), 3 * flows + spread)
    slots: Any = block.memory
    sources = np.repeat([*SPREADERS], [*SPREADERS.values()]).astype(">u4")
    destinations = np.concatenate([np.arange(count) for count in SPREADERS.values()]).astype(">u4") + 0x0B000000
    slots[3 * flows :, 26:30] = sources.view(np.uint8).reshape(-1, 4)
    slots[3 * flows :, 30:34] = destinations.astype(">u4").view(np.uint8).reshape(-1, 4)
    return block, len(np.unique(slots[:, 26:34], axis=0))


def sketch(nf: Superspreaders, blocks: Any, cores: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = Chain([nf]).run(blocks, cores=cores).core("superspreaders")
    return found


@both_engines
def test_destinations_count_once_and_by_source(engine):
    frames = [udp_frame(src="10.0.0.1", dst=f"10.1.0.{number % 20}") for number in range(60)]
    frames += [udp_frame(src=f"10.0.1.{number}", dst="10.1.0.1") for number in range(30)]
    frames += [bytes(ethernet() / IPv6(src="fe80::1", dst=f"2001:db8::{number}") / TCP()) for number in range(1, 41)]
    summary = run(engine, Superspreaders(threshold=10, **FINE), frames).summary()
    assert summary["largest"] == {"fe80::1": 40, "10.0.0.1": 20}
    assert (summary["sources"], summary["pairs"]) == (2, pytest.approx(90, abs=2))
    victims = run(engine, Superspreaders(threshold=10, by="destination", **FINE), frames).summary()
    assert (victims["largest"], victims["destinations"]) == ({"10.1.0.1": 31}, 1)


@both_engines
def test_the_threshold_itself_is_enough(engine):
    frames = [udp_frame(dst=f"10.1.0.{number}") for number in range(20)]
    assert [
        len(run(engine, Superspreaders(threshold=threshold, **FINE), frames).summary()["largest"])
        for threshold in (20, 21)
    ] == [1, 0]


@both_engines
def test_with_attempts_answers_and_data_do_not_count(engine):
    frames = []
    for number in range(1, 31):
        server, client = "10.0.0.1", f"10.1.0.{number}"
        for flags, src, dst in (("S", client, server), ("SA", server, client), ("A", server, client)):
            frames.append(bytes(ethernet() / ip_packet(TCP(flags=flags), src=src, dst=dst)))
        frames.append(bytes(ethernet() / ip_packet(TCP(flags="S"), src="10.0.0.2", dst=client)))
        frames.append(udp_frame(src="10.0.0.3", dst=client))
    found = [
        list(run(engine, Superspreaders(threshold=25, attempts=attempts), frames).summary()["largest"])
        for attempts in (False, True)
    ]
    assert [sorted(each) for each in found] == [["10.0.0.1", "10.0.0.2", "10.0.0.3"], ["10.0.0.2", "10.0.0.3"]]


@both_engines
def test_with_attempts_tcp_that_cannot_be_read_does_not_count(engine):
    frames = []
    for number in range(1, 31):
        segment = ip_packet(TCP(flags="A") / bytes(100), src="10.0.0.1", dst=f"10.1.0.{number}")
        frames += [bytes(ethernet() / part) for part in fragment(segment, fragsize=64)]
        frames.append(bytes(ethernet() / segment)[:40])
    for attempts, found in ((False, ["10.0.0.1"]), (True, [])):
        summary = run(engine, Superspreaders(threshold=25, attempts=attempts), frames).summary()
        assert list(summary["largest"]) == found


@both_engines
@pytest.mark.parametrize("link", LINKS)
def test_every_kind_of_packet_counts(engine, link):
    code, build = LINKS[link]
    frames = [bytes(build(packet)) for packet in ip_variants().values()]
    assert run(engine, Superspreaders(threshold=1), frames, links=code).summary()["pairs"] == 1


@pytest.mark.parametrize("params", [{}, {"error": 0.005}, {"registers": 1024, "threshold": 1000}], ids=str)
def test_spreaders_are_found_with_the_stated_error(params):
    block, pairs = with_spreaders()
    nf = Superspreaders(**({"threshold": 500} | params))
    summary = Chain([nf]).run([block]).report["nfs"][0]["summary"]
    assert abs(summary["pairs"] / pairs - 1) < 4 * 1.04 / 4096**0.5
    assert summary["standard_error"] == pytest.approx(1.04 / nf.registers**0.5, abs=1e-4)
    sigma, noise = summary["standard_error"], nf.error * pairs
    for source, count in SPREADERS.items():
        estimate = summary["largest"].get(address(source))
        if count >= nf.threshold / (1 - 3 * sigma):
            assert estimate is not None
        if estimate is not None:
            assert count * (1 - 3 * sigma) <= estimate <= (count + noise) * (1 + 3 * sigma)
    assert all(IPv4Address(source) in map(IPv4Address, SPREADERS) for source in summary["largest"])


def test_no_count_of_a_source_is_too_low_by_what_others_do():
    """Registers are the least of all rows, so that of a source alone in one of them are exactly its own."""
    nf = Superspreaders(threshold=150, error=0.005)
    alone = [udp_frame(dst=address(0x0B000000 + number)) for number in range(200)]
    others = [udp_frame(src=address(0x0C000000 + number), dst=address(number)) for number in range(3000)]
    few, many = (sketch(nf, [FrameBlock.from_frames(frames)]) for frames in (alone, alone + others))
    assert list(nf.found(few)) == list(nf.found(many))
    assert list(nf.found(few).values()) <= list(nf.found(many).values())


def test_the_sketch_does_not_depend_on_workers_or_the_order_of_packets():
    block, _ = with_spreaders(2000)
    params = {"error": 0.005, "threshold": 300, "registers": 64}
    one = sketch(Superspreaders(**params), [block])
    shuffled = np.random.default_rng(1).permutation(len(block))
    columns = (block.address, block.captured, block.wire, block.time_ns, block.link, block.verdict)
    others = [sketch(Superspreaders(**params), [block], cores) for cores in (2, 5)]
    others.append(
        sketch(Superspreaders(**params), [FrameBlock(*(column[shuffled] for column in columns), memory=block.memory)])
    )
    for other in others:
        assert all(np.array_equal(one[name], other[name]) for name in SKETCH)
        assert Superspreaders(**params).summary(None, one) == Superspreaders(**params).summary(None, other)


@pytest.mark.skipif(not FLOOD.is_file(), reason="the real captures (../shared/pcaps) are not here")
def test_the_victim_of_a_flood_is_what_many_send_to():
    nfs = [Superspreaders(), Superspreaders(name="victims", by="destination")]
    spreaders, victims = (nf["summary"]["largest"] for nf in Chain(nfs).run(FLOOD).report["nfs"])
    assert spreaders == {}
    assert list(victims) == ["10.10.10.10"]
    assert abs(victims["10.10.10.10"] / 37_500 - 1) < 0.2


def test_memory_is_as_stated():
    blocks = [FrameBlock.from_frames([tcp_frame()])]
    core = sketch(Superspreaders(), blocks)
    summary = Superspreaders().summary(None, core)
    assert summary["memory_bytes"] == sum(core[name].nbytes for name in SKETCH) == 6_354_512


def test_ranks_are_those_of_the_hash():
    """A register in 2**n is n + 1 or more."""
    block = synthetic_block(FlowOrder("roundrobin", 1 << 16, 1), 1 << 16)
    ranks = Counter(sketch(Superspreaders(**FINE), [block])["all"].tolist())
    assert sum(rank * count for rank, count in ranks.items()) / 4096 == pytest.approx(np.log2(16) + 1.33, abs=0.2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"threshold": 0}, "parameter threshold of Superspreaders: Input should be greater than or equal to 1"),
        ({"registers": 100}, "parameter registers of Superspreaders: Input should be 64, 128, 256, 512, 1024, 2048"),
        ({"error": 1e-7}, "parameter error of Superspreaders: Input should be greater than or equal to 0.000001"),
        ({"by": "five_tuple"}, "parameter by of Superspreaders: Input should be 'source' or 'destination'"),
        ({"attempts": 1}, "parameter attempts of Superspreaders: Input should be a valid boolean"),
        (
            {"error": 1e-6, "registers": 4096},
            "Superspreaders: a sketch of 44,927,768,992 bytes; at most 4,294,967,296 are possible: give a larger error",
        ),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(InputError) as caught:
        Superspreaders(**params)
    assert str(caught.value).startswith(message)
