import contextlib
import struct

import pytest
from captures import (
    Packet,
    block,
    enhanced,
    interface,
    obsolete,
    option,
    pcap_header,
    pcap_record,
    read_bytes,
    read_packets,
    section,
    simple,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fajita.errors import InputError
from fajita.io.index_pcapng import LATEST_NS, MAXIMUM_BLOCK
from fajita.protocols import MAXIMUM_FRAME

RESOLUTION, OFFSET, END = 9, 14, option(0, b"")


def read_damaged(data, folder):
    """The packets before the place of an InputError, and its message."""
    path, packets = folder / "capture", []
    path.write_bytes(data)
    with pytest.raises(InputError) as raised:
        read_packets(path, packets)
    return packets, str(raised.value)


@pytest.mark.parametrize("order", ["<", ">"])
def test_reads_all_kinds_of_packet_blocks(tmp_path, order):
    ticks = 1_700_000_000_123_456
    data = (
        section(order)
        + interface(order)
        + simple(b"no time yet", order)
        + enhanced(b"enhanced", ticks, order, wire=1500, options=option(2, b"1234", order) + END)
        + obsolete(b"obsolete", ticks + 1, order)
        + simple(b"simple", order, wire=6)
    )
    packets, warnings = read_bytes(data, tmp_path)
    assert packets == [
        Packet(b"no time yet", 0, 11),
        Packet(b"enhanced", ticks * 1000, 1500),
        Packet(b"obsolete", (ticks + 1) * 1000, 8),
        Packet(b"simple", (ticks + 1) * 1000, 6),
    ]
    assert warnings == []


def test_each_frame_has_the_link_type_and_resolution_of_its_interface(tmp_path):
    data = (
        section() + interface(link=113) + enhanced(b"a", 5) + interface(link=101, options=option(RESOLUTION, b"\x09"))
    )
    data += enhanced(b"b", 7_000, number=1) + enhanced(b"c", 8)
    assert read_bytes(data, tmp_path)[0] == [
        Packet(b"a", 5000, 1, 113),
        Packet(b"b", 7000, 1, 101),
        Packet(b"c", 8000, 1, 113),
    ]


def test_a_section_has_its_own_byte_order_and_interfaces(tmp_path):
    data = section("<", options=option(1, b"a comment") + END) + interface("<", link=113) + enhanced(b"little", 1)
    data += section(">") + interface(">", link=101) + enhanced(b"big", 2, ">")
    assert read_bytes(data, tmp_path)[0] == [Packet(b"little", 1000, 6, 113), Packet(b"big", 2000, 3, 101)]
    packets, error = read_damaged(data + section() + enhanced(b""), tmp_path)
    assert len(packets) == 2
    assert "packet 3: its interface was not described" in error


def test_a_simple_packet_is_as_long_as_the_snap_length_and_its_block_allow(tmp_path):
    data = section() + interface(snap_length=6) + simple(b"12345678", wire=100) + simple(b"123", wire=3)
    data += section() + interface() + simple(b"12345678", wire=100)
    assert [(p.frame, p.wire) for p in read_bytes(data, tmp_path)[0]] == [
        (b"123456", 100),
        (b"123", 3),
        (b"12345678", 100),
    ]


@pytest.mark.parametrize("kind", [4, 5, 9, 10, 0xBAD, 0x40000BAD, 0x8000_0001], ids=hex)
def test_other_blocks_are_stepped_over(tmp_path, kind):
    other = block(kind, b"x" * 30)
    data = other.join([section(), interface(), enhanced(b"a"), enhanced(b"b"), b""])
    packets, warnings = read_bytes(data, tmp_path, chunk_size=50)
    assert [packet.frame for packet in packets] == [b"a", b"b"]
    assert warnings == []


def test_the_longest_block_is_stepped_over_and_a_longer_one_is_an_error(tmp_path):
    start, end = section() + interface() + enhanced(b"a"), enhanced(b"b")
    longest = block(0xBAD, bytes(MAXIMUM_BLOCK - 12))
    assert len(read_bytes(start + longest + end, tmp_path)[0]) == 2
    packets, error = read_damaged(start + block(0xBAD, b"", length=MAXIMUM_BLOCK + 4) + end, tmp_path)
    assert len(packets) == 1
    assert "the block after packet 1: impossible length (byte offset 84)" in error


def exact_ns(ticks, resolution, offset):
    exponent = resolution & 0x7F
    per_second = 2**exponent if resolution & 0x80 else 10**exponent
    return ticks * 10**9 // per_second + offset * 10**9


@settings(deadline=None, max_examples=200)
@given(
    ticks=st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 64).map(lambda bits: (1 << bits) - 1)),
    resolution=st.one_of(st.integers(0, 255), st.sampled_from([6, 9, 0x80 | 20])),
    offset=st.one_of(st.just(0), st.integers(-(2**34), 2**34), st.integers(-(2**63), 2**63 - 1)),
)
def test_times_are_exact_in_every_resolution(tmp_path_factory, ticks, resolution, offset):
    options = option(RESOLUTION, bytes([resolution])) + option(OFFSET, struct.pack("<q", offset)) + END
    data = section() + interface(options=options) + enhanced(b"", ticks)
    [packet], warnings = read_bytes(data, tmp_path_factory.getbasetemp())
    without_offset, expected = exact_ns(ticks, resolution, 0), exact_ns(ticks, resolution, offset)
    if 0 <= expected < LATEST_NS and without_offset <= LATEST_NS:
        assert packet.time_ns == expected
        assert warnings == []
    else:
        assert packet.time_ns == (0 if expected < 0 and without_offset <= LATEST_NS else LATEST_NS)
        assert warnings == ["1 packet: time outside 1970 to 2262, replaced by the nearest inside"]


PACKET_FAULTS = {
    "its interface was not described": enhanced(b"frame", number=1),
    "record claims more captured bytes than its block has": enhanced(b"frame", captured=9),
    f"record claims more than {MAXIMUM_FRAME} captured bytes": enhanced(bytes(MAXIMUM_FRAME + 1)),
}


@pytest.mark.parametrize("fault", PACKET_FAULTS)
def test_a_wrong_packet_block_is_an_error_after_the_frames_before_it(tmp_path, fault):
    packets, error = read_damaged(section() + interface() + enhanced(b"good") + PACKET_FAULTS[fault], tmp_path)
    assert [packet.frame for packet in packets] == [b"good"]
    assert f"{tmp_path / 'capture'}: packet 2: {fault} (byte offset 84); " in error


BLOCK_FAULTS = [
    (block(0xBAD, b"", length=8), "impossible length"),
    (block(0xBAD, bytes(4), length=14), "impossible length"),
    (block(6, bytes(16)), "impossible length"),
    (block(3, b""), "impossible length"),
    (block(0xBAD, bytes(4), trailer=20), "the length at its start and that at its end differ"),
    (block(0x0A0D0D0A, bytes(16)), "no byte order magic in a section header"),
    (section(version=(2, 0)), "section of pcapng version 2.0"),
    (block(0x0A0D0D0A, struct.pack("<I", 0x1A2B3C4D)), "section header of 16 bytes"),
    (block(1, bytes(4)), "interface description of 16 bytes"),
    (interface(options=struct.pack("<HH", 9, 5)), "option 9 claims 5 bytes"),
]


@pytest.mark.parametrize(("wrong", "fault"), BLOCK_FAULTS)
def test_a_wrong_block_is_an_error_after_the_frames_before_it(tmp_path, wrong, fault):
    packets, error = read_damaged(section() + interface() + enhanced(b"good") + wrong + bytes(12), tmp_path)
    assert [packet.frame for packet in packets] == [b"good"]
    assert f"the block after packet 1: {fault} (byte offset 84); " in error


WHOLE = section() + interface() + enhanced(b"first") + enhanced(b"second", options=option(2, b"1234") + END)
ENDS = [28, 48, 48 + 40, len(WHOLE)]


@pytest.mark.parametrize("size", range(4, len(WHOLE), 3))
def test_a_cut_file_gives_the_whole_packets_and_a_warning(tmp_path, size):
    packets, warnings = read_bytes(WHOLE[:size], tmp_path)
    count = sum(end <= size for end in ENDS[2:])
    assert [packet.frame for packet in packets] == [b"first", b"second"][:count]
    if size not in ENDS:
        place = max([0, *(end for end in ENDS if end <= size)])
        record = "the block after packet 1" if count else "a block before the first packet"
        assert f"is cut off in the middle of {record} (byte offset {place}); {count} packet" in warnings[0]


def test_many_interfaces_and_blocks_are_read_in_any_pieces(tmp_path):
    numbers = [0, 1, 101, 113, 276] * 8
    data = section() + b"".join(
        interface(link=number) + enhanced(b"a", i, number=i) for i, number in enumerate(numbers)
    )
    expected = [Packet(b"a", i * 1000, 1, number) for i, number in enumerate(numbers)]
    for chunk_size, block_frames in [(1, 1), (13, 2), (100, 7), (5000, 100)]:
        assert read_bytes(data, tmp_path, chunk_size=chunk_size, block_frames=block_frames)[0] == expected


def build(order, blocks):
    """A valid capture of one section and its packets."""
    data, packets, last_ns = section(order) + interface(order), [], 0
    for kind, frame, ticks in blocks:
        if kind == "other":
            data += block(5, frame, order)
            continue
        if kind == "simple":
            data += simple(frame, order)
        else:
            data += (enhanced if kind == "enhanced" else obsolete)(frame, ticks, order)
            last_ns = ticks * 1000
        packets.append(Packet(frame, last_ns, len(frame)))
    return data, packets


CAPTURES = st.builds(
    build,
    st.sampled_from("<>"),
    st.lists(
        st.tuples(
            st.sampled_from(["enhanced", "simple", "obsolete", "other"]), st.binary(max_size=60), st.integers(0, 2**52)
        ),
        max_size=15,
    ),
)


@settings(deadline=None, max_examples=60)
@given(CAPTURES, st.integers(1, 300), st.integers(1, 5))
def test_any_capture_is_read_in_any_pieces(tmp_path_factory, capture, chunk_size, block_frames):
    data, packets = capture
    folder = tmp_path_factory.getbasetemp()
    assert read_bytes(data, folder, chunk_size=chunk_size, block_frames=block_frames)[0] == packets


@settings(deadline=None, max_examples=150)
@given(
    CAPTURES, st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4), st.floats(0, 1)
)
def test_a_damaged_capture_gives_packets_or_an_input_error(tmp_path_factory, capture, changes, cut):
    damaged = bytearray(capture[0])
    for place, byte in changes:
        damaged[int(place * len(damaged))] = byte
    with contextlib.suppress(InputError):
        read_bytes(bytes(damaged[: int(cut * len(damaged))]), tmp_path_factory.getbasetemp(), chunk_size=64)


def test_a_pcap_is_not_taken_for_a_pcapng_by_its_name(tmp_path):
    path = tmp_path / "capture.pcapng"
    path.write_bytes(pcap_header() + pcap_record(b"frame"))
    packets: list[Packet] = []
    assert read_packets(path, packets) == []
    assert [packet.frame for packet in packets] == [b"frame"]
