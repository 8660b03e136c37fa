"""Every command and option does what it says, from the outside."""

import csv
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fajita import options
from fajita.io.flow_order import ORDERS
from fajita.io.synthetic import TRAFFIC
from fajita.reference import ReferenceEngine
from fajita.run import ENGINES
from tests.chains import example_chains
from tests.command import CHAINS, THREE, call, call_process, some_capture, start, write_capture
from tests.io.captures import Packet, pcap_header, pcap_record, read_packets
from tests.traffic import many_flows

ONE = CHAINS / "one.yaml"
LIMITED = "name: limited\nnfs:\n- rate_limiter: {rate: 1pps, burst: 1}\n"


def packets_of(path: Path) -> list[Packet]:
    packets: list[Packet] = []
    assert read_packets(path, packets) == []
    return packets


def test_the_program_as_users_start_it(tmp_path):
    capture, out = some_capture(tmp_path, flows=10, repeats=3), tmp_path / "out.pcap"
    result = call_process("run", THREE, "--pcap", capture, "--out", out)
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "three: compiled engine, 1 core"
    assert lines[1] == "packets  30 in, 30 out, 0 dropped, 0 other"
    assert [packet.time_ns for packet in packets_of(out)] == [packet.time_ns for packet in packets_of(capture)]


def test_the_installed_command_is_the_same_program():
    from importlib.metadata import entry_points

    (command,) = entry_points(group="console_scripts", name="fajita")
    assert command.value == "fajita.cli:main"


@pytest.mark.parametrize("command", ["", "run", "verify", "check", "explain", "nfs", "gen", "bench", "doctor"])
def test_help_goes_to_standard_output(capsys, command):
    result = call(capsys, *filter(None, [command]), "--help")
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(f"Usage: fajita {command}".rstrip())


def test_version(capsys):
    from importlib.metadata import version

    import fajita

    assert call(capsys, "--version") == (0, f"fajita {version('fajita')}\n", "")
    assert fajita.__version__ == version("fajita")
    with pytest.raises(AttributeError, match="no attribute 'verison'"):
        _ = fajita.verison


def test_run_writes_what_goes_on(capsys, tmp_path):
    chain, capture, out = tmp_path / "limited.yaml", some_capture(tmp_path, flows=5, repeats=3), tmp_path / "out.pcap"
    chain.write_text(LIMITED)
    result = call(capsys, "run", chain, "--pcap", capture, "--out", out)
    assert (result.status, result.err) == (0, "")
    assert packets_of(out) == packets_of(capture)[:5]
    lines = result.out.splitlines()
    assert "packets  15 in, 5 out, 10 dropped, 0 other" in lines
    assert [line.split() for line in lines[-1:]] == [["rate_limiter", "over", "rate", "10"]]


def test_run_with_either_engine_writes_the_same(capsys, tmp_path):
    capture = some_capture(tmp_path, flows=5, repeats=3)
    for engine in ("compiled", "reference"):
        result = call(capsys, "run", THREE, "--pcap", capture, "--engine", engine, "--out", tmp_path / engine)
        assert result.out.startswith(f"three: {engine} engine, 1 core\n")
    assert (tmp_path / "compiled").read_bytes() == (tmp_path / "reference").read_bytes()
    assert (tmp_path / "compiled").read_bytes() != capture.read_bytes()


def test_run_takes_one_core(capsys, tmp_path):
    assert call(capsys, "run", ONE, "--pcap", some_capture(tmp_path), "--cores", "1").status == 0


def test_run_stops_at_the_limit(capsys, tmp_path):
    capture, out = some_capture(tmp_path, flows=10, repeats=2), tmp_path / "out.pcap"
    for limit, done in ((1, 1), (7, 7), (20, 20), (10**30, 20)):
        result = call(capsys, "run", ONE, "--pcap", capture, "--limit", limit, "--json", "-", "--out", out)
        assert (result.status, result.err) == (0, "")
        assert json.loads(result.out)["packets"]["in"] == done
        assert packets_of(out) == packets_of(capture)[:done]


ENDED = """
from fajita import NF, PASS, Sum, five_tuple, u64


class Ended(NF):
    key = five_tuple

    class State:
        packets: u64

    class Core:
        ended: Sum[u64]

    def packet(self, pkt, state):
        state.packets += 1
        return PASS

    def expire(self, state):
        self.core.ended += 1
"""


@pytest.fixture
def ended(tmp_path):
    """A chain whose only network function counts the flows that end."""
    (tmp_path / "own.py").write_text(ENDED)
    (tmp_path / "ended.yaml").write_text("nfs: ['./own.py:Ended']\n")
    return tmp_path / "ended.yaml"


@pytest.mark.parametrize("limit", [(), ("--limit", 15)])
def test_run_ends_all_flows_if_asked_to(capsys, tmp_path, ended, limit):
    arguments = ("run", ended, "--pcap", some_capture(tmp_path), "--json", "-", *limit)
    for drain, flows in (((), 0), (("--drain",), 10)):
        result = call(capsys, *arguments, *drain)
        assert (result.status, result.err) == (0, "")
        report = json.loads(result.out)
        assert report["nfs"][0]["summary"]["ended"] == report["flows"]["expired"] == flows
        assert report["flows"]["active"] == 10 - flows


def test_memory_of_tables_is_told_and_limited(capsys, tmp_path):
    capture = some_capture(tmp_path, flows=2000, repeats=1)
    result = call(capsys, "run", ONE, "--pcap", capture)
    (line,) = (line for line in result.out.splitlines() if line.startswith("memory "))
    assert re.fullmatch(r"memory   \d+\.0 MiB of at most [\d,.]+ [MG]iB for tables", line)
    result = call(capsys, "run", ONE, "--pcap", capture, "--memory", "8MiB")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert "packets  2,000 in, 768 out, 1,232 dropped, 0 other" in lines
    assert "flows    768 created, 768 active, 0 expired, 1,232 refused" in lines
    assert "memory   8.0 MiB of at most 8.0 MiB for tables" in lines
    assert lines[-1].split() == ["table", "five_tuple", "full", "1,232"]


def test_json_to_standard_output_stands_alone(capsys, tmp_path):
    result = call(capsys, "run", ONE, "--pcap", some_capture(tmp_path), "--json", "-")
    assert json.loads(result.out)["chain"] == "one"
    assert result.out.endswith("}\n")


def test_json_to_a_file_leaves_the_report(capsys, tmp_path):
    capture, file = some_capture(tmp_path), tmp_path / "report.json"
    result = call(capsys, "run", ONE, "--pcap", capture, "--json", file)
    assert result.out.startswith("one: ")
    assert json.loads(file.read_text())["packets"]["in"] == 20


def test_quiet_is_silent_but_for_warnings(capsys, tmp_path):
    capture = some_capture(tmp_path)
    result = call(capsys, "run", ONE, "--pcap", capture, "--quiet", "--json", tmp_path / "report.json")
    assert result == (0, "", "")
    assert (tmp_path / "report.json").exists()
    assert call(capsys, "verify", ONE, "--pcap", capture, "--quiet") == (0, "", "")
    capture.write_bytes(capture.read_bytes()[:-1])
    result = call(capsys, "run", ONE, "--pcap", capture, "--quiet")
    assert (result.status, result.out) == (0, "")
    assert result.complaint.startswith("warning: ")


def test_frames_to_standard_output_stand_alone(tmp_path):
    capture = some_capture(tmp_path)
    with start("run", ONE, "--pcap", capture, "--out", "-", stdout=subprocess.PIPE) as process:
        written = process.stdout.read()
    assert process.returncode == 0
    (tmp_path / "out.pcap").write_bytes(written)
    assert packets_of(tmp_path / "out.pcap") == packets_of(capture)


@pytest.mark.parametrize("standard_input", ["-", "/dev/stdin"])
def test_a_capture_can_be_piped_in_and_out(tmp_path, standard_input):
    """As in `zcat x.gz | fajita run CHAIN --pcap - --out - | …`."""
    capture = some_capture(tmp_path)
    with start(
        "run", ONE, "--pcap", standard_input, "--out", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        written, _ = process.communicate(capture.read_bytes(), timeout=60)
    (tmp_path / "out.pcap").write_bytes(written)
    assert packets_of(tmp_path / "out.pcap") == packets_of(capture)


def test_export_writes_a_file_per_nf_with_state(capsys, tmp_path):
    folder = tmp_path / "below/state"
    assert call(capsys, "run", THREE, "--pcap", some_capture(tmp_path), "--export", folder).status == 0
    names = {"flow_counter.parquet", "load_balancer.parquet", "rate_limiter.parquet"}
    assert set(os.listdir(folder)) == names
    assert {pq.read_table(folder / name).num_rows for name in names} == {10}


def test_verify_finds_no_difference(capsys, tmp_path):
    capture = some_capture(tmp_path)
    result = call(capsys, "verify", THREE, "--pcap", capture)
    assert result == (0, f"{capture}: no difference in 20 packets\n", "")
    result = call(capsys, "verify", THREE, "--pcap", capture, "--limit", 3)
    assert result.out == f"{capture}: no difference in 3 packets\n"


def test_verify_shows_a_difference(capsys, tmp_path, monkeypatch):
    capture = some_capture(tmp_path)

    def process(self, block):
        real(self, block)
        block.verdict[3] = 0

    real = ReferenceEngine.process
    monkeypatch.setattr(ReferenceEngine, "process", process)
    result = call(capsys, "verify", ONE, "--pcap", capture, "--quiet")
    assert (result.status, result.err) == (1, "")
    lines = result.out.splitlines()
    assert lines[0] == f"{capture}: the engines differ"
    assert lines[1] == "packet 4, 42 bytes, as it came in:"
    assert "reference: dropped" in lines
    assert "compiled: passed" in lines
    assert any("10.0.0.3" in line for line in lines)


def test_check(capsys):
    result = call(capsys, "check", THREE)
    assert result == (0, f"{THREE}: ok, flow_counter, load_balancer, rate_limiter; 1 table\n", "")
    assert call(capsys, "check", CHAINS / "reflect.yaml").out.endswith("; 0 tables\n")


def test_explain_prints_the_kernel(capsys, tmp_path):
    assert call(capsys, "explain", THREE).out.startswith("chain three: 3 network functions")
    result = call(capsys, "explain", THREE, "--source")
    assert (result.status, result.err) == (0, "")
    path = tmp_path / "kernel.py"
    path.write_text(result.out)
    specification = importlib.util.spec_from_file_location("kernel", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    assert callable(module.run)


def test_nfs_lists_every_one(capsys):
    result = call(capsys, "nfs")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    shipped = {path.stem for path in (CHAINS.parent / "fajita/nfs").glob("[!_]*.py")}
    assert [line.split()[0] for line in lines] == sorted(shipped)
    assert all(line.split(maxsplit=1)[1].endswith(".") for line in lines)


@pytest.mark.parametrize("name", [path.stem for path in (CHAINS.parent / "fajita/nfs").glob("[a-z]*.py")])
def test_nfs_describes_each(capsys, name):
    result = call(capsys, "nfs", name)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(f"{name}\n\n")
    assert "\nkey: " in result.out


def test_nfs_describes_a_users_own(capsys, tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(
        "from fajita import NF, PASS, five_tuple, u64\n\n\nclass Own(NF):\n"
        '    """Counts."""\n\n    key = five_tuple\n\n'
        "    class Params:\n        depth: int = 3\n\n    class State:\n        seen: u64\n\n"
        "    def packet(self, pkt, state):\n        state.seen += 1\n        return PASS\n"
    )
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "nfs", "./own.py:Own").out == (
        "./own.py:Own\n\nCounts.\n\nkey: five_tuple\nparameters:\n  depth: integer; 3 if left out\n"
        "state per key:\n  seen: u64\n"
    )


@pytest.mark.parametrize("order", ["uniform", "roundrobin", "caida", "campus"])
def test_gen_makes_the_same_traffic_for_the_same_seed(capsys, tmp_path, order):
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, seed in zip(paths, (7, 7, 8), strict=True):
        options = ("--flows", 50, "--packets", 300, "--size", 100, "--order", order, "--seed", seed)
        assert call(capsys, "gen", path, *options) == (0, "", "")
    first, same, other = (packets_of(path) for path in paths)
    assert first == same
    assert (first == other) == (order == "roundrobin")
    assert len(first) == 300
    assert {len(packet.frame) for packet in first} == {100}
    assert len({packet.frame for packet in first}) == 50 or order in ("caida", "campus")


def test_gen_to_standard_output(tmp_path):
    with start("gen", "-", "--flows", 3, "--packets", 10, stdout=subprocess.PIPE) as process:
        written = process.stdout.read()
    assert (process.returncode, len(written)) == (0, 24 + 10 * 76)


def test_bench_prints_and_writes_its_rows(capsys, tmp_path):
    files = {option: tmp_path / f"rows.{option}" for option in ("json", "csv", "plot")}
    outputs = [word for option, path in files.items() for word in (f"--{option}", path)]
    options = ("--flows", "10,1000", "--packets", 500, "--repeat", 2, "--order", "caida", "--seed", 3, "--cores", 1)
    result = call(capsys, "bench", THREE, *options, "--traffic", "mixed", *outputs)
    assert (result.status, result.err) == (0, "")
    rows = json.loads(files["json"].read_text())
    assert [(row["chain"], row["flows"], row["packets"], row["order"], row["traffic"]) for row in rows] == [
        ("three", 10, 500, "caida", "mixed"),
        ("three", 1000, 500, "caida", "mixed"),
    ]
    table = csv.DictReader(io.StringIO(files["csv"].read_text()))
    assert list(table) == [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    assert files["plot"].read_bytes().startswith(b"\x89PNG\r\n")
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[0] == list(rows[0])[: len(lines[0])]
    assert {"flows", "mpps", "ns_per_packet"} <= set(lines[0])
    assert [line[:3] for line in lines[1:]] == [["three", "10", "500"], ["three", "1,000", "500"]]


@pytest.mark.parametrize("option", ["--json", "--csv"])
def test_bench_to_standard_output_stands_alone(capsys, option):
    result = call(capsys, "bench", ONE, "--flows", 5, "--packets", 50, "--repeat", 1, option, "-")
    assert (result.status, result.err) == (0, "")
    rows = json.loads(result.out) if option == "--json" else list(csv.DictReader(io.StringIO(result.out)))
    assert [str(row["flows"]) for row in rows] == ["5"]


def test_bench_quietly(capsys):
    assert call(capsys, "bench", ONE, "--flows", 5, "--packets", 50, "--repeat", 1, "--quiet") == (0, "", "")


def test_bench_draws_to_standard_output():
    arguments = ("bench", ONE, "--flows", 5, "--packets", 50, "--repeat", 1, "--plot", "-")
    with start(*arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout.read().startswith(b"\x89PNG\r\n")
    assert process.returncode == 0


def test_a_plot_without_matplotlib_is_refused_before_the_work(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = call(capsys, "bench", ONE, "--plot", tmp_path / "x.png")
    assert (result.status, result.complaint) == (2, "a plot needs matplotlib; pip install 'fajita[plot]'")


def test_a_reader_that_has_enough_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    result = call_process("nfs", stdout=writer)
    os.close(writer)
    assert (result.status, result.err) == (141, "")


def test_what_a_users_file_prints_is_not_among_the_results(capsys, tmp_path):
    (tmp_path / "own.py").write_text(
        "from fajita import NF, PASS\nprint('loading')\n\n\nclass Own(NF):\n"
        "    def packet(self, pkt):\n        return PASS\n"
    )
    (tmp_path / "chain.yaml").write_text("name: own\nnfs: ['./own.py:Own']\n")
    result = call(capsys, "run", tmp_path / "chain.yaml", "--pcap", some_capture(tmp_path), "--json", "-")
    assert json.loads(result.out)["chain"] == "own"
    assert (result.status, result.err) == (0, "loading\n")


def test_standard_streams_that_are_closed(tmp_path):
    """A shell's >&- and 2>&-; nothing may land in a file that was opened later."""
    capture, out, report = some_capture(tmp_path), tmp_path / "out.pcap", tmp_path / "report.json"
    command = [sys.executable, "-m", "fajita", "run", ONE, "--pcap", capture, "--out", out, "--json", report]
    process = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *map(str, command)], check=False)
    assert process.returncode == 0
    assert packets_of(out) == packets_of(capture)
    assert json.loads(report.read_text())["packets"]["in"] == 20


def test_names_that_the_terminal_cannot_show(tmp_path):
    chain = tmp_path / os.fsdecode(b"\xff\xe4.yaml")
    chain.write_text("name: ä\nnfs: [flow_counter]\n")
    result = call_process("check", chain, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(f"{tmp_path}/\\udcff\\udce4.yaml: ok")


@pytest.mark.parametrize("chain", example_chains(), ids=lambda path: path.stem)
def test_every_example_chain_runs(capsys, tmp_path, chain):
    capture = write_capture(tmp_path / "capture", many_flows(20, repeats=3).frames)
    result = call(capsys, "verify", chain, "--pcap", capture)
    assert result == (0, f"{capture}: no difference in 60 packets\n", "")


def test_frames_of_two_link_types_cannot_be_written(capsys, tmp_path):
    """What was done before is reported, and the output is valid."""
    from tests.io.captures import enhanced, interface, section

    frame = many_flows(1, repeats=1).frames[0]
    capture, out = tmp_path / "two.pcapng", tmp_path / "out.pcap"
    blocks = [section(), interface(link=1), interface(link=101), enhanced(frame), enhanced(frame[14:], number=1)]
    capture.write_bytes(b"".join(blocks))
    result = call(capsys, "run", ONE, "--pcap", capture, "--out", out)
    assert result.status == 2
    assert result.complaint.startswith(f"{out}: packet 2: link type 101 after packets of link type 1; ")
    assert "packets  2 in" in result.out
    assert [packet.frame for packet in packets_of(out)] == [frame]


def test_a_capture_without_packets(capsys, tmp_path):
    capture, out = tmp_path / "none.pcap", tmp_path / "out.pcap"
    capture.write_bytes(pcap_header())
    result = call(capsys, "run", THREE, "--pcap", capture, "--out", out, "--export", tmp_path / "state")
    assert (result.status, result.err) == (0, "")
    assert packets_of(out) == []
    assert pq.read_table(tmp_path / "state/flow_counter.parquet").num_rows == 0


def test_frames_of_every_small_size(capsys, tmp_path):
    capture = tmp_path / "small.pcap"
    records = [pcap_record(many_flows(1, 1).frames[0][:size].ljust(size, b"\0")) for size in range(61)]
    capture.write_bytes(pcap_header() + b"".join(records))
    assert call(capsys, "verify", THREE, "--pcap", capture).out == f"{capture}: no difference in 61 packets\n"


def test_the_choices_of_options_are_those_that_there_are():
    assert [*options.Order] == [*ORDERS]
    assert [*options.Traffic] == [*TRAFFIC]
    assert [*options.EngineName] == [*ENGINES]


def test_kernel_without_prefetches_of_elements(capsys, tmp_path):
    chain = tmp_path / "arrays.yaml"
    chain.write_text(f"nfs: [{Path(__file__).parent / 'array_nfs.py'}:LargeState]")
    sources = [call(capsys, "explain", chain, "--source", *option).out for option in ((), ("--no-prefetch",))]
    assert ["prefetch_array_1(state" in source for source in sources] == [True, False]
    options = ("--flows", 5, "--packets", 50, "--repeat", 1, "--quiet", "--no-prefetch")
    assert call(capsys, "bench", chain, *options) == (0, "", "")


FULL = "standard output: cannot write: No space left on device; write to a place with enough space"


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("--version",)])
def test_standard_output_that_is_full_or_that_nobody_reads_is_told(arguments):
    with open("/dev/full", "w") as full:
        result = call_process(*arguments, stdout=full)
    assert result == (2, "", f"fajita: {FULL}\n")
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as unread:
        assert call_process(*arguments, stdout=unread) == (141, "", "")


def test_an_error_that_cannot_be_told_has_its_status():
    with open("/dev/full", "w") as full:
        result = call_process("run", "nothere.yaml", "--pcap", "x", stderr=full)
    assert result == (2, "", "")
