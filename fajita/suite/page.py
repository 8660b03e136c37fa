"""The report of a suite: one page in Markdown and in HTML, with figures, tables and the machine's description."""

import base64
import html
from collections.abc import Sequence
from typing import Any

from fajita.suite.definition import Suite
from fajita.suite.run import Result

#: Columns that only programs need.
_HIDDEN = {"mpps_min", "mpps_max", "packets", "roof_mpps"}
_STOLEN = 0.02


def markdown(suite: Suite, machine: dict[str, Any], results: Sequence[Result]) -> str:
    """The page; the figure of each experiment is NAME.png beside it."""
    lines = [f"# {suite.title}", "", *([suite.about, ""] if suite.about else []), *_machine(machine), ""]
    for result in results:
        experiment = result.experiment
        lines += [f"## {experiment.title}", "", *([experiment.about, ""] if experiment.about else [])]
        lines += [f"![{experiment.title}]({experiment.name}.png)", "", *_table(result.rows), "", *_warnings(result)]
    return "\n".join(lines).rstrip() + "\n"


def as_html(suite: Suite, machine: dict[str, Any], results: Sequence[Result], figures: dict[str, bytes]) -> str:
    """The same as one file, with the figures in it."""
    parts = [f"<h1>{html.escape(suite.title)}</h1>", f"<p>{html.escape(suite.about)}</p>", "<ul>"]
    parts += [f"<li>{html.escape(line.removeprefix('* '))}</li>" for line in _machine(machine)]
    parts.append("</ul>")
    for result in results:
        experiment = result.experiment
        parts += [f"<h2>{html.escape(experiment.title)}</h2>", f"<p>{html.escape(experiment.about)}</p>"]
        data = base64.b64encode(figures[experiment.name]).decode()
        parts.append(f'<img alt="{html.escape(experiment.title)}" src="data:image/png;base64,{data}">')
        parts += ["<table>", *_html_rows(result.rows), "</table>"]
        parts += [f"<p>{html.escape(line)}</p>" for line in _warnings(result) if line]
    return f"{_HEAD.format(title=html.escape(suite.title))}{chr(10).join(parts)}\n</html>\n"


_HEAD = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: .1em .7em; text-align: right; border-bottom: 1px solid #ddd; }}
td:first-child, th:first-child {{ text-align: left; }}
img {{ max-width: 100%; }}
</style>
"""


def _machine(machine: dict[str, Any]) -> list[str]:
    caches = ", ".join(f"{name} {size}" for name, size in machine.get("caches", {}).items())
    told = {
        "processor": f"{machine['processor']}, {machine['processors']} available",
        "caches": caches,
        "memory": f"{machine['memory_bytes'] >> 30} GiB, huge pages: {machine.get('huge_pages', 'unknown')}",
        "system": f"Linux {machine['kernel']}{', a virtual machine' if machine.get('hypervisor') else ''}",
        "cache misses": f"not counted here ({why_not})" if (why_not := machine.get("cache_misses_not_counted")) else "",
        "versions": ", ".join(
            f"{name} {machine[name]}" for name in ("fajita", "commit", "python", "numba", "llvmlite") if name in machine
        ),
        "measured": machine["date"],
    }
    return [f"* {name}: {value}" for name, value in told.items() if value]


def _columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Those that say something: what is the same in all rows is left out, but for what was measured."""
    names = [name for name in rows[0] if name not in _HIDDEN]
    return [
        name
        for name in names
        if len({str(row[name]) for row in rows}) > 1 or name in ("mpps", "ns_per_packet", "chain")
    ]


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    names = _columns(rows)
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    return lines + [f"| {' | '.join(_shown(row[name]) for name in names)} |" for row in rows]


def _html_rows(rows: Sequence[dict[str, Any]]) -> list[str]:
    names = _columns(rows)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = ["".join(f"<td>{html.escape(_shown(row[name]))}</td>" for name in names) for row in rows]
    return [f"<tr>{cells}</tr>" for cells in (head, *body)]


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _warnings(result: Result) -> list[str]:
    lines = []
    if noisy := sum(bool(row.get("noisy")) for row in result.rows):
        lines.append(f"**Noisy:** in {noisy} of {len(result.rows)} settings passes differ by more than a fifth.")
    if result.load.stolen > _STOLEN:
        lines.append(f"**Noisy:** the hypervisor gave {result.load.stolen:.0%} of the time to others.")
    return [*lines, ""] if lines else []
