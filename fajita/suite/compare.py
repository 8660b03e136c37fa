"""Two results of the same benchmark: what changed beyond the noise."""

import json
from pathlib import Path
from typing import Any

from fajita.errors import InputError
from fajita.io.synthetic import MINIMUM_SIZE
from fajita.suite import ingest, throughput

#: Options of `bench CHAIN`, and what they are in a result that does not tell.
_USUAL: dict[str, Any] = {
    "size": MINIMUM_SIZE,
    "seed": 1,
    "shard": None,
    "sharing": None,
    "spray": False,
    "prefetch": True,
    "auxiliary": True,
}
#: What tells settings apart, of the kinds of experiments whose rates have a range; anything else of a row was measured.
_SETTING = {*throughput.Setting.model_fields, *ingest.Setting.model_fields, *_USUAL}
#: Changes below are not told from noise even where the ranges of the passes do not meet.
SMALLEST = 0.03


def load_rows(path: str) -> dict[tuple[tuple[str, Any], ...], dict[str, Any]]:
    """The rows of a file of `bench --json`, of one chain or of a suite, by their setting; InputError for any other."""
    try:
        read = json.loads(Path(path).read_text(encoding="utf-8"))
        parts = (
            [("", read)] if isinstance(read, list) else [(each["name"], each["rows"]) for each in read["experiments"]]
        )
        rows = {
            tuple(sorted([("experiment", name), *_setting_of(row)])): row
            for name, part in parts
            for row in part
            if row.get("mpps_min", 0) > 0
        }
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path, "a file that bench --json wrote") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError("holds no results of a benchmark", path, "a file that bench --json wrote") from None
    return rows


def _setting_of(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(key, str(row[key])) for key in row if key in _SETTING and (key not in _USUAL or row[key] != _USUAL[key])]


def compare(old: str, new: str) -> list[dict[str, Any]]:
    """A row for each setting that both files have, the largest change first.

    verdict: faster or slower, where the ranges of the passes do not meet and the medians differ by 3 % and more.
    InputError if they have none in common.
    """
    before, after = load_rows(old), load_rows(new)
    common = [setting for setting in before if setting in after]
    if not common:
        raise InputError(f"no setting of {old} is in {new}", right="compare results of the same benchmark")
    differing = {name for setting in common for name, _ in setting if len({dict(s).get(name) for s in common}) > 1}
    rows = []
    for setting in common:
        one, other = before[setting], after[setting]
        factor = other["mpps"] / one["mpps"]
        apart = one["mpps_max"] < other["mpps_min"] or other["mpps_max"] < one["mpps_min"]
        is_change = apart and abs(factor - 1) >= SMALLEST
        values = _USUAL | dict(setting)
        shown = {name: str(values.get(name, "")) for name in sorted(differing or {"chain"})}
        rows.append(
            shown
            | {
                "old": one["mpps"],
                "new": other["mpps"],
                "factor": round(factor, 3),
                "verdict": ("faster" if factor > 1 else "slower") if is_change else "as before",
            }
        )
    return sorted(rows, key=lambda row: -abs(row["factor"] - 1))
