"""The words of a file in nftables' notation, each with its line and column."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fajita import TextFileValue

#: What ends a statement.
NEWLINE = "\n"
END = "the end of the file"

#: As nft's scanner reads them: the first kind that matches counts. An IPv6 address has two colons at least.
_KINDS = (
    ("space", r"[ \t\r]+|\\[ \t]*\n|#[^\n]*"),
    ("string", r'"[^"\n]*"'),
    ("ipv6", r"(?:[0-9A-Fa-f]*:){2,}(?:\d+\.\d+\.\d+\.\d+|[0-9A-Fa-f]*)"),
    ("ipv4", r"\d+\.\d+\.\d+\.\d+(?![\w.])"),
    ("number", r"(?:0x[0-9A-Fa-f]+|\d+)(?![\w.])"),
    ("word", r"[A-Za-z_.][A-Za-z0-9_/.-]*"),
    ("other", r"[\w.:]+"),
    ("symbol", r"==|!=|<=|>=|\S|\n"),
)
_TOKEN = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _KINDS))


@dataclass(frozen=True)
class Token:
    """A word. kind: as above; other is what is none of the rest. start, end: where it is in the text."""

    kind: str
    text: str
    line: int
    column: int
    start: int
    end: int

    @property
    def shown(self) -> str:
        """As messages name it."""
        return "the end of the line" if self.text == NEWLINE else self.text if self.text == END else repr(self.text)


def tokens_of(file: TextFileValue) -> Iterator[Token]:
    """The words of a file, without comments; the last one is END."""
    text, line, line_start = file.text, 1, 0
    for match in _TOKEN.finditer(text):
        kind, word = match.lastgroup or "symbol", match[0]
        if kind != "space":
            yield Token(kind, word, line, match.start() - line_start + 1, match.start(), match.end())
        if newlines := word.count("\n"):
            line, line_start = line + newlines, match.end()
    yield Token("symbol", END, line, len(text) - line_start + 1, len(text), len(text))
