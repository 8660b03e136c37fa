"""Whatever a user gives that is wrong: one line that says what, where and what would be right, and exit status 2."""

import gzip
import json
import os
import struct
from pathlib import Path

import pytest

from tests.command import CHAINS, THREE, call, call_process, some_capture, write_capture
from tests.io.captures import enhanced, interface, pcap_header, pcap_record, section
from tests.traffic import ETHERNET, IPV6_TYPE, many_flows, with_link

FRAMES = many_flows(4, repeats=1).frames
HEADER = pcap_header()
RECORDS = [pcap_record(frame, index) for index, frame in enumerate(FRAMES)]
RIGHT = "a pcap or pcapng capture is needed, plain or compressed with gzip, xz or zstd"
ONE = CHAINS / "one.yaml"


def run_on(capsys, capture: bytes, folder: Path, *options: object):
    """Run a chain on these bytes as the file `capture`; give its path, the result and the JSON report, if any."""
    path, report = folder / "capture", folder / "report.json"
    path.write_bytes(capture)
    result = call(capsys, "run", ONE, "--pcap", path, "--json", report, *options)
    return path, result, json.loads(report.read_text()) if report.exists() else None


@pytest.mark.parametrize(
    ("capture", "what"),
    [
        (b"", "is empty"),
        (b"# not a capture\n", "is not a capture: it begins with the bytes 23 20 6e 6f"),
        (b"\xd4\xc3", "is not a capture: it begins with the bytes d4 c3"),
        (gzip.compress(b""), "is empty"),
        (gzip.compress(b"hello"), "is not a capture: it begins with the bytes 68 65 6c 6c"),
        (b"\x1f\x8b\x08" + b"\xff" * 40, "the gzip data is corrupt near byte offset 0"),
    ],
    ids=["empty", "text", "two bytes", "gzip of nothing", "gzip of text", "broken gzip"],
)
@pytest.mark.parametrize("command", ["run", "verify"])
def test_file_that_is_no_capture(capsys, tmp_path, command, capture, what):
    path = tmp_path / "capture"
    path.write_bytes(capture)
    result = call(capsys, command, ONE, "--pcap", path)
    assert result.status == 2
    assert result.out == ""
    assert result.complaint.startswith(f"{path}: {what}")
    assert result.complaint.endswith(f"; {RIGHT}")


@pytest.mark.parametrize(
    ("capture", "packets", "place"),
    [
        (HEADER[:10], 0, "in the middle of the file header (byte offset 0)"),
        (HEADER + RECORDS[0] + RECORDS[1][:9], 1, f"in the middle of packet 2 (byte offset {24 + len(RECORDS[0])})"),
        (HEADER + b"".join(RECORDS)[:-1], 3, f"in the middle of packet 4 (byte offset {24 + 3 * len(RECORDS[0])})"),
        (section() + interface() + enhanced(FRAMES[0]) + enhanced(FRAMES[1])[:-3], 1, "in the middle of"),
        (gzip.compress(HEADER + b"".join(RECORDS))[:-8], 4, "before packet 5"),
    ],
    ids=["file header", "record header", "frame", "pcapng block", "gzip member"],
)
def test_capture_that_is_cut_off(capsys, tmp_path, capture, packets, place):
    path, result, report = run_on(capsys, capture, tmp_path)
    assert result.status == 0
    assert result.complaint.startswith(f"warning: {path} is cut off {place}")
    assert report["packets"]["in"] == packets
    assert result.complaint.endswith(f"; {packets} packet{' was' if packets == 1 else 's were'} read")
    assert report["warnings"] == [result.complaint.removeprefix("warning: ")]

    path, result, strict = run_on(capsys, capture, tmp_path, "--strict", "--quiet")
    assert result.status == 2
    assert result.complaint.startswith(f"{path}: is cut off {place}")
    if packets:
        assert result.complaint == strict["error"]
        assert strict["packets"] == report["packets"]


def test_verify_of_a_capture_that_is_cut_off(capsys, tmp_path):
    path = tmp_path / "capture"
    path.write_bytes(HEADER + b"".join(RECORDS)[:-1])
    result = call(capsys, "verify", ONE, "--pcap", path)
    assert (result.status, result.out) == (0, f"{path}: no difference in 3 packets\n")
    assert result.complaint.startswith(f"warning: {path} is cut off")
    assert call(capsys, "verify", ONE, "--pcap", path, "--strict").status == 2


@pytest.mark.parametrize("length", [2**32 - 1, 2**31, 262_145])
def test_packets_before_an_impossible_record_are_done(capsys, tmp_path, length):
    out = tmp_path / "out.pcap"
    capture = HEADER + b"".join(RECORDS[:3]) + struct.pack("<IIII", 9, 0, length, length) + bytes(100)
    path, result, report = run_on(capsys, capture, tmp_path, "--quiet", "--out", out)
    assert result.status == 2
    offset = 24 + 3 * len(RECORDS[0])
    assert result.complaint == (
        f"{path}: packet 4: record claims {length} bytes (byte offset {offset}); "
        "at most 262144 are possible, so the file is damaged here or before"
    )
    assert report["packets"] == {"in": 3, "out": 3, "dropped": 0, "other": 0}
    assert report["error"] == result.complaint
    assert out.stat().st_size == 24 + sum(map(len, RECORDS[:3]))


def test_captured_length_over_wire_length_is_told(capsys, tmp_path):
    capture = HEADER + RECORDS[0] + pcap_record(FRAMES[1], 1, wire=7) + RECORDS[2]
    _, result, report = run_on(capsys, capture, tmp_path)
    assert result.status == 0
    assert result.complaint == (
        "warning: 1 packet (the first: packet 2): wire length below the captured length, which is taken instead"
    )
    assert report["bytes"]["in"] == sum(len(frame) for frame in FRAMES[:3])


def test_time_that_goes_backwards_is_told(capsys, tmp_path):
    _, result, report = run_on(capsys, HEADER + RECORDS[3] + RECORDS[0] + RECORDS[1], tmp_path)
    assert result.status == 0
    assert result.complaint == "warning: 1 packet (the first: packet 2): time before that of the packet in front"
    assert report["packets"]["in"] == 3


def test_frames_of_an_unknown_link_type_are_other(capsys, tmp_path):
    path, report_file = write_capture(tmp_path / "capture", FRAMES, link=250), tmp_path / "report.json"
    result = call(capsys, "run", ONE, "--pcap", path, "--json", report_file)
    assert result.status == 0
    assert result.complaint == "warning: link type 250 is not known; its 4 frames count as other"
    assert json.loads(report_file.read_text())["packets"] == {"in": 4, "out": 4, "dropped": 0, "other": 4}


def test_ipv6_is_other(capsys, tmp_path):
    path = write_capture(tmp_path / "capture", [with_link(ETHERNET, IPV6_TYPE, b"\x50" + bytes(47))] * 3)
    result = call(capsys, "run", ONE, "--pcap", path, "--json", "-")
    assert (result.status, result.err) == (0, "")
    report = json.loads(result.out)
    assert report["packets"] == {"in": 3, "out": 3, "dropped": 0, "other": 3}
    assert sum(report["other"].values()) == 3


def test_input_that_is_not_there_or_a_folder(capsys, tmp_path):
    for path, what in ((tmp_path / "absent", "No such file or directory"), (tmp_path, "Is a directory")):
        for command in ("run", "verify"):
            result = call(capsys, command, ONE, "--pcap", path)
            assert (result.status, result.complaint) == (2, f"{path}: cannot be read: {what}; {RIGHT}")


@pytest.mark.parametrize("option", ["--out", "--json"])
def test_output_that_cannot_be_a_file(capsys, tmp_path, option):
    path = some_capture(tmp_path)
    result = call(capsys, "run", ONE, "--pcap", path, option, tmp_path)
    assert (result.status, result.complaint) == (2, f"{tmp_path}: is a folder; name a file")
    result = call(capsys, "run", ONE, "--pcap", path, option, tmp_path / "absent/file")
    assert result.status == 2
    assert result.complaint.startswith(f"{tmp_path}/absent/file: there is no folder {tmp_path}/absent; ")
    assert result.out == ""


@pytest.mark.parametrize("option", ["--out", "--json"])
@pytest.mark.parametrize("kind", ["same", "symlink", "hard link", "another spelling"])
def test_output_that_is_the_input(capsys, tmp_path, option, kind):
    path, target = some_capture(tmp_path), tmp_path / "other"
    before = path.read_bytes()
    if kind == "same":
        target = path
    elif kind == "symlink":
        target.symlink_to(path)
    elif kind == "hard link":
        target.hardlink_to(path)
    else:
        target = tmp_path / ".." / tmp_path.name / path.name
    result = call(capsys, "run", ONE, "--pcap", path, option, target)
    assert (result.status, result.complaint) == (2, f"{target}: the output is the input; write to another file")
    assert path.read_bytes() == before


def test_output_that_is_the_chain_or_another_output(capsys, tmp_path):
    path, chain = some_capture(tmp_path), tmp_path / "chain.yaml"
    chain.write_bytes(ONE.read_bytes())
    for option in ("--out", "--json"):
        result = call(capsys, "run", chain, "--pcap", path, option, chain)
        assert (result.status, result.complaint) == (2, f"{chain}: the output is the input; write to another file")
    assert chain.read_bytes() == ONE.read_bytes()
    result = call(capsys, "run", chain, "--pcap", path, "--out", tmp_path / "x", "--json", f"{tmp_path}/./x")
    assert result.status == 2
    assert result.complaint.startswith("--out and --json both write to ")
    result = call(capsys, "run", chain, "--pcap", path, "--out", "-", "--json", "-")
    assert result.complaint.startswith("--out and --json both write to standard output")


def test_full_disk_for_the_frames(capsys, tmp_path):
    path, report = some_capture(tmp_path), tmp_path / "report.json"
    result = call(capsys, "run", ONE, "--pcap", path, "--out", "/dev/full", "--json", report)
    assert result.status == 2
    assert result.complaint.startswith("/dev/full: cannot write: no space left on device, after 0 packets; make room")
    assert "packets  20 in" in result.out
    assert json.loads(report.read_text())["error"] == result.complaint


def test_full_disk_for_the_report_costs_nothing_else(capsys, tmp_path):
    path, out, folder = some_capture(tmp_path), tmp_path / "out.pcap", tmp_path / "state"
    result = call(capsys, "run", ONE, "--pcap", path, "--json", "/dev/full", "--out", out, "--export", folder)
    assert result.status == 2
    assert result.complaint.startswith("/dev/full: cannot write: No space left on device; ")
    assert "packets  20 in" in result.out
    assert out.stat().st_size > 24
    assert (folder / "flow_counter.parquet").exists()


def test_full_standard_output():
    with open("/dev/full", "w") as full:
        result = call_process("nfs", stdout=full)
    assert result.status == 2
    assert result.complaint.startswith("standard output: cannot write: No space left on device; ")


def test_export_into_a_file(capsys, tmp_path):
    path = some_capture(tmp_path)
    for folder in (path, path / "below"):
        result = call(capsys, "run", ONE, "--pcap", path, "--export", folder)
        assert (result.status, result.out) == (2, "")
        assert result.complaint.startswith(f"{folder}: cannot export there: ")


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    path = some_capture(tmp_path)
    for cache in (path / "below", "/proc/fajita"):
        environment = os.environ | {"FAJITA_CACHE_DIR": str(cache)}
        result = call_process("run", ONE, "--pcap", path, "--json", "-", env=environment)
        assert (result.status, result.err) == (0, "")
        assert json.loads(result.out)["packets"]["in"] == 20


@pytest.mark.parametrize("command", ["run", "verify", "check", "explain", "bench"])
@pytest.mark.parametrize(
    ("chain", "complaint"),
    [
        ("nfs:\n- flow_counter\n- flow_counter\n", ":3: the name flow_counter stands twice in the chain, first in"),
        ("nfs:\n- flow_countr\n", ":2: there is no network function flow_countr; did you mean flow_counter"),
        ("nfs:\n- flow_counter: {depth: 3}\n", ":2: FlowCounter has no parameter depth"),
        ("nfs:\n- rate_limiter: {rate: 1Gbps}\n", ":2: RateLimiter needs the parameter burst"),
        ("nfs:\n- rate_limiter: {rate: 1GB, burst: 1kB}\n", ":2: parameter rate of RateLimiter: "),
        ("nfs:\n- rate_limiter: {rate: 1Gbps, burst: 3s}\n", ":2: parameter burst of RateLimiter: "),
        ("nfs: [flow_counter\n", ":2: cannot read the YAML: "),
        ("", ": the file is empty; a chain begins with `nfs:`"),
    ],
    ids=["twice", "unknown NF", "unknown parameter", "missing parameter", "rate", "burst", "YAML", "empty"],
)
def test_chain_that_is_wrong(capsys, tmp_path, command, chain, complaint):
    path = tmp_path / "chain.yaml"
    path.write_text(chain)
    capture = ("--pcap", some_capture(tmp_path)) if command in ("run", "verify") else ()
    result = call(capsys, command, path, *capture)
    assert (result.status, result.out) == (2, "")
    assert result.complaint.startswith(f"{path}{complaint}")


def test_chain_that_is_not_there(capsys, tmp_path):
    for path in (tmp_path / "absent.yaml", tmp_path):
        result = call(capsys, "check", path)
        assert result.status == 2
        assert result.complaint.startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "Missing command; "),
        (("rum",), "No such command 'rum'"),
        (("run",), "Missing argument 'CHAIN'; "),
        (("run", THREE), "neither --pcap nor --dpdk; --pcap FILE, or --dpdk"),
        (("run", THREE, "--pcap", "x", "--dpdk", "-l 0"), "--pcap and --dpdk; one of them"),
        (("run", THREE, "--pcap", "x", "--in", "0"), "--in is for live runs; give --dpdk too"),
        (("run", THREE, "--pcap", "x", "--duration", "1s"), "--duration is for live runs"),
        (("run", THREE, "--dpdk", "-l 0"), "--dpdk needs two ports; --in PORT --out PORT, or --inside PORT"),
        (("run", THREE, "--dpdk", "-l 0", "--in", "0"), "--dpdk needs two ports"),
        (("run", THREE, "--dpdk", "-l 0", "--inside", "0", "--out", "1"), "--in and --out go one way, --inside and"),
        (("run", THREE, "--dpdk", "-l 0", "--in", "0", "--out", "1", "--strict"), "--strict is for captures"),
        (("run", THREE, "--dpdk", "-l 0", "--in", "0", "--out", "1", "--engine", "reference"), "--engine reference is"),
        (("run", THREE, "--dpdk", "-l 0", "--in", "0", "--out", "1", "--duration", "1"), "--duration 1; "),
        (("run", THREE, "--pcap", "x", "--jsn", "-"), "No such option: --jsn"),
        (("run", THREE, "--pcap", "x", "--limit", "0"), "Invalid value for '--limit': "),
        (("run", THREE, "--pcap", "x", "--limit", "ten"), "Invalid value for '--limit': "),
        (("run", THREE, "--pcap", "x", "--engine", "gpu"), "Invalid value for '--engine': "),
        (("run", THREE, "--pcap", "x", "--cores", "300"), "--cores 300; 1 to 254 workers"),
        (
            ("run", THREE, "--pcap", "x", "--cores", "all"),
            "Invalid value for '--cores': Input should be a valid integer",
        ),
        (("run", THREE, "--pcap", "x", "--memory", "4"), "--memory 4; a number and a unit, such as 4GB (units: B, kB,"),
        (("run", THREE, "--pcap", "x", "--memory", "4Gb"), "--memory 4Gb; a number and a unit, such as 4GB"),
        (("run", THREE, "--pcap", "x", "--memory", "-4GB"), "--memory -4GB; a number and a unit"),
        (("run", THREE, "--pcap", "x", "--memory", ""), "--memory ; a number and a unit"),
        (("run", THREE, "--pcap", "x", "--memory", "0B"), "the tables need 12 MiB to begin with and may take 0 MiB; "),
        (
            ("run", THREE, "--pcap", "x", "--memory", "1GB", "--engine", "reference"),
            "the reference engine knows no limit of memory; give the chain a capacity instead",
        ),
        (("bench", THREE, "--flows", "x"), "--flows x; numbers from 1 on with commas between"),
        (("bench", THREE, "--flows", "1,,2"), "--flows 1,,2; "),
        (("bench", THREE, "--flows", "0"), "--flows 0; "),
        (("bench", THREE, "--flows", "9" * 5000), "--flows 999"),
        (("bench", THREE, "--flows", 2**40), f"{2**40} flows; 1 to 268435456 can be generated"),
        (("bench", THREE, "--packets", "0"), "packets is 0; 1 to 268435456"),
        (("bench", THREE, "--packets", 2**40), f"packets is {2**40}; 1 to 268435456"),
        (("bench", THREE, "--repeat", "0"), "repeat is 0; at least 1"),
        (("bench", THREE, "--repeat", "-5"), "repeat is -5; at least 1"),
        (("bench", THREE, "--seed", "-1"), "seed -1; a seed is 0 or more"),
        (
            ("bench", THREE, "--cores", "1,two"),
            "--cores 1,two; numbers from 1 on with commas between, such as --cores 1,2,4",
        ),
        (("bench", THREE, "--cores", "1,300"), "--cores 300; 1 to 254 workers"),
        (("verify", THREE, "--pcap", "x", "--cores", "300"), "--cores 300; 1 to 254 workers"),
        (("run", THREE, "--pcap", "x", "--shard", "vlan"), "packets cannot be spread by vlan; known: address_pair"),
        (("run", THREE, "--pcap", "x", "--balance", "often"), "--balance often; a number and a unit, such as 100ms"),
        (("run", THREE, "--pcap", "x", "--balance", "0s"), "--balance 0s; a number and a unit"),
        (("run", THREE, "--pcap", "x", "--balance", "1s", "--spray"), "packets that are sprayed need no balance"),
        (
            ("run", THREE, "--pcap", "x", "--shard", "source", "--spray"),
            "packets that are sprayed are not spread by a key",
        ),
        (("bench", THREE, "--csv", "-", "--json", "-"), "--json and --csv both write to standard output"),
        (("bench", THREE, "--json", THREE), f"{THREE}: the output is the input"),
        (("gen", "x", "--flows", "1"), "Missing option '--packets'; "),
        (("gen", "x", "--flows", "0", "--packets", "1"), "0 flows; 1 to 268435456 can be generated"),
        (("gen", "x", "--flows", "1", "--packets", "0"), "0 packets; at least 1"),
        (("gen", "x", "--flows", "1", "--packets", "1", "--size", "59"), "frames of 59 bytes; 60 to 9014 bytes"),
        (("gen", "x", "--flows", "1", "--packets", "1", "--size", "9015"), "frames of 9015 bytes; "),
        (("gen", "x", "--flows", "1", "--packets", "1", "--order", "zipf"), "Invalid value for '--order': "),
        (("gen", "/dev/full", "--flows", "1", "--packets", "1"), "/dev/full: cannot write: no space left"),
        (("nfs", "rate_limter"), "there is no network function rate_limter; did you mean rate_limiter"),
        (("nfs", "a", "b"), "Got unexpected extra argument"),
    ],
)
def test_arguments_that_are_wrong(capsys, tmp_path, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    result = call(capsys, *arguments)
    assert (result.status, result.out) == (2, "")
    assert result.complaint.startswith(complaint)
    assert os.listdir(tmp_path) == []


def test_an_error_line_is_one_line_without_a_traceback(tmp_path):
    """As the others, but through a process of its own."""
    path = tmp_path / "a\nb"
    path.write_bytes(b"")
    result = call_process("run", ONE, "--pcap", path)
    assert (result.status, result.out) == (2, "")
    assert result.complaint == f"{tmp_path}/a b: is empty; {RIGHT}"
