"""Files of patterns, a line each: `id:/expression/flags`, as the tools of Hyperscan take them."""

import re

from fajita import PATTERN_FLAGS, Pattern, PatternError, Patterns, TextFileValue

_LINE = re.compile(r"(\d+):/(.*)/([^/]*)", re.DOTALL)
_FORM = "id:/expression/flags, such as 1001:/evil[0-9]+/i"


def read_patterns(file: TextFileValue) -> tuple[list[int], Patterns]:
    """The ids and the patterns; InputError names the line of one that is wrong."""
    lines_by_id: dict[int, int] = {}
    patterns: list[Pattern] = []
    for number, line in enumerate(file.text.split("\n"), 1):
        text = line.rstrip("\r")
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(text.strip())
        if match is None:
            raise file.refuse(f"{text.strip()[:60]!r} is not a pattern", number, 1, _FORM)
        identifier, expression, flags = int(match[1]), match[2], match[3]
        for flag in flags:
            if flag not in PATTERN_FLAGS:
                right = f"known: {' '.join(PATTERN_FLAGS)}"
                raise file.refuse(f"a pattern has no flag {flag!r}", number, text.index(match[3]) + 1, right)
        if identifier >= 1 << 32:
            raise file.refuse(f"the id {identifier} does not fit 32 bits", number, 1, "at most 4294967295")
        if (first := lines_by_id.get(identifier)) is not None:
            raise file.refuse(f"the id {identifier} is that of line {first} too", number, 1, "an id for each pattern")
        if "\0" in expression:
            raise file.refuse("a pattern has a zero byte", number, 1, r"write \x00")
        lines_by_id[identifier] = number
        patterns.append(Pattern(expression, flags))
    if not patterns:
        raise file.refuse("there are no patterns", 1, 1, _FORM)
    ids = list(lines_by_id)
    try:
        return ids, Patterns(patterns)
    except PatternError as error:
        if error.index < 0:
            raise ValueError(f"patterns: {error}") from None
        what = f"pattern {ids[error.index]} does not compile: {error}"
        right = "what Hyperscan's documentation lists as supported"
        raise file.refuse(what, lines_by_id[ids[error.index]], 1, right) from None
