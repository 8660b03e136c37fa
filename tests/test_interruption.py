"""Ctrl-C and SIGTERM: a run stops between two blocks or while it waits, and what was done is written and reported."""

import json
import os
import signal
import subprocess
import threading
from contextlib import contextmanager

import pytest

from fajita.interruption import Interruption, interruptible
from tests.command import CHAINS, call, some_capture, start
from tests.io.captures import Packet, pcap_header, pcap_record, read_packets
from tests.traffic import many_flows

FRAMES = many_flows(4, repeats=1).frames
RECORDS = b"".join(pcap_record(frame, index) for index, frame in enumerate(FRAMES))
ONE = CHAINS / "one.yaml"


def test_the_first_signal_is_noted_the_second_raises():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with interruptible() as interruption:
        assert not interruption.requested()
        signal.raise_signal(signal.SIGINT)
        assert interruption.requested()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert interruption.exit_status == 130  # of the first
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_while_signals_are_deferred_however_many_raise_nothing():
    with interruptible() as interruption:
        interruption.is_deferred = True
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        interruption.is_deferred = False
        assert interruption.requested()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_sigterm_has_an_exit_status_of_its_own():
    with interruptible() as interruption:
        signal.raise_signal(signal.SIGTERM)
    assert interruption.exit_status == 143


def test_the_first_signal_raises_where_the_program_waits():
    with interruptible() as interruption:
        with pytest.raises(KeyboardInterrupt), interruption.immediate():
            signal.raise_signal(signal.SIGINT)
        assert interruption.requested()


def test_a_signal_just_before_waiting_is_not_missed():
    with interruptible() as interruption:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), interruption.immediate():
            pytest.fail("waits although a signal came before")


def test_waiting_ends_with_its_body():
    with interruptible() as interruption:
        with interruption.immediate():
            pass
        signal.raise_signal(signal.SIGINT)  # noted, not raised
        assert interruption.requested()


def test_without_signals_nothing_is_requested():
    interruption = Interruption()
    with interruption.immediate():
        assert not interruption.requested()


@contextmanager
def running(*arguments: object, **options):
    """A process of its own that is killed if a test leaves it behind; what no test waits for cannot hang it."""
    process = start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def write_and_wait(fifo: int, data: bytes) -> None:
    """Write to a pipe and return when its reader has taken all."""
    import fcntl
    import termios

    assert os.write(fifo, data) == len(data)
    while int.from_bytes(fcntl.ioctl(fifo, termios.FIONREAD, bytes(4)), "little"):
        os.sched_yield()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stalled_pipe_is_left_at_the_first_signal(tmp_path, number, status):
    fifo, out, report_file, state = (tmp_path / name for name in ("fifo", "out.pcap", "report.json", "state"))
    os.mkfifo(fifo)
    arguments = ("run", ONE, "--pcap", fifo, "--out", out, "--json", report_file, "--export", state)
    with running(*arguments) as process:
        writer = os.open(fifo, os.O_WRONLY)
        try:
            write_and_wait(writer, pcap_header() + RECORDS)
            # Whoever reads on has done what came before. This record is not whole, so it is no packet yet.
            write_and_wait(writer, RECORDS[:20])
            process.send_signal(number)
            told, complaints = process.communicate(timeout=60)
        finally:
            os.close(writer)
    assert process.returncode == status
    report = json.loads(report_file.read_text())
    assert report["packets"]["in"] == 4
    assert report["interrupted"]
    assert complaints == "fajita: interrupted after 4 packets, which are all accounted for\n"
    assert "packets  4 in, 4 out" in told
    packets: list[Packet] = []
    assert read_packets(out, packets) == []
    assert [packet.frame for packet in packets] == FRAMES
    assert (state / "flow_counter.parquet").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_fifo_that_nobody_writes_to_is_left_at_the_first_signal(tmp_path, number, status):
    fifo, out = tmp_path / "fifo", tmp_path / "out"
    os.mkfifo(fifo)
    os.mkfifo(out)
    # The chain's own module is where the program tells that it is about to open its input.
    (tmp_path / "own.py").write_text(
        "import pathlib\nfrom fajita import NF, PASS\n\n\nclass Own(NF):\n    def prepare(self):\n"
        f"        pathlib.Path({str(out)!r}).write_text('ready')\n\n"
        "    def packet(self, pkt):\n        return PASS\n"
    )
    chain = tmp_path / "chain.yaml"
    chain.write_text("nfs: [./own.py:Own]\n")
    with running("run", chain, "--pcap", fifo) as process:
        assert out.read_text() == "ready"
        process.send_signal(number)
        told, complaints = process.communicate(timeout=60)
    assert (process.returncode, told, complaints) == (status, "", "fajita: interrupted\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_generating_into_a_pipe_stops_at_the_first_signal(tmp_path, number, status):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with running("gen", fifo, "--flows", 100, "--packets", 10**9) as process:
        with open(fifo, "rb") as reader:
            beginning = reader.read(1 << 16)
            process.send_signal(number)
            rest = reader.read()
        told, complaints = process.communicate(timeout=60)
    assert (process.returncode, told, complaints) == (status, "", "fajita: interrupted\n")
    path = tmp_path / "trace.pcap"
    path.write_bytes(beginning + rest)
    packets: list[Packet] = []
    read_packets(path, packets)  # may be cut off: a pipe cannot be taken back what it was given
    assert len(packets) > 800
    assert {len(packet.frame) for packet in packets} == {60}


def test_an_interrupted_verify_says_so(capsys, tmp_path, monkeypatch):
    def interrupted(plan, blocks, make_engines):
        raise KeyboardInterrupt

    monkeypatch.setattr("fajita.verify.verify_blocks", interrupted)
    result = call(capsys, "verify", ONE, "--pcap", some_capture(tmp_path))
    assert (result.status, result.out, result.complaint) == (130, "", "interrupted")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_benchmark_keeps_the_numbers_of_flows_that_were_measured(capsys, tmp_path, monkeypatch, number, status):
    import fajita.benchmark

    real = fajita.benchmark.measure

    def measure(*arguments, flows, **options):
        if flows == 20:
            signal.raise_signal(number)
        return real(*arguments, flows=flows, **options)

    monkeypatch.setattr(fajita.benchmark, "measure", measure)
    arguments = ("bench", ONE, "--packets", 100, "--repeat", 1, "--json", tmp_path / "rows.json")
    result = call(capsys, *arguments, "--flows", "10,20,30")
    assert (result.status, result.complaint) == (status, "interrupted after 1 of 3 settings")
    assert [row["flows"] for row in json.loads((tmp_path / "rows.json").read_text())] == [10]
    assert result.out.count("\n") == 2

    result = call(capsys, *arguments, "--flows", "20,30")
    assert (result.status, result.complaint, result.out) == (status, "interrupted after 0 of 2 settings", "")
