"""What is looked at: the files under a root folder, and what commands of the machine print."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path


def _output(command: Sequence[str]) -> str | None:
    """What a command prints; None if it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _search_path() -> tuple[str, ...]:
    return tuple(os.environ.get("PATH", os.defpath).split(os.pathsep))


@dataclass(frozen=True)
class Machine:
    """A machine as its files tell; search_path: folders in which commands are looked for."""

    root: Path = Path("/")
    output: Callable[[Sequence[str]], str | None] = _output
    search_path: tuple[str, ...] = field(default_factory=_search_path)

    def place(self, path: str) -> Path:
        """Where a file of the machine is."""
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str:
        """What is in a file; nothing if it cannot be read."""
        try:
            return self.place(path).read_text(errors="replace")
        except OSError:
            return ""

    def number(self, path: str) -> int:
        """The number in a file; 0 if there is none."""
        text = self.text(path).strip()
        return int(text) if text.isascii() and text.isdigit() else 0

    def names(self, folder: str) -> list[str]:
        """What is in a folder, in order; nothing if it cannot be read."""
        try:
            return sorted(os.listdir(self.place(folder)))
        except OSError:
            return []

    def fields(self, path: str, separator: str = ":") -> dict[str, str]:
        """The lines of a file such as /proc/self/status: what stands before the first separator, and after."""
        return dict(self._pairs(path, separator))

    def _pairs(self, path: str, separator: str) -> Iterator[tuple[str, str]]:
        for line in self.text(path).splitlines():
            name, found, value = line.partition(separator)
            if found:
                yield name.strip(), value.strip()

    def link(self, path: str) -> str:
        """The last name of where a symbolic link leads; nothing if it is none."""
        try:
            return os.path.basename(os.readlink(self.place(path)))
        except OSError:
            return ""

    def has_command(self, name: str) -> bool:
        """Whether a command is installed."""
        return any(self.place(f"{folder}/{name}").is_file() for folder in self.search_path)
