"""Frames that become longer and shorter: what comes out, where it lies, what is counted; what is refused."""

from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q
from scapy.utils import RawPcapReader

from fajita import NF, PASS, Chain, InputError, Layer, Packet, u64
from fajita.engine.compiled import CompiledEngine
from fajita.engine.interface import Engine
from fajita.io.frames import ETHERNET, FrameBlock
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.packet import MAXIMUM_FRAME
from fajita.verify import both_engines as compiled_and_reference
from fajita.verify import verify_blocks
from tests.command import write_capture
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import ethernet, udp_frame
from tests.own_nf import load_own
from tests.reshaping_nfs import Replace, Rewrite, Squeeze, Stretch, Tag, Untag, Vanish
from tests.test_differential import assert_engines_agree, given_traffic
from tests.traffic import Traffic, many_flows, traffic


def tagged(*vlans: int, dport: int = 53) -> bytes:
    header = ethernet()
    for vlan in vlans:
        header /= Dot1Q(vlan=vlan)
    return bytes(header / IP(src="192.0.2.7", dst="198.51.100.1", id=77) / UDP(sport=1024, dport=dport) / (b"x" * 20))


@both_engines
def test_a_tag_put_in_and_taken_out(engine: type[Engine]) -> None:
    frames = [udp_frame(), tagged(3), udp_frame(payload=b"y" * 1400)]
    result = run(engine, [Tag(), FlowCounter(key="vlan")], frames)
    assert result.frames[:2] == [tagged(7), tagged(7, 3)]
    assert [row[:3] for row in result.rows(1)] == [(7, 3, sum(map(len, frames)) + 12)]
    assert (result.counters.bytes_in, result.counters.bytes_out) == (sum(map(len, frames)), sum(map(len, frames)) + 12)
    again = run(engine, [Tag(), Untag(), Untag(name="more"), FlowCounter()], frames)
    assert again.frames == [frames[0], udp_frame(), frames[2]]


@both_engines
def test_what_comes_after_sees_the_frame_as_it_is(engine: type[Engine]) -> None:
    balancer = LoadBalancer(servers=["10.0.0.1"])
    result = run(engine, [FlowCounter(name="a"), Untag(), balancer, FlowCounter(name="b")], [tagged(3), udp_frame()])
    expected = udp_frame(dst="10.0.0.1")
    assert result.frames == [expected, expected]
    assert [len(result.rows(index)) for index in (0, 3)] == [1, 1]


class Grows(NF):
    """Of each packet the place is another one, the count the same."""

    about = Layer.ETHERNET

    class Params:
        places: list[int]
        count: int

    class Core:
        packets: u64

    def packet(self, pkt: Packet) -> int:
        pkt.grow(self.places[self.core.packets], self.count)
        self.core.packets += 1
        return PASS


class Shrinks(Grows):
    def packet(self, pkt: Packet) -> int:
        pkt.shrink(self.places[self.core.packets], self.count)
        self.core.packets += 1
        return PASS


FRAME = udp_frame()
PLACES = [-(1 << 63), -1, 0, 1, 14, len(FRAME) - 1, len(FRAME), len(FRAME) + 1, (1 << 63) - 1]


@both_engines
@pytest.mark.parametrize("count", [-(1 << 63), -1, 0, 1, 4, 128, 129, len(FRAME), len(FRAME) + 1, (1 << 63) - 1])
def test_only_what_makes_sense_is_done(engine: type[Engine], count: int) -> None:
    grown, shrunk = (
        run(engine, nf(places=PLACES, count=count), [FRAME] * len(PLACES)).frames for nf in (Grows, Shrinks)
    )
    for at, longer, shorter in zip(PLACES, grown, shrunk, strict=True):
        grows, shrinks = (
            0 <= at <= len(FRAME) and 1 <= count <= 128,
            at >= 0 and count >= 1 and at + count <= len(FRAME),
        )
        assert longer == (FRAME[:at] + bytes(count) + FRAME[at:] if grows else FRAME), at
        assert shorter == (FRAME[:at] + FRAME[at + count :] if shrinks else FRAME), at


@both_engines
def test_no_frame_becomes_longer_than_a_capture_can_hold(engine: type[Engine]) -> None:
    wire = [MAXIMUM_FRAME - 4, MAXIMUM_FRAME - 3, (1 << 32) - 1]
    result = run(engine, Grows(places=[0] * 3, count=4), [FRAME] * 3, wire=wire)
    assert [len(frame) - len(FRAME) for frame in result.frames] == [4, 0, 0]


@pytest.mark.parametrize("chain", [[Tag(), FlowCounter()], [Stretch(), FlowCounter(), Squeeze()], [Untag()]])
def test_frames_keep_their_neighbours_and_their_place_in_the_block(chain: list[NF]) -> None:
    frames = [udp_frame(sport=port, payload=b"z" * (port % 40)) for port in range(1, 400)]
    memory = np.frombuffer(bytearray(b"".join(frames)), np.uint8)
    captured = np.array([len(frame) for frame in frames], np.uint32)
    address = np.uint64(memory.ctypes.data) + np.cumsum(captured, dtype=np.uint64) - captured
    count = len(frames)
    times = np.arange(count, dtype=np.uint64)
    bytes_ = (np.full(count, ETHERNET, np.uint8), np.zeros(count, np.uint8))
    block = FrameBlock(address, captured, captured.copy(), times, *bytes_, memory)
    CompiledEngine(Chain(chain).plan).process(block)
    assert [bytes(block.frame(index)) for index in range(count)] == run(CompiledEngine, chain, frames).frames


def test_what_is_taken_away_whole_and_grows_again_stays_in_its_room() -> None:
    engine = CompiledEngine(Chain([Vanish()]).plan)
    block = FrameBlock.from_frames([FRAME] * 40)
    engine.process(block)
    (room,) = block.grown
    first, last = room.ctypes.data, room.ctypes.data + len(room)
    assert all(first <= address and address + 4 <= last for address in block.address.tolist())
    assert [bytes(block.frame(index)) for index in range(40)] == [b"\x04\0\0\0"] * 40


@pytest.mark.parametrize("settings", [{}, {"fragments": "drop"}, {"inner": True}], ids=str)
@given_traffic
@given(packets=traffic())
def test_engines_agree_on_what_headers_say_after_bytes_were_written(settings: Any, packets: Traffic) -> None:
    assert_engines_agree(rewriting(**settings), packets)


@cache
def rewriting(**settings: Any) -> Chain:
    return Chain([Rewrite(), FlowCounter(), Rewrite(name="again")], **settings)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_leave_their_frames_in_the_block(workers: int) -> None:
    chain = Chain([FlowCounter(), Tag(), Stretch(), FlowCounter(name="after", key="vlan"), Squeeze()])
    result = verify_blocks(chain.plan, many_flows(500, 3).blocks(), partial(compiled_and_reference, cores=workers))
    assert (result.difference, result.packets) == (None, 1500)


def test_a_file_gets_them_as_they_are(tmp_path: Path) -> None:
    frames = [udp_frame(sport=port) for port in range(1, 2000)]
    write_capture(tmp_path / "in.pcap", frames)
    for cores in (1, 2):
        report = Chain([Tag()]).run(tmp_path / "in.pcap", out=tmp_path / "out.pcap", cores=cores).report
        with RawPcapReader(str(tmp_path / "out.pcap")) as reader:
            made = [data for data, _ in reader]
        assert made == [frame[:12] + b"\x81\x00\x00\x07" + frame[12:] for frame in frames]
        assert report["bytes"]["out"] == report["bytes"]["in"] + 4 * len(frames)


def test_columns_that_cannot_be_written_are_refused() -> None:
    block = FrameBlock.from_frames([FRAME])
    block.captured.flags.writeable = False
    with pytest.raises(ValueError, match="address, captured, wire have to be writable"):
        CompiledEngine(Chain([Tag()]).plan).process(block)


def test_they_cannot_be_sprayed() -> None:
    with pytest.raises(InputError, match="packets that become longer or shorter cannot be sprayed; leave out --spray"):
        Chain([Tag()]).run(many_flows(5, 1).blocks(), cores=2, spray=True)


HEAD = "from fajita import NF, PASS, Layer, five_tuple\n\n\nclass Own(NF):\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["for i in range(3):", "    pkt.grow(0, i)"], "pkt.grow in a loop: nothing bounds what it needs; grow once"),
        (["pkt.grow(4)"], "`pkt.grow(4)` needs an offset and a number of bytes; pkt.grow(at, count)"),
        (["x = pkt.grow(0, 4)"], "pkt.grow cannot be called in an NF"),
        (["pkt.frame[0] += 1"], "`pkt.frame[0]` cannot be assigned to"),
        (["pkt.frame = 1"], "pkt.frame cannot be written"),
        (["pkt.frame[0] = 1", "x = pkt.flow_dst_port"], "`pkt.flow_dst_port` is asked for where the frame itself may"),
        (["for i in range(2):", "    x = pkt.flow_dst_port", "    pkt.shrink(0, 1)"], "may have changed; give it to a"),
    ],
)
def test_what_is_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    source = HEAD + "    def packet(self, pkt):\n" + "".join(f"        {line}\n" for line in [*lines, "return PASS"])
    with pytest.raises(InputError) as caught:
        _ = Chain([load_own(tmp_path, source)]).plan
    assert message in str(caught.value)


def test_an_nf_with_a_key_may_not(tmp_path: Path) -> None:
    source = (
        HEAD
        + "    key = five_tuple\n    def packet(self, pkt, state):\n        pkt.shrink(0, 1)\n        return PASS\n"
    )
    with pytest.raises(InputError) as caught:
        _ = Chain([load_own(tmp_path, source)]).plan
    assert "`pkt.shrink(0, 1)` changes the frame itself; only packet of a network function without a key" in str(
        caught.value
    )


def test_a_frame_of_which_nothing_was_left_grows_where_it_lies() -> None:
    engine = CompiledEngine(Chain([Replace()]).plan)
    block = FrameBlock.from_frames([udp_frame()] * 200)
    engine.process(block)
    assert [bytes(block.frame(index)) for index in range(200)] == [bytes(60)] * 200
    (area,) = block.grown
    ends = block.address + block.captured
    assert int(ends.max()) <= area.ctypes.data + area.nbytes
