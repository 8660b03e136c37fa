"""The command line: `fajita run chain.yaml --pcap trace.pcap` and its siblings.

What is imported at the top is what every command needs; the rest, numba above all, is imported where it is used.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fajita import console
from fajita.bench_command import bench
from fajita.chain import Chain
from fajita.ends import Ends
from fajita.errors import InputError
from fajita.interruption import interruptible, status_of
from fajita.io.frames import FrameBlock
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
    NoAuxiliary,
    NoPrefetch,
    Order,
    OutsidePort,
    Pcap,
    Quiet,
    RunPcap,
    Seed,
    Shard,
    SharingName,
    Size,
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

app = typer.Typer(
    name="fajita",
    help="Stateful network functions in typed Python, compiled into one batched kernel.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        import fajita

        console.say(f"fajita {fajita.__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What stands before a command."""


@app.command()
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
    from fajita.metrics import serving_blocks, serving_live
    from fajita.run import execute

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
    # From here on, as a KeyboardInterrupt in the middle of an import may be lost.
    with interruptible() as interruption:
        plan = Chain.load(chain).plan_with(Tuning(sprays=spray), shard=shard, sharing=sharing)
        records = _record_sink(plan, export, ipfix)
        if dpdk is not None:
            from fajita.live import execute_live

            with console.live_status(plan.name, quiet) as status, serving_live(metrics, status) as watch:
                done: Run = execute_live(
                    plan,
                    dpdk,
                    ends.ports(),
                    cores=cores,
                    limit=limit,
                    duration_ns=duration_ns,
                    records=records,
                    memory_bytes=memory_bytes,
                    drain=drain or ipfix is not None,
                    watch=watch,
                    interruption=interruption,
                )
        else:
            assert pcap is not None
            with (
                console.reading_progress(plan.name, quiet) as progress,
                serving_blocks(metrics, progress) as (before_block, after_block),
            ):
                done = execute(
                    plan,
                    pcap,
                    out=out,
                    cores=cores,
                    engine=engine.value,
                    limit=limit,
                    strict=strict,
                    records=records,
                    memory_bytes=memory_bytes,
                    balance_ns=balance_ns,
                    drain=drain or ipfix is not None,
                    before_block=before_block,
                    progress=after_block,
                    interruption=interruption,
                )
    errors = [done.error] if done.error is not None else []
    # Its summaries look at every entry, which takes a while; not for nothing.
    shows_report = not quiet and "-" not in (json_file, ends.out_file)
    report = done.report if shows_report or json_file is not None else {}
    if export is not None:
        from fajita.export import export_state

        errors += failures(lambda: export_state(done.engine, plan, export))
    if json_file is not None:
        errors += failures(lambda: write_json(json_file, report))
    for warning in done.warnings:
        console.complain(f"warning: {warning}")
    if shows_report:
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


@app.command()
def verify(
    chain: ChainFile,
    pcap: Pcap,
    cores: Cores = 1,
    shard: Shard = None,
    sharing: SharingName = None,
    spray: Spray = False,
    limit: Limit = None,
    quiet: Quiet = False,
    strict: Strict = False,
) -> int:
    """Run both engines over a capture and compare every frame, verdict, counter and state."""
    from fajita.io.capture import open_capture
    from fajita.verify import both_engines, verify_blocks

    check_workers(cores)
    plan = Chain.load(chain).plan_with(Tuning(sprays=spray), shard=shard, sharing=sharing)
    with (
        open_capture(pcap, strict=strict, limit=limit) as capture,
        console.reading_progress(plan.name, quiet) as progress,
    ):

        def blocks() -> Iterator[FrameBlock]:
            for block in capture:
                progress(capture, capture.packets)
                yield block

        result = verify_blocks(plan, blocks(), partial(both_engines, cores=cores))
        for warning in capture.warnings:
            console.complain(f"warning: {warning}")
    if result.difference is not None:
        console.say(f"{pcap}: the engines differ\n{result.difference}")
        return 1
    if not quiet:
        console.say(f"{pcap}: no difference in {result.packets:,} packets")
    return 0


@app.command()
def check(chain: ChainFile) -> int:
    """Check a chain and the source of its network functions, without running it."""
    plan = Chain.load(chain).plan
    tables = f"{len(plan.tables)} table{'' if len(plan.tables) == 1 else 's'}"
    console.say(f"{chain}: ok, {', '.join(nf.nf.name for nf in plan.nfs)}; {tables}")
    return 0


@app.command()
def explain(
    chain: ChainFile,
    source: Annotated[bool, typer.Option("--source", help="Print the generated kernel.")] = False,
    shard: Shard = None,
    sharing: SharingName = None,
    no_prefetch: NoPrefetch = False,
    no_auxiliary: NoAuxiliary = False,
) -> int:
    """Say how a chain will be run: tables, entries, lookups and why; or print the kernel made for it."""
    tuning = Tuning(prefetch=not no_prefetch, auxiliary=not no_auxiliary)
    plan = Chain.load(chain).plan_with(tuning, shard=shard, sharing=sharing)
    if source:
        from fajita.kernel.generate import generate

        console.say(generate(plan).rstrip())
    else:
        from fajita.explain import explain as explain_plan

        console.say(explain_plan(plan))
    return 0


@app.command()
def nfs(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One of them.", show_default=False)] = None,
) -> int:
    """List the network functions that can be used in a chain, or describe one."""
    from fajita.describe import describe
    from fajita.registry import find_nf, shipped_nfs

    if name is None:
        for each in shipped_nfs():
            console.say(f"{each:<22}{describe(each, find_nf(each, Path())).purpose}")
    else:
        console.print_description(describe(name, find_nf(name, Path())))
    return 0


@app.command()
def fields() -> int:
    """List what an NF can read and write of a packet."""
    from fajita.describe import describe_fields

    line = "{:<20}{:<24}{:<20}{}".format
    console.say(line("pkt.", "in packets", "writable in", "what it is"))
    for field in describe_fields():
        console.say(line(field.name, field.packets, field.written_in or "-", field.text))
    return 0


@app.command()
def gen(
    out: Annotated[str, typer.Argument(metavar="OUT.pcap", help="The capture to write; - is standard output.")],
    flows: Annotated[int, typer.Option("--flows", help="Flows.")],
    packets: Annotated[int, typer.Option("--packets", help="Packets.")],
    size: Size = 60,
    order: Annotated[Order, typer.Option("--order", help="Which flow each packet belongs to.")] = Order.uniform,
    seed: Seed = 1,
    quiet: Quiet = False,
) -> int:
    """Make a trace of TCP and UDP over IPv4."""
    from fajita.io.generate_trace import generate_trace

    with (
        interruptible() as interruption,
        interruption.immediate(),
        console.progress_bar("generating", False, quiet) as update,
    ):
        generate_trace(
            out, flows, packets, size=size, order=order.value, seed=seed, progress=lambda done: update(done, packets)
        )
    return 0


@app.command()
def doctor(json_file: JsonFile = None) -> int:
    """Check what a run with DPDK needs of this machine, and say how to get what is missing; 2 if it needs more."""
    from fajita.doctor.check import examine, is_possible

    check_outputs({"--json": json_file}, inputs=())
    findings = examine()
    if json_file is not None:
        write_json(json_file, {"ok": is_possible(findings), "checks": [asdict(finding) for finding in findings]})
    if json_file != "-":
        console.print_findings(findings)
    return 0 if is_possible(findings) else 2


app.command()(bench)


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the arguments, and where it says what would be right."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "fajita"
    return f"{error.format_message().rstrip('.')}; {command} --help shows what is possible"


def _invoke() -> int:
    """Not through typer's own main, which would end in its own way at Ctrl-C and at a pipe that nobody reads."""
    command = typer.main.get_command(app)
    # What help says does not go through `console.say`.
    writing = console.standard_output() if "--help" in sys.argv else nullcontext()
    with writing, command.make_context("fajita", sys.argv[1:]) as context:
        status: int = command.invoke(context)
        return status


def main() -> None:
    """Run a command; the exit status is 0, 1 (verify found a difference), 2 (the input is at fault), 130
    (Ctrl-C), 143 (SIGTERM) or 141 (nobody reads the output; as of a program that SIGPIPE ends)."""
    console.prepare_streams()
    try:
        status = _invoke()
    except typer.Exit as end:  # after --help
        status = end.exit_code
    except InputError as error:
        console.complain(str(error))
        status = 2
    except typer.TyperException as error:
        console.complain(_usage(error))
        status = 2
    except KeyboardInterrupt as interrupt:
        console.complain("interrupted")
        status = status_of(interrupt)
    except console.ReaderGoneError:
        status = 128 + signal.SIGPIPE
    sys.exit(status)
