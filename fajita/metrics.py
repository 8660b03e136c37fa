"""What goes on in a run, for Prometheus: numbers of the report, served by HTTP while packets come.

Who asks does not stop the run: it gets a snapshot (fajita.report.make_snapshot) that needs no look at the entries of
tables. Without an address only this machine can ask.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

from fajita.errors import InputError
from fajita.report import make_snapshot
from fajita.run import Run

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from fajita.io.capture import Capture
    from fajita.live import LiveRun

#: A report without the summaries of NFs; None: there is nothing yet.
Snapshot = Callable[[], dict[str, Any] | None]
#: What `execute` calls after each block, and before.
Progress = Callable[["Capture | None", int], None]
BeforeBlock = Callable[[Run], None]
#: What `execute_live` calls each second.
Watch = Callable[["LiveRun"], None]

_THIS_MACHINE = "127.0.0.1"
_LAST_PORT = 65_535
#: How long who asks waits at most for the block that is being run.
_LONGEST_WAIT_S = 1.0


@dataclass
class Family:
    """Samples with one name: the values of labels, and the number. A counter never falls, its name ends with _total."""

    name: str
    text: str
    labels: tuple[str, ...]
    samples: Sequence[tuple[tuple[str, ...], float]]

    @property
    def is_counter(self) -> bool:
        """Or else a gauge."""
        return self.name.endswith("_total")


def families(report: dict[str, Any]) -> Iterator[Family]:
    """What a report says, by Prometheus' conventions for names: units in full, _total for what only rises."""
    yield Family("fajita_info", "The run.", ("chain", "engine"), [((report["chain"], report["engine"]), 1)])
    for what in ("packets", "bytes"):
        both = [((direction,), report[what][direction]) for direction in ("in", "out")]
        yield Family(f"fajita_{what}_total", f"The {what} that came, and that went on.", ("direction",), both)
    yield Family(
        "fajita_drops_total",
        "Packets dropped, by the network function or stage.",
        ("nf", "reason"),
        [((name, reason), count) for name, reasons in report["drops"].items() for reason, count in reasons.items()],
    )
    yield Family(
        "fajita_other_packets_total",
        "Packets that no network function was about.",
        ("reason",),
        [((reason,), count) for reason, count in report["other"].items()],
    )
    yield from _of_flows(report)
    yield from _of_tables(report)
    yield from _of_nfs(report)
    yield from _of_workers(report)
    yield from _of_ports(report.get("ports", []))


def _of_flows(report: dict[str, Any]) -> Iterator[Family]:
    flows = report["flows"]
    yield Family("fajita_flows_active", "Flows in the finest table.", (), [((), flows["active"])])
    for event in ("created", "expired", "evicted"):
        yield Family(f"fajita_flows_{event}_total", f"Flows {event} in the finest table.", (), [((), flows[event])])


def _of_tables(report: dict[str, Any]) -> Iterator[Family]:
    labels, tables = ("table", "key"), report["tables"]
    for name, text, column in (
        ("fajita_table_entries", "Entries of a table.", "entries"),
        ("fajita_table_capacity", "Entries that a table takes, at most or before it grows.", "capacity"),
        ("fajita_table_bytes", "Memory of a table.", "bytes"),
        ("fajita_table_created_total", "Entries begun.", "created"),
        ("fajita_table_expired_total", "Entries ended because they were idle.", "expired"),
        ("fajita_table_evicted_total", "Entries ended for another.", "evicted"),
        ("fajita_table_refused_packets_total", "Packets of new flows that found the table full.", "refused"),
    ):
        samples = [((str(number), table["key"]), table[column]) for number, table in enumerate(tables)]
        yield Family(name, text, labels, samples)
    limit = report["memory"]["limit_bytes"]
    if limit is not None:
        yield Family("fajita_memory_limit_bytes", "What all tables may take.", (), [((), limit)])


def _of_nfs(report: dict[str, Any]) -> Iterator[Family]:
    nfs = report["nfs"]
    yield Family(
        "fajita_nf_packets_total",
        "Packets that came to a network function, and that went on from it.",
        ("nf", "direction"),
        [((nf["name"], direction), nf[direction]) for nf in nfs for direction in ("in", "out")],
    )
    records = [((nf["name"],), nf["records"]) for nf in nfs]
    yield Family("fajita_nf_records_total", "Records that a network function emitted.", ("nf",), records)


def _of_workers(report: dict[str, Any]) -> Iterator[Family]:
    for name, text, column in (
        ("fajita_worker_packets_total", "Packets that a worker had.", "packets"),
        ("fajita_worker_busy_seconds_total", "Time for which a worker was at work.", "busy_seconds"),
    ):
        samples = [((str(shard["core"]),), shard[column]) for shard in report["shards"]]
        yield Family(name, text, ("worker",), samples)


def _of_ports(ports: Sequence[dict[str, Any]]) -> Iterator[Family]:
    """Of a live run."""
    if not ports:
        return
    yield Family("fajita_port_up", "Whether a port has a link.", ("port",), [((p["port"],), p["link"]) for p in ports])
    for what in ("packets", "bytes"):
        both = [((p["port"], direction), p[direction][what]) for p in ports for direction in ("in", "out")]
        yield Family(f"fajita_port_{what}_total", f"The {what} of a port.", ("port", "direction"), both)
    for name, text, column in (
        ("fajita_port_unsent_packets_total", "Packets that a port did not take.", "unsent"),
        ("fajita_port_missed_packets_total", "Packets that came while a queue was full.", "missed"),
        ("fajita_port_no_memory_packets_total", "Packets that came while there was no mbuf.", "no_memory"),
        ("fajita_port_copied_packets_total", "Packets in pieces, or that others see, copied into one piece.", "copied"),
    ):
        yield Family(name, text, ("port",), [((p["port"],), p[column]) for p in ports])
    for name, text, label, column in (
        ("fajita_port_refused_packets_total", "Packets not believed, or without room.", "reason", "refused"),
        ("fajita_port_errors_total", "Errors that a device counts.", "direction", "errors"),
    ):
        counts = [((p["port"], what), count) for p in ports for what, count in p[column].items()]
        yield Family(name, text, ("port", label), counts)


class BlockSnapshots:
    """Snapshots of a run over blocks, taken between two of them by the thread that runs them, when somebody has asked.

    Of blocks that are no file's after each: it may take long until the next one comes.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._run: Run | None = None
        self._is_file = False
        self._latest: dict[str, Any] | None = None
        self._wanted, self._is_there = Event(), Event()

    def before_block(self, run: Run) -> None:
        """Which run it is, as `execute` says."""
        self._run = run

    def after_block(self, capture: "Capture | None", packets: int) -> None:
        """As `execute` calls `progress`."""
        self._progress(capture, packets)
        self._is_file = capture is not None and capture.bytes_total is not None
        if self._run is not None and (self._wanted.is_set() or not self._is_file):
            self._wanted.clear()
            self._latest = make_snapshot(self._run)
            self._is_there.set()

    def __call__(self) -> dict[str, Any] | None:
        """As of the end of the next block, or of the latest where that does not come soon."""
        if self._is_file:
            self._is_there.clear()
            self._wanted.set()
            self._is_there.wait(_LONGEST_WAIT_S)
        return self._latest


@contextmanager
def serving_blocks(where: str | None, progress: Progress) -> Iterator[tuple[BeforeBlock | None, Progress]]:
    """Serve a run over blocks while the body runs, if somewhere; gives what `execute` is to call before and after each.

    InputError as of `serving`.
    """
    if where is None:
        yield None, progress
        return
    snapshots = BlockSnapshots(progress)
    with serving(where, snapshots):
        yield snapshots.before_block, snapshots.after_block


class LiveSnapshots:
    """Snapshots of a live run, taken each second by the thread that waits for its workers, who go on meanwhile."""

    def __init__(self, status: Watch) -> None:
        self._status = status
        self._latest: dict[str, Any] | None = None

    def watch(self, run: "LiveRun") -> None:
        """As `execute_live` calls it."""
        self._status(run)
        self._latest = live_snapshot(run)

    def __call__(self) -> dict[str, Any] | None:
        """As of the last second."""
        return self._latest


def live_snapshot(run: "LiveRun") -> dict[str, Any]:
    """The report of a live run so far, without summaries, while its workers are at work."""
    from fajita.live import port_report

    snapshot = make_snapshot(run)
    for shard, busy_seconds in zip(snapshot["shards"], run.busy_now(), strict=True):
        shard["busy_seconds"] = busy_seconds
    return snapshot | {"ports": port_report(run.session)}


@contextmanager
def serving_live(where: str | None, status: Watch) -> Iterator[Watch]:
    """Serve a live run while the body runs, if somewhere; gives what `execute_live` is to call. InputError as of
    `serving`."""
    if where is None:
        yield status
        return
    snapshots = LiveSnapshots(status)
    with serving(where, snapshots):
        yield snapshots.watch


class _Collector:
    """What prometheus_client asks for samples. What only rises never falls for it.

    For a snapshot of workers that are at it is not of one instant, and a counter that falls is taken for a new start.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._highest: dict[tuple[str, tuple[str, ...]], float] = {}

    def collect(self) -> Iterable["Metric"]:
        """The samples of now."""
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        report = self._snapshot()
        for family in families(report) if report is not None else ():
            kind = CounterMetricFamily if family.is_counter else GaugeMetricFamily
            metric = kind(family.name, family.text, labels=family.labels)
            for labels, value in family.samples:
                metric.add_metric(labels, self._risen(family.name, labels, value) if family.is_counter else value)
            yield metric

    def _risen(self, name: str, labels: tuple[str, ...], value: float) -> float:
        value = max(value, self._highest.get((name, labels), 0))
        self._highest[name, labels] = value
        return value


@contextmanager
def serving(where: str, snapshot: Snapshot) -> Iterator[None]:
    """While the body runs, serve what `snapshot` gives, at [ADDR:]PORT.

    InputError if that is no place, or cannot be had. `snapshot` is called in another thread than the caller's.
    """
    host, port = _place(where)
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError:
        raise InputError("--metrics needs prometheus_client", right="pip install 'fajita[metrics]'") from None
    registry = CollectorRegistry()
    registry.register(_Collector(snapshot))
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        right = "a port that is free, at an address of this machine"
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise InputError(f"cannot serve metrics there: {reason}", f"--metrics {where}", right) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _place(where: str) -> tuple[str, int]:
    """Address and port; InputError for anything else."""
    host, _, port = where.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        port = ""  # an IPv6 address without brackets: where does it end?
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= _LAST_PORT):
        right = "a port, or an address and a port, such as 9400, 127.0.0.1:9400 or [::1]:9400"
        raise InputError(f"--metrics {where}", right=right)
    return host or _THIS_MACHINE, int(port)
