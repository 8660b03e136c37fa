"""`fajita run --dpdk` as a process of its own: how it ends, and what it says of what cannot be."""

import fcntl
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.command import CHAINS, THREE, call_process, some_capture, start
from tests.ipfix.reading import messages, scapy_records

BARE = "--no-huge --no-pci -m 256 -l 0"
NULLS = f"{BARE} --vdev=net_null0 --vdev=net_null1"


def test_a_run_is_reported_as_of_a_capture_and_port_by_port(environment: None, tmp_path: Path) -> None:
    capture = some_capture(tmp_path, flows=10, repeats=3)
    files = f"--vdev=net_pcap0,rx_pcap={capture},tx_pcap={tmp_path / 'out.pcap'}"
    ports = ("--in", "net_pcap0", "--out", "0", "--limit", 30)
    done = call_process("run", THREE, "--dpdk", f"{BARE} {files}", *ports, "--json", tmp_path / "report.json")
    assert (done.status, done.err) == (0, "")
    assert "packets  30 in, 30 out, 0 dropped, 0 other" in done.out
    assert "net_pcap0" in done.out
    assert "packets lay on small pages (--no-huge)" in done.out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["flows"]["created"] == 10
    (port,) = report["ports"]
    assert (port["port"], port["in"]["packets"], port["out"]["packets"]) == ("net_pcap0", 30, 30)


def test_what_comes_in_on_either_side_goes_out_on_the_other(environment: None, tmp_path: Path) -> None:
    capture = some_capture(tmp_path, flows=10, repeats=1)
    sides = [f"--vdev=net_pcap{n},rx_pcap={capture},tx_pcap={tmp_path / f'{n}.pcap'}" for n in (0, 1)]
    ports = ("--inside", "net_pcap0", "--outside", "net_pcap1", "--limit", 20)
    done = call_process("run", THREE, "--dpdk", f"{BARE} {' '.join(sides)}", *ports, "--json", "-")
    assert done.status == 0
    for port in json.loads(done.out)["ports"]:
        assert (port["in"]["packets"], port["out"]["packets"]) == (10, 10)


def test_flow_records_are_those_of_a_capture(environment: None, tmp_path: Path) -> None:
    capture, exporter = some_capture(tmp_path, flows=50, repeats=3), CHAINS / "flow_exporter.yaml"
    done = call_process("run", exporter, "--pcap", capture, "--ipfix", tmp_path / "capture.ipfix", "--quiet")
    assert (done.status, done.err) == (0, "")
    files = f"--vdev=net_pcap0,rx_pcap={capture},tx_pcap={tmp_path / 'out.pcap'}"
    ends = ("--in", "0", "--out", "0", "--limit", 150, "--ipfix", tmp_path / "live.ipfix", "--quiet")
    done = call_process("run", exporter, "--dpdk", f"{BARE} {files}", *ends)
    assert (done.status, done.err) == (0, "")
    told = [scapy_records(messages((tmp_path / name).read_bytes())) for name in ("capture.ipfix", "live.ipfix")]
    assert told[0] == told[1]
    assert [record["IN_PKTS"] for record in told[0]] == [3] * 50


def test_it_ends_after_the_duration(environment: None) -> None:
    """However few packets come by then: none, on a busy machine."""
    done = call_process("run", THREE, "--dpdk", NULLS, "--in", "0", "--out", "1", "--duration", "10ms", "--json", "-")
    assert (done.status, done.err) == (0, "")
    report = json.loads(done.out)
    assert report["packets"]["in"] == report["packets"]["other"]
    assert [port["port"] for port in report["ports"]] == ["net_null0", "net_null1"]


def test_nothing_stays_between_workers_at_the_end(environment: None) -> None:
    ends = ("--in", "0", "--out", "1", "--limit", 20_000, "--cores", "2")
    done = call_process("run", THREE, "--dpdk", NULLS, *ends, "--json", "-")
    assert (done.status, done.err) == (0, "")
    report = json.loads(done.out)
    first, second = report["ports"]
    assert first["in"]["packets"] == second["out"]["packets"] == report["packets"]["in"] == 20_000
    # The driver takes key, fields and table; its frames, which are empty, are the first worker's all the same.
    assert first["spreads"]
    assert [shard["packets"] for shard in report["shards"]] == [report["packets"]["in"], 0]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_what_was_done_is_reported(
    environment: None, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    process, out = started(tmp_path)
    with process, out:
        process.send_signal(number)
        while out.read(1 << 16):
            pass
        told, complaint = process.communicate(timeout=60)
    assert process.returncode == status
    packets = json.loads(told)["packets"]
    assert complaint == f"fajita: interrupted after {packets['in']} packets, which are all accounted for\n"
    assert packets["in"] == packets["out"] > 50


def test_one_that_was_killed_is_not_in_the_way_of_the_next(environment: None, tmp_path: Path) -> None:
    process, out = started(tmp_path)
    with process, out:
        process.kill()
        process.communicate(timeout=60)
    done = call_process("run", THREE, "--dpdk", NULLS, "--in", "0", "--out", "1", "--limit", 1000, "--quiet")
    assert (done.status, done.out, done.err) == (0, "", "")


def started(tmp_path: Path) -> tuple[subprocess.Popen, BinaryIO]:
    """A run that has sent packets and waits for more; and the pipe to which it sends."""
    os.mkfifo(tmp_path / "out")
    capture = some_capture(tmp_path, flows=200, repeats=3)
    files = f"--vdev=net_pcap0,rx_pcap={capture},tx_pcap={tmp_path / 'out'}"
    ports = ("--in", "0", "--out", "0", "--json", "-")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = start("run", THREE, "--dpdk", f"{BARE} {files}", *ports, **pipes)
    out = open(tmp_path / "out", "rb", buffering=0)  # noqa: SIM115
    # As much as a buffer of the C library takes: packets are on their way.
    assert out.read(4096)
    return process, out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--dpdk", f"{BARE} --bogus"), "DPDK does not start: unrecognized option '--bogus'; "),
        (("--dpdk", f"{BARE} --vdev=net_nothing0"), 'DPDK does not start: failed to parse device "net_nothing0"; '),
        (("--dpdk", f"{BARE} -h"), "-h is of no use to a run; https://doc.dpdk.org/"),
        (("--dpdk", f"{BARE} --help"), "--help is of no use to a run; https://doc.dpdk.org/"),
        (("--dpdk", f"{BARE} 'x"), "EAL arguments cannot be split into words: No closing quotation"),
        (
            ("--dpdk", BARE),
            "--in 0: DPDK has no port; a device that DPDK can drive: --vdev, or a NIC bound to vfio-pci",
        ),
        (("--dpdk", f"{BARE} --vdev=net_pcap0,rx_pcap=/nowhere"), "/nowhere"),
        (("--dpdk", f"{BARE} --vdev=net_null7"), "--out 1: no port 1; known: net_null7"),
        (("--dpdk", NULLS.replace("256", "8")), "no memory for 4,095 packets of 2,048 bytes"),
        (("--dpdk", "--no-pci -l 0 -m 1000000 --vdev=net_null0"), "DPDK does not start: "),
        (("--dpdk", NULLS, "--cores", "2", "--shard", "vlan"), "packets cannot be spread by vlan"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(environment: None, arguments: tuple[str, ...], complaint: str) -> None:
    done = call_process("run", THREE, "--in", "0", "--out", "1", *arguments)
    assert (done.status, done.out) == (2, "")
    assert complaint in done.complaint


def test_a_failure_that_dpdk_does_not_number_is_one(environment: None, tmp_path: Path) -> None:
    """As if another process had its memory."""
    (tmp_path / "dpdk" / "of_another").mkdir(parents=True)
    with open(tmp_path / "dpdk" / "of_another" / "config", "wb") as config:
        fcntl.lockf(config, fcntl.LOCK_EX)
        where = {"env": os.environ | {"RUNTIME_DIRECTORY": str(tmp_path)}}
        dpdk = f"{NULLS} --file-prefix of_another"
        done = call_process("run", THREE, "--in", "0", "--out", "1", "--dpdk", dpdk, **where)
    assert done.status == 2
    assert "DPDK does not start: Cannot create lock on " in done.complaint
