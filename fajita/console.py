"""What people see: the report and lists as tables, progress, and the one line that an error gets."""

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from fajita.errors import InputError
from fajita.plural import counted

if TYPE_CHECKING:
    from fajita.describe import NFDescription
    from fajita.doctor.finding import Finding
    from fajita.io.capture import Capture
    from fajita.live import LiveRun

_TABLE_STYLE: dict[str, Any] = {"box": None, "pad_edge": False, "header_style": "bold", "title_justify": "left"}


#: Columns where standard output is no terminal: enough for a table never to be folded.
_WIDE = 500


def prepare_streams() -> None:
    """Let any text be written, whatever the encoding, and let streams that the caller has closed lead nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Otherwise the next file that is opened would take the stream's place.
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class ReaderGoneError(Exception):
    """Whoever read standard output has enough, as in `fajita nfs | head -1`: nothing to complain about."""


def say(text: str) -> None:
    """Plain text to standard output; InputError if that is full, ReaderGoneError if it is a pipe that nobody reads."""
    with standard_output():
        print(text, flush=True)


@contextmanager
def standard_output() -> Iterator[None]:
    """While the body runs, all OSErrors are those of writing to standard output."""
    try:
        yield
    except OSError as error:
        # Python would try again at exit and complain in its own way.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise ReaderGoneError from None
        right = "write to a place with enough space"
        raise InputError(f"cannot write: {error.strerror}", "standard output", right) from None


def _show(*parts: RenderableType) -> None:
    """Tables and text, one below the other, to standard output."""
    is_terminal = sys.stdout.isatty()
    # Names and reasons come from users: a bracket or colon in them is no markup.
    console = Console(
        file=io.StringIO(),
        width=None if is_terminal else _WIDE,
        force_terminal=is_terminal,
        markup=False,
        emoji=False,
        highlight=False,
    )
    with console.capture() as capture:
        console.print(*parts, sep="\n")
    say("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))


def complain(text: str) -> None:
    """One line to standard error, whatever the message has in it; where nothing can be written, the status tells."""
    with suppress(OSError):
        print(f"fajita: {' '.join(text.split())}", file=sys.stderr, flush=True)


@contextmanager
def experiment_progress(
    quiet: bool, *, unit_is_bytes: bool = False
) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on standard error, silent if that is no terminal. Gives what to call with what goes on, what of it is done
    and the total."""
    if quiet or not sys.stderr.isatty():
        yield lambda description, done, total: None
        return
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    amount = DownloadColumn() if unit_is_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda description, done, total: progress.update(
            task, description=description, completed=done, total=total
        )


@contextmanager
def progress_bar(description: str, unit_is_bytes: bool, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """The same of one thing that goes on."""
    with experiment_progress(quiet, unit_is_bytes=unit_is_bytes) as update:
        update(description, 0, None)
        yield lambda done, total: update(description, done, total)


@contextmanager
def reading_progress(description: str, quiet: bool) -> Iterator[Callable[["Capture | None", int], None]]:
    """A progress bar over the bytes of a capture, as `execute` calls it."""
    with progress_bar(description, True, quiet) as update:
        yield lambda capture, packets: update(capture.bytes_read, capture.bytes_total) if capture else None


@contextmanager
def live_status(chain: str, quiet: bool) -> Iterator[Callable[["LiveRun"], None]]:
    """A line on standard error, silent if that is no terminal, for how a live run goes; to be called each second."""
    if quiet or not sys.stderr.isatty():
        yield lambda run: None
        return
    from rich.live import Live

    from fajita.live_status import LiveStatus

    status = LiveStatus(chain)
    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as line:
        yield lambda run: line.update(Text(status.line(run), no_wrap=True, overflow="ellipsis"), refresh=True)


def print_report(report: dict[str, Any]) -> None:
    """The report of a run, to standard output."""
    packets, seconds = report["packets"], report["seconds"]
    counts = ", ".join(f"{packets[name]:,} {name}" for name in ("in", "out", "dropped", "other"))
    spent = ", ".join(f"{name} {seconds[name]:.3f}" for name in ("compile", "read", "process", "write", "total"))
    parts: list[RenderableType] = [
        Text.assemble((report["chain"], "bold"), f": {report['engine']} engine, {counted(report['cores'], 'core')}"),
        f"packets  {counts}",
        f"bytes    {report['bytes']['in']:,} in, {report['bytes']['out']:,} out",
        f"flows    {_flows(report['flows'])}",
        *_memory(report),
        f"seconds  {spent}",
        f"speed    {report['mpps']:.2f} Mpps (read, process and write)",
        "",
        _nf_table(report),
    ]
    if report["tables"]:
        parts += ["", _flow_tables(report)]
    if report.get("ports"):
        parts += ["", _ports(report), *([] if report["huge_pages"] else [_SMALL_PAGES])]
    if report["cores"] > 1:
        parts += ["", _shards(report)]
    reasons = dict(report["drops"])
    # Frames of no NF that were dropped already stand there.
    if report["other"]:
        reasons.setdefault("other", report["other"])
    if reasons:
        parts += ["", _reasons(reasons)]
    _show(*parts)


#: What it costs to run without huge pages.
_SMALL_PAGES = "packets lay on small pages (--no-huge), at some tens of ns each; huge ones: fajita doctor"
#: What is told of flows only where there are some.
_LOSSES = ("evicted", "refused")


def _flows(flows: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in flows.items() if count or name not in _LOSSES)


def _memory(report: dict[str, Any]) -> list[str]:
    """What the tables of a chain take, in a line if it has any."""
    if not report["tables"]:
        return []
    used, limit = report["memory"]["used_bytes"], report["memory"]["limit_bytes"]
    at_most = "" if limit is None else f" of at most {_size(limit)}"
    return [f"memory   {_size(used)}{at_most} for tables"]


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**30:,.1f} GiB" if nbytes >= 2**30 else f"{nbytes / 2**20:.1f} MiB"


def _nf_table(report: dict[str, Any]) -> Table:
    table = Table(**_TABLE_STYLE)
    # Few NFs emit records.
    numbers = ["in", "out", "dropped", *(["records"] if any(nf["records"] for nf in report["nfs"]) else [])]
    table.add_column("nf")
    for heading in numbers:
        table.add_column(heading, justify="right")
    table.add_column("summary")
    for nf in report["nfs"]:
        counts = (f"{nf[name]:,}" for name in numbers)
        table.add_row(nf["name"], *counts, _inline(nf["summary"]))
    return table


def _flow_tables(report: dict[str, Any]) -> Table:
    table, rows = Table(**_TABLE_STYLE), report["tables"]
    losses = [name for name in _LOSSES if any(row[name] for row in rows)]
    for heading in ("table", "entries", "capacity", "memory", *losses):
        table.add_column(heading, justify="left" if heading == "table" else "right")
    for row in rows:
        counts = (f"{row[name]:,}" for name in losses)
        table.add_row(row["key"], f"{row['entries']:,}", f"{row['capacity']:,}", _size(row["bytes"]), *counts)
    return table


#: What is told of ports only where there is some.
_PORT_LOSSES = ("unsent", "refused", "missed", "no_memory", "errors")


def _ports(report: dict[str, Any]) -> Table:
    """What each port received and sent, and what was lost there."""
    rows = [port | {name: _total(port[name]) for name in _PORT_LOSSES} for port in report["ports"]]
    losses = [name for name in _PORT_LOSSES if any(row[name] for row in rows)]
    table = Table(**_TABLE_STYLE)
    for heading in ("port", "driver", "link", "in", "out", *losses):
        is_text = heading in ("port", "driver", "link")
        table.add_column(heading.replace("_", " "), justify="left" if is_text else "right")
    for row in rows:
        counts = (row["in"]["packets"], row["out"]["packets"], *(row[name] for name in losses))
        link = "up" if row["link"] else "down"
        table.add_row(row["port"], row["driver"], link, *(f"{count:,}" for count in counts))
    return table


def _total(counts: int | dict[str, int]) -> int:
    return counts if isinstance(counts, int) else sum(counts.values())


def _shards(report: dict[str, Any]) -> Table:
    """What each worker had to do."""
    table, total = Table(**_TABLE_STYLE), max(1, report["packets"]["in"])
    for heading in ("core", "packets", "share", "busy seconds"):
        table.add_column(heading, justify="right")
    for shard in report["shards"]:
        share = f"{shard['packets'] / total:.1%}"
        table.add_row(str(shard["core"]), f"{shard['packets']:,}", share, f"{shard['busy_seconds']:.3f}")
    return table


def _reasons(reasons: dict[str, dict[str, int]]) -> Table:
    table = Table(**_TABLE_STYLE)
    table.add_column("where")
    table.add_column("reason")
    table.add_column("packets", justify="right")
    for where, counts in reasons.items():
        for reason, count in counts.items():
            table.add_row(where, reason, f"{count:,}")
    return table


def _inline(summary: dict[str, Any]) -> str:
    """`flows 1,000, bytes 60,000`; what is nested stands in brackets."""
    parts = []
    for name, value in summary.items():
        if isinstance(value, dict):
            parts.append(f"{name} ({_inline(value)})")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            parts.append(f"{len(value):,} {name}")  # as many lines as there are is not for a cell of a table
        else:
            parts.append(f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}")
    return ", ".join(parts)


def print_description(nf: "NFDescription") -> None:
    """All that a user has to know of an NF, to standard output."""
    say(f"{nf.name}\n\n{nf.text}\n")
    say(f"key: {nf.key or 'none'}" + (f" (or {', '.join(nf.keys[1:])})" if nf.keys[1:] else ""))
    if nf.timeout is not None:
        say(f"timeout: {nf.timeout} if left out")
    for heading, lines in (
        (
            "parameters",
            [f"{p.name}: {p.type}{'' if p.default is None else f'; {p.default} if left out'}" for p in nf.parameters],
        ),
        ("state per key", [f"{name}: {kind}" for name, kind in nf.state.items()]),
        ("variables per worker", [f"{name}: {kind}" for name, kind in nf.core.items()]),
    ):
        if lines:
            say(f"{heading}:")
            for line in lines:
                say(f"  {line}")


def print_findings(findings: "Sequence[Finding]") -> None:
    """What a machine has of what a run needs, to standard output, and below how to get the rest.

    Commands stand on lines of their own, so that they can be copied however narrow the screen is.
    """
    table = Table(**_TABLE_STYLE)
    for heading in ("check", "", "found"):
        table.add_column(heading)
    for finding in findings:
        table.add_row(finding.what, finding.state, finding.found)
    parts: list[RenderableType] = [table]
    for each in findings:
        if each.fix:
            parts += ["", each.what, Text(f"    {each.fix}", no_wrap=True, overflow="ignore")]
    _show(*parts)


def print_measurements(rows: list[dict[str, Any]]) -> None:
    """The result of a benchmark, to standard output."""
    table = Table(**_TABLE_STYLE)
    for name, value in rows[0].items():
        table.add_column(name, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
    _show(table)
