"""What becomes of records: kept in memory, written as Parquet while a run goes on, or counted and dropped."""

import json
import os
import resource
import signal

import pyarrow.parquet as pq
import pytest

from fajita import Chain, FrameBlock, InputError
from fajita import records as records_module
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.source_counter import SourceCounter
from fajita.output_file import check_folder
from fajita.records import KeptRecords, RecordFiles
from fajita.run import ENGINES, execute
from tests.command import CHAINS, call, some_capture, start, write_capture
from tests.io.captures import pcap_header, pcap_record
from tests.nfs.test_connection import segment
from tests.test_interruption import running, write_and_wait
from tests.traffic import many_flows

EXPORTER = CHAINS / "flow_records.yaml"
TIMEOUT_NS = 10_000


def chain() -> Chain:
    return Chain(
        [
            FlowCounter(timeout="10us", records=True),
            FlowCounter(name="silent", timeout="10us"),
            SourceCounter(),
            FlowCounter(name="hosts", key="source", timeout="10us", records=True),
        ]
    )


def blocks(rounds: int = 3, flows: int = 10) -> list[FrameBlock]:
    """In each block every flow of both families has a packet; from one to the next all time out."""
    frames = [
        segment(*addresses, port, 80)
        for port in range(flows)
        for addresses in (("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2"))
    ]
    return [FrameBlock.from_frames(frames, [round_ * 10**6] * len(frames), first=0) for round_ in range(rounds)]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_from_python_keeps_its_records(engine):
    run = chain().run(blocks(), engine=engine)
    table = run.records("flow_counter")
    assert table.schema == run.table("flow_counter").schema
    rows = table.select(["src", "src_port", "packets", "first_ns", "last_ns"]).to_pylist()
    expected = [
        (src, port, 1, round_ * 10**6, round_ * 10**6)
        for src in ("10.0.0.1", "2001:db8::1")
        for round_ in range(2)
        for port in range(10)
    ]
    assert sorted(tuple(row.values()) for row in rows) == sorted(expected)
    hosts = run.records("hosts").select(["src", "packets"]).to_pylist()
    assert hosts == [{"src": src, "packets": 10} for src in ("10.0.0.1", "2001:db8::1") for _ in range(2)]
    assert [nf["records"] for nf in run.report["nfs"]] == [40, 0, 0, 4]


def test_no_records_keep_their_columns():
    run = chain().run([])
    assert run.records("hosts").schema == run.table("hosts").schema
    assert run.records("hosts").num_rows == 0


def test_records_that_there_are_not_are_told():
    run = chain().run([])
    with pytest.raises(InputError, match="chain: silent emits no records; one of flow_counter, hosts"):
        run.records("silent")
    with pytest.raises(InputError, match="no network function nobody"):
        run.records("nobody")
    with pytest.raises(InputError, match=r"chain: source_counter emits no records$"):
        Chain([SourceCounter()]).run([]).records("source_counter")
    with pytest.raises(InputError, match="the records of this run were not kept"):
        execute(chain().plan, []).records("hosts")


@pytest.mark.parametrize("group_rows", [1, 15, 1 << 16])
def test_files_have_what_memory_has(tmp_path, monkeypatch, group_rows):
    monkeypatch.setattr(records_module, "GROUP_ROWS", group_rows)
    kept = chain().run(blocks())
    check_folder(tmp_path, "export")
    execute(kept.plan, blocks(), records=RecordFiles(tmp_path, kept.plan))
    assert sorted(os.listdir(tmp_path)) == ["flow_counter.records.parquet", "hosts.records.parquet"]
    for name in ("flow_counter", "hosts"):
        written = pq.read_table(tmp_path / f"{name}.records.parquet")
        # From group to group the families take turns.
        order = [(column, "ascending") for column in ("src", "first_ns", *(["src_port"] * (name == "flow_counter")))]
        assert written.sort_by(order).equals(kept.records(name).sort_by(order))
    groups = pq.ParquetFile(tmp_path / "flow_counter.records.parquet").num_row_groups
    assert groups == {1: 3, 15: 3, 1 << 16: 1}[group_rows]


def test_rows_of_a_family_keep_their_order_across_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(records_module, "GROUP_ROWS", 7)
    kept = chain().run(blocks(rounds=9))
    execute(kept.plan, blocks(rounds=9), records=RecordFiles(tmp_path, kept.plan))
    written = pq.read_table(tmp_path / "flow_counter.records.parquet").to_pylist()
    assert len(written) == 8 * 20
    for src in ("10.0.0.1", "2001:db8::1"):
        in_file, in_memory = (
            [row for row in rows if row["src"] == src] for rows in (written, kept.records("flow_counter").to_pylist())
        )
        assert in_file == in_memory


def test_no_more_is_held_than_a_group_and_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(records_module, "GROUP_ROWS", 30)
    held = []

    class Watched(RecordFiles):
        def write(self, nf, sides):
            super().write(nf, sides)
            held.append(max(file._waiting.count for file in self._files.values()))

    plan = chain().plan
    execute(plan, blocks(rounds=50), records=Watched(tmp_path, plan))
    assert max(held) < 30


def failing_disk(folder, name: str) -> None:
    """What is written for this NF goes to a device that is always full."""
    os.symlink("/dev/full", folder / f"{name}.records.partial")


def test_a_full_disk_ends_the_run_and_costs_the_other_files_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(records_module, "GROUP_ROWS", 15)
    failing_disk(tmp_path, "flow_counter")
    (tmp_path / "flow_counter.records.parquet").write_bytes(b"old")
    plan = chain().plan
    run = execute(plan, blocks(rounds=30, flows=1000), records=RecordFiles(tmp_path, plan))
    path = tmp_path / "flow_counter.records.parquet"
    assert str(run.error).startswith(f"{path}: cannot write: ")
    assert str(run.error).endswith("; name a folder with room")
    assert sorted(os.listdir(tmp_path)) == ["flow_counter.records.parquet", "hosts.records.parquet"]
    assert path.read_bytes() == b"old"
    assert 0 < run.engine.counters().packets_in < 60_000
    hosts = pq.read_table(tmp_path / "hosts.records.parquet")
    assert hosts.num_rows == run.report["nfs"][3]["records"]


def test_a_disk_that_is_full_only_at_the_end(capsys, tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    failing_disk(folder, "flow_counter")
    capture, report = some_capture(tmp_path), tmp_path / "report.json"
    result = call(capsys, "run", EXPORTER, "--pcap", capture, "--export", folder, "--json", report)
    assert result.status == 2
    assert result.complaint.startswith(f"{folder}/flow_counter.records.parquet: cannot write: ")
    assert json.loads(report.read_text())["error"] == result.complaint
    assert os.listdir(folder) == ["flow_counter.parquet"]


@pytest.mark.parametrize("method", ["write_table", "close"])
def test_an_interruption_while_writing_leaves_no_half_file(tmp_path, monkeypatch, method):
    monkeypatch.setattr(records_module, "GROUP_ROWS", 1)
    real, calls = getattr(pq.ParquetWriter, method), []

    def interrupted_once(self, *arguments):
        calls.append(self)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(pq.ParquetWriter, method, interrupted_once)
    plan = chain().plan
    run = execute(plan, blocks(), records=RecordFiles(tmp_path, plan))
    assert run.interrupted
    # While frames are processed it ends the run, and costs one file; at the end it ends everything.
    assert os.listdir(tmp_path) == (["hosts.records.parquet"] if method == "write_table" else [])


def test_files_that_never_got_a_run_are_not_made(tmp_path):
    plan = chain().plan
    with pytest.raises(InputError):
        execute(plan, tmp_path / "absent.pcap", records=RecordFiles(tmp_path, plan))
    assert os.listdir(tmp_path) == []


def flows_that_end(folder, rounds: int = 3):
    """A capture in which each of four flows has a packet a minute; at its end two have been idle for 30 s."""
    return write_capture(folder / "minutes.pcap", many_flows(4, repeats=rounds).frames, gap_us=15_000_000)


def test_the_command_exports_records_beside_state(capsys, tmp_path):
    folder, report = tmp_path / "state", tmp_path / "report.json"
    arguments = ("run", EXPORTER, "--pcap", flows_that_end(tmp_path), "--json", report)
    result = call(capsys, *arguments, "--export", folder)
    assert (result.status, result.err) == (0, "")
    assert sorted(os.listdir(folder)) == ["flow_counter.parquet", "flow_counter.records.parquet"]
    records, state = (pq.read_table(folder / f"flow_counter{kind}.parquet") for kind in (".records", ""))
    assert records.schema == state.schema
    assert (records.num_rows, state.num_rows) == (10, 2)
    assert json.loads(report.read_text())["nfs"][0]["records"] == 10
    assert any(line.split()[:6] == ["flow_counter", "12", "12", "0", "10", "flows"] for line in result.out.splitlines())
    assert call(capsys, *arguments).status == 0
    assert json.loads(report.read_text())["nfs"][0]["records"] == 10


def test_without_an_export_no_record_is_kept(monkeypatch):
    plan = chain().plan
    run = execute(plan, blocks(rounds=20))
    assert run.engine.counters().nfs[0].records == 380
    assert [len(side) for nf in (plan.nfs[0], plan.nfs[3]) for side in run.engine.take_records(nf)] == [0] * 4


def test_records_before_an_error_are_written(tmp_path):
    def broken():
        yield from blocks()
        raise InputError("the source is broken")

    plan = chain().plan
    run = execute(plan, broken(), records=RecordFiles(tmp_path, plan))
    assert str(run.error) == "the source is broken"
    assert pq.read_table(tmp_path / "flow_counter.records.parquet").num_rows == 40
    with pytest.raises(InputError) as caught:
        chain().run(broken())
    assert caught.value.run.records("flow_counter").num_rows == 40


def test_records_before_a_signal_are_written(tmp_path):
    fifo, state = tmp_path / "fifo", tmp_path / "state"
    os.mkfifo(fifo)
    frame = many_flows(1, repeats=1).frames[0]
    with running("run", EXPORTER, "--pcap", fifo, "--export", state) as process:
        writer = os.open(fifo, os.O_WRONLY)
        try:
            write_and_wait(writer, pcap_header() + b"".join(pcap_record(frame, 60 * at) for at in range(3)))
            write_and_wait(writer, pcap_record(frame, 1000)[:20])
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        finally:
            os.close(writer)
    assert process.returncode == 130
    assert pq.read_table(state / "flow_counter.records.parquet")["packets"].to_pylist() == [1, 1]


def test_a_file_that_may_not_grow_so_far_is_refused(tmp_path):
    """A real file, and an error that comes in the middle of it."""
    state = tmp_path / "state"
    capture = flows_that_end(tmp_path, rounds=2000)
    Chain.load(EXPORTER).run(capture)  # compiled and kept; that would need larger files

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    with start(
        "run",
        EXPORTER,
        "--pcap",
        capture,
        "--export",
        state,
        "--quiet",
        preexec_fn=small_files,
        stderr=-1,
    ) as process:
        _, complaints = process.communicate(timeout=60)
    assert process.returncode == 2
    assert b"flow_counter.records.parquet: cannot write: " in complaints
    assert b"Traceback" not in complaints
    assert os.listdir(state) == ["flow_counter.parquet"]


def test_kept_records_are_of_one_run():
    mine = chain()
    assert mine.run(blocks()).records("hosts").num_rows == mine.run(blocks()).records("hosts").num_rows == 4
    sink = KeptRecords()
    assert mine.run(blocks(), records=sink).records("hosts").equals(sink.table(mine.plan, mine.plan.nfs[3]))
