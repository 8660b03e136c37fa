"""Header fields that are written one after the other, as text: the checksum that covers them is repaired once.

A repair has to wait for the one before, which has just stored what it loads. The sum of both changes does as well: a
one's complement sum is the same however it is folded in between.
"""

import re

from fajita.kernel.fields import PATCHERS

_WRITE = re.compile(r"( +)write_(\w+)(\(frame, headers, .*\))")
#: What would see the checksum before it is repaired.
_SEES = re.compile(r"\b(checksum_valid|read_frame)\(")


def fused(text: str) -> str:
    """A function's source with the writes in each row of them together."""
    lines: list[str] = []
    row: list[re.Match[str]] = []
    for line in [*text.splitlines(), ""]:
        write = _WRITE.fullmatch(line)
        fits = write is not None and f"patch_{write[2]}" in PATCHERS and not _SEES.search(line)
        if row and (not fits or write is None or write[1] != row[0][1]):
            lines += _together(row)
            row = []
        if fits and write is not None:
            row.append(write)
        else:
            lines.append(line)
    return "\n".join(lines[:-1])


def _together(row: list[re.Match[str]]) -> list[str]:
    if len(row) == 1:
        return [row[0][0]]
    indent = row[0][1]
    patches = [
        f"{indent}change {'+=' if number else '='} patch_{write[2]}{write[3]}" for number, write in enumerate(row)
    ]
    return [*patches, f"{indent}repair_segment(frame, headers, change)"]
