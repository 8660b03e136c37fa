"""Puts the README's tables of figures where they belong, from results that were measured.

    fajita bench --suite nfs --out bench/results/nfs
    python bench/network_functions.py --json bench/results/network_functions.json
    python bench/figures.py

Between two marks in README.md comes what these have: a row for each chain, a column for each number of flows; a row for
each network function alone. With --check nothing is written: the status is 1 if the README has anything else.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from network_functions import table as table_of_functions

FOLDER = Path(__file__).parents[1]
README, RESULTS = FOLDER / "README.md", FOLDER / "bench" / "results"
#: By the name in the marks: the results, and what makes them.
SOURCES = {
    "chains": (RESULTS / "nfs" / "results.json", "fajita bench --suite nfs --out bench/results/nfs"),
    "functions": (RESULTS / "network_functions.json", "python bench/network_functions.py --json FILE"),
}


def chains(read: dict[str, Any]) -> str:
    """The figures of chains as Markdown."""
    rows = read["experiments"][0]["rows"]
    names, flows = (list(dict.fromkeys(row[name] for row in rows)) for name in ("chain", "flows"))
    rates = {(row["chain"], row["flows"]): row for row in rows}
    lines = [
        f"{_measured(read)}, one core; million packets per second (ns per packet):",
        "",
        f"| chain | {' | '.join(f'{count:,} flows' for count in flows)} |",
        f"|---|{'---:|' * len(flows)}",
    ]
    for name in names:
        cells = [f"{rates[name, count]['mpps']:.1f} ({rates[name, count]['ns_per_packet']:.1f})" for count in flows]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def functions(read: dict[str, Any]) -> str:
    """The figures of network functions as Markdown."""
    return f"{_measured(read)}, one core:\n\n{table_of_functions(read['rows'])}"


def _measured(read: dict[str, Any]) -> str:
    return f"{read['machine']['processor']}, commit {read['machine']['commit']}"


def with_figures(readme: str, name: str, figures: str) -> str:
    """The README with these figures between the marks of that name."""
    begin, end = f"<!-- figures of {name}: made by bench/figures.py -->\n", f"<!-- end of figures of {name} -->\n"
    before, _, rest = readme.partition(begin)
    _, _, after = rest.partition(end)
    if not rest or not after:
        raise SystemExit(f"{README} has not the marks {begin.strip()} and {end.strip()}")
    return f"{before}{begin}\n{figures}\n\n{end}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    before = after = README.read_text()
    for name, make in (("chains", chains), ("functions", functions)):
        results, command = SOURCES[name]
        if not results.exists():
            raise SystemExit(f"{results} is not there; make it: {command}")
        after = with_figures(after, name, make(json.loads(results.read_text())))
    if options.check:
        return int(before != after)
    README.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
