"""Values in rules: `10.0.0.0/8`, `80-90`, `{ 22, $WEB }`, `@admins`; numbers once it is known of what."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from fajita.nfs.firewall_rules.reader import Reader
from fajita.nfs.firewall_rules.spans import Spans
from fajita.nfs.firewall_rules.tokens import Token
from fajita.nfs.firewall_rules.values import Kind

#: Kinds of words that may be values; of what is not known yet.
_LITERALS = ("ipv4", "ipv6", "number", "word", "other")


@dataclass(frozen=True)
class Element:
    """One value; with a length all that have its upper bits, with a last one all from the first to it."""

    first: Token
    last: Token | None = None
    length: Token | None = None


@dataclass(frozen=True)
class Members:
    """A set as it is written. at: where."""

    at: Token
    members: "tuple[Element | Members, ...]"

    def elements(self) -> Iterator[Element]:
        """All elements, of the sets in it too."""
        for member in self.members:
            if isinstance(member, Members):
                yield from member.elements()
            else:
                yield member


@dataclass(frozen=True)
class Several:
    """States with commas between."""

    elements: tuple[Element, ...]


Expression = Element | Members | Several


@dataclass
class NamedSet:
    """A set that rules name as @name."""

    name: Token
    kind: Kind
    spans: Spans


@dataclass
class Names:
    """What is defined so far."""

    defines: dict[str, Expression] = field(default_factory=dict)
    sets: dict[str, NamedSet] = field(default_factory=dict)


class Expressions:
    """Reads values."""

    def __init__(self, reader: Reader, defines: dict[str, Expression]) -> None:
        self.reader, self.defines = reader, defines

    def value(self, *, may_be_empty: bool = False) -> Expression:
        """A set, an element, or several with commas between."""
        first = self._set(may_be_empty) if self.reader.at("{") else self._element()
        if not isinstance(first, Element) or not self.reader.at(","):
            return first
        elements = [first]
        while self.reader.skip(","):
            elements.append(self._single(self.reader.token, self._element()))
        return Several(tuple(elements))

    def _set(self, may_be_empty: bool = False) -> Members:
        reader = self.reader
        at = reader.expect("{", "a set")
        reader.skip_newlines()
        members: list[Element | Members] = []
        while not reader.at("}"):
            if reader.at("{"):
                reader.refuse("a set stands in a set", "leave the inner braces out")
            member = self._element()
            if isinstance(member, Several):
                reader.refuse("a list stands in a set", "define it with braces")
            members.append(member)
            reader.skip_newlines()
            if not reader.at("}"):
                reader.expect(",", "the next element, or }")
                reader.skip_newlines()
        if not members and not may_be_empty:
            reader.refuse("the set is empty", "give it an element, or delete what names it")
        reader.expect("}", "the end of the set")
        return Members(at, tuple(members))

    def _element(self) -> Expression:
        """An element, or whatever a name stands for."""
        reader = self.reader
        at = reader.token
        first = self._operand()
        if reader.skip("-"):
            last_at = reader.token
            last = self._single(last_at, self._operand())
            return Element(self._single(at, first).first, last=last.first)
        if reader.skip("/"):
            length = reader.token
            if length.kind != "number":
                reader.refuse(f"{length.shown} is no length of a prefix", "such as 10.0.0.0/8")
            reader.advance()
            return Element(self._single(at, first).first, length=length)
        return first

    def _operand(self) -> Expression:
        reader = self.reader
        if reader.skip("$"):
            name = reader.name("a name that is defined")
            if name.text not in self.defines:
                reader.refuse_unknown(name, f"${name.text} is not defined", self.defines)
            return self.defines[name.text]
        token = reader.token
        if token.kind not in _LITERALS:
            reader.refuse(f"{token.shown} is no value", "such as 10.0.0.0/8, 443, 80-90, { 22, 80 } or $NAME")
        reader.advance()
        return Element(token)

    def _single(self, at: Token, value: Expression) -> Element:
        if not isinstance(value, Element) or value.last is not None or value.length is not None:
            self.reader.refuse_at(at, f"{at.shown} is more than one value", "give a single one here")
        return value


class Evaluation:
    """Turns values into numbers, once their kind is known."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def span(self, element: Element, kind: Kind) -> tuple[int, int]:
        """The first and the last number of an element."""
        first = self._number(element.first, kind)
        if element.length is not None:
            return self._prefix(element, element.length, first, kind)
        if element.last is None:
            return first, first
        if not kind.has_order:
            self.reader.refuse_at(element.first, f"{kind.text} has no ranges", "name each, with commas between")
        last = self._number(element.last, kind)
        if last < first:
            what = f"the range {element.first.text}-{element.last.text} ends before it begins"
            self.reader.refuse_at(element.first, what, f"{element.last.text}-{element.first.text}")
        return first, last

    def _number(self, token: Token, kind: Kind) -> int:
        number = kind.number(token)
        if number is None:
            self.reader.refuse_at(token, f"{token.shown} is not {kind.text}", kind.right)
        return number

    def _prefix(self, element: Element, length: Token, first: int, kind: Kind) -> tuple[int, int]:
        if not kind.is_address:
            self.reader.refuse_at(length, f"{kind.text} has no prefixes", "give a range, such as 80-90")
        count = int(length.text, 16 if length.text.startswith("0x") else 10)
        if count > kind.bits:
            what = f"{element.first.text}/{length.text} is no prefix: {kind.text} has {kind.bits} bits"
            self.reader.refuse_at(length, what, f"0 to {kind.bits}")
        others = (1 << (kind.bits - count)) - 1
        return first & ~others, first | others
