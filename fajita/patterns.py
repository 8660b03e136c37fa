"""Patterns that are looked for in payloads, many at once: made in `prepare` of an NF, for a `Matcher` of its Core."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from fajita.hyperscan import PatternError, compile_database, library

__all__ = ["PATTERN_FLAGS", "Pattern", "PatternError", "Patterns"]

#: What may stand behind a pattern, by Hyperscan's letters: its flags (hs_compile.h).
PATTERN_FLAGS = {"i": 1, "s": 2, "m": 4, "H": 8, "V": 16, "8": 32, "W": 64}


@dataclass(frozen=True)
class Pattern:
    """A regular expression in Hyperscan's notation. flags: letters of PATTERN_FLAGS."""

    expression: str
    flags: str = ""

    @property
    def bits(self) -> int:
        """Its flags for the library."""
        return sum(PATTERN_FLAGS[letter] for letter in set(self.flags))


class Patterns:
    """Patterns, compiled for packets by themselves and for streams.

    PatternError (a ValueError, with `index`) says which does not compile; InputError that the library is not there.
    """

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self.patterns = tuple(patterns)
        self._expressions = [pattern.expression.encode() for pattern in self.patterns]
        self._flags = [pattern.bits for pattern in self.patterns]
        #: For packets by themselves, and for streams.
        self.databases = self._compiled(streaming=False), self._compiled(streaming=True)

    def __len__(self) -> int:
        return len(self.patterns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Patterns) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def _compiled(self, *, streaming: bool) -> int:
        database = compile_database(self._expressions, self._flags, streaming=streaming)
        weakref.finalize(self, library().hs_free_database, database)
        return database
