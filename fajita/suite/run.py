"""A suite from its file to rows: every setting checked before anything is measured, then group by group."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from fajita.chain import Chain
from fajita.errors import InputError
from fajita.suite import imbalance, ingest, latency, startup, throughput
from fajita.suite.definition import Experiment, Suite, problem
from fajita.suite.machine import Load, watched

#: Called with the title of the experiment at hand, the passes done and those of the whole suite.
Progress = Callable[[str, int, int], None]


class Kind(Protocol):
    """What measures experiments of a kind."""

    Setting: type[BaseModel]

    def measure_group(self, folder: Path, settings: list[Any], progress: Callable[[], None]) -> list[dict[str, Any]]:
        """A row for each of the settings, which are compared with each other."""

    def passes(self, setting: Any) -> int:
        """How often `progress` is called for a setting."""


KINDS: dict[str, Kind] = {
    "throughput": throughput,  # type: ignore[dict-item]
    "latency": latency,  # type: ignore[dict-item]
    "startup": startup,  # type: ignore[dict-item]
    "ingest": ingest,  # type: ignore[dict-item]
    "imbalance": imbalance,  # type: ignore[dict-item]
}


@dataclass
class Result:
    """What came of an experiment. rows: one for each setting that was measured; load: how busy the machine was."""

    experiment: Experiment
    rows: list[dict[str, Any]] = field(default_factory=list)
    load: Load = field(default_factory=Load)

    def as_json(self) -> dict[str, Any]:
        """What `--json` writes of it."""
        return {
            "name": self.experiment.name,
            "title": self.experiment.title,
            "load": self.load.as_row(),
            "rows": self.rows,
        }


@dataclass
class SuiteRun:
    """What came of a suite. error: what ended it early; interrupted: somebody asked it to stop. Then results are what
    was done before."""

    results: list[Result]
    error: InputError | None = None
    interrupted: bool = False


@dataclass
class _Planned:
    """An experiment whose settings are checked. groups: of settings that are compared, measured in turn."""

    folder: Path
    result: Result
    kind: Kind
    groups: list[list[Any]]


def run_suite(suite: Suite, *, quick: bool = False, progress: Progress = lambda title, done, total: None) -> SuiteRun:
    """What is measured; an error in the middle, or Ctrl-C, ends it and is kept.

    InputError before anything is measured if a setting cannot be.
    """
    planned = [_plan(folder, experiment, quick=quick) for folder, experiment in suite.experiments]
    total = sum(each.kind.passes(setting) for each in planned for group in each.groups for setting in group)
    done, came = iter(range(1, total + 1)), SuiteRun([])
    try:
        for each in planned:
            _measure(each, partial(_tell, progress, each.result.experiment.title, done, total))
    except KeyboardInterrupt:
        came.interrupted = True
    except InputError as error:
        came.error = error
    came.results = [_with_factors(each.result) for each in planned if each.result.rows]
    return came


def _measure(planned: _Planned, tell: Callable[[], None]) -> None:
    """Add the rows of an experiment to its result, group by group."""
    try:
        with watched() as planned.result.load:
            for group in planned.groups:
                planned.result.rows += planned.kind.measure_group(planned.folder, group, tell)
    except MemoryError:
        where = f"experiment {planned.result.experiment.name}"
        raise InputError("not enough memory", where, "ask for fewer packets or flows") from None


def _with_factors(result: Result) -> Result:
    """Each row with how many times its figure is the one before in its line, if the paper has such factors, too."""
    experiment, before = result.experiment, dict[Any, float]()
    x, y, lines = experiment.figure.x, experiment.figure.y, experiment.figure.lines
    for row in result.rows if experiment.paper_factors else []:
        row["factor"] = round(row[y] / before[row[lines]], 2) if row[lines] in before else None
        row["paper_factor"] = experiment.paper_factors.get(str(row[x]))
        before[row[lines]] = row[y]
    return result


def _tell(progress: Progress, title: str, done: Iterator[int], total: int) -> None:
    progress(title, next(done), total)


def _plan(folder: Path, experiment: Experiment, *, quick: bool) -> _Planned:
    kind = KINDS[experiment.kind]
    columns = set(kind.Setting.model_fields)
    for what, names in (("vary", experiment.vary), ("fixed", experiment.fixed), ("quick", experiment.quick)):
        if unknown := set(names) - columns:
            right = f"a {experiment.kind} experiment has {', '.join(sorted(columns))}"
            raise InputError(f"{what}: no column {min(unknown)}", f"experiment {experiment.name}", right)
    settings = []
    for given in experiment.settings(quick=quick):
        try:
            settings.append(kind.Setting.model_validate(given))
        except ValidationError as error:
            raise InputError(problem(error.errors()[0]), f"experiment {experiment.name}") from None
    for chain in {setting.chain for setting in settings if hasattr(setting, "chain")}:
        Chain.load(folder / chain)
    apart = experiment.figure.x if experiment.in_turn == "lines" else experiment.figure.lines
    groups: dict[str, list[Any]] = {}
    for setting in settings:
        groups.setdefault(str(getattr(setting, apart, "")), []).append(setting)
    return _Planned(folder, Result(experiment), kind, list(groups.values()))
