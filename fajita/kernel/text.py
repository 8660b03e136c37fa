"""Lines of generated source, with their indentation."""

from collections.abc import Iterator
from contextlib import contextmanager


class Text:
    """Collects the lines of a module."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._level = 0

    def line(self, text: str = "") -> None:
        """Add a line at the present level."""
        self._lines.append("    " * self._level + text if text else "")

    def lines(self, text: str) -> None:
        """Add several lines, each at the present level."""
        for line in text.splitlines():
            self.line(line)

    def function(self, decorator: str, head: str) -> None:
        """Two blank lines, and what a function begins with: its name and parameters are `head`."""
        self.line()
        self.line()
        self.line(f"@{decorator}")
        self.line(f"def {head}:")

    @contextmanager
    def indented(self) -> Iterator[None]:
        """One level deeper."""
        self._level += 1
        yield
        self._level -= 1

    @contextmanager
    def indented_if(self, deeper: bool) -> Iterator[None]:
        """One level deeper, or not."""
        self._level += deeper
        yield
        self._level -= deeper

    def source(self) -> str:
        """The module."""
        return "\n".join(self._lines) + "\n"
