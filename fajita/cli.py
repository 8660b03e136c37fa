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
from typing import Annotated

import typer

from fajita import console
from fajita.bench_command import bench
from fajita.chain import Chain
from fajita.errors import InputError
from fajita.interruption import interruptible, status_of
from fajita.io.frames import FrameBlock
from fajita.options import (
    ChainFile,
    Cores,
    JsonFile,
    Limit,
    NoAuxiliary,
    NoPrefetch,
    Order,
    Pcap,
    Quiet,
    Seed,
    Shard,
    SharingName,
    Size,
    Spray,
    Strict,
)
from fajita.output_file import check_outputs, write_json
from fajita.plural import counted
from fajita.rss import check_workers
from fajita.run_command import run
from fajita.tuning import Tuning

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


app.command()(run)


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
    console.say(f"{chain}: ok, {', '.join(nf.nf.name for nf in plan.nfs)}; {counted(len(plan.tables), 'table')}")
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
