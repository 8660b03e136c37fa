"""Draw the README's picture: what the main command really prints.

python docs/picture.py trace.pcap docs/run.svg
"""

import io
import os
import subprocess
import sys

from rich.console import Console
from rich.text import Text

COLUMNS = 110


def main() -> None:
    trace, picture = sys.argv[1:]
    command = ["run", "chains/three.yaml", "--pcap", trace]
    environment = os.environ | {"COLUMNS": str(COLUMNS)}
    done = subprocess.run(
        [sys.executable, "-m", "fajita", *command], capture_output=True, text=True, check=True, env=environment
    )
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text(f"$ fajita {' '.join(command)}", style="bold"))
    console.print(Text(done.stdout.rstrip()))
    console.save_svg(picture, title="fajita run")


if __name__ == "__main__":
    main()
