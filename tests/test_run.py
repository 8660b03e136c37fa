"""A run from Python: every kind of source, what it leaves behind, and how it ends early."""

import signal

import numpy as np
import pytest

from fajita import NF, PASS, Chain, FrameBlock, InputError, Sum, five_tuple, u64
from fajita import Packet as View
from fajita.interruption import interruptible
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from fajita.nfs.source_counter import SourceCounter
from fajita.run import ENGINES, execute
from tests.command import some_capture
from tests.io.captures import Packet, pcap_header, pcap_record, read_packets
from tests.traffic import many_flows

CHAIN = Chain([FlowCounter(), LoadBalancer(servers=["192.0.2.1", "192.0.2.2"])])
TRAFFIC = many_flows(10, repeats=2)


def packets_of(path) -> list[Packet]:
    packets: list[Packet] = []
    read_packets(path, packets)
    return packets


@pytest.mark.parametrize("engine", ENGINES)
def test_every_kind_of_source(tmp_path, engine):
    path = some_capture(tmp_path, flows=10, repeats=2)
    slots = np.zeros((20, 64), np.uint8)
    for slot, frame in zip(slots, TRAFFIC.frames, strict=True):
        slot[: len(frame)] = np.frombuffer(frame, np.uint8)
    captured, times = np.array([len(frame) for frame in TRAFFIC.frames]), np.arange(20)
    sources = {
        "path": path,
        "text": str(path),
        "frames": FrameBlock.from_frames(TRAFFIC.frames),
        "slots": FrameBlock.from_slots(slots, captured, times),
        "blocks": TRAFFIC.blocks(),
        "list of blocks": list(TRAFFIC.blocks()),
    }
    tables = {name: CHAIN.run(source, engine=engine).table("flow_counter") for name, source in sources.items()}
    assert tables["path"].num_rows == 10
    assert set(tables["path"]["packets"].to_pylist()) == {2}
    # What many_flows says of the wire length, and not what was captured, counts in its blocks.
    assert {name for name, table in tables.items() if table["bytes"] != tables["path"]["bytes"]} == {
        "blocks",
        "list of blocks",
    }
    keys = tables["path"].column_names[:5]
    assert all(table.select(keys).equals(tables["path"].select(keys)) for table in tables.values())


def test_frames_in_numpy_arrays_are_rewritten_in_place():
    frames = FrameBlock.from_frames(TRAFFIC.frames)
    run = CHAIN.run(frames)
    assert frames.verdict.tolist() == [1] * 20
    assert {bytes(frames.frame(index)[30:34]) for index in range(20)} == {b"\xc0\x00\x02\x01", b"\xc0\x00\x02\x02"}
    assert run.report["packets"]["out"] == 20
    assert not run.interrupted
    assert run.warnings == []


def test_frames_in_memory_can_be_written(tmp_path):
    out = tmp_path / "out.pcap"
    frames = FrameBlock.from_frames(TRAFFIC.frames)
    CHAIN.run(frames, out=out)
    assert [packet.frame for packet in packets_of(out)] == [bytes(frames.frame(index)) for index in range(20)]


def test_nothing_at_all():
    for source in ([], FrameBlock.from_frames([])):
        report = CHAIN.run(source).report
        assert report["packets"]["in"] == 0
        assert report["mpps"] == 0


def test_each_run_has_a_state_of_its_own():
    first, second = (CHAIN.run(TRAFFIC.blocks()) for _ in range(2))
    assert first.table("flow_counter").equals(second.table("flow_counter"))


def test_limit_goes_across_blocks():
    blocks = [FrameBlock.from_frames(TRAFFIC.frames[start : start + 6], first=start) for start in range(0, 20, 6)]
    for limit in (1, 6, 7, 20, 21):
        assert CHAIN.run(blocks, limit=limit).report["packets"]["in"] == min(limit, 20)


def test_progress_after_each_block(tmp_path):
    seen = []
    blocks = [FrameBlock.from_frames(TRAFFIC.frames[start : start + 8]) for start in range(0, 20, 8)]
    CHAIN.run(blocks, progress=lambda capture, packets: seen.append((capture, packets)))
    assert seen == [(None, 8), (None, 16), (None, 20)]
    path = some_capture(tmp_path)
    sizes = []
    CHAIN.run(path, progress=lambda capture, packets: sizes.append((capture.bytes_read, capture.bytes_total)))
    assert sizes == [(path.stat().st_size,) * 2]


def test_time_is_spent_on_something(tmp_path):
    seconds = CHAIN.run(some_capture(tmp_path), out=tmp_path / "out.pcap").seconds
    parts = (seconds.compile, seconds.read, seconds.process, seconds.write)
    assert all(part > 0 for part in parts)
    assert sum(parts) <= seconds.total


def test_unknown_engine_and_unknown_nf():
    with pytest.raises(InputError, match=r"no engine 'gpu'; one of compiled, reference"):
        CHAIN.run([], engine="gpu")
    run = Chain([FlowCounter(), MacSwap()]).run([])
    with pytest.raises(InputError, match="mac_swap keeps no state per key; one of flow_counter"):
        run.table("mac_swap")
    for look_up in (run.table, run.core):
        with pytest.raises(InputError, match="no network function flow_countr; did you mean flow_counter"):
            look_up("flow_countr")


class Total(NF):
    """Counts all packets, without a key."""

    class Core:
        packets: Sum[u64]
        latest: u64

    def packet(self, pkt: View) -> int:
        self.core.packets += 1
        self.core.latest = pkt.time_ns
        return PASS


@pytest.mark.parametrize("engine", ENGINES)
def test_variables_are_merged_as_declared_or_those_of_each_worker(engine):
    run = Chain([Total(), SourceCounter()]).run(TRAFFIC.blocks(), engine=engine)
    assert run.core("total") == {"packets": 20, "latest": [TRAFFIC.times_ns[-1]]}
    assert run.core("source_counter") == {}
    assert run.report["nfs"][0]["summary"] == {"packets": 20, "latest": [TRAFFIC.times_ns[-1]]}
    with pytest.raises(InputError, match=r"total keeps no state per key; its variables are in run\.core\('total'\)"):
        run.table("total")


class Ended(NF):
    """Counts its flows that have ended."""

    key = five_tuple

    class State:
        packets: u64

    class Core:
        ended: Sum[u64]
        packets: Sum[u64]

    def packet(self, pkt: View, state: State) -> int:
        state.packets += 1
        return PASS

    def expire(self, state: State) -> None:
        self.core.ended += 1
        self.core.packets += state.packets


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_may_end_all_flows(engine):
    chain = Chain([Ended()])
    run = chain.run(TRAFFIC.blocks(), engine=engine)
    assert run.core("ended") == {"ended": 0, "packets": 0}
    run = chain.run(TRAFFIC.blocks(), engine=engine, drain=True)
    assert run.core("ended") == {"ended": 10, "packets": 20}
    assert run.report["flows"] == {"created": 10, "active": 0, "expired": 10, "evicted": 0, "refused": 0}
    assert run.table("ended").num_rows == 0


def broken_off(error: BaseException):
    yield FrameBlock.from_frames(TRAFFIC.frames)
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InputError("broken")], ids=["interrupted", "broken"])
def test_a_run_that_ends_early_ends_its_flows_too_if_asked_to(error):
    for drain, ended in ((True, 10), (False, 0)):
        run = execute(Chain([Ended()]).plan, broken_off(error), drain=drain)
        assert run.report["packets"]["in"] == 20
        assert run.core("ended")["ended"] == ended


def test_memory_has_a_limit():
    chain = Chain([Ended()])
    report = chain.run(many_flows(2000, 1).blocks(), memory="8MiB").report
    assert report["flows"]["active"] == 768
    assert report["drops"] == {"table five_tuple": {"full": 2000 - 768}}
    assert report["memory"]["used_bytes"] <= report["memory"]["limit_bytes"] == 8 << 20
    with pytest.raises(InputError, match="the tables need 8 MiB to begin with and may take 7 MiB") as caught:
        chain.run([], memory="7MiB")
    assert caught.value.run is None
    with pytest.raises(InputError, match=r"memory 12; a number and a unit, such as 4GB \(units: B, kB"):
        chain.run([], memory="12")
    with pytest.raises(InputError, match="the reference engine knows no limit of memory; give the chain a capacity"):
        chain.run([], memory="12MiB", engine="reference")


def test_short_repr():
    assert repr(CHAIN.run(TRAFFIC.blocks())) == "Run(chain: 20 packets in, 0 dropped)"


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_is_at_least_one(limit):
    with pytest.raises(InputError, match=f"limit is {limit}; at least 1"):
        CHAIN.run([], limit=limit)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (None, "a source cannot be a NoneType"),
        (np.zeros((2, 64), np.uint8), "a source cannot be a ndarray"),
        (b"abc", "a source cannot be a bytes"),
        ([b"abc"], "a source has to give FrameBlocks, not a bytes"),
    ],
)
def test_what_is_no_source(source, what):
    with pytest.raises(InputError, match=rf"{what}; make one with FrameBlock.from_slots\(.* or FrameBlock.from_frames"):
        CHAIN.run(source)


@pytest.mark.parametrize("limit", [1, 10, 19])
def test_warnings_are_of_the_packets_up_to_the_limit(tmp_path, limit):
    """The times go backwards once, and the file is cut off at its end."""
    path = tmp_path / "odd.pcap"
    records = [pcap_record(frame, 100 if index < 10 else 50) for index, frame in enumerate(TRAFFIC.frames)]
    path.write_bytes(pcap_header() + b"".join(records)[:-1])
    run = CHAIN.run(path, limit=limit)
    assert run.report["packets"]["in"] == limit
    expected = ["1 packet (the first: packet 11): time before that of the packet in front"] if limit > 10 else []
    assert run.warnings == expected


def test_an_error_at_the_start_leaves_an_existing_output(tmp_path):
    out = tmp_path / "out.pcap"
    out.write_bytes(b"precious")
    for source in (tmp_path / "absent", out):
        with pytest.raises(InputError) as caught:
            CHAIN.run(source, out=out)
        assert caught.value.run is None
    assert out.read_bytes() == b"precious"


def test_an_error_in_the_middle_has_what_was_done(tmp_path):
    path, out = tmp_path / "damaged.pcap", tmp_path / "out.pcap"
    records = b"".join(pcap_record(frame) for frame in TRAFFIC.frames)
    path.write_bytes(pcap_header() + records + b"\xff" * 16)
    with pytest.raises(InputError, match="packet 21: record claims 4294967295 bytes") as caught:
        CHAIN.run(path, out=out)
    run = caught.value.run
    assert run.error is caught.value
    assert run.report["packets"]["in"] == 20
    assert run.table("flow_counter").num_rows == 10
    assert len(packets_of(out)) == 20


def test_of_two_errors_the_first_is_told(tmp_path):
    path = tmp_path / "damaged.pcap"
    path.write_bytes(pcap_header() + pcap_record(TRAFFIC.frames[0]) + b"\xff" * 16)
    run = execute(CHAIN.plan, path, out="/dev/full")
    assert run.error.what.startswith("packet 2: record claims")
    assert run.report["packets"]["in"] == 1


def test_a_full_disk_after_an_interruption_is_told():
    def blocks():
        yield FrameBlock.from_frames(TRAFFIC.frames)
        raise KeyboardInterrupt

    run = execute(CHAIN.plan, blocks(), out="/dev/full")
    assert run.interrupted
    assert run.error.what.startswith("cannot write: no space left on device")
    assert run.report["packets"]["in"] == 20


def test_a_capture_that_is_cut_off_is_an_error_only_if_strict(tmp_path):
    path = some_capture(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    run = CHAIN.run(path)
    assert [warning.startswith(f"{path} is cut off") for warning in run.warnings] == [True]
    with pytest.raises(InputError, match="is cut off") as caught:
        CHAIN.run(path, strict=True)
    assert caught.value.run.report["packets"] == run.report["packets"]


def test_a_signal_ends_the_run_after_the_block_it_is_at(tmp_path):
    asked_for = []

    def blocks():
        for start in range(0, 20, 5):
            asked_for.append(start)
            yield FrameBlock.from_frames(TRAFFIC.frames[start : start + 5])

    def progress(capture, packets):
        if packets == 10:
            signal.raise_signal(signal.SIGINT)

    out = tmp_path / "out.pcap"
    with interruptible() as interruption:
        run = execute(CHAIN.plan, blocks(), out=out, progress=progress, interruption=interruption)
    assert run.interrupted
    assert run.error is None
    assert run.report["interrupted"]
    assert run.report["packets"]["in"] == 10
    assert len(packets_of(out)) == 10
    assert asked_for == [0, 5]


def test_a_signal_while_waiting_ends_the_run(tmp_path):
    def blocks():
        yield FrameBlock.from_frames(TRAFFIC.frames)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("goes on waiting")

    out = tmp_path / "out.pcap"
    with interruptible() as interruption:
        run = execute(CHAIN.plan, blocks(), out=out, interruption=interruption)
    assert run.interrupted
    assert len(packets_of(out)) == run.report["packets"]["in"] == 20
