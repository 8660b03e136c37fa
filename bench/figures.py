"""Puts the README's table of figures where it belongs, from a suite's results.

    fajita bench --suite nfs --out bench/results/nfs
    python bench/figures.py

Between the two marks in README.md comes what bench/results/nfs/results.json has: a row for each chain, a column for
each number of flows. With --check nothing is written: the status is 1 if the README has anything else.
"""

import argparse
import json
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1]
README, RESULTS = FOLDER / "README.md", FOLDER / "bench" / "results" / "nfs" / "results.json"
BEGIN, END = "<!-- figures: made by bench/figures.py -->\n", "<!-- end of figures -->\n"


def table(results: Path) -> str:
    """The figures as Markdown."""
    read = json.loads(results.read_text())
    rows, machine = read["experiments"][0]["rows"], read["machine"]
    chains, flows = (list(dict.fromkeys(row[name] for row in rows)) for name in ("chain", "flows"))
    rates = {(row["chain"], row["flows"]): row for row in rows}
    lines = [
        f"{machine['processor']}, commit {machine['commit']}, one core; million packets per second (ns per packet):",
        "",
        f"| chain | {' | '.join(f'{count:,} flows' for count in flows)} |",
        f"|---|{'---:|' * len(flows)}",
    ]
    for chain in chains:
        cells = [f"{rates[chain, count]['mpps']:.1f} ({rates[chain, count]['ns_per_packet']:.1f})" for count in flows]
        lines.append(f"| `{chain}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def with_figures(readme: str, figures: str) -> str:
    """The README with these figures between its marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest or not after:
        raise SystemExit(f"{README} has not the marks {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}\n{figures}\n{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if not RESULTS.exists():
        raise SystemExit(f"{RESULTS} is not there; make it: fajita bench --suite nfs --out {RESULTS.parent}")
    before = README.read_text()
    after = with_figures(before, table(RESULTS))
    if options.check:
        return int(before != after)
    README.write_text(after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
