import contextlib
import gzip
import lzma
import os
import threading
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from fajita.errors import InputError
from fajita.io.stream import open_stream

DATA = bytes(range(256)) * 3000
COMPRESS = {"gzip": gzip.compress, "xz": lzma.compress, "zstd": zstandard.compress, "": bytes}


def read_all(path, size=100_000):
    """All bytes of a stream, and whether it was cut; those before an InputError are in the error."""
    stream = open_stream(path)
    target, parts = memoryview(bytearray(size)), []
    try:
        while count := stream.readinto(target):
            parts.append(bytes(target[:count]))
        assert stream.position == stream.total
        return b"".join(parts), stream.is_cut
    except InputError as error:
        error.before = b"".join(parts)
        raise
    finally:
        stream.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("size", [1000, 1 << 20])
def test_gives_what_was_written(path, name, size):
    path.write_bytes(COMPRESS[name](DATA))
    assert read_all(path, size) == (DATA, False)


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd"])
@pytest.mark.parametrize("padding", [b"", bytes(8), bytes(300_000)], ids=len)
def test_reads_through_members_that_follow_each_other(path, name, padding):
    compress = COMPRESS[name]
    path.write_bytes(compress(DATA) + padding + compress(b"") + compress(b"the end") + padding)
    assert read_all(path) == (DATA + b"the end", False)


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd"])
def test_a_cut_file_gives_what_it_can(path, name):
    noise = os.urandom(50_000)
    whole = COMPRESS[name](noise)
    path.write_bytes(whole[:40_000])
    data, is_cut = read_all(path)
    assert is_cut
    assert noise.startswith(data)


def test_a_cut_gzip_member_gives_nearly_all_before_the_cut(path):
    noise = os.urandom(50_000)
    path.write_bytes(gzip.compress(noise)[:40_000])
    assert len(read_all(path)[0]) > 30_000


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd"])
def test_corrupt_data_is_an_input_error_after_the_data_before_it(path, name):
    noise = os.urandom(300_000)
    first = COMPRESS[name](noise)
    path.write_bytes(first + first[:6] + b"\xff" * 2000)
    with pytest.raises(InputError, match=f"the {name} data is corrupt near byte offset ") as raised:
        read_all(path)
    # What is in the same piece as the fault may be lost.
    assert len(raised.value.before) > 290_000
    assert noise.startswith(raised.value.before[: len(noise)])


def test_a_wrong_checksum_is_an_input_error(path):
    data = bytearray(gzip.compress(DATA))
    data[-8] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="the gzip data is corrupt"):
        read_all(path)


def test_bytes_behind_the_compressed_data_are_an_input_error(path):
    path.write_bytes(gzip.compress(DATA) + b"something else")
    with pytest.raises(InputError, match="the gzip data is corrupt"):
        read_all(path)


@pytest.mark.parametrize("place", ["missing", "."])
def test_what_cannot_be_opened_is_an_input_error_that_says_what_is_needed(tmp_path, place):
    with pytest.raises(
        InputError, match=r"cannot be read: .*; a pcap or pcapng capture is needed, plain or compressed"
    ):
        open_stream(tmp_path / place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_input_error(path):
    path.touch(mode=0)
    with pytest.raises(InputError, match="Permission denied"):
        open_stream(path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file whose reading fails")
def test_an_error_while_reading_is_an_input_error():
    with pytest.raises(InputError, match="cannot be read: Input/output error"):
        open_stream("/proc/self/mem")


@pytest.mark.parametrize("name", COMPRESS)
def test_a_fifo_is_read_without_seeking(path, name):
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(COMPRESS[name](DATA)))
    writer.start()
    stream = open_stream(path)
    target, data = memoryview(bytearray(10_000)), b""
    while count := stream.readinto(target):
        data += bytes(target[:count])
    writer.join()
    assert data == DATA
    assert stream.total is None
    stream.close()


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(["gzip", "xz", "zstd"]),
    data=st.binary(max_size=3000),
    place=st.floats(0, 1, exclude_max=True),
    byte=st.integers(0, 255),
    cut=st.floats(0, 1),
)
def test_damaged_data_gives_bytes_or_an_input_error(tmp_path_factory, name, data, place, byte, cut):
    damaged = bytearray(COMPRESS[name](data))
    damaged[int(place * len(damaged))] = byte
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(damaged[: int(cut * len(damaged))])
    with contextlib.suppress(InputError):
        read_all(path)
