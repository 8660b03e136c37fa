"""`Matcher["patterns", "streams"]` in an NF's Core: looks for patterns in payloads, packet by packet or in streams.

It is kept as a map is: a piece of a worker's variables, with words of its own and a slot for each stream.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from fajita.patterns import Patterns
from fajita.state_types import MapHint, MapType

#: The different patterns that are noted of one scan.
MOST_NOTED = 16
#: What a matcher has in memory beside its streams, and for each of them.
MATCHER_HEADER_BYTES, STREAM_SLOT_BYTES = 512, 16


@dataclass(frozen=True)
class MatcherType(MapType):
    """How a matcher is kept. attribute: of the NF, which has the patterns. length: the most streams at once."""

    attribute: str = ""
    patterns: Patterns | None = None

    noun: ClassVar[str] = "matcher"
    changing: ClassVar[str] = "scan(pkt, stream, skip)"

    @property
    def name(self) -> str:
        """As it is written in an NF."""
        return f"Matcher[{self.attribute!r}, {self.length!r}]".replace("'", '"')

    @property
    def bytes(self) -> int:
        """Its size in memory; the library has more for each stream."""
        return MATCHER_HEADER_BYTES + (int(self.length) + 1) * STREAM_SLOT_BYTES

    @property
    def made(self) -> Patterns:
        """The patterns."""
        assert self.patterns is not None
        return self.patterns


@dataclass(frozen=True)
class MatcherHint(MapHint):
    """A matcher as a class body has it, yet to be checked. given: what stands in the brackets."""

    def map_type(self) -> MatcherType:
        """The type; ValueError says what is wrong and what would be right."""
        right = 'write Matcher["patterns", 65536]'
        if not isinstance(self.given, tuple) or len(self.given) != 2:
            raise ValueError("is a Matcher that lacks its patterns or the number of its streams", right)
        attribute, streams = self.given
        if not isinstance(attribute, str) or not attribute.isidentifier():
            raise ValueError(f"has the patterns {attribute!r}", "the name of an attribute that prepare sets")
        # A map checks its length alike.
        return MatcherType(0, MapHint((1, streams)).map_type().length, attribute)


def with_patterns(owner: Any, maps: dict[str, MapType]) -> dict[str, MapType]:
    """The maps and matchers of an NF, which has the patterns by now; ValueError says of which that is not so."""
    found: dict[str, MapType] = {}
    for name, kind in maps.items():
        found[name] = kind
        if isinstance(kind, MatcherType):
            patterns = getattr(owner, kind.attribute, None)
            if not isinstance(patterns, Patterns):
                raise ValueError(f".Core.{name} has no patterns", f"prepare sets self.{kind.attribute} = Patterns(…)")
            found[name] = replace(kind, patterns=patterns)
    return found


if TYPE_CHECKING:
    Matcher: Any
else:

    class Matcher:
        """`Matcher["patterns", 65536]`: the patterns of that attribute, in so many streams at once. In Core alone."""

        def __class_getitem__(cls, given: Any) -> Any:
            return Annotated[cls, MatcherHint(given)]
