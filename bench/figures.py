"""The README's table of figures: every example chain at three numbers of flows, one core, as Markdown.

python bench/figures.py [--repeat 9]
"""

import argparse
import os
import platform
from pathlib import Path

from fajita import Chain
from fajita.benchmark import measure

CHAINS = ("one", "two", "three", "share", "per_host", "police", "reflect")
FLOWS = (1_024, 65_536, 1_048_576)
FOLDER = Path(__file__).parents[1] / "chains"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--packets", type=int, default=1 << 21)
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(f"{processor()}, one core; million packets per second, median of {options.repeat} passes:\n")
    print(f"| chain | {' | '.join(f'{flows:,} flows' for flows in FLOWS)} |")
    print(f"|---|{'---:|' * len(FLOWS)}")
    for name in CHAINS:
        plan = Chain.load(FOLDER / f"{name}.yaml").plan
        measured = (measure(plan, flows=flows, packets=options.packets, repeat=options.repeat) for flows in FLOWS)
        rates = [f"{measurement.as_row()['mpps']:.1f}" for measurement in measured]
        nfs = " → ".join(nf.nf.name for nf in plan.nfs)
        print(f"| `{name}`: {nfs} | {' | '.join(rates)} |", flush=True)


if __name__ == "__main__":
    main()
