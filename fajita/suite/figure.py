"""One figure of an experiment: what was measured, with its range, and the paper's own curve where there is one."""

from collections.abc import Sequence
from io import BytesIO
from itertools import cycle
from typing import Any

import numpy as np

from fajita.benchmark import load_pyplot
from fajita.suite.definition import Curve, Experiment, Figure

_LABELS = {
    "mpps": "million packets per second",
    "ns_per_packet": "ns per packet",
    "flows": "flows",
    "cores": "cores",
    "size": "bytes of a frame",
    "of_roof": "share of what bare memory allows",
}


def draw(experiment: Experiment, rows: Sequence[dict[str, Any]]) -> bytes:
    """The figure as a PNG: lines where x is a number, bars where it is a name.

    A paper's curve is scaled to begin on the first line, as machines differ.
    """
    pyplot = load_pyplot()
    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    shape, given = experiment.figure, BytesIO()
    # What has no figure leaves a gap.
    rows = [row | {shape.y: float("nan")} if row[shape.y] is None else row for row in rows]
    try:
        lines = {name: [row for row in rows if row[shape.lines] == name] for name in _values(rows, shape.lines)}
        if all(isinstance(row[shape.x], int | float) for row in rows):
            _draw_lines(axes, experiment, lines)
        else:
            _draw_bars(axes, experiment, lines)
        axes.set_title(experiment.title)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
        figure.savefig(given, format="png", dpi=110)
    finally:
        pyplot.close(figure)
    return given.getvalue()


def _values(rows: Sequence[dict[str, Any]], column: str) -> list[Any]:
    return list(dict.fromkeys(row[column] for row in rows))


def _draw_lines(axes: Any, experiment: Experiment, lines: dict[Any, list[dict[str, Any]]]) -> None:
    shape = experiment.figure
    for name, line in lines.items():
        line = sorted(line, key=lambda row: row[shape.x])
        at = [row[shape.x] for row in line]
        axes.plot(at, [row[shape.y] for row in line], marker="o", label=_name(name))
        low, high = f"{shape.y}_min", f"{shape.y}_max"
        if low in line[0]:
            axes.fill_between(at, [row[low] for row in line], [row[high] for row in line], alpha=0.2)
    first = sorted(next(iter(lines.values())), key=lambda row: row[shape.x])
    for curve, style in zip(experiment.paper, cycle(("--", ":", "-."))):
        axes.plot(curve.x, _scaled(curve, first, shape), style, color="grey", label=f"paper, scaled: {curve.name}")
    axes.set(
        xlabel=shape.x_label or _LABELS.get(shape.x, shape.x), ylabel=shape.y_label or _LABELS.get(shape.y, shape.y)
    )
    if shape.logarithmic:
        axes.set_xscale("log", base=2)


def _scaled(curve: Curve, line: Sequence[dict[str, Any]], shape: Figure) -> list[float]:
    """A curve that meets a line where it begins: two machines have only shapes in common."""
    ours = np.interp(curve.x[0], [row[shape.x] for row in line], [row[shape.y] for row in line])
    return [value * float(ours) / curve.y[0] for value in curve.y]


def _draw_bars(axes: Any, experiment: Experiment, lines: dict[Any, list[dict[str, Any]]]) -> None:
    shape = experiment.figure
    places = _values([row for line in lines.values() for row in line], shape.x)
    width = 0.8 / len(lines)
    for number, (name, line) in enumerate(lines.items()):
        at = [places.index(row[shape.x]) + (number - (len(lines) - 1) / 2) * width for row in line]
        axes.bar(at, [row[shape.y] for row in line], width, label=_name(name))
    axes.set_xticks(range(len(places)), [_name(place) for place in places], rotation=30, ha="right", fontsize="small")
    axes.set(ylabel=shape.y_label or _LABELS.get(shape.y, shape.y))


def _name(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
