"""State as Arrow tables and Parquet files: columns, types, order, and never half a file."""

import os
from ipaddress import IPv4Address

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fajita import (
    NF,
    PASS,
    Chain,
    FrameBlock,
    InputError,
    Packet,
    five_tuple,
    flag,
    i8,
    i16,
    i32,
    i64,
    ipv4,
    mac,
    source,
    u8,
    u16,
    u32,
    u64,
)
from fajita.export import export_state
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from fajita.nfs.source_counter import SourceCounter
from fajita.output_file import check_folder
from fajita.run import ENGINES, Run
from tests.traffic import ETHERNET, IPV4_TYPE, UDP_PROTOCOL, ipv4_packet, many_flows, udp_datagram, with_link

SERVERS = ["192.0.2.1", "255.255.255.255"]


def chain() -> Chain:
    return Chain([FlowCounter(), MacSwap(), LoadBalancer(servers=SERVERS), SourceCounter()])


def frame(src: str, dst: str, ports: tuple[int, int]) -> bytes:
    addresses = int(IPv4Address(src)), int(IPv4Address(dst))
    return with_link(ETHERNET, IPV4_TYPE, ipv4_packet(*addresses, UDP_PROTOCOL, udp_datagram(*addresses, *ports)))


class EveryType(NF):
    """Keeps a value of each type, and has fields named like those of the key."""

    key = source

    class State:
        src: u64
        on: flag
        address: ipv4
        station: mac
        a: u8
        b: u16
        c: u32
        d: i8
        e: i16
        f: i32
        g: i64

    def packet(self, pkt: Packet, state: State) -> int:
        state.src = 0xFFFFFFFFFFFFFFFF
        state.on = pkt.src_port == 1
        state.address = pkt.dst
        state.station = pkt.eth_src
        state.a = 200
        state.b = 40_000
        state.c = 3_000_000_000
        state.d = -100
        state.e = -30_000
        state.f = -2_000_000_000
        state.g = -9_000_000_000_000_000_000
        return PASS


@pytest.mark.parametrize("engine", ENGINES)
def test_every_type_of_state(engine):
    frames = [frame("10.0.0.2", "1.2.3.4", (1, 2)), frame("9.255.0.1", "0.0.0.0", (2, 2))]
    table = Chain([EveryType()]).run(FrameBlock.from_frames(frames), engine=engine).table("every_type")
    assert {field.name: str(field.type) for field in table.schema} == {
        "src": "string",
        "state_src": "uint64",
        "on": "bool",
        "address": "string",
        "station": "string",
        "a": "uint8",
        "b": "uint16",
        "c": "uint32",
        "d": "int8",
        "e": "int16",
        "f": "int32",
        "g": "int64",
    }
    first, second = table.to_pylist()
    assert first == {
        "src": "9.255.0.1",
        "state_src": 2**64 - 1,
        "on": False,
        "address": "0.0.0.0",
        "station": "02:00:00:00:00:0b",
        "a": 200,
        "b": 40_000,
        "c": 3_000_000_000,
        "d": -100,
        "e": -30_000,
        "f": -2_000_000_000,
        "g": -9_000_000_000_000_000_000,
    }
    assert (second["src"], second["on"], second["address"]) == ("10.0.0.2", True, "1.2.3.4")


def test_the_key_comes_first_and_orders_the_rows():
    flows = [
        ("10.0.0.2", "1.1.1.1", (5, 6)),
        ("10.0.0.2", "1.1.1.1", (5, 5)),
        ("9.0.0.200", "1.1.1.1", (65535, 0)),
        ("10.0.0.2", "1.1.1.0", (7, 7)),
    ]
    table = Chain([FlowCounter()]).run(FrameBlock.from_frames([frame(*flow) for flow in flows])).table("flow_counter")
    assert table.column_names == ["src", "dst", "src_port", "dst_port", "protocol", *FlowCounter.state_fields]
    assert [str(field.type) for field in table.schema] == ["string"] * 2 + ["uint16"] * 2 + ["uint8"] + ["uint64"] * 6
    rows = [(row["src"], row["dst"], (row["src_port"], row["dst_port"])) for row in table.to_pylist()]
    assert rows == [flows[2], flows[3], flows[1], flows[0]]


def test_both_engines_and_the_files_give_the_same(tmp_path):
    sample = many_flows(3000, repeats=2)  # more than a table holds before it grows
    runs = {engine: chain().run(sample.blocks(), engine=engine) for engine in ENGINES}
    for engine, run in runs.items():
        check_folder(tmp_path / engine, "export")
        paths = export_state(run.engine, run.plan, tmp_path / engine)
        assert [path.name for path in paths] == [
            "flow_counter.parquet",
            "load_balancer.parquet",
            "source_counter.parquet",
        ]
        assert set(os.listdir(tmp_path / engine)) == {path.name for path in paths}
        for path in paths:
            table = pq.read_table(path)
            assert table.equals(run.table(path.stem))
            assert table.equals(runs["compiled"].table(path.stem))
    table = runs["compiled"].table("load_balancer")
    assert table.num_rows == 3000
    assert sorted(set(table["server"].to_pylist())) == SERVERS


def test_a_state_without_fields_has_the_key(tmp_path):
    class Seen(NF):
        key = source

        class State:
            pass

        def packet(self, pkt: Packet, state: State) -> int:
            return PASS

    run = Chain([Seen()]).run(many_flows(3, repeats=1).blocks())
    assert run.table("seen").to_pydict() == {"src": ["10.0.0.0", "10.0.0.1", "10.0.0.2"]}


def test_no_rows_keep_their_types():
    schema = Chain([FlowCounter()]).run([]).table("flow_counter").schema
    assert schema == Chain([FlowCounter()]).run(many_flows(3, repeats=1).blocks()).table("flow_counter").schema
    assert schema.field("src").type == pa.string()


def test_pandas_takes_the_table():
    frame = chain().run(many_flows(10, repeats=2).blocks()).table("flow_counter").to_pandas()
    assert frame.packets.sum() == 20
    assert frame.src.iloc[0] == "10.0.0.0"


def finished_run() -> Run:
    return Chain([FlowCounter()]).run(many_flows(3, repeats=1).blocks())


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path, monkeypatch, error):
    run, path = finished_run(), tmp_path / "flow_counter.parquet"
    path.write_bytes(b"old")

    def write_half(table, target):
        target.write_bytes(b"half")
        raise error

    monkeypatch.setattr(pq, "write_table", write_half)
    expected = InputError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        export_state(run.engine, run.plan, tmp_path)
    if expected is InputError:
        assert str(caught.value) == f"{path}: cannot write: No space left on device; name a folder with room"
    assert os.listdir(tmp_path) == ["flow_counter.parquet"]
    assert path.read_bytes() == b"old"


def test_a_state_that_cannot_be_written_does_not_cost_the_others(tmp_path):
    run = chain().run(many_flows(20, repeats=1).blocks())
    (tmp_path / "flow_counter.parquet").mkdir()
    with pytest.raises(InputError, match=r"flow_counter.parquet: cannot write: Is a directory"):
        export_state(run.engine, run.plan, tmp_path)
    assert pq.read_table(tmp_path / "source_counter.parquet").equals(run.table("source_counter"))
    assert set(os.listdir(tmp_path)) == {"flow_counter.parquet", "load_balancer.parquet", "source_counter.parquet"}


def test_a_folder_that_has_gone_is_told(tmp_path):
    run = finished_run()
    with pytest.raises(InputError, match=r"absent/flow_counter.parquet: cannot write: "):
        export_state(run.engine, run.plan, tmp_path / "absent")


def test_a_folder_is_made_or_refused_before_the_work(tmp_path):
    check_folder(tmp_path / "a/b", "export")
    check_folder(tmp_path / "a/b", "export")
    assert os.listdir(tmp_path / "a/b") == []
    (tmp_path / "file").touch()
    for folder in ("file", "file/below"):
        with pytest.raises(InputError, match=f"{folder}: cannot export there: .*; name a folder that can be written"):
            check_folder(tmp_path / folder, "export")


class Colliding(NF):
    """Its second field has the name that the first one's column gets."""

    key = five_tuple

    class State:
        src: u64
        state_src: u64

    def packet(self, pkt: Packet, state: State) -> int:
        state.src = 1
        state.state_src = 2
        return PASS


@pytest.mark.parametrize("engine", ENGINES)
def test_columns_never_share_a_name(engine):
    run = Chain([Colliding()]).run(many_flows(1, repeats=1).blocks(), engine=engine)
    (row,) = run.table("colliding").to_pylist()
    assert (row["src"], row["state_src"], row["state_state_src"]) == ("10.0.0.0", 1, 2)
