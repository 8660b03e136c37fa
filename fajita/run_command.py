"""`fajita run`: a chain over a capture, or live between ports; packets, report, state and records out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fajita import console
from fajita.chain import Chain
from fajita.ends import Ends
from fajita.interruption import Interruption, interruptible
from fajita.options import (
    Balance,
    ChainFile,
    Cores,
    Dpdk,
    Drain,
    Duration,
    EngineName,
    InPort,
    InsidePort,
    Ipfix,
    JsonFile,
    Limit,
    Memory,
    Metrics,
    OutsidePort,
    Quiet,
    RunPcap,
    Shard,
    SharingName,
    Spray,
    Strict,
)
from fajita.output_file import check_folder, check_outputs, failures, write_json
from fajita.quantities import given_duration, given_size
from fajita.rss import check_workers
from fajita.tuning import Tuning

if TYPE_CHECKING:
    from fajita.plan import Plan
    from fajita.records import RecordSink
    from fajita.run import Run


def run(
    chain: ChainFile,
    pcap: RunPcap = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="FILE|PORT", help="Write the frames that go on, or send them there.")
    ] = None,
    dpdk: Dpdk = None,
    in_port: InPort = None,
    inside: InsidePort = None,
    outside: OutsidePort = None,
    duration: Duration = None,
    cores: Cores = 1,
    shard: Shard = None,
    sharing: SharingName = None,
    spray: Spray = False,
    balance: Balance = None,
    engine: Annotated[EngineName, typer.Option(help="Which engine.")] = EngineName.compiled,
    json_file: JsonFile = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="DIR", help="Write state and records, as Parquet.")
    ] = None,
    ipfix: Ipfix = None,
    limit: Limit = None,
    memory: Memory = None,
    drain: Drain = False,
    metrics: Metrics = None,
    quiet: Quiet = False,
    strict: Strict = False,
) -> int:
    """Run a chain over a capture, or live between ports of DPDK: packets, report and state out."""
    check_workers(cores)
    memory_bytes = None if memory is None else given_size("--memory", memory)
    balance_ns = None if balance is None else given_duration("--balance", balance)
    duration_ns = None if duration is None else given_duration("--duration", duration)
    ends = Ends(pcap, dpdk, out, in_port, inside, outside, duration)
    other_engine = engine.value if engine is not EngineName.compiled else None
    ends.check({"--balance": balance, "--spray": spray, "--strict": strict, f"--engine {other_engine}": other_engine})
    ipfix_file = None if ipfix is None or "://" in ipfix else ipfix
    outputs = {"--out": ends.out_file, "--json": json_file, "--ipfix": ipfix_file}
    check_outputs(outputs, inputs=(chain, *ends.files))
    how: dict[str, Any] = {
        "cores": cores,
        "limit": limit,
        "memory_bytes": memory_bytes,
        "drain": drain or ipfix is not None,
    }
    # From here on, as a KeyboardInterrupt in the middle of an import may be lost.
    with interruptible() as interruption:
        plan = Chain.load(chain).plan_with(Tuning(sprays=spray), shard=shard, sharing=sharing)
        how |= {"records": _record_sink(plan, export, ipfix), "interruption": interruption}
        if ends.is_live:
            done = _run_live(plan, ends, metrics, quiet, how | {"duration_ns": duration_ns})
        else:
            how |= {"engine": engine.value, "strict": strict, "balance_ns": balance_ns}
            done = _run_capture(plan, ends, metrics, quiet, how)
    is_shown = not quiet and "-" not in (json_file, ends.out_file)
    return _finish(done, interruption, json_file, export, is_shown=is_shown)


def _run_live(plan: "Plan", ends: Ends, metrics: str | None, quiet: bool, how: dict[str, Any]) -> "Run":
    """how: the other arguments of `execute_live`."""
    from fajita.live import execute_live
    from fajita.metrics import serving_live

    assert ends.dpdk is not None
    with console.live_status(plan.name, quiet) as status, serving_live(metrics, status) as watch:
        return execute_live(plan, ends.dpdk, ends.ports(), watch=watch, **how)


def _run_capture(plan: "Plan", ends: Ends, metrics: str | None, quiet: bool, how: dict[str, Any]) -> "Run":
    """how: the other arguments of `execute`."""
    from fajita.metrics import serving_blocks
    from fajita.run import execute

    assert ends.pcap is not None
    with (
        console.reading_progress(plan.name, quiet) as progress,
        serving_blocks(metrics, progress) as (before_block, after_block),
    ):
        return execute(plan, ends.pcap, out=ends.out, before_block=before_block, progress=after_block, **how)


def _finish(
    done: "Run", interruption: Interruption, json_file: str | None, export: Path | None, *, is_shown: bool
) -> int:
    """What came of a run is written, shown and said; the exit status."""
    errors = [done.error] if done.error is not None else []
    # Its summaries look at every entry, which takes a while; not for nothing.
    report = done.report if is_shown or json_file is not None else {}
    if export is not None:
        from fajita.export import export_state

        errors += failures(lambda: export_state(done.engine, done.plan, export))
    if json_file is not None:
        errors += failures(lambda: write_json(json_file, report))
    for warning in done.warnings:
        console.complain(f"warning: {warning}")
    if is_shown:
        console.print_report(report)
    if done.interrupted:
        packets = done.engine.counters().packets_in
        console.complain(f"interrupted after {packets:,} packets, which are all accounted for")
    for error in errors:
        console.complain(str(error))
    if errors:
        return 2
    return interruption.exit_status if done.interrupted else 0


def _record_sink(plan: "Plan", export: Path | None, ipfix: str | None) -> "RecordSink | None":
    """Where the records of a run go: to files in the folder, as IPFIX, both, or nowhere."""
    sinks: list[RecordSink] = []
    if export is not None:
        from fajita.records import RecordFiles

        check_folder(export, "export")
        sinks.append(RecordFiles(export, plan))
    if ipfix is not None:
        from fajita.ipfix import IpfixRecords

        sinks.append(IpfixRecords(ipfix, plan))
    if len(sinks) < 2:
        return sinks[0] if sinks else None
    from fajita.records import SeveralSinks

    return SeveralSinks(sinks)
