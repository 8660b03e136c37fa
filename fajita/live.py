"""A live run: a chain between ports of DPDK, until somebody stops it, and what came of it."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from fajita.dpdk.environment import begin_environment, has_huge_pages
from fajita.dpdk.port import Port, find_port
from fajita.dpdk.queue import Lane
from fajita.dpdk.session import Session
from fajita.engine.compiled import CompiledEngine
from fajita.engine.live import LiveWorkers
from fajita.engine.parallel import ParallelEngine
from fajita.engine.workers import live_engine
from fajita.errors import InputError, errors_at_the_end
from fajita.interruption import Interruption
from fajita.plan import Plan
from fajita.records import RecordSink
from fajita.rss import check_workers
from fajita.run import Run, Seconds, kept_in

#: How long the thread that waits for workers does so before it looks for what else there is.
_GLANCE_S = 0.02
#: So often workers keep house, and `watch` is called.
_ROUND_S = 1.0


@dataclass(frozen=True)
class Ports:
    """The ports of a run by DPDK's names or numbers, and the options that named them.

    both_ways: what comes in at `second` goes out at `first`.
    """

    first: str
    second: str
    both_ways: bool
    options: tuple[str, str] = ("--in", "--out")

    def lanes(self) -> list[Lane]:
        """From where to where packets go; InputError for a port that is not there."""
        first, second = (find_port(name, option) for name, option in zip(self._names(), self.options, strict=True))
        second = first if second.number == first.number else second
        there = Lane(first, second)
        return [there, Lane(second, first)] if self.both_ways else [there]

    def _names(self) -> tuple[str, str]:
        return self.first, self.second


@dataclass
class LiveRun(Run):
    """A run whose packets come from ports. started_ns: when workers were started, by the monotonic clock."""

    engine: CompiledEngine | ParallelEngine
    session: Session = field(kw_only=True)
    started_ns: int = field(default=0, kw_only=True)

    @property
    def report(self) -> dict[str, Any]:
        """As of any run, and `ports`: what came in at each port and went out, and what was lost there; `huge_pages`.

        Its summaries read the tables: only once workers have stopped. `watch` has packets_now and its siblings.
        """
        return super().report | {"ports": port_report(self.session), "huge_pages": has_huge_pages()}

    def packets_now(self) -> list[int]:
        """Packets so far: that came in, that went out, that the chain dropped. While workers are at work, too."""
        counters = [engine.counters() for engine in self.engines()]
        came, passed = (sum(getattr(each, name) for each in counters) for name in ("packets_in", "packets_out"))
        return [came, sum(lane.out_packets for lane in self.session.counts()), came - passed]

    def busy_now(self) -> list[float]:
        """How long packets were at work, by worker, in seconds."""
        return [queue.busy_seconds() for queue in self.session.queues]

    def tables_now(self) -> list[tuple[str, int, int]]:
        """Key, entries and capacity of each table, replicas added up."""
        tables = zip(*(engine.tables for engine in self.engines()), strict=True)
        return [
            (parts[0].plan.key.name, sum(part.entries for part in parts), sum(part.capacity for part in parts))
            for parts in tables
        ]

    def ports_down(self) -> list[str]:
        """The names of ports without a link."""
        return [port.name for port in self.session.ports if not self.session.is_up(port)]

    def engines(self) -> list[CompiledEngine]:
        """Those of the workers."""
        return self.engine.engines if isinstance(self.engine, ParallelEngine) else [self.engine]


def port_report(session: Session) -> list[dict[str, Any]]:
    """What each port has received and sent by fajita's count, and what was lost, by fajita's and its own."""
    return [_of_port(session, port) for port in session.ports]


def _of_port(session: Session, port: Port) -> dict[str, Any]:
    lanes = list(zip(session.lanes, session.counts(), strict=True))
    came = [counts for lane, counts in lanes if lane.source.number == port.number]
    went = [counts for lane, counts in lanes if lane.target.number == port.number]
    own = asdict(session.port_counts(port))
    return {
        "port": port.name,
        "driver": port.description.driver,
        "mac": port.description.mac,
        "link": session.is_up(port),
        "in": {"packets": sum(each.in_packets for each in came), "bytes": sum(each.in_bytes for each in came)},
        "out": {"packets": sum(each.out_packets for each in went), "bytes": sum(each.out_bytes for each in went)},
        "unsent": sum(each.unsent for each in went),
        "refused": {
            "malformed": sum(each.malformed for each in came),
            "too long": sum(each.too_long for each in came),
            "no memory": sum(each.no_memory for each in came),
        },
        "spreads": port.is_spreading,
        "handed_over": sum(each.handed for each in came),
        "copied": sum(each.copied for each in came),
        "missed": own["missed"],
        "no_memory": own["no_memory"],
        "errors": {"in": own["in_errors"], "out": own["out_errors"]},
    }


def execute_live(
    plan: Plan,
    arguments: str,
    ports: Ports,
    *,
    cores: int = 1,
    limit: int | None = None,
    duration_ns: int | None = None,
    records: RecordSink | None = None,
    memory_bytes: int | None = None,
    drain: bool = False,
    watch: Callable[[LiveRun], None] = lambda run: None,
    interruption: Interruption | None = None,
) -> LiveRun:
    """Run a chain between ports of DPDK until a signal, the limit of packets or the end of the duration.

    arguments: EAL's. watch: called once a second, in this thread. Other parameters are those of `execute`.
    """
    check_workers(cores)
    seconds, interruption = Seconds(), interruption or Interruption()
    with seconds.spent_on("total"):
        with seconds.spent_on("compile"):
            begin_environment(arguments)
            session = Session(ports.lanes(), cores, plan.sharding.fields)
        try:
            with seconds.spent_on("compile"):
                engine = live_engine(plan, cores, memory_bytes=memory_bytes)
                workers = LiveWorkers(engine, session.queues, limit)
            run = LiveRun(plan, engine, "compiled", seconds, records, session=session)
            _run_workers(run, workers, session, duration_ns, watch, interruption)
        except BaseException:
            interruption.is_deferred = True
            session.close()
            raise
        interruption.is_deferred = True
        with kept_in(run):
            session.close()
        interruption.is_deferred = False
        _finish(run, workers, drain)
    run.is_over = True
    return run


def _run_workers(
    run: LiveRun,
    workers: LiveWorkers,
    session: Session,
    duration_ns: int | None,
    watch: Callable[[LiveRun], None],
    interruption: Interruption,
) -> None:
    with run.seconds.spent_on("process"), kept_in(run):
        session.start()
        interruption.is_deferred = True
        try:
            workers.start()
            interruption.is_deferred = False
            run.started_ns = time.monotonic_ns()
            next_round = time.monotonic() + _ROUND_S
            while not workers.wait(_GLANCE_S):
                if interruption.requested():
                    run.interrupted = True
                    break
                if duration_ns is not None and time.monotonic_ns() - run.started_ns >= duration_ns:
                    break
                workers.tick()
                if time.monotonic() >= next_round:
                    next_round += _ROUND_S
                    run.warnings += session.link_changes()
                    workers.keep_house()
                    _write_what_there_is(run, workers)  # while workers go on: no time of its own
                    watch(run)
        finally:
            interruption.is_deferred = True
            workers.stop()


def _write_what_there_is(run: LiveRun, workers: LiveWorkers) -> None:
    """Packets go on though their records do not."""
    try:
        _write_records(run, workers)
    except InputError as error:
        run.error = run.error or error


def _write_records(run: LiveRun, workers: LiveWorkers) -> None:
    with errors_at_the_end() as unless_refused:
        while not workers.records.empty():
            nf, sides = workers.records.get()
            if run.sink is not None:
                with unless_refused():
                    run.sink.write(nf, sides)


def _finish(run: LiveRun, workers: LiveWorkers, drain: bool) -> None:
    """End what is idle, or all, and write what is left."""
    with kept_in(run), run.seconds.spent_on("process"):
        workers.settle()
    if drain:
        with kept_in(run), run.seconds.spent_on("process"):
            run.engine.drain()
    with kept_in(run), run.seconds.spent_on("write"):
        workers.take_records()
        _write_records(run, workers)
    with kept_in(run), run.seconds.spent_on("write"):
        if run.sink is not None:
            run.sink.close()
