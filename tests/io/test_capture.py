import csv
import gzip
import lzma
import os
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zstandard
from captures import (
    Packet,
    enhanced,
    interface,
    pcap_header,
    pcap_record,
    read_bytes,
    read_packets,
    section,
)

from fajita.errors import InputError
from fajita.io.capture import open_capture
from fajita.io.frames import ETHERNET, LINUX_SLL, UNKNOWN_LINK

REAL_CAPTURES = Path(__file__).parents[3] / "shared" / "pcaps"
FRAMES = [bytes([i]) * 60 for i in range(100)]
PCAP = pcap_header() + b"".join(pcap_record(frame, i) for i, frame in enumerate(FRAMES))
PACKETS = [Packet(frame, i * 10**9, 60) for i, frame in enumerate(FRAMES)]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is empty"),
        (b"\xd4\xc3\xb2", "is not a capture: it begins with the bytes d4 c3 b2"),
        (b"time,bytes\n", "is not a capture: it begins with the bytes 74 69 6d 65"),
        (gzip.compress(b"text", mtime=0), "is not a capture: it begins with the bytes 74 65 78 74"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (gzip.compress(PCAP, mtime=0)[:10], "is empty"),
    ],
)
def test_what_is_no_capture_is_an_input_error(tmp_path, data, what):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(InputError) as raised:
        open_capture(path)
    right = "a pcap or pcapng capture is needed, plain or compressed with gzip, xz or zstd"
    assert str(raised.value) == f"{path}: {what}; {right}"


@pytest.mark.parametrize("path", ["missing", "."])
def test_what_cannot_be_opened_is_an_input_error(tmp_path, path):
    with pytest.raises(InputError, match="cannot be read"):
        open_capture(tmp_path / path)


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, zstandard.compress], ids=["gzip", "xz", "zstd"])
def test_reads_compressed_captures(tmp_path, compress):
    assert read_bytes(compress(PCAP), tmp_path) == (PACKETS, [])
    assert read_bytes(compress(section() + interface() + enhanced(b"a")), tmp_path)[0] == [Packet(b"a", 0, 1)]


def test_a_cut_compressed_file_gives_the_packets_before_and_a_warning(tmp_path):
    noise = [os.urandom(60) for _ in range(1000)]
    data = gzip.compress(pcap_header() + b"".join(map(pcap_record, noise)))
    packets, [warning] = read_bytes(data[: len(data) // 2], tmp_path)
    assert [packet.frame for packet in packets] == noise[: len(packets)]
    assert 400 < len(packets) < 600
    assert f"is cut off in the middle of packet {len(packets) + 1} (byte offset {24 + 76 * len(packets)})" in warning
    with pytest.raises(InputError, match="is cut off in the middle of packet"):
        read_bytes(data[: len(data) // 2], tmp_path, strict=True)


def test_compressed_data_cut_between_packets_is_cut_too(tmp_path):
    packets, warnings = read_bytes(gzip.compress(PCAP, mtime=0)[:-4], tmp_path)
    assert packets == PACKETS
    assert warnings == [
        f"{tmp_path / 'capture'} is cut off before packet 101 (byte offset {len(PCAP)}); 100 packets were read"
    ]


def test_corrupt_compressed_data_is_an_input_error_after_the_packets_before(tmp_path):
    path, packets = tmp_path / "capture", []
    path.write_bytes(gzip.compress(PCAP, mtime=0) + b"\x1f\x8b\x08\xff garbage")
    with pytest.raises(InputError, match="the gzip data is corrupt"):
        read_packets(path, packets)


@pytest.mark.parametrize("block_frames", [1, 3, 100])
@pytest.mark.parametrize("limit", [1, 3, 4, 100, 101])
def test_a_limit_ends_the_capture_within_a_block(tmp_path, limit, block_frames):
    packets, warnings = read_bytes(PCAP + b"cut", tmp_path, limit=limit, block_frames=block_frames)
    assert packets == PACKETS[:limit]
    assert bool(warnings) == (limit > 100)


def test_what_is_wrong_behind_the_limit_is_not_told(tmp_path):
    data = pcap_header() + pcap_record(b"12345678", 10) + pcap_record(b"12345678", 9, wire=5) + b"\xff" * 16
    assert read_bytes(data, tmp_path, limit=1)[1] == []
    assert len(read_bytes(data, tmp_path, limit=2)[1]) == 2


def test_counts_what_is_odd_about_packets_in_one_line_each(tmp_path):
    data = pcap_header(link=147) + pcap_record(b"12345678", 10) + pcap_record(b"12345678", 9, wire=5)
    data += pcap_record(b"12345678", 11, wire=2**31 + 1) + pcap_record(b"12345678", 10, wire=0)
    packets, warnings = read_bytes(data, tmp_path, block_frames=1)
    assert [packet.wire for packet in packets] == [8, 8, 2**31 + 1, 8]
    assert warnings == [
        "link type 147 is not known; its 4 frames count as other",
        "2 packets (the first: packet 2): wire length below the captured length, which is taken instead",
        "1 packet (the first: packet 3): wire length above 2147483648 bytes, which no frame has",
        "2 packets (the first: packet 2): time before that of the packet in front",
    ]
    assert read_bytes(data, tmp_path) == (packets, warnings)


def test_gives_the_code_of_each_frames_link_type(tmp_path):
    path = tmp_path / "capture"
    interfaces = b"".join(interface(link=link) for link in (1, 113, 9999))
    path.write_bytes(section() + interfaces + b"".join(enhanced(b"frame", number=number) for number in (2, 1, 0, 2)))
    with open_capture(path) as capture:
        [block] = capture
        assert block.link.tolist() == [UNKNOWN_LINK, LINUX_SLL, ETHERNET, UNKNOWN_LINK]
        assert block.link_number.tolist() == [9999, 113, 1, 9999]
        assert capture.warnings == ["link type 9999 is not known; its 2 frames count as other"]


def test_blocks_use_two_memories_in_turn(tmp_path):
    path = tmp_path / "capture"
    path.write_bytes(PCAP)
    with open_capture(path, chunk_size=1000) as capture:
        blocks = [(block.memory.ctypes.data, block.address.ctypes.data) for block in capture]
        assert len(blocks) > 5
        assert all(block != before for before, block in pairwise(blocks))
        assert len(set(blocks)) == 2


def test_a_block_stays_as_it_is_while_the_next_is_read(tmp_path):
    path = tmp_path / "capture"
    path.write_bytes(PCAP)
    with open_capture(path, chunk_size=1000) as capture:
        before = None
        for block in capture:
            if before is not None:
                assert [bytes(before[0].frame(index)) for index in range(len(before[0]))] == before[1]
            before = block, [bytes(block.frame(index)) for index in range(len(block))]


def test_says_how_far_it_is_in_the_file(tmp_path):
    path = tmp_path / "capture"
    path.write_bytes(PCAP)
    with open_capture(path, chunk_size=1000) as capture:
        before = capture.bytes_read
        positions = [capture.bytes_read for _ in capture]
        assert capture.bytes_total == len(PCAP) == positions[-1]
        assert before < positions[0] < positions[-1]


def test_iteration_goes_on_where_it_was_left(tmp_path):
    path = tmp_path / "capture"
    path.write_bytes(PCAP)
    with open_capture(path, block_frames=30) as capture:
        assert len(next(iter(capture))) == 30
        assert [(block.first, len(block)) for block in capture] == [(30, 30), (60, 30), (90, 10)]
        assert list(capture) == []


def read_until_interrupted(capture):
    with capture:
        for _ in capture:
            raise KeyboardInterrupt


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_an_interrupt_closes_the_file(tmp_path, compress):
    path = tmp_path / "capture"
    path.write_bytes(compress(PCAP))
    capture = open_capture(path, block_frames=10)
    with pytest.raises(KeyboardInterrupt):
        read_until_interrupted(capture)
    assert capture.packets == 10
    with pytest.raises(ValueError, match="closed file"):
        list(capture)


def test_reads_from_a_fifo(tmp_path):
    path, packets = tmp_path / "capture", []
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(PCAP))
    writer.start()
    assert read_packets(path, packets) == []
    writer.join()
    assert packets == PACKETS


def test_a_fifo_that_gives_single_bytes_is_read(tmp_path):
    path, packets = tmp_path / "capture", []
    os.mkfifo(path)

    def write():
        with open(path, "wb", buffering=0) as fifo:
            for byte in PCAP[:300]:
                fifo.write(bytes([byte]))

    writer = threading.Thread(target=write)
    writer.start()
    [warning] = read_packets(path, packets)
    writer.join()
    assert packets == PACKETS[:3]
    assert "is cut off in the middle of packet 4 (byte offset 252); 3 packets were read" in warning


def test_a_file_longer_than_the_memory_streams_through(tmp_path):
    path = tmp_path / "capture"
    count = 100_000
    records = np.tile(np.frombuffer(pcap_record(bytes(60)), np.uint8), (count, 1))
    records[:, :4] = np.arange(count, dtype="<u4").view(np.uint8).reshape(-1, 4)
    path.write_bytes(pcap_header() + records.tobytes())
    with open_capture(path) as capture:
        times = np.concatenate([block.time_ns // 10**9 for block in capture])
        assert np.array_equal(times, np.arange(count))
        assert capture.warnings == []


@pytest.mark.skipif(not REAL_CAPTURES.exists(), reason="the real captures are not here")
def test_reads_all_packets_of_real_captures():
    #: Its seventh record claims more bytes than any record may.
    damaged = "small/suricata-verify--tls_DER-incomplete-content.pcap"
    counts = {}
    with (REAL_CAPTURES / "INDEX.tsv").open() as index:
        for row in csv.DictReader(index, delimiter="\t"):
            with open_capture(REAL_CAPTURES / row["file"]) as capture:
                try:
                    counts[row["file"]] = sum(map(len, capture)) - int(row["packets"])
                except InputError:
                    counts[row["file"]] = None
    assert {file: count for file, count in counts.items() if count != 0} == {damaged: None}
