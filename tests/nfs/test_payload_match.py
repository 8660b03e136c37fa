"""Patterns against known payloads, across segments, and what is wrong with a file of them."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop

from fajita import FrameBlock, InputError
from fajita.chain import Chain
from fajita.engine.compiled import CompiledEngine
from fajita.hyperscan import library
from fajita.nfs.payload_match import PayloadMatch
from fajita.output_file import check_folder
from fajita.records import RecordFiles
from fajita.run import execute
from fajita.verify import verify_blocks
from tests.chains import has_patterns
from tests.command import CHAINS
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import ethernet

needs_library = pytest.mark.skipif(
    not has_patterns(), reason="the library Hyperscan (Debian: libhyperscan5) is not here"
)


def segment(data: bytes, seq: int, flags: str = "A") -> bytes:
    return bytes(ethernet() / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=1, dport=2, seq=seq, flags=flags) / data)


def datagram(data: bytes) -> bytes:
    return bytes(ethernet() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / data)


def matcher(**params: object) -> PayloadMatch:
    return PayloadMatch(**({"patterns": ["7:/deabc/", "9:/e.b/s"]} | params))


@needs_library
@both_engines
@pytest.mark.parametrize(
    ("frames", "matches", "gaps"),
    [
        ([segment(b"abcde", 100), segment(b"abcde", 105)], 2, 0),
        ([segment(b"abcde", 0xFFFFFFFE), segment(b"abcde", 3)], 2, 0),
        ([segment(b"", 99, "S"), segment(b"abcde", 100), segment(b"abcde", 105)], 2, 0),
        ([segment(b"abcde", 100), segment(b"abcde", 100), segment(b"deabc", 103)], 2, 0),
        ([segment(b"abcde", 100), segment(b"abcde", 106)], 0, 1),
        ([segment(b"ab", 100), segment(b"zz", 109), segment(b"deabc", 103)], 2, 1),
        ([datagram(b"abcde"), datagram(b"abcde")], 0, 0),
        ([datagram(b"deabc")], 2, 0),
    ],
    ids=["straddles", "wraps", "syn", "repeats", "gap", "late", "datagrams", "datagram"],
)
def test_matches_of_a_direction(engine: type, frames: Sequence[bytes], matches: int, gaps: int) -> None:
    summary = run(engine, matcher(), frames).summary()
    assert (summary["matches"], summary["gaps"]) == (matches, gaps)


@needs_library
@both_engines
def test_drops_the_packet_in_which_a_match_ends_and_what_follows(engine: type) -> None:
    frames = [segment(b"abcde", 100), segment(b"abcde", 105), segment(b"abcde", 105)]
    assert run(engine, matcher(action="drop"), frames).verdicts == [1, 0, 0]


@needs_library
def test_engines_agree_with_few_streams_that_end() -> None:
    frames = [
        bytes(ethernet() / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=n % 7, dport=2, seq=n // 7 * 5) / b"abcde")
        for n in range(200)
    ]
    chain = Chain([matcher(streams=3, timeout="20us")])
    times = [n * 1000 if n % 40 else n * 1000 + 10**6 for n in range(200)]
    block = FrameBlock.from_frames(frames, times)
    assert verify_blocks(chain.plan, [block]).difference is None


@needs_library
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("8:/(/", "pattern 8 does not compile"),
        ("8:/a/q", "has no flag 'q'"),
        ("/a/", "is not a pattern"),
        ("7:/b/", "the id 7 is that of line 1 too"),
        ("4294967296:/b/", "does not fit 32 bits"),
    ],
)
def test_a_wrong_line_is_named(line: str, message: str) -> None:
    with pytest.raises(InputError, match="line 3") as refused:
        PayloadMatch(patterns=["7:/a/", "# a comment", line])
    assert message in refused.value.what


def test_without_the_library_one_line_says_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fajita.hyperscan._NAMES", ("libnothing.so.0",))
    library.cache_clear()
    with pytest.raises(InputError, match="libhyperscan5"):
        PayloadMatch(patterns=["7:/a/"])
    library.cache_clear()


def segment_in_ipv6(data: bytes, seq: int) -> bytes:
    ip = IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrHopByHop()
    return bytes(ethernet() / ip / TCP(sport=1, dport=2, seq=seq, flags="A") / data)


@needs_library
@both_engines
def test_ipv6_behind_an_extension_header(engine: type) -> None:
    frames = [segment_in_ipv6(b"abcde", 100), segment(b"zzabc", 105), segment_in_ipv6(b"abcde", 105)]
    summary = run(engine, matcher(), frames).summary()
    assert (summary["matches"], summary["scanned_bytes"], summary["gaps"]) == (2, 15, 0)
    assert summary["top"] == [{"rule": 7, "packets": 1}, {"rule": 9, "packets": 1}]


@needs_library
@pytest.mark.parametrize("engine", ["compiled", "reference"])
def test_the_records_in_a_file_tell_rule_packet_and_offset(tmp_path: Path, engine: str) -> None:
    frames = [segment(b"abcde", 100), segment_in_ipv6(b"deabc", 7), segment(b"", 105), segment(b"abcab", 105)]
    chain, block = Chain([matcher()]), FrameBlock.from_frames(frames, [1000, 2000, 3000, 4000])
    check_folder(tmp_path, "export")
    execute(chain.plan, [block], engine=engine, records=RecordFiles(tmp_path, chain.plan))
    written = pq.read_table(tmp_path / "payload_match.records.parquet")
    names = ["src", "dst", "src_port", "dst_port", "protocol", "rule", "packet", "offset", "alert_ns", "matches"]
    rows = sorted(tuple(row[name] for name in names) for row in written.to_pylist())
    assert rows == [
        ("10.0.0.1", "10.0.0.2", 1, 2, 6, 7, 3, 8, 4000, 2),
        ("10.0.0.1", "10.0.0.2", 1, 2, 6, 9, 3, 7, 4000, 2),
        ("2001:db8::1", "2001:db8::2", 1, 2, 6, 7, 1, 5, 2000, 2),
        ("2001:db8::1", "2001:db8::2", 1, 2, 6, 9, 1, 4, 2000, 2),
    ]


@needs_library
@both_engines
def test_a_packet_has_records_of_four_patterns_and_sixteen_count(engine: type) -> None:
    lines = [f"{number}:/abc/" for number in range(20)]
    result = run(engine, matcher(patterns=lines), [datagram(b"zabcz")])
    summary = result.summary()
    assert (summary["matches"], summary["alerts"], summary["matched_packets"]) == (20, 16, 1)
    assert result.counters.nfs[0].records == 4


@needs_library
def test_the_sample_patterns_find_what_they_are_for() -> None:
    lines = (CHAINS / "payload_match.txt").read_text()
    name = b"\x2d" + b"a" * 45 + b"\x07example\x03com\x00\x00\x01\x00\x01"
    query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    nf = PayloadMatch(patterns=lines.splitlines())
    payloads = [b"GET /a.EXE HTTP/1.1", b"SSH-2.0-x", query + name, query + b"\x07example\x03com\x00\x00\x01\x00\x01"]
    summary = run(CompiledEngine, nf, [datagram(payload) for payload in payloads]).summary()
    assert [row["rule"] for row in summary["top"]] == [1, 7, 8]
    assert summary["matched_packets"] == 3
