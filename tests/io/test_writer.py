"""The pcap writer: an independent reader reads what passed, and whatever goes wrong the file stays valid."""

import os
import resource
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.utils import RawPcapReader

from fajita.errors import InputError
from fajita.io.frames import BSD_NULL, RAW_IP, UNKNOWN_LINK, FrameBlock
from fajita.io.writer import BUFFER_BYTES, CaptureWriter
from fajita.protocols import MAXIMUM_FRAME


def block_of(frames, verdict=1, **known):
    block = FrameBlock.from_frames(frames, **known)
    block.verdict[:] = verdict
    return block


def records(path):
    with RawPcapReader(str(path)) as reader:
        return [(data, meta.sec * 10**9 + meta.usec, meta.wirelen) for data, meta in reader]


def link_type(path):
    return struct.unpack_from("<I", path.read_bytes(), 20)[0]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "out.pcap"


FRAME = st.tuples(
    st.binary(max_size=200), st.integers(0, 2**32 * 10**9 - 1), st.integers(0, 2**32 - 1), st.sampled_from([0, 1])
)


@settings(max_examples=50, deadline=None)
@given(blocks=st.lists(st.lists(FRAME, max_size=20), max_size=4))
def test_what_passes_is_read_back_in_order(tmp_path_factory, blocks):
    path = tmp_path_factory.mktemp("property") / "out.pcap"
    expected = []
    with CaptureWriter(path) as writer:
        for frames in blocks:
            data, times, wires, verdicts = zip(*frames, strict=True) if frames else ((), (), (), ())
            writer.write(block_of(data, np.array(verdicts, np.uint8), time_ns=times, wire=wires))
            expected += [(d, time, max(wire, len(d))) for d, time, wire, verdict in frames if verdict]
    assert records(path) == expected
    assert writer.packets == len(expected)
    assert writer.bytes_written == path.stat().st_size


def test_file_header_is_little_endian_with_nanoseconds(path):
    with CaptureWriter(path):
        pass
    assert path.read_bytes().hex() == "4d3cb2a10200040000000000000000000000040001000000"


def test_block_longer_than_the_buffer(path):
    frames = [bytes([index & 0xFF]) * 1000 for index in range(3 * BUFFER_BYTES // 1000)]
    with CaptureWriter(path) as writer:
        writer.write(block_of(frames))
    assert [data for data, _, _ in records(path)] == frames


def test_longest_frame_follows_a_nearly_full_buffer(path):
    filling = [b"x" * 1000] * (BUFFER_BYTES // 1016 - 100)
    with CaptureWriter(path) as writer:
        writer.write(block_of([*filling, b"y" * MAXIMUM_FRAME, b"z"]))
    # scapy cuts so long a frame.
    end = b"y" * MAXIMUM_FRAME + struct.pack("<IIII", 0, 1000 * (len(filling) + 1), 1, 1) + b"z"
    assert path.read_bytes().endswith(struct.pack("<II", MAXIMUM_FRAME, MAXIMUM_FRAME) + end)
    assert writer.packets == len(filling) + 2


@pytest.mark.parametrize(
    ("known", "number"),
    [({}, 1), ({"link": RAW_IP}, 101), ({"link": BSD_NULL}, 0), ({"link": UNKNOWN_LINK}, 147)],
)
def test_link_type_of_frames_without_a_number(path, known, number):
    with CaptureWriter(path) as writer:
        writer.write(block_of([b"abc"], **known))
    assert link_type(path) == number


def with_numbers(block, numbers):
    block.link_number = np.array(numbers, np.uint16)
    return block


def test_link_type_is_the_inputs_number(path):
    with CaptureWriter(path) as writer:
        writer.write(with_numbers(block_of([b"abc", b"def"], link=RAW_IP), [228, 228]))
    assert link_type(path) == 228


def test_link_type_of_a_capture_of_which_nothing_passes(path):
    with CaptureWriter(path) as writer:
        writer.write(with_numbers(block_of([b"abc"], verdict=0), [113]))
    assert link_type(path) == 113
    assert records(path) == []


def test_link_type_of_a_file_without_frames(path):
    with CaptureWriter(path):
        pass
    assert link_type(path) == 1


def test_dropped_frames_of_another_link_type_do_not_matter(path):
    with CaptureWriter(path) as writer:
        writer.write(with_numbers(block_of([b"a", b"b", b"c"], np.array([0, 1, 0], np.uint8)), [1, 101, 113]))
    assert link_type(path) == 101
    assert [data for data, _, _ in records(path)] == [b"b"]


def test_second_link_type_is_refused_with_the_packets_number(path):
    message = r"out\.pcap: packet 13: link type 101 after packets of link type 1; a pcap file holds one link type"
    with pytest.raises(InputError, match=message), CaptureWriter(path) as writer:
        writer.write(with_numbers(block_of([b"a", b"b", b"c"], first=10), [1, 1, 101]))
    assert [data for data, _, _ in records(path)] == [b"a", b"b"]


@pytest.mark.parametrize("time_ns", [2**32 * 10**9, 2**63, 2**64 - 1])
def test_time_that_does_not_fit_is_refused_with_the_packets_number(path, time_ns):
    message = f"packet 2: time {time_ns} ns; a pcap file holds times before 2106"
    with pytest.raises(InputError, match=message), CaptureWriter(path) as writer:
        writer.write(block_of([b"a", b"b"], time_ns=np.array([0, time_ns], np.uint64)))
    assert len(records(path)) == 1


def test_frame_longer_than_a_record_is_refused(path):
    message = "packet 1: 262145 captured bytes; a pcap record holds at most 262144"
    with pytest.raises(InputError, match=message), CaptureWriter(path) as writer:
        writer.write(block_of([b"a" * (MAXIMUM_FRAME + 1)]))
    assert records(path) == []


def test_existing_file_is_replaced(path):
    path.write_bytes(b"x" * 100_000)
    with CaptureWriter(path) as writer:
        writer.write(block_of([b"abc"]))
    assert path.stat().st_size == 24 + 16 + 3


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
def test_output_that_is_the_input_is_refused_untouched(tmp_path, link):
    source, target = tmp_path / "in.pcap", tmp_path / "out.pcap"
    source.write_bytes(b"precious")
    if link is None:
        target = source
    else:
        link(source, target)
    with pytest.raises(InputError, match="the output is the input; write to another file"):
        CaptureWriter(target, source)
    assert source.read_bytes() == b"precious"


def test_directory_as_output(tmp_path):
    with pytest.raises(InputError, match="cannot write: is a directory"):
        CaptureWriter(tmp_path)


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match=r"missing/out\.pcap: cannot write: no such file or directory"):
        CaptureWriter(tmp_path / "missing" / "out.pcap")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_file_without_permission(path):
    path.touch(0o444)
    with pytest.raises(InputError, match="cannot write: permission denied"):
        CaptureWriter(path)


@pytest.mark.parametrize("packets", [1, BUFFER_BYTES // 100])
def test_full_device(packets):
    message = "/dev/full: cannot write: no space left on device, after 0 packets; make room"
    with pytest.raises(InputError, match=message), CaptureWriter("/dev/full") as writer:
        writer.write(block_of([b"x" * 100] * packets))
    assert writer.packets == 0


@pytest.fixture
def file_size_limit():
    """No file grows beyond so many bytes; the last write that fits is cut short, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = BUFFER_BYTES + 12_345
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_file_is_cut_to_whole_records_where_it_cannot_grow(path, file_size_limit):
    message = "cannot write: file too large, after"
    with pytest.raises(InputError, match=message) as caught, CaptureWriter(path) as writer:
        writer.write(block_of([b"x" * 100] * (2 * BUFFER_BYTES // 116)))
    size = path.stat().st_size
    assert file_size_limit - 116 < size <= file_size_limit
    assert size == writer.bytes_written
    assert len(records(path)) == writer.packets == (size - 24) // 116
    assert f"after {writer.packets} packets" in str(caught.value)


def test_interruption_between_blocks_leaves_a_valid_file(path):
    def run_until_interrupted():
        with CaptureWriter(path) as writer:
            writer.write(block_of([b"abc", b"def"]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_until_interrupted()
    assert [data for data, _, _ in records(path)] == [b"abc", b"def"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_interruption_of_a_system_call_leaves_a_valid_file(path, monkeypatch, when):
    """The file ends before the flush or with all of it, and nothing stands in it twice."""
    pwrite, calls = os.pwrite, []

    def interrupted(file, content, offset):
        calls.append(offset)
        if len(calls) != 3:
            # Not all at once: the writer has to go on with the rest.
            return pwrite(file, content[: 1 + len(content) // 2], offset)
        if when == "after":
            pwrite(file, content[:1000], offset)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "pwrite", interrupted)
    frames = [struct.pack("<I", index) * 25 for index in range(2 * BUFFER_BYTES // 116)]
    with pytest.raises(KeyboardInterrupt), CaptureWriter(path) as writer:
        writer.write(block_of(frames))
    written = [data for data, _, _ in records(path)]
    assert written == frames[: writer.packets]
    assert writer.bytes_written == path.stat().st_size


def test_pipe_takes_what_it_can_hold_at_a_time(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    received = []
    reader = threading.Thread(target=lambda: received.append(fifo.read_bytes()))
    reader.start()
    with CaptureWriter(fifo) as writer:
        writer.write(block_of([b"x" * 100] * 20_000))
    reader.join()
    assert len(received[0]) == writer.bytes_written == 24 + 20_000 * 116


def test_reader_of_a_pipe_that_leaves(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: fifo.open("rb").close())
    reader.start()
    writer = CaptureWriter(fifo)
    reader.join()
    writer.write(block_of([b"abc"]))
    with pytest.raises(InputError, match="fifo: cannot write: broken pipe, after 0 packets; let the reader"):
        writer.close()


def test_standard_output_gets_the_file_and_stays_open(path):
    program = (
        "import os\n"
        "from fajita.io.frames import FrameBlock\n"
        "from fajita.io.writer import CaptureWriter\n"
        "block = FrameBlock.from_frames([b'abc'])\n"
        "block.verdict[:] = 1\n"
        "with CaptureWriter('-') as writer:\n"
        "    writer.write(block)\n"
        "os.fstat(1)\n"
    )
    with path.open("wb") as output:
        subprocess.run([sys.executable, "-c", program], stdout=output, check=True)
    assert records(path) == [(b"abc", 0, 3)]


def test_standard_input_and_output_on_the_same_file_are_refused(path):
    path.write_bytes(b"precious")
    program = "from fajita.io.writer import CaptureWriter\nCaptureWriter('-', '-')\n"
    with path.open("r+b") as both:
        done = subprocess.run([sys.executable, "-c", program], stdin=both, stdout=both, stderr=subprocess.PIPE)
    assert b"InputError: -: the output is the input" in done.stderr
    assert path.read_bytes() == b"precious"
