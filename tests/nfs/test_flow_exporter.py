"""Flow records as NetFlow has them: what stands in them and why they end, told from packets that scapy built."""

import csv
import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from fajita import Chain, FrameBlock, InputError
from fajita.nfs.flow_exporter import (
    ACTIVE_TIMEOUT,
    END_OF_FLOW,
    FORCED_END,
    IDLE_TIMEOUT,
    LACK_OF_RESOURCES,
    ONGOING,
    FlowExporter,
)
from fajita.run import ENGINES, Run

ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
SECOND = 10**9
A, B, A6, B6 = "10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2"
CAPTURES = Path(__file__).parents[3] / "shared" / "pcaps"
every_engine = pytest.mark.parametrize("engine", ENGINES)

Timed = tuple[float, bytes]


def packet(src: str, dst: str, transport: Any, payload: int = 0, tos: int = 0) -> bytes:
    network = IPv6(src=src, dst=dst, tc=tos) if ":" in src else IP(src=src, dst=dst, tos=tos)
    return bytes(ETHERNET / network / transport / (b"x" * payload))


def segment(flags: str, *, back: bool = False, port: int = 40000, payload: int = 0, tos: int = 0) -> bytes:
    ends = (B, A) if back else (A, B)
    ports = {"sport": 443, "dport": port} if back else {"sport": port, "dport": 443}
    return packet(*ends, TCP(flags=flags, **ports), payload, tos)


def exported(packets: list[Timed], engine: str, *, drain: bool = True, settings: Any = None, **options: Any) -> Run:
    frames, times = [frame for _, frame in packets], [round(SECOND * at) for at, _ in packets]
    chain = Chain([FlowExporter(**options)], **(settings or {}))
    return chain.run(FrameBlock.from_frames(frames, times), engine=engine, drain=drain)


def rows(run: Run, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in columns) for row in run.records("flow_exporter").to_pylist()]


@every_engine
@pytest.mark.parametrize(("client", "server"), [(A, B), (A6, B6)])
def test_a_record_has_what_netflow_has_of_each_direction(engine: str, client: str, server: str) -> None:
    there, back = {"sport": 40000, "dport": 443}, {"sport": 443, "dport": 40000}
    packets = [
        (1, packet(client, server, TCP(flags="S", **there), tos=0xB8)),
        (1.25, packet(server, client, TCP(flags="SA", **back), tos=0x02)),
        (1.5, packet(client, server, TCP(flags="PA", **there), 100)),
        (2, packet(server, client, TCP(flags="A", **back), 1400)),
        (2.000000001, packet(server, client, TCP(flags="PAU", **back), 7)),
    ]
    header = 40 if ":" in client else 20
    key = {"src": client, "dst": server, "src_port": 40000, "dst_port": 443}
    turned = {"src": server, "dst": client, "src_port": 443, "dst_port": 40000}
    none = {"icmp_type": 0, "icmp_code": 0, "reverse_packets": 0, "reverse_bytes": 0, "reverse_tcp_flags": 0}
    run = exported(packets, engine)
    first = key | {"packets": 2, "bytes": 2 * header + 40 + 100, "tcp_flags": 0x1A, "tos": 0xB8}
    first |= {"first_ns": SECOND, "last_ns": 3 * SECOND // 2}
    second = turned | {"packets": 3, "bytes": 3 * header + 60 + 1407, "tcp_flags": 0x3A, "tos": 0x02}
    second |= {"first_ns": 5 * SECOND // 4, "last_ns": 2 * SECOND + 1}
    rest = none | {"protocol": 6, "end_reason": FORCED_END}
    assert run.records("flow_exporter").to_pylist() == [first | rest, second | rest]
    size = sum(len(frame) - 14 for _, frame in packets)
    assert run.report["nfs"][0]["summary"] == {"flows": 2, "packets": 5, "bytes": size, "records": {"forced": 2}}


@every_engine
def test_bytes_are_those_of_the_ip_packet(engine: str) -> None:
    """Neither link headers nor padding count; what segmentation offload states no length of counts as it came."""
    udp = UDP(sport=1, dport=2)
    padded = bytes(ETHERNET / Dot1Q(vlan=7) / IP(src=A, dst=B) / udp / b"xx") + bytes(20)
    large = bytes(ETHERNET / IP(src=A, dst=B, len=0) / udp / Raw(bytes(100)))
    large_v6 = bytes(ETHERNET / IPv6(src=A6, dst=B6, plen=0) / udp / Raw(bytes(100)))
    for frames, size in (([padded], 30), ([padded, large], 30 + 128), ([large_v6], 148)):
        run = exported([(at, frame) for at, frame in enumerate(frames)], engine)
        assert rows(run, "packets", "bytes") == [(len(frames), size)]


@every_engine
def test_a_flow_ends_when_it_has_been_idle_for_fifteen_seconds(engine: str) -> None:
    udp = packet(A, B, UDP(sport=1, dport=2))
    packets = [(0, udp), (14.999, udp), (29.999, udp), (60, packet(B, A, UDP(sport=2, dport=1)))]
    run = exported(packets, engine, drain=False)
    assert rows(run, "first_ns", "last_ns", "packets", "end_reason") == [
        (0, 14_999_000_000, 2, IDLE_TIMEOUT),
        (29_999_000_000, 29_999_000_000, 1, IDLE_TIMEOUT),
    ]
    (left,) = run.table("flow_exporter").to_pylist()
    assert (left["src"], left["packets"], left["end_reason"]) == (B, 1, ONGOING)
    assert run.report["nfs"][0]["summary"]["flows"] == 3
    longer = exported(packets[:3], engine, timeout="1min")
    assert rows(longer, "packets", "end_reason") == [(3, FORCED_END)]


@every_engine
def test_a_long_flow_gets_a_record_every_active_timeout(engine: str) -> None:
    udp = packet(A, B, UDP(sport=1, dport=2), 10)
    run = exported([(at, udp) for at in range(0, 95, 5)], engine, active="30s")
    assert rows(run, "first_ns", "last_ns", "packets", "bytes", "end_reason") == [
        (0, 25 * SECOND, 6, 6 * 38, ACTIVE_TIMEOUT),
        (30 * SECOND, 55 * SECOND, 6, 6 * 38, ACTIVE_TIMEOUT),
        (60 * SECOND, 85 * SECOND, 6, 6 * 38, ACTIVE_TIMEOUT),
        (90 * SECOND, 90 * SECOND, 1, 38, FORCED_END),
    ]
    assert run.report["nfs"][0]["summary"]["records"] == {"active": 3, "forced": 1}


@every_engine
@pytest.mark.parametrize("end", ["FA", "R", "RA", "FPA"])
def test_what_follows_a_fin_or_reset_is_of_the_flow_until_a_syn(engine: str, end: str) -> None:
    packets = [
        (0, segment("S", tos=4)),
        (1, segment(end)),
        (2, segment("A")),
        (3, segment("S", tos=8)),
        (4, segment("A")),
        (40, segment("A", port=1)),
    ]
    run = exported(packets, engine)
    flags = {"FA": 0x13, "R": 0x16, "RA": 0x16, "FPA": 0x1B}[end]
    assert rows(run, "src_port", "packets", "tcp_flags", "tos", "last_ns", "end_reason") == [
        (40000, 3, flags, 4, 2 * SECOND, END_OF_FLOW),
        (40000, 2, 0x12, 8, 4 * SECOND, IDLE_TIMEOUT),
        (1, 1, 0x10, 0, 40 * SECOND, FORCED_END),
    ]


@every_engine
def test_a_flow_that_has_ended_stays_so_whatever_else_ends_its_record(engine: str) -> None:
    closed = [(0, segment("SA")), (1, segment("FA"))]
    assert rows(exported(closed, engine), "end_reason") == [(END_OF_FLOW,)]
    late = [*closed, (2, segment("A")), (12, segment("A")), (14, segment("A"))]
    assert rows(exported(late, engine, active="10s"), "packets", "end_reason") == [(3, END_OF_FLOW), (2, FORCED_END)]


@every_engine
def test_an_evicted_flow_lacks_resources(engine: str) -> None:
    packets = [(at, packet(A, B, UDP(sport=port, dport=2))) for at, port in enumerate((1, 2, 3))]
    settings = {"capacity": 2, "full": "evict"}
    run = exported(packets, engine, settings=settings)
    found = rows(run, "src_port", "end_reason")
    assert [reason for _, reason in found] == [LACK_OF_RESOURCES, FORCED_END, FORCED_END]
    assert sorted(port for port, _ in found) == [1, 2, 3]
    assert run.report["nfs"][0]["summary"]["records"] == {"forced": 2, "lack_of_resources": 1}
    # Why the last one ended is not why the next does.
    packets += [(40, packets[2][1])]
    again = exported(packets, engine, settings=settings, drain=False)
    assert rows(again, "end_reason") == [(LACK_OF_RESOURCES,), (IDLE_TIMEOUT,), (IDLE_TIMEOUT,)]


@every_engine
def test_icmp_is_told_by_type_and_code(engine: str) -> None:
    packets = [
        (0, packet(A, B, ICMP(type=8, id=1, seq=1), 56)),
        (1, packet(A, B, ICMP(type=8, id=2, seq=9), 56)),
        (2, packet(A, B, ICMP(type=3, code=3) / IP(src=B, dst=A) / UDP(sport=5, dport=6))),
        (3, packet(A, B, ICMP(type=3, code=1) / IP(src=B, dst=A) / UDP(sport=5, dport=6))),
        (4, packet(A6, B6, ICMPv6EchoRequest(id=1))),
        (5, packet(B6, A6, ICMPv6EchoReply(id=1))),
    ]
    found = rows(
        exported(packets, engine), "src", "protocol", "src_port", "dst_port", "icmp_type", "icmp_code", "packets"
    )
    assert sorted(found) == [
        (A, 1, 0, 0, 3, 1, 1),
        (A, 1, 0, 0, 3, 3, 1),
        (A, 1, 0, 0, 8, 0, 2),
        (A6, 58, 0, 0, 128, 0, 1),
        (B6, 58, 0, 0, 129, 0, 1),
    ]


@every_engine
def test_a_connection_has_both_directions_in_one_record(engine: str) -> None:
    packets = [
        (0, segment("SA", back=True, tos=8)),
        (1, segment("A", payload=5)),
        (2, segment("FA", back=True)),
        (3, segment("FPA", payload=5)),
        (4, segment("A", back=True)),
        (5, segment("S", payload=1)),
    ]
    run = exported(packets, engine, key="connection")
    columns = ("src", "src_port", "packets", "bytes", "tcp_flags", "tos")
    columns += ("reverse_packets", "reverse_bytes", "reverse_tcp_flags", "first_ns", "last_ns", "end_reason")
    assert rows(run, *columns) == [
        (B, 443, 3, 120, 0x13, 8, 2, 90, 0x19, 0, 4 * SECOND, END_OF_FLOW),
        # The entry goes on, the way of its first packet.
        (B, 443, 0, 0, 0, 0, 1, 41, 0x02, 5 * SECOND, 5 * SECOND, FORCED_END),
    ]


@every_engine
def test_fragments_are_of_the_flow_of_their_first_and_have_no_flags(engine: str) -> None:
    whole = IP(src=A, dst=B, id=7) / UDP(sport=1, dport=2) / (b"x" * 2000)
    frames = [bytes(ETHERNET / part) for part in fragment(whole, 1000)]
    lost = bytes(ETHERNET / fragment(IP(src=A, dst=B, id=8) / UDP(sport=1, dport=2) / (b"x" * 2000), 1000)[1])
    run = exported([(at, frame) for at, frame in enumerate([*frames, lost])], engine, settings={"fragments": "flow"})
    sizes = [len(frame) - 14 for frame in frames]
    assert rows(run, "src_port", "dst_port", "packets", "bytes") == [(0, 0, 1, len(lost) - 14), (1, 2, 3, sum(sizes))]


@every_engine
def test_times_are_those_of_the_earliest_and_the_latest_packet_whatever_their_order(engine: str) -> None:
    udp = packet(A, B, UDP(sport=1, dport=2))
    run = exported([(50, udp), (49, udp), (51, udp), (48.5, udp)], engine)
    assert rows(run, "packets", "first_ns", "last_ns") == [(4, 48_500_000_000, 51 * SECOND)]


@every_engine
def test_other_keys_add_flows_up(engine: str) -> None:
    packets = [(0, segment("S")), (1, segment("S", port=2)), (2, segment("A", back=True))]
    run = exported(packets, engine, key="source")
    assert sorted(rows(run, "src", "packets", "tcp_flags")) == [(A, 2, 2), (B, 1, 16)]


@pytest.mark.parametrize("workers", [2, 5])
def test_records_do_not_depend_on_the_number_of_workers(workers: int) -> None:
    packets = [(at / 7, segment("SAFR"[at % 4], port=at % 29)) for at in range(500)]
    frames, times = [frame for _, frame in packets], [round(SECOND * at) for at, _ in packets]

    def records(cores: int) -> list[Any]:
        run = Chain([FlowExporter(active="10s")]).run(FrameBlock.from_frames(frames, times), cores=cores, drain=True)
        return sorted(tuple(row.values()) for row in run.records("flow_exporter").to_pylist())

    assert records(workers) == records(1)


def test_its_own_key_can_be_named() -> None:
    assert FlowExporter(key="flow").granularity is FlowExporter.key


def test_an_active_timeout_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="active is 0; give the time after which a long flow gets a record"):
        FlowExporter(active="0s")


def test_an_entry_of_ipv4_is_one_cache_line() -> None:
    sizes = [side.entry_bytes for side in Chain([FlowExporter()]).plan.tables[0].sides]
    assert sizes == [64, 128]


#: What tshark tells of the outermost header of each packet.
FIELDS = ("ip.src", "ip.dst", "ip.proto", "tcp.srcport", "tcp.dstport", "udp.srcport", "udp.dstport")
FIELDS += ("ip.len", "ip.dsfield", "tcp.flags", "frame.time_epoch")


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not here")
@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the real captures (../shared/pcaps) are not here")
@pytest.mark.parametrize("name", ["ndpi-4.2-debian--WebattackXSS.pcap", "small/ntop-nDPI--alicloud.pcap"])
def test_records_are_those_that_follow_from_what_tshark_tells_of_packets(name: str) -> None:
    fields = [part for field in FIELDS for part in ("-e", field)]
    command = ["tshark", "-n", "-r", str(CAPTURES / name), "-Y", "ip && (tcp || udp)", "-T", "fields", *fields]
    text = subprocess.run([*command, "-E", "occurrence=f"], check=True, capture_output=True, text=True).stdout
    expected: dict[tuple[str, ...], list[int]] = {}
    for line in csv.reader(io.StringIO(text), delimiter="\t"):
        src, dst, protocol, *ports, size, tos, flags, time = line
        key = (src, dst, protocol, ports[0] or ports[2], ports[1] or ports[3])
        seconds, parts = time.split(".")
        at = int(seconds) * SECOND + int(parts.ljust(9, "0"))
        flow = expected.setdefault(key, [0, 0, 0, int(tos, 16), at, at])
        flow[0] += 1
        flow[1] += int(size)
        flow[2] |= int(flags or "0", 16) & 0xFF
        flow[5] = max(at, flow[5])
    nf = FlowExporter(timeout="1000h", active="1000h", key="five_tuple")
    found = {}
    for row in Chain([nf]).run(CAPTURES / name, drain=True).records("flow_exporter").to_pylist():
        if row["protocol"] in (6, 17):
            key = row["src"], row["dst"], str(row["protocol"]), str(row["src_port"]), str(row["dst_port"])
            columns = ("packets", "bytes", "tcp_flags", "tos", "first_ns", "last_ns")
            found.setdefault(key, []).append([row[name] for name in columns])
    once = {key: flows[0] for key, flows in found.items() if len(flows) == 1}
    assert once == {key: flow for key, flow in expected.items() if key in once}
    assert found.keys() == expected.keys()
    assert len(once) > len(found) * 0.9
