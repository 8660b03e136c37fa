"""Metrics: the numbers of the report in Prometheus' text, of a run that goes on, and what is wrong with a place."""

import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from fajita import Chain, FrameBlock, InputError
from fajita.engine.parallel import ParallelEngine
from fajita.metrics import families, serving, serving_blocks
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.report import make_report, make_snapshot
from fajita.run import ENGINES, execute
from tests.command import THREE, call, some_capture, start
from tests.traffic import many_flows

prometheus_parser = pytest.importorskip("prometheus_client.parser")

METRICS = Path(__file__).parents[1] / "docs" / "metrics.md"
LIMITED = Chain([FlowCounter(), SourceCounter(), RateLimiter(rate="1pps", burst=1)], name="limited")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def scraped(url: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The samples that are served, by name and labels."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    parsed = prometheus_parser.text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in parsed for s in family.samples}


def labels(**values: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(values.items()))


def some_run(engine: str = "compiled"):
    return execute(LIMITED.plan, FrameBlock.from_frames(many_flows(4, 3).frames), engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_served_are_the_numbers_of_the_report(engine):
    run, port = some_run(engine), free_port()
    with serving(str(port), lambda: make_snapshot(run)):
        samples = scraped(f"http://127.0.0.1:{port}/metrics")
    report = make_report(run)
    assert report["packets"]["dropped"] == 8
    for direction in ("in", "out"):
        assert samples["fajita_packets_total", labels(direction=direction)] == report["packets"][direction]
        assert samples["fajita_bytes_total", labels(direction=direction)] == report["bytes"][direction]
    assert samples["fajita_drops_total", labels(nf="rate_limiter", reason="over rate")] == 8
    assert samples["fajita_nf_packets_total", labels(nf="rate_limiter", direction="in")] == 12
    assert samples["fajita_flows_active", ()] == report["flows"]["active"]
    assert samples["fajita_worker_packets_total", labels(worker="0")] == 12
    for number, table in enumerate(report["tables"]):
        place = labels(table=str(number), key=table["key"])
        assert samples["fajita_table_entries", place] == table["entries"]
        assert samples["fajita_table_capacity", place] == table["capacity"]
    assert samples["fajita_info", labels(chain="limited", engine=engine)] == 1


def test_names_are_as_prometheus_wants_them():
    for family in families(make_snapshot(some_run())):
        assert family.name.startswith("fajita_")
        assert family.text.endswith(".")
        assert all(len(values) == len(family.labels) for values, _ in family.samples)
        assert family.is_counter or not family.name.endswith(("_packets", "_seconds"))


def test_every_metric_is_documented():
    port = {"port": "p", "link": True, "unsent": 0, "missed": 0, "no_memory": 0, "copied": 0}
    port |= {way: {"packets": 0, "bytes": 0} for way in ("in", "out")} | {"refused": {}, "errors": {}}
    documented = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", METRICS.read_text(), re.MULTILINE)
    served = families(make_snapshot(some_run()) | {"ports": [port]})
    assert documented == [(each.name, ", ".join(f"`{label}`" for label in each.labels), each.text) for each in served]


def test_a_snapshot_is_the_report_without_summaries():
    run = some_run()
    report = make_report(run)
    for nf in report["nfs"]:
        del nf["summary"]
    assert make_snapshot(run) == report


def test_of_replicas_a_snapshot_has_the_entries_of_all():
    plan = Chain([FlowCounter(), DestinationCounter()]).plan_with(shard="five_tuple", sharing="replicated")
    engine = ParallelEngine(plan, 2)
    engine.process(FrameBlock.from_frames(many_flows(70, 1).frames))
    (destinations,) = (table.index for table in plan.tables if table.sharing == "replicated")
    assert engine.counters().tables[destinations].active == 10
    assert 10 < engine.counters(distinct=False).tables[destinations].active <= 20


def test_counters_never_fall():
    report, port = make_snapshot(some_run()), free_port()
    with serving(f"127.0.0.1:{port}", lambda: report):
        url = f"http://127.0.0.1:{port}/metrics"
        before = scraped(url)
        report["packets"]["in"] -= 3
        report["flows"]["active"] -= 1
        after = scraped(url)
    packets = "fajita_packets_total", labels(direction="in")
    assert after[packets] == before[packets]
    assert after["fajita_flows_active", ()] == before["fajita_flows_active", ()] - 1


def test_before_there_is_anything_nothing_is_served():
    port = free_port()
    with serving_blocks(str(port), lambda capture, packets: None):
        assert scraped(f"http://127.0.0.1:{port}/") == {}


def test_where_nobody_asks_nothing_is_called_but_what_was():
    seen = []
    with serving_blocks(None, lambda capture, packets: seen.append(packets)) as (before_block, after_block):
        after_block(None, 7)
    assert (before_block, seen) == (None, [7])


@pytest.mark.parametrize("kind", ["file", "blocks"])
def test_a_run_over_blocks_is_served_while_it_goes_on(tmp_path, kind):
    """Whoever is asked between two blocks of a file answers at the end of the next."""
    port, seen = free_port(), []

    class Asked:
        bytes_total = 1 if kind == "file" else None

    run = some_run()
    with serving_blocks(str(port), lambda capture, packets: seen.append(packets)) as (before_block, after_block):
        before_block(run)
        after_block(Asked(), 12)
        if kind == "file":
            asking = subprocess.Popen(
                ["curl", "-s", f"http://127.0.0.1:{port}/metrics"], stdout=subprocess.PIPE, text=True
            )
            while asking.poll() is None:
                after_block(Asked(), 12)
            text = asking.communicate()[0]
            assert 'fajita_packets_total{direction="in"} 12.0' in text
        else:
            samples = scraped(f"http://127.0.0.1:{port}/metrics")
            assert samples["fajita_packets_total", labels(direction="in")] == 12
    assert seen[0] == 12


def test_the_command_serves_while_it_waits_for_its_input(tmp_path):
    port, capture = free_port(), some_capture(tmp_path, flows=10, repeats=2).read_bytes()
    arguments = ("run", THREE, "--pcap", "-", "--metrics", f"localhost:{port}", "--quiet")
    with start(*arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdin.write(capture)
        process.stdin.flush()
        deadline, packets = time.monotonic() + 60, 0.0
        while packets != 20 and process.poll() is None and time.monotonic() < deadline:
            try:
                samples = scraped(f"http://127.0.0.1:{port}/metrics")
            except urllib.error.URLError:
                continue  # it has just been started
            packets = samples.get(("fajita_packets_total", labels(direction="in")), 0.0)
        assert packets == 20
        _, complaints = process.communicate()
    assert (process.returncode, complaints) == (0, b"")


@pytest.mark.parametrize(
    "where", ["", "x", ":", "localhost", "localhost:", "localhost:http", "1:2:3", "::1:9400", "0", "65536", "1.5", "-1"]
)
def test_what_is_no_place_is_refused(where):
    with pytest.raises(InputError, match="a port, or an address and a port, such as 9400"), serving(where, dict):
        pass


@pytest.mark.parametrize("host", ["", ":", "localhost:", "127.0.0.1:", "[127.0.0.1]:"])
def test_without_another_address_only_this_machine_is_served(host):
    port = free_port()
    with serving(f"{host}{port}", lambda: None):
        assert scraped(f"http://127.0.0.1:{port}/") == {}
    with serving(f"{host}{port}", lambda: None):  # it is given back at once
        pass


def test_a_port_that_is_taken_is_refused_before_the_work(capsys, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        result = call(capsys, "run", THREE, "--pcap", some_capture(tmp_path), "--metrics", where)
    right = "a port that is free, at an address of this machine"
    assert result.status == 2
    assert result.complaint == f"--metrics {where}: cannot serve metrics there: Address already in use; {right}"


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_refused(host):
    refused = pytest.raises(InputError, match=f"^--metrics {host}:9400: cannot serve metrics there")
    with refused, serving(f"{host}:9400", lambda: None):
        pass


def test_without_the_library_the_command_says_how_to_get_it(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    result = call(capsys, "run", THREE, "--pcap", some_capture(tmp_path), "--metrics", "9400")
    assert (result.status, result.complaint) == (2, "--metrics needs prometheus_client; pip install 'fajita[metrics]'")
