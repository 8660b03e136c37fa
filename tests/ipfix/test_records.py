"""What is written as IPFIX: read again by scapy and tshark, framed as RFC 7011 has it, or refused in one line."""

import os
import re
import resource
import shutil
import signal
import socket
import struct
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether

from fajita import NF, PASS, Chain, FrameBlock, InputError, Max, Packet, mac, source, u8, u64
from fajita.ipfix import IpfixRecords, destination
from fajita.ipfix.destination import MessageFile
from fajita.ipfix.records import MESSAGES_PER_TEMPLATES
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.flow_exporter import FlowExporter
from fajita.run import ENGINES, Run, execute
from tests.command import CHAINS, call, some_capture, start, write_capture
from tests.ipfix.reading import messages, scapy_records, tshark_flows
from tests.traffic import many_flows

EXPORTER = CHAINS / "flow_exporter.yaml"
DOCS = CHAINS.parent / "docs" / "flow-export.md"
A, B, A6, B6 = "192.0.2.1", "198.51.100.2", "2001:db8::1", "2001:db8::2"
SECOND, START = 10**9, 1_700_000_000
TEMPLATES = 2


def block() -> FrameBlock:
    """Flows of each kind: TCP that ends, UDP, ICMP, of both families; a packet each millisecond and nanosecond."""
    there, back = {"sport": 40000, "dport": 443}, {"sport": 443, "dport": 40000}
    packets = [
        IP(src=A, dst=B, tos=0xB8) / TCP(flags="S", **there),
        IP(src=B, dst=A) / TCP(flags="SA", **back),
        IP(src=A, dst=B) / TCP(flags="FPA", **there) / bytes(100),
        IP(src=A, dst=B) / ICMP(type=3, code=1) / IP(src=B, dst=A) / UDP(sport=1, dport=2),
        IPv6(src=A6, dst=B6, tc=0x28) / UDP(sport=5, dport=53) / bytes(7),
        IPv6(src=A6, dst=B6) / ICMPv6EchoRequest(id=1),
    ]
    frames = [bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet) for packet in packets]
    return FrameBlock.from_frames(frames, [START * SECOND + at * 1_000_001 for at in range(len(frames))])


def written(to: str | Path, *nfs: NF, frames: Any = None, **options: Any) -> Run:
    plan = Chain(list(nfs) or [FlowExporter()]).plan
    frames = block() if frames is None else frames
    return execute(plan, frames, records=IpfixRecords(str(to), plan), drain=True, **options)


def flows(path: Path) -> list[dict[str, Any]]:
    return scapy_records(messages(path.read_bytes()))


@pytest.mark.parametrize("engine", ENGINES)
def test_scapy_reads_what_was_written(tmp_path, engine):
    path = tmp_path / "flows.ipfix"
    assert written(path, engine=engine).error is None
    names = ("PROTOCOL", "IN_PKTS", "IN_BYTES", "TCP_FLAGS", "TOS", "flowEndReason")
    names += ("flowStartMilliseconds", "flowEndMilliseconds")
    ms = START * 1000
    found = [tuple(flow[name] for name in names) for flow in flows(path)]
    assert found == [
        (6, 2, 180, 0x1B, 0xB8, b"\x03", ms, ms + 2),
        (6, 1, 40, 0x12, 0, b"\x04", ms + 1, ms + 1),
        (1, 1, 56, 0, 0, b"\x04", ms + 3, ms + 3),
        (17, 1, 55, 0, 0x28, b"\x04", ms + 4, ms + 4),
        (58, 1, 48, 0, 0, b"\x04", ms + 5, ms + 5),
    ]
    keys = [list(flow.values())[:5] for flow in flows(path)]
    assert [key[:4] for key in keys] == [
        [A, B, 40000, 443],
        [B, A, 443, 40000],
        [A, B, 1, 0x0301],
        [A6, B6, 5, 53],
        [A6, B6, 58, b"\x80\x00"],
    ]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not here")
def test_tshark_reads_what_was_written_to_the_nanosecond(tmp_path):
    path = tmp_path / "flows.ipfix"
    written(path)
    names = ("protocol", "packets", "octets", "tcpflags", "tos", "flow_end_reason", "srcport", "icmp_type_code_ipv4")
    found = tshark_flows(path)
    assert [tuple(flow.get(f"cflow.{name}") for name in names) for flow in found] == [
        ("6", "2", "180", "0x1b", "0xb8", "3", "40000", None),
        ("6", "1", "40", "0x12", "0x00", "4", "443", None),
        ("1", "1", "56", "0x00", "0x00", "4", None, "0x0301"),
        ("17", "1", "55", "0x00", "0x28", "4", "5", None),
        ("58", "1", "48", "0x00", "0x00", "4", None, None),
    ]
    (first,) = [flow for flow in found if flow["cflow.packets"] == "2"]
    assert "22:13:20.000000000" in str(first)
    assert "22:13:20.002000002" in str(first)
    assert [flow.get("cflow.srcaddr") or flow["cflow.srcaddrv6"] for flow in found] == [A, B, A, A6, A6]


def test_both_directions_of_a_connection_are_one_flow(tmp_path):
    """RFC 5103: the elements of the other one are those of an enterprise of their own."""
    path = tmp_path / "flows.ipfix"
    written(path, FlowExporter(key="connection"))
    definitions, records, *_ = messages(path.read_bytes())
    for number, size in ((2, 8), (1, 8), (6, 1)):
        assert struct.pack(">HHI", number | 1 << 15, size, 29305) in definitions
    of_icmp, of_tcp = (struct.unpack_from(">HHBQQQQ", records, 28 + place * 81) for place in range(2))
    assert of_icmp == (0, 0, 1, 1, 56, 0, 0)
    assert of_tcp == (40000, 443, 6, 2, 180, 1, 40)


def test_messages_are_numbered_by_records_and_no_longer_than_they_may_be(tmp_path):
    path, count = tmp_path / "flows.ipfix", 3000
    written(path, frames=many_flows(count, repeats=1).blocks())
    made = messages(path.read_bytes())
    assert len(made) > 3
    assert all(len(message) <= 65_535 for message in made)
    sequence = 0
    for number, message in enumerate(made):
        version, _, second, told, domain, kind, size = struct.unpack_from(">HHIIIHH", message)
        assert (version, told, domain, size) == (10, sequence, 1, len(message) - 16)
        assert (kind == TEMPLATES) == (number == 0)
        sequence += len(scapy_records([made[0], message])) if number else 0
    assert sequence == len(flows(path)) == count
    assert len({flow["L4_SRC_PORT"] for flow in flows(path)} | {second}) > 1


def test_the_same_packets_make_the_same_file(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_bytes(b"what was there before is gone" * 1000)
        written(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert b"before" not in paths[0].read_bytes()


def test_a_run_without_records_leaves_the_templates(tmp_path):
    path = tmp_path / "flows.ipfix"
    written(path, frames=[])
    (only,) = messages(path.read_bytes())
    assert struct.unpack_from(">H", only, 16) == (TEMPLATES,)


def test_a_run_that_cannot_begin_leaves_no_file(tmp_path):
    with pytest.raises(InputError):
        written(tmp_path / "flows.ipfix", frames=tmp_path / "absent.pcap")
    assert os.listdir(tmp_path) == []


def listening() -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    server.bind(("127.0.0.1", 0))
    server.settimeout(10)
    return server


def received(server: socket.socket) -> list[bytes]:
    server.setblocking(False)
    made = []
    while True:
        try:
            made.append(server.recv(65_536))
        except BlockingIOError:
            return made


def test_a_collector_gets_datagrams_and_now_and_then_the_templates(monkeypatch):
    monkeypatch.setattr(destination, "_PAUSE_S", 0)
    with listening() as server:
        run = written(f"udp://127.0.0.1:{server.getsockname()[1]}", frames=many_flows(2000, repeats=1).blocks())
        assert run.error is None
        made = received(server)
    assert all(len(message) <= 1400 for message in made)
    assert len(scapy_records(made)) == 2000
    kinds = [struct.unpack_from(">H", message, 16)[0] for message in made]
    assert len(made) > 64
    assert [number for number, kind in enumerate(kinds) if kind == TEMPLATES] == [0, MESSAGES_PER_TEMPLATES]


def test_a_collector_that_is_not_there_ends_the_run_and_costs_the_rest_nothing(capsys, tmp_path):
    with listening() as server:
        port = server.getsockname()[1]
    capture = write_capture(tmp_path / "many.pcap", many_flows(100, repeats=1).frames)
    arguments = ("run", EXPORTER, "--pcap", capture, "--export", tmp_path / "out", "--quiet")
    result = call(capsys, *arguments, "--ipfix", f"udp://localhost:{port}")
    assert result.status == 2
    right = "the address of a collector that listens"
    assert result.complaint == f"udp://localhost:{port}: cannot send: Connection refused; {right}"
    assert pq.read_table(tmp_path / "out" / "flow_exporter.records.parquet").num_rows == 100


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("udp://", "--ipfix udp://; a file, or udp://HOST"),
        ("udp://127.0.0.1:0", "--ipfix udp://127.0.0.1:0; a file, or udp://HOST"),
        ("udp://127.0.0.1:65536", "--ipfix udp://127.0.0.1:65536; a file, or udp://HOST"),
        ("udp://::1:9995", "--ipfix udp://::1:9995; a file, or udp://HOST"),
        ("tcp://127.0.0.1:4739", "--ipfix tcp://127.0.0.1:4739; a file, or udp://HOST"),
        ("udp://no..host", "udp://no..host: cannot find no..host: "),
        ("-", "--ipfix -; a file, which /dev/stdout is, too"),
        ("", "--ipfix is empty; name a file"),
    ],
)
def test_what_is_no_place_for_records_is_told(capsys, tmp_path, text, complaint):
    result = call(capsys, "run", EXPORTER, "--pcap", some_capture(tmp_path), "--ipfix", text)
    assert result.status == 2
    assert result.complaint.startswith(complaint)


def test_files_that_cannot_be_written_are_told_before_the_run(capsys, tmp_path):
    capture = some_capture(tmp_path)
    for place, what in (
        (tmp_path, "is a folder"),
        (tmp_path / "absent" / "file", "there is no folder"),
        (capture, "the output is the input"),
    ):
        result = call(capsys, "run", EXPORTER, "--pcap", capture, "--ipfix", place)
        assert (result.status, result.out) == (2, "")
        assert what in result.complaint
    same = ("--ipfix", tmp_path / "x", "--json", tmp_path / "x")
    assert "both write to" in call(capsys, "run", EXPORTER, "--pcap", capture, *same).complaint


def test_a_full_disk_is_told_and_costs_the_rest_nothing(capsys, tmp_path):
    arguments = ("run", EXPORTER, "--pcap", some_capture(tmp_path), "--export", tmp_path / "out", "--quiet")
    result = call(capsys, *arguments, "--ipfix", "/dev/full")
    assert result.status == 2
    assert result.complaint == "/dev/full: cannot write: No space left on device; name a file with room"
    assert pq.read_table(tmp_path / "out" / "flow_exporter.records.parquet").num_rows == 10


def test_a_file_that_may_not_grow_any_more_has_whole_messages(tmp_path):
    capture = write_capture(tmp_path / "many.pcap", many_flows(5000, repeats=1).frames, gap_us=20_000)
    Chain.load(EXPORTER).run(capture)  # compiled and kept; that would need larger files

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    path = tmp_path / "flows.ipfix"
    arguments = ("run", EXPORTER, "--pcap", capture, "--ipfix", path, "--quiet")
    with start(*arguments, preexec_fn=small_files, stderr=-1) as process:
        _, complaints = process.communicate(timeout=60)
    assert process.returncode == 2
    assert complaints.decode() == f"fajita: {path}: cannot write: File too large; name a file with room\n"
    assert 0 < len(flows(path)) < 5000


def test_an_interruption_leaves_whole_messages(tmp_path, monkeypatch):
    real, calls = os.write, []

    def interrupted_once(file, data):
        if len(data) >= 1000 and len(calls) < 2:
            calls.append(file)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return real(file, data[:1000])
        return real(file, data)

    monkeypatch.setattr(os, "write", interrupted_once)
    path = tmp_path / "flows.ipfix"
    file = MessageFile(str(path))
    file.send(b"whole")
    with pytest.raises(KeyboardInterrupt):
        file.send(b"x" * 2000)
    file.send(b"another")
    file.close()
    assert path.read_bytes() == b"wholeanother"


def test_the_command_ends_all_flows_and_writes_each_once(capsys, tmp_path):
    path, folder = tmp_path / "flows.ipfix", tmp_path / "out"
    capture = write_capture(tmp_path / "some.pcap", many_flows(20, repeats=3).frames, gap_us=1_000_000)
    result = call(capsys, "run", EXPORTER, "--pcap", capture, "--ipfix", path, "--export", folder)
    assert (result.status, result.err) == (0, "")
    rows = pq.read_table(folder / "flow_exporter.records.parquet").to_pylist()
    found = flows(path)
    assert len(found) == len(rows) == 60
    assert pq.read_table(folder / "flow_exporter.parquet").num_rows == 0
    assert {flow["L4_SRC_PORT"] for flow in found} == {row["src_port"] for row in rows}


class Hosts(NF):
    """Counts the packets of hosts, and their longest names of things that IPFIX has."""

    key = source
    ipfix = {"packets": "packetTotalCount", "highest": "maximumTTL"}  # noqa: RUF012

    class State:
        packets: u64
        highest: Max[u8]
        unnamed: u64

    def packet(self, pkt: Packet, state: Any) -> int:
        state.packets += 1
        state.highest = max(state.highest, pkt.ttl)
        state.unnamed += 1
        return PASS

    def expire(self, state: Any) -> None:
        self.emit(state)


def test_records_of_ones_own_nfs_are_written_by_the_names_they_give(tmp_path):
    path = tmp_path / "flows.ipfix"
    written(path, Hosts(), FlowCounter(), FlowExporter())
    found = flows(path)
    assert len(found) == 3 + 5
    assert [list(flow.values()) for flow in found[:3]] == [
        [address, bytes((*bytes(7), packets)), bytes([64])] for address, packets in ((A, 3), (B, 1), (A6, 2))
    ]


def test_the_example_in_the_docs_is_written(capsys, tmp_path):
    (source_of,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (tmp_path / "talkers.py").write_text(source_of)
    (tmp_path / "chain.yaml").write_text("nfs: [./talkers.py:Talkers]\n")
    path = tmp_path / "flows.ipfix"
    result = call(capsys, "run", tmp_path / "chain.yaml", "--pcap", some_capture(tmp_path), "--ipfix", path, "--quiet")
    assert (result.status, result.err) == (0, "")
    assert [flow["IN_PKTS"] for flow in flows(path)] == [2] * 10


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("eth_src+src", [b"\x02\x00\x00\x00\x00\x01", A]),
        ("source_prefix(16)", [b"\xc0\x00\x00\x00"]),
        ("vlan", [0]),
    ],
)
def test_other_keys_have_elements_too(tmp_path, key, value):
    path = tmp_path / "flows.ipfix"
    written(path, FlowExporter(key=key))
    first = list(flows(path)[0].values())
    shown = ["02:00:00:00:00:01" if each == b"\x02\x00\x00\x00\x00\x01" else each for each in value]
    assert first[: len(value)] in (value, shown)


def declared(**elements: Any) -> type[NF]:
    class Own(Hosts):
        ipfix = elements

        class State:
            packets: u64
            address: mac

        def packet(self, pkt: Packet, state: Any) -> int:
            state.packets += 1
            state.address = pkt.eth_src
            return PASS

    return Own


@pytest.mark.parametrize(
    ("nf", "what"),
    [
        (FlowCounter(records=True), "no network function of the chain writes records that IPFIX has names for; add"),
        (FlowExporter(key="ecn"), "no information element for the field ecn of a key; another key than ecn"),
        (declared(packets="packetCount")(), "no information element packetCount; did you mean packetTotalCount"),
        (declared(packets="reverseNothing")(), "there is no information element reverseNothing"),
        (declared(bytes="octetDeltaCount")(), "Own.ipfix names bytes, which is no field of its State"),
        (declared(packets="ipTTL")(), "Own.State.packets does not fit ipTTL, which has 1 bytes"),
    ],
)
def test_records_that_ipfix_has_no_names_for_are_told(tmp_path, nf, what):
    with pytest.raises(InputError, match=what):
        IpfixRecords(str(tmp_path / "x"), Chain([nf]).plan)
    assert os.listdir(tmp_path) == []


def test_an_address_in_the_state_is_written_whole(tmp_path):
    path = tmp_path / "flows.ipfix"
    written(path, declared(address=("sourceMacAddress",))())
    assert b"\x02\x00\x00\x00\x00\x01" in path.read_bytes()
