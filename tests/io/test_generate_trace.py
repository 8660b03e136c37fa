"""Traces of synthetic traffic: what is asked for is in the file, and an interrupted one is valid."""

import hashlib

import numpy as np
import pytest
from scapy.utils import RawPcapReader

from fajita.errors import InputError
from fajita.io.flow_order import FlowOrder
from fajita.io.generate_trace import CHUNK_BYTES, generate_trace
from fajita.io.synthetic import DEFAULT_GAP_NS, START_NS, make_frames

CHUNK = CHUNK_BYTES // 64


def records(path):
    with RawPcapReader(str(path)) as reader:
        return [(data, meta.sec * 10**9 + meta.usec, meta.wirelen) for data, meta in reader]


def test_trace_holds_the_flows_in_their_order(tmp_path):
    path = tmp_path / "trace.pcap"
    packets = CHUNK + 100
    size = generate_trace(path, flows=50, packets=packets, size=61, order="caida", seed=4)
    assert size == path.stat().st_size == 24 + packets * (16 + 61)
    frames = make_frames(FlowOrder("caida", 50, 4).take(packets), 61)[:, :61]
    expected = [(frame.tobytes(), START_NS + index * DEFAULT_GAP_NS, 61) for index, frame in enumerate(frames)]
    assert records(path) == expected


def test_the_same_arguments_give_the_same_file(tmp_path):
    digests = []
    for name in ("first.pcap", "second.pcap"):
        generate_trace(tmp_path / name, flows=1000, packets=5000, seed=7)
        digests.append(hashlib.sha256((tmp_path / name).read_bytes()).digest())
    assert digests[0] == digests[1]


def test_progress_is_told_after_each_chunk(tmp_path):
    told = []
    generate_trace(tmp_path / "trace.pcap", 10, 2 * CHUNK + 5, progress=told.append)
    assert told == [CHUNK, 2 * CHUNK, 2 * CHUNK + 5]


def test_an_interrupted_trace_is_valid(tmp_path):
    def interrupt(done):
        if done >= 2 * CHUNK:
            raise KeyboardInterrupt

    path = tmp_path / "trace.pcap"
    with pytest.raises(KeyboardInterrupt):
        generate_trace(path, 10, 100 * CHUNK, progress=interrupt)
    assert len(records(path)) == 2 * CHUNK


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"packets": 0}, "0 packets; at least 1"),
        ({"flows": 0}, "0 flows; 1 to"),
        ({"order": "zipf"}, "unknown order 'zipf'; known are uniform"),
        ({"size": 59}, "frames of 59 bytes; 60 to"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_a_bad_argument_leaves_the_file_alone(tmp_path, change, message):
    path = tmp_path / "trace.pcap"
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match=message):
        generate_trace(path, **({"flows": 10, "packets": 10} | change))
    assert path.read_bytes() == b"precious"


def test_memory_does_not_grow_with_the_trace(tmp_path, monkeypatch):
    largest = []
    take = FlowOrder.take

    def spy(self, count):
        largest.append(count)
        return take(self, count)

    monkeypatch.setattr(FlowOrder, "take", spy)
    generate_trace(tmp_path / "trace.pcap", 10, 5 * CHUNK, size=200)
    assert max(largest) * 256 <= CHUNK_BYTES
    assert np.sum(largest) == 5 * CHUNK
