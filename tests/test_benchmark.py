"""The benchmark: its rows, what it counts, and what it refuses. How fast anything is, no test asks."""

import csv
import io
import json
import statistics

import pytest

from fajita import Chain, InputError
from fajita.benchmark import MAXIMUM_PACKETS, Measurement, csv_text, measure, plot
from fajita.engine.compiled import CompiledEngine
from fajita.kernel.layout import BURST
from fajita.nfs.flow_counter import FlowCounter

CHAIN = Chain([FlowCounter()], name='a, "b"')
COLUMNS = ["chain", "flows", "packets", "cores", "order", "traffic", "burst"]
COLUMNS += ["mpps", "mpps_min", "mpps_max", "ns_per_packet"]


def test_a_row():
    row = Measurement("three", 1000, 5000, 1, "uniform", "udp", (4.0, 1.0, 2.0)).as_row()
    assert row == {
        "chain": "three",
        "flows": 1000,
        "packets": 5000,
        "cores": 1,
        "order": "uniform",
        "traffic": "udp",
        "burst": BURST,
        "mpps": 2.0,
        "mpps_min": 1.0,
        "mpps_max": 4.0,
        "ns_per_packet": 500.0,
    }
    assert list(row) == COLUMNS


@pytest.mark.parametrize("order", ["uniform", "roundrobin", "caida", "campus"])
def test_measurements_are_plausible(order):
    measurement = measure(CHAIN.plan, flows=300, packets=1000, order=order, repeat=3)
    row = measurement.as_row()
    assert len(measurement.passes) == 3
    assert 0 < row["mpps_min"] <= row["mpps"] <= row["mpps_max"]
    assert row["ns_per_packet"] == pytest.approx(1000 / statistics.median(measurement.passes), abs=0.001)
    assert (row["flows"], row["packets"], row["order"]) == (300, 1000, order)


def test_every_flow_is_made_before_and_every_pass_runs(monkeypatch):
    seen = []
    real = CompiledEngine.process

    def process(engine, block):
        real(engine, block)
        seen.append((len(block), engine.tables[0].created, int(block.time_ns[0])))

    monkeypatch.setattr(CompiledEngine, "process", process)
    progress = []
    measure(CHAIN.plan, flows=100_000, packets=64, repeat=2, progress=lambda: progress.append(len(seen)))
    assert sum(count for count, _, _ in seen[:-3]) == 100_000
    assert [(count, created) for count, created, _ in seen[-3:]] == [(64, 100_000)] * 3
    assert [time for *_, time in seen] == sorted({time for *_, time in seen})
    assert progress == [len(seen) - 2, len(seen) - 1, len(seen)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"packets": 0}, f"packets is 0; 1 to {MAXIMUM_PACKETS}"),
        ({"packets": MAXIMUM_PACKETS + 1}, f"packets is {MAXIMUM_PACKETS + 1}; 1 to "),
        ({"repeat": 0}, "repeat is 0; at least 1"),
        ({"flows": 0}, "0 flows; 1 to "),
        ({"order": "zipf"}, "unknown order 'zipf'; known are uniform"),
        ({"seed": -1}, "seed -1; a seed is 0 or more"),
        ({"size": 20}, "frames of 20 bytes; 60 to "),
    ],
)
def test_numbers_out_of_range(wrong, message):
    with pytest.raises(InputError) as caught:
        measure(CHAIN.plan, **({"flows": 10, "packets": 10} | wrong))
    assert str(caught.value).startswith(message)


def test_memory_that_does_not_suffice(monkeypatch):
    def make_block(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr("fajita.benchmark.synthetic_block", make_block)
    with pytest.raises(InputError, match="not enough memory for 20 packets of 10 flows; ask for fewer"):
        measure(CHAIN.plan, flows=10, packets=20)


def rows() -> list[dict]:
    return [
        Measurement(CHAIN.name, flows, 10, 1, order, "udp", (1.0, 2.0)).as_row()
        for flows in (2048, 1024)
        for order in ("uniform", "caida")
    ]


def test_csv_reads_back():
    read = list(csv.DictReader(io.StringIO(csv_text(rows()))))
    assert read == [{name: str(value) for name, value in row.items()} for row in rows()]
    assert list(read[0]) == COLUMNS


def test_json_holds_rows():
    assert json.loads(json.dumps(rows())) == rows()


def test_a_plot_is_a_png(tmp_path):
    plot(rows(), str(tmp_path / "no suffix"))
    assert (tmp_path / "no suffix").read_bytes().startswith(b"\x89PNG\r\n")


def test_a_plot_that_cannot_be_written():
    with pytest.raises(InputError, match="/dev/full: cannot write: No space left on device"):
        plot(rows(), "/dev/full")
