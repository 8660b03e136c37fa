"""A check that could not fail would show nothing: most of these tests run it on an engine that is wrong on purpose."""

import numpy as np
import pytest

from fajita.chain import Chain
from fajita.io.frames import FrameBlock
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.reference import ReferenceEngine
from fajita.verify import (
    MAXIMUM_SHOWN,
    EndDifference,
    PacketDifference,
    RecordDifference,
    both_engines,
    dissect,
    hex_lines,
    verify_blocks,
)
from tests.nfs.test_connection import segment
from tests.traffic import LINKS, many_flows

NOTHING = "reverse_packets=0 reverse_bytes=0 first_ns=0"
CHAIN = Chain([FlowCounter(), LoadBalancer(servers=["192.0.2.1", "192.0.2.2"])])
TRAFFIC = many_flows(40, repeats=2)


class WrongVerdict(ReferenceEngine):
    """Drops the fourth frame of the second block."""

    def process(self, block: FrameBlock) -> None:
        super().process(block)
        if block.first == 20:
            block.verdict[3] = 0


class WrongBytes(ReferenceEngine):
    """Alters two bytes of the sixth frame, the first and the one at 0x11."""

    def process(self, block: FrameBlock) -> None:
        super().process(block)
        if block.first == 0:
            block.frame(5)[0] ^= 1
            block.frame(5)[0x11] ^= 0xFF


class WrongCounters(ReferenceEngine):
    """Miscounts what an NF received, and loses a reason."""

    def counters(self):
        counters = super().counters()
        counters.nfs[1].received += 1
        return counters


class WrongRows(ReferenceEngine):
    """Has lost the first flow and counts a packet too many of the second."""

    def rows(self, nf):
        ipv4, *others = super().rows(nf)
        rows = ipv4[1:]
        rows[rows.dtype.names[-1]][0] += 1
        return [rows, *others]


class WrongCore(ReferenceEngine):
    """Has another value in a variable."""

    def core(self, nf):
        core = super().core(nf)
        return core | {name: [value + 1 for value in core[name]] for name in core if name == "turn"}


class ForgetsFlows(ReferenceEngine):
    """Has no rows at all."""

    def rows(self, nf):
        return [rows[:0] for rows in super().rows(nf)]


class RecordsInAnotherOrder(ReferenceEngine):
    """Hands over the last record first."""

    def take_records(self, nf):
        return [rows[::-1] for rows in super().take_records(nf)]


class LosesRecords(ReferenceEngine):
    """Hands over all but the last."""

    def take_records(self, nf):
        return [rows[:-1] for rows in super().take_records(nf)]


@pytest.mark.parametrize(
    ("wrong", "number", "expected"),
    [
        (RecordsInAnotherOrder, 1, ["right: flow {first}: packets=1 ", "wrong: flow {second}: packets=1 "]),
        (LosesRecords, 2, ["right: flow {second}: packets=1 ", "wrong: nothing"]),
    ],
)
@pytest.mark.parametrize("family", [4, 6])
def test_wrong_records_are_named(wrong, number, expected, family):
    nf = FlowCounter(timeout="1us", records=True)
    source, destination = ("10.0.0.1", "10.0.0.2") if family == 4 else ("2001:db8::1", "2001:db8::2")
    frames = [segment(source, destination, port, 80) for port in (1, 2)]
    blocks = [FrameBlock.from_frames(frames, [at, at], first=first) for at, first in ((0, 0), (10_000, 2))]
    engines = {"right": ReferenceEngine, "wrong": wrong}
    plan = Chain([nf]).plan
    result = verify_blocks(plan, blocks, lambda plan: {name: engine(plan) for name, engine in engines.items()})
    assert isinstance(result.difference, RecordDifference)
    assert (result.packets, result.difference.packets, result.difference.number) == (4, 2, number)
    text = str(result.difference)
    assert text.startswith(f"all packets agree, but after 2 of them flow_counter emits record {number}:\n")
    flows = {
        name: f"src={source} dst={destination} src_port={port} dst_port=80 protocol=6"
        for name, port in (("first", 1), ("second", 2))
    }
    for line in expected:
        assert line.format(**flows) in text
    assert verify_blocks(plan, blocks).difference is None


def _blocks():
    cut = TRAFFIC.frames
    return [FrameBlock.from_frames(cut[start : start + 20], first=start) for start in range(0, len(cut), 20)]


def _against(wrong: type[ReferenceEngine]):
    return verify_blocks(CHAIN.plan, _blocks(), lambda plan: {"right": ReferenceEngine(plan), "wrong": wrong(plan)})


def test_engines_that_agree():
    result = _against(ReferenceEngine)
    assert (result.packets, result.difference) == (80, None)


def test_the_two_engines_of_fajita_agree():
    assert list(both_engines(CHAIN.plan)) == ["reference", "compiled"]
    result = verify_blocks(CHAIN.plan, _blocks())
    assert (result.packets, result.difference) == (80, None)


def test_no_packets_at_all():
    assert verify_blocks(CHAIN.plan, []).difference is None
    assert verify_blocks(CHAIN.plan, [FrameBlock.from_frames([])]).packets == 0


def test_the_blocks_themselves_stay_as_they_are():
    block = _blocks()[0]
    before = bytes(np.asarray(block.memory))
    verify_blocks(CHAIN.plan, [block])
    assert bytes(np.asarray(block.memory)) == before
    assert not block.verdict.any()


def test_a_wrong_verdict_is_told_with_the_number_of_its_packet():
    result = _against(WrongVerdict)
    assert isinstance(result.difference, PacketDifference)
    assert result.difference.number == 24
    assert result.packets == 40
    text = str(result.difference)
    assert text.startswith("packet 24, 42 bytes")
    assert "right: passed" in text
    assert "wrong: dropped" in text
    assert "10.0.0.23" in text


def test_wrong_bytes_are_marked():
    difference = _against(WrongBytes).difference
    assert isinstance(difference, PacketDifference)
    assert difference.number == 6
    text = str(difference)
    assert text.count("^^") == 4
    row = text.splitlines()[-3]
    assert row.startswith("  0010  ")
    assert text.splitlines()[-2].index("^^") == 8 + 3


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (WrongCounters, ["load_balancer, received: right has 80, wrong has 81"]),
        (
            WrongRows,
            [
                "flow_counter, flow src=10.0.0.0 dst=192.0.2.0 src_port=0 dst_port=53 protocol=17: "
                f"right has packets=2 bytes=84 {NOTHING} last_ns=0, wrong has nothing",
                f"{NOTHING} last_ns=0, wrong has packets=2 bytes=84 {NOTHING} last_ns=1",
            ],
        ),
        (WrongCore, ["load_balancer, variable turn: right has 40, wrong has 41"]),
    ],
)
def test_what_differs_at_the_end_is_named(wrong, expected):
    difference = _against(wrong).difference
    assert isinstance(difference, EndDifference)
    for text in expected:
        assert text in str(difference)


def test_a_long_list_of_differences_is_cut():
    difference = _against(ForgetsFlows).difference
    assert isinstance(difference, EndDifference)
    assert len(difference.lines) == 80
    assert len(str(difference).splitlines()) == MAXIMUM_SHOWN + 2
    assert str(difference).endswith(f"and {80 - MAXIMUM_SHOWN} more")


def test_hex_has_rows_of_16_bytes():
    assert hex_lines(bytes(range(17))) == ["  0000  " + " ".join(f"{value:02x}" for value in range(16)), "  0010  10"]
    assert hex_lines(b"") == []
    assert hex_lines(b"\x00\x01", {1}) == ["  0000  00 01", "           ^^"]


@pytest.mark.parametrize("link", LINKS)
def test_scapy_is_asked_about_any_frame(link):
    random = np.random.default_rng(link)
    for size in range(70):
        assert all(isinstance(line, str) for line in dissect(random.bytes(size), link))
