import contextlib
import struct

import pytest
from captures import Packet, pcap_header, pcap_record, read_bytes, read_packets
from hypothesis import given, settings
from hypothesis import strategies as st

from fajita.errors import InputError
from fajita.io.capture import open_capture
from fajita.protocols import MAXIMUM_FRAME

MICROSECONDS, NANOSECONDS, KUZNETZOV = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
FRAMES = [b"first", b"", b"the third frame" * 10]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("magic", "unit_ns", "more_header"),
    [
        (MICROSECONDS, 1000, b""),
        (NANOSECONDS, 1, b""),
        (KUZNETZOV, 1000, b"\xff" * 8),
    ],
)
def test_reads_every_variant(tmp_path, order, magic, unit_ns, more_header):
    records = [
        pcap_record(frame, 1_700_000_000 + i, 999_999, order, wire=2000, more_header=more_header)
        for i, frame in enumerate(FRAMES)
    ]
    packets, warnings = read_bytes(pcap_header(order, magic) + b"".join(records), tmp_path)
    assert packets == [
        Packet(frame, (1_700_000_000 + i) * 10**9 + 999_999 * unit_ns, 2000) for i, frame in enumerate(FRAMES)
    ]
    assert warnings == []


@pytest.mark.parametrize("order", ["<", ">"])
def test_before_version_2_3_the_wire_length_comes_first(tmp_path, order):
    data = pcap_header(order, version=(2, 2)) + pcap_record(b"four", order=order, captured=1500, wire=4) * 2
    assert read_bytes(data, tmp_path)[0] == [Packet(b"four", 0, 1500)] * 2


def test_times_use_all_32_bits_of_seconds_and_subseconds(tmp_path):
    data = pcap_header() + pcap_record(b"", 2**32 - 1, 2**32 - 1)
    assert read_bytes(data, tmp_path)[0] == [Packet(b"", (2**32 - 1) * 10**9 + (2**32 - 1) * 1000, 0)]


@pytest.mark.parametrize(("field", "number"), [(101, 101), (0x3000_0001, 1), (0x5400_0071, 113)])
def test_the_link_type_is_in_the_low_16_bits(tmp_path, field, number):
    packets, warnings = read_bytes(pcap_header(link=field) + pcap_record(b"frame"), tmp_path)
    assert packets == [Packet(b"frame", 0, 5, number)]
    assert warnings == []


def test_the_longest_frame_is_read(tmp_path):
    frame = bytes(range(256)) * (MAXIMUM_FRAME // 256)
    packets, _ = read_bytes(pcap_header() + pcap_record(frame) * 3, tmp_path, chunk_size=1000)
    assert packets == [Packet(frame, 0, MAXIMUM_FRAME)] * 3


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("length", [MAXIMUM_FRAME + 1, 2**31, 2**32 - 1])
def test_a_record_that_claims_more_is_an_error_after_the_frames_before_it(tmp_path, order, length):
    path = tmp_path / "capture"
    path.write_bytes(pcap_header(order) + pcap_record(b"good", order=order) * 2 + pcap_record(b"", 0, 0, order, length))
    packets = []
    with pytest.raises(InputError) as raised:
        read_packets(path, packets)
    assert len(packets) == 2
    assert str(raised.value) == (
        f"{path}: packet 3: record claims {length} bytes (byte offset 64); "
        "at most 262144 are possible, so the file is damaged here or before"
    )


WHOLE = pcap_header() + pcap_record(FRAMES[0]) + pcap_record(FRAMES[2])
ENDS = [24, 24 + 16 + 5, len(WHOLE)]


@pytest.mark.parametrize("size", range(4, len(WHOLE), 3))
def test_a_cut_file_gives_the_whole_packets_and_a_warning(tmp_path, size):
    packets, warnings = read_bytes(WHOLE[:size], tmp_path)
    count = sum(end <= size for end in ENDS[1:])
    assert [packet.frame for packet in packets] == [FRAMES[0], FRAMES[2]][:count]
    place = max([0, *(end for end in ENDS if end <= size)])
    record = f"packet {count + 1}" if size >= 24 else "the file header"
    were_read = "1 packet was read" if count == 1 else f"{count} packets were read"
    cut = f"{tmp_path / 'capture'} is cut off in the middle of {record} (byte offset {place}); {were_read}"
    assert warnings == ([] if size in ENDS else [cut])


@pytest.mark.parametrize("size", [10, 30, 50])
def test_a_cut_file_is_an_error_if_strict(tmp_path, size):
    with pytest.raises(InputError, match="is cut off in the middle of"):
        read_bytes(WHOLE[:size], tmp_path, strict=True)


def test_a_whole_file_is_read_if_strict(tmp_path):
    assert len(read_bytes(WHOLE, tmp_path, strict=True)[0]) == 2


@st.composite
def captures(draw):
    """A valid capture and its packets."""
    order, nanoseconds = draw(st.sampled_from("<>")), draw(st.booleans())
    data, packets = pcap_header(order, NANOSECONDS if nanoseconds else MICROSECONDS), []
    for frame in draw(st.lists(st.binary(max_size=100), max_size=20)):
        seconds, subseconds = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 2**32 - 1))
        wire = len(frame) + draw(st.integers(0, 2**31))
        data += pcap_record(frame, seconds, subseconds, order, wire=wire)
        packets.append(Packet(frame, seconds * 10**9 + subseconds * (1 if nanoseconds else 1000), wire))
    return data, packets


@settings(deadline=None, max_examples=60)
@given(captures(), st.integers(1, 300), st.integers(1, 5))
def test_any_capture_is_read_in_any_pieces(tmp_path_factory, capture, chunk_size, block_frames):
    data, packets = capture
    folder = tmp_path_factory.getbasetemp()
    assert read_bytes(data, folder, chunk_size=chunk_size, block_frames=block_frames)[0] == packets


@settings(deadline=None, max_examples=120)
@given(
    captures(), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4), st.floats(0, 1)
)
def test_a_damaged_capture_gives_packets_or_an_input_error(tmp_path_factory, capture, changes, cut):
    damaged = bytearray(capture[0])
    for place, byte in changes:
        damaged[int(place * len(damaged))] = byte
    with contextlib.suppress(InputError):
        read_bytes(bytes(damaged[: int(cut * len(damaged))]), tmp_path_factory.getbasetemp(), chunk_size=64)


def test_frames_may_be_rewritten_in_place(tmp_path):
    path = tmp_path / "capture"
    frames = [struct.pack("<I", i) * 20 for i in range(50)]
    path.write_bytes(pcap_header() + b"".join(map(pcap_record, frames)))
    seen = []
    with open_capture(path) as capture:
        for block in capture:
            for i in range(len(block)):
                seen.append(bytes(block.frame(i)))
                block.frame(i)[:] = b"\xff" * len(block.frame(i))
    assert seen == frames
    assert path.read_bytes().endswith(frames[-1])
