"""What goes through ports of DPDK that read and write files is what goes from capture to capture.

Of real captures every chain sees two or three; with FAJITA_EVERYTHING=1 fifty go through every chain, in some minutes.
The files of the driver net_pcap have microseconds, and nothing of a frame that was not captured; so that is what the
other way gets too.
"""

import os
import signal
import time
from collections.abc import Callable
from functools import cache
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest

from fajita import Chain, InputError
from fajita.dpdk.library import library
from fajita.engine.workers import live_engine
from fajita.interruption import Interruption
from fajita.io.capture import open_capture
from fajita.io.frames import ETHERNET
from fajita.io.generate_trace import generate_trace
from fajita.io.writer import CaptureWriter
from fajita.plan import NFPlan, Plan
from fajita.records import Sides
from fajita.run import execute
from tests.chains import example_chains
from tests.command import THREE, write_capture
from tests.dpdk.conftest import ARGUMENTS

ROOT = Path(__file__).parents[2]
CAPTURES = ROOT.parent / "shared" / "pcaps"
CHAINS = example_chains()
#: Chains through which each capture goes: the next, or, with FAJITA_EVERYTHING=1, all of them.
CHAINS_PER_CAPTURE = len(CHAINS) if os.environ.get("FAJITA_EVERYTHING") == "1" else 1
AddDevice = Callable[..., str]


@cache
def plan_of(chain: Path) -> Plan:
    return Chain.load(chain).plan


def frames_of(path: Path) -> list[bytes]:
    with open_capture(path) as capture:
        return [bytes(block.frame(index)) for block in capture for index in range(len(block))]


def as_the_driver_reads_it(path: Path, target: Path) -> int:
    """Write the Ethernet frames of a capture as the driver shows them; how many there are."""
    with open_capture(path) as capture, CaptureWriter(target) as writer:
        for block in capture:
            block.wire[:] = block.captured
            block.time_ns[:] = block.time_ns // np.uint64(1000) * np.uint64(1000)
            block.verdict[:] = (block.link == ETHERNET) & (block.captured > 0)
            writer.write(block)
    return writer.packets


def through_ports(chain: Path, capture: Path, packets: int, out: Path, add_device: AddDevice, cores: int = 1):
    from fajita.live import Ports, execute_live

    port = add_device("net_pcap", f"rx_pcap={capture},tx_pcap={out}")
    return execute_live(plan_of(chain), ARGUMENTS, Ports(port, port, False), cores=cores, limit=packets)


def assert_same(chain: Path, capture: Path, packets: int, folder: Path, add_device: AddDevice) -> None:
    expected, found = folder / "expected.pcap", folder / "found.pcap"
    with pytest.MonkeyPatch.context() as patch:
        # One kernel for both, so that the test takes half the time.
        patch.setattr("fajita.run.make_engine", lambda plan, name, **options: live_engine(plan, 1))
        by_file = execute(plan_of(chain), capture, out=expected)
    live = through_ports(chain, capture, packets, found, add_device)
    assert live.error is None
    assert frames_of(found) == frames_of(expected)
    told, of_file = live.report, by_file.report
    others = ("seconds", "mpps", "shards", "memory", "ports", "huge_pages", "warnings")
    assert {name: value for name, value in told.items() if name not in others} == {
        name: value for name, value in of_file.items() if name not in others
    }
    (port,) = told["ports"]
    assert port["in"]["packets"] == packets
    assert port["out"]["packets"] == told["packets"]["out"]
    assert port["out"]["bytes"] == told["bytes"]["out"]
    assert port["unsent"] == port["missed"] == port["no_memory"] == 0
    assert not any(port["refused"].values())


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.stem)
def test_every_example_chain_does_to_generated_packets_what_it_does_to_a_capture(
    chain: Path, tmp_path: Path, add_device: AddDevice
) -> None:
    generate_trace(str(tmp_path / "made.pcap"), 300, 3000, size=90, order="caida", seed=5)
    packets = as_the_driver_reads_it(tmp_path / "made.pcap", tmp_path / "in.pcap")
    assert_same(chain, tmp_path / "in.pcap", packets, tmp_path, add_device)


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the real captures (../shared/pcaps) are not here")
def test_real_captures_fare_the_same(tmp_path: Path, add_device: AddDevice) -> None:
    """Fifty of them, and all chains in turn."""
    done, chains = 0, cycle(CHAINS)
    for path in sorted((CAPTURES / "small").iterdir()):
        try:
            packets = as_the_driver_reads_it(path, tmp_path / "in.pcap")
        except InputError:
            continue
        if packets:
            for chain in islice(chains, CHAINS_PER_CAPTURE):
                assert_same(chain, tmp_path / "in.pcap", packets, tmp_path, add_device)
            done += 1
        if done == 50:
            break
    assert done == 50


def test_frames_larger_than_an_mbuf_come_in_pieces_and_go_as_one(tmp_path: Path, add_device: AddDevice) -> None:
    frames = [bytes(range(256)) * 62, b"\2" * 60, b"\3" * 9000, b"\4" * 2048, b"\5" * 2049]
    capture = write_capture(tmp_path / "in.pcap", frames)
    live = through_ports(THREE, capture, len(frames), tmp_path / "out.pcap", add_device)
    assert frames_of(tmp_path / "out.pcap") == frames
    (port,) = live.report["ports"]
    assert (port["copied"], port["refused"]) == (3, {"malformed": 0, "too long": 0, "no memory": 0})


def test_a_frame_for_which_there_is_no_room_in_one_piece_is_refused_and_counted(
    tmp_path: Path, add_device: AddDevice
) -> None:
    frames = [b"\1" * 60, b"\2" * 20_000, b"\3" * 60]
    capture = write_capture(tmp_path / "in.pcap", frames)
    live = through_ports(THREE, capture, 2, tmp_path / "out.pcap", add_device)
    assert frames_of(tmp_path / "out.pcap") == [frames[0], frames[2]]
    (port,) = live.report["ports"]
    assert port["refused"] == {"malformed": 0, "too long": 1, "no memory": 0}


def test_a_port_that_does_not_stop_costs_neither_the_report_nor_the_other_ports(
    tmp_path: Path, add_device: AddDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fajita.dpdk.port import Port

    closed = []

    def close(port: Port) -> None:
        closed.append(port)
        real(port)
        raise InputError("the port does not stop", port.name)

    real = Port.close
    monkeypatch.setattr(Port, "close", close)
    capture = write_capture(tmp_path / "in.pcap", [b"\1" * 60])
    ports = [add_device("net_pcap", f"rx_pcap={capture},tx_pcap={tmp_path / str(n)}") for n in range(2)]
    from fajita.live import Ports, execute_live

    live = execute_live(plan_of(THREE), ARGUMENTS, Ports(*ports, True), limit=2)
    assert len(closed) == 2
    assert str(live.error) == f"{ports[0]}: the port does not stop"
    assert [port["in"]["packets"] for port in live.report["ports"]] == [1, 1]
    assert live.is_over
    for pool in live.session._pools:  # it has left them to the port
        library().lib.fajita_free_pool(pool)


def test_time_for_records_is_not_time_for_packets_too(
    tmp_path: Path, add_device: AddDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fajita.live import Ports, execute_live

    clock, interruption, spent = time.perf_counter, Interruption(), [0.0]

    class SlowSink:
        def write(self, nf: NFPlan, sides: Sides) -> None:
            spent[0] += 100
            interruption.signal_number = signal.SIGINT  # while it goes on, records have been written

        def close(self) -> None:
            pass

    monkeypatch.setattr(time, "perf_counter", lambda: clock() + spent[0])
    monkeypatch.setattr("fajita.live._ROUND_S", 0)
    generate_trace(str(tmp_path / "in.pcap"), 300, 3000, size=90, seed=5)
    port = add_device("net_pcap", f"rx_pcap={tmp_path / 'in.pcap'},tx_pcap={tmp_path / 'out.pcap'}")
    plan = plan_of(ROOT / "chains" / "flow_records.yaml")
    options = {"records": SlowSink(), "interruption": interruption}
    seconds = execute_live(plan, ARGUMENTS, Ports(port, port, False), **options).seconds
    assert seconds.process + seconds.write <= seconds.total


#: Chains whose packets are spread: tables of each worker's own, replicas, a table that all share and whose states end.
SPREAD = {
    "three": (THREE.read_text(), ()),
    "hosts, fragments and tunnels": ("fragments: flow\ninner: true\nnfs: [source_counter, destination_counter]", ()),
    "shared": (
        "nfs: [flow_counter: {records: true, timeout: 2us}, source_counter: {timeout: 10us}, destination_counter]",
        ("flows", "tables", "nfs"),  # when idle states end depends on when workers stand still
    ),
}


@pytest.mark.parametrize("name", SPREAD)
def test_workers_hand_packets_over_and_do_together_what_they_do_to_a_capture(
    name: str, tmp_path: Path, add_device: AddDevice
) -> None:
    text, but = SPREAD[name]
    chain = tmp_path / "chain.yaml"
    chain.write_text(text)
    generate_trace(str(tmp_path / "made.pcap"), 5000, 20_000, size=90, seed=5)
    packets = as_the_driver_reads_it(tmp_path / "made.pcap", tmp_path / "in.pcap")
    expected, found = tmp_path / "expected.pcap", tmp_path / "found.pcap"
    by_file = execute(plan_of(chain), tmp_path / "in.pcap", out=expected, cores=3).report
    live = through_ports(chain, tmp_path / "in.pcap", packets, found, add_device, cores=3)
    assert live.error is None
    assert sorted(frames_of(found)) == sorted(frames_of(expected))
    told = live.report
    for part in {"packets", "bytes", "drops", "other", "flows", "tables", "nfs"} - set(but):
        assert told[part] == by_file[part], part
    assert [shard["packets"] for shard in told["shards"]] == [shard["packets"] for shard in by_file["shards"]]
    (port,) = told["ports"]
    # Its one queue is the first worker's.
    assert port["handed_over"] == sum(shard["packets"] for shard in told["shards"][1:])


def test_two_workers_on_a_pair_of_ports_of_which_one_is_rings(tmp_path: Path, add_device: AddDevice) -> None:
    """From a file into rings, and from those, one for each worker, into a file: twice through the chain."""
    from fajita.live import Ports, execute_live

    chain = tmp_path / "chain.yaml"
    chain.write_text(SPREAD["hosts, fragments and tunnels"][0])
    generate_trace(str(tmp_path / "made.pcap"), 2000, 6000, size=90, seed=5)
    packets = as_the_driver_reads_it(tmp_path / "made.pcap", tmp_path / "in.pcap")
    file = add_device("net_pcap", f"rx_pcap={tmp_path / 'in.pcap'},tx_pcap={tmp_path / 'out.pcap'}")
    ports = Ports(file, add_device("net_ring"), True, ("--inside", "--outside"))
    live = execute_live(plan_of(chain), ARGUMENTS, ports, cores=2, limit=2 * packets)
    assert live.error is None
    assert sorted(frames_of(tmp_path / "out.pcap")) == sorted(frames_of(tmp_path / "in.pcap"))
    told = live.report
    first, second = (shard["packets"] for shard in told["shards"])
    assert first + second == told["packets"]["out"] == 2 * packets
    of_file, of_ring = told["ports"]
    assert of_ring["in"] == of_ring["out"] == of_file["in"] == of_file["out"]
    # The file's one queue is the first worker's; what each sends into its ring comes back to it.
    assert (of_file["handed_over"], of_ring["handed_over"]) == (second // 2, 0)
