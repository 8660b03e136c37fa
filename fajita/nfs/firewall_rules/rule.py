"""One rule of a chain: what it compares, then `counter`, a verdict, a comment."""

from fajita.nfs.firewall_rules.conditions import BITS, FIELDS, Conditions, ContradictionError, Field, Rule
from fajita.nfs.firewall_rules.expressions import Element, Evaluation, Expression, Expressions, Members, Names, Several
from fajita.nfs.firewall_rules.reader import Reader
from fajita.nfs.firewall_rules.spans import Spans, complement, union
from fajita.nfs.firewall_rules.tokens import NEWLINE, Token
from fajita.nfs.firewall_rules.values import STATE, Kind

_OPERATORS = {"eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">="}
_SIGNS = ("==", "!=", "<=", ">=", "<", ">")
_VERDICTS = ("accept", "drop")
#: What nft has and this subset has not, with what does instead.
_NOT_THERE = {
    **dict.fromkeys(("iif", "iifname", "oif", "oifname"), "addresses; packets have no interfaces here"),
    "reject": "drop; nothing is sent back here",
    "jump": "one chain has all rules",
    "goto": "one chain has all rules",
    "return": "accept or drop, as the policy says",
    "continue": "leave the rule out",
    "queue": "accept or drop",
    "log": "leave it out; every rule is counted",
    "limit": "leave it out; the NFs policer and rate_limiter limit rates",
}


class RuleReader:
    """Reads the rules of a chain of a table of some families."""

    def __init__(self, reader: Reader, names: Names, expressions: Expressions, families: frozenset[int]) -> None:
        self.reader, self.names, self.expressions = reader, names, expressions
        self.evaluation = Evaluation(reader)
        self.families = tuple((family, family) for family in sorted(families))

    def read(self) -> Rule:
        """The rule that begins with the next word."""
        reader = self.reader
        first = reader.token
        conditions = Conditions({"family": self.families})
        while any(reader.token.text == header for header, _ in FIELDS) and reader.token.kind == "word":
            self._compare(conditions)
        if conditions.lacks_protocol:
            right = "meta l4proto { tcp, udp } beside it, or tcp dport"
            reader.refuse_at(first, "th in a rule that does not say which protocol", right)
        if reader.skip("counter"):
            self._counter()
        verdict = self._verdict()
        text = reader.source(first, verdict)
        if reader.skip("comment"):
            reader.quoted()
        return Rule(conditions.parts, verdict.text == "accept", text, first.line)

    def _compare(self, conditions: Conditions) -> None:
        """`ip saddr != 10.0.0.0/8`, added to the conditions."""
        reader = self.reader
        header = reader.advance()
        known = [name for before, name in FIELDS if before == header.text]
        name = reader.one_of(f"a field of {header.text}", known)
        asked = FIELDS[header.text, name.text]
        operator = self._operator()
        at = reader.token
        spans = self._numbers(asked, operator, at)
        try:
            conditions.add(asked, spans)
        except ContradictionError as error:
            reader.refuse_at(header, str(error), "nothing matches it: two rules, or delete it")

    def _operator(self) -> str:
        """The sign, empty if there is none."""
        reader = self.reader
        if reader.at(*_SIGNS):
            return reader.advance().text
        return _OPERATORS[reader.advance().text] if reader.at(*_OPERATORS) else ""

    def _numbers(self, asked: Field, operator: str, at: Token) -> Spans:
        """The numbers that match."""
        if self.reader.at("@"):
            spans, bits = self._named(asked), self._bits(asked)
            if operator not in ("", "==", "!="):
                self.reader.refuse_at(at, f"{operator} compares with one value, not with a set", "== or !=")
            return complement(spans, bits) if operator == "!=" else spans
        value = self.expressions.value()
        if operator in ("<", ">", "<=", ">="):
            return self._ordered(asked, operator, at, value)
        if isinstance(value, Several):
            self._check_several(asked.kind, operator, at)
        elements = value.elements if isinstance(value, Several) else _elements(value)
        spans = union(self.evaluation.span(element, asked.kind) for element in elements)
        return complement(spans, self._bits(asked)) if operator == "!=" else spans

    def _bits(self, asked: Field) -> int:
        return BITS.get(asked.part, asked.kind.bits)

    def _named(self, asked: Field) -> Spans:
        reader = self.reader
        reader.advance()
        name = reader.name("the name of a set")
        found = self.names.sets.get(name.text)
        if found is None:
            what = f"there is no set {name.text} before this chain"
            reader.refuse_unknown(name, what, self.names.sets)
        if found.kind is not asked.kind:
            what = f"the set {name.text} has the type {found.kind.set_type}, not that of {asked.kind.text}"
            reader.refuse_at(name, what, asked.kind.set_type or "{ … }")
        return found.spans

    def _ordered(self, asked: Field, operator: str, at: Token, value: Expression) -> Spans:
        """`tcp dport >= 1024`."""
        if not isinstance(value, Element) or value.last or value.length or not asked.kind.has_order:
            self.reader.refuse_at(at, f"{operator} cannot compare {asked.kind.text} with this", "one number, or ==")
        number, _ = self.evaluation.span(value, asked.kind)
        most = (1 << self._bits(asked)) - 1
        first, last = {
            "<": (0, number - 1),
            "<=": (0, number),
            ">": (number + 1, most),
            ">=": (number, most),
        }[operator]
        return ((first, last),) if first <= last else ()

    def _check_several(self, kind: Kind, operator: str, at: Token) -> None:
        """Commas without braces are for states; and nft takes them otherwise than one reads them behind a sign."""
        if kind is not STATE:
            self.reader.refuse_at(at, f"{kind.text} is one value, here are several", "{ …, … }")
        if operator:
            self.reader.refuse_at(at, f"several states behind {operator} are not what they look like", "{ …, … }")

    def _counter(self) -> None:
        reader = self.reader
        for word in ("packets", "bytes"):
            if reader.at(word):
                reader.advance()
                if reader.token.text != "0":
                    reader.refuse("a counter does not begin at 0", f"{word} 0, or leave it out")
                reader.advance()
        if reader.token.kind == "word" and any(reader.token.text == header for header, _ in FIELDS):
            reader.refuse("a condition stands behind counter", "counter behind all conditions")

    def _verdict(self) -> Token:
        reader = self.reader
        if reader.at(*_VERDICTS):
            return reader.advance()
        if reader.at(*_NOT_THERE):
            reader.refuse(f"there is no {reader.token.text} here", _NOT_THERE[reader.token.text])
        if reader.at(NEWLINE, ";", "}", "comment"):
            reader.refuse("the rule has no verdict", "accept or drop")
        known = sorted({header for header, _ in FIELDS} | {"counter", *_VERDICTS})
        reader.refuse_unknown(reader.token, f"{reader.token.shown} is no part of a rule", known)


def _elements(value: Element | Members) -> list[Element]:
    return [value] if isinstance(value, Element) else list(value.elements())
