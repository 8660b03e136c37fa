"""A suite's report as files: README.md and report.html, results.json, and a PNG and a CSV for each experiment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fajita.benchmark import csv_text
from fajita.errors import InputError
from fajita.output_file import write_json, write_text
from fajita.suite.definition import Suite
from fajita.suite.figure import draw
from fajita.suite.page import as_html, markdown
from fajita.suite.run import Result


def write_report(
    folder: Path, suite: Suite, machine: dict[str, Any], results: Sequence[Result], whole: dict[str, Any]
) -> None:
    """Write all of it; whole: what results.json is to hold. InputError if something cannot be written."""
    write_json(str(folder / "results.json"), whole)
    figures = {}
    for result in results:
        name = result.experiment.name
        write_text(str(folder / f"{name}.csv"), csv_text(result.rows))
        figures[name] = draw(result.experiment, result.rows)
        _write_bytes(folder / f"{name}.png", figures[name])
    write_text(str(folder / "README.md"), markdown(suite, machine, results))
    write_text(str(folder / "report.html"), as_html(suite, machine, results, figures))


def _write_bytes(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", str(path), "name a folder that can be written") from None
