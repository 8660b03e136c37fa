"""A file of rules in a subset of nftables' notation: one table with one chain, its sets and defines."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from fajita import TextFileValue
from fajita.nfs.firewall_rules.conditions import Rule, Ruleset
from fajita.nfs.firewall_rules.expressions import Element, Evaluation, Expressions, Members, NamedSet, Names
from fajita.nfs.firewall_rules.reader import Reader
from fajita.nfs.firewall_rules.rule import RuleReader
from fajita.nfs.firewall_rules.spans import Spans, union
from fajita.nfs.firewall_rules.tokens import END, Token
from fajita.nfs.firewall_rules.values import SET_KINDS, Kind

_FAMILIES = {"ip": frozenset({4}), "ip6": frozenset({6}), "inet": frozenset({4, 6})}
_HOOKS = ("forward", "input", "output", "prerouting", "postrouting")
_PRIORITIES = ("raw", "mangle", "dstnat", "filter", "security", "srcnat")
_POLICIES = ("accept", "drop")
_SET_FLAGS = ("interval", "constant")
#: The packet function has 15 bits for the number of a rule.
MAXIMUM_RULES = 32_000

_TABLE_EXAMPLE = "table inet filter { … }"
_CHAIN_EXAMPLE = "type filter hook forward priority filter; policy drop;"


def read_rules(file: TextFileValue) -> Ruleset:
    """The rules of a file; InputError says what is wrong, in which line and column, and what would be right."""
    return _File(file).read()


class _File:
    def __init__(self, file: TextFileValue) -> None:
        self.reader = Reader(file)
        self.names = Names()
        self.expressions = Expressions(self.reader, self.names.defines)
        self.evaluation = Evaluation(self.reader)
        self.families: frozenset[int] = frozenset()
        self.chain: tuple[bool, list[Rule]] | None = None

    def read(self) -> Ruleset:
        reader = self.reader
        reader.skip_separators()
        while not reader.at(END):
            if reader.at("flush"):
                reader.advance()
                reader.expect("ruleset", "what is flushed")
            elif reader.at("define"):
                reader.advance()
                self._define()
            elif reader.at("table"):
                self._table()
            else:
                reader.refuse(f"{reader.token.shown} stands where a table should be", f"define, or {_TABLE_EXAMPLE}")
            reader.end_statement()
        if self.chain is None:
            reader.refuse("there is no chain of rules", f"{_TABLE_EXAMPLE} with chain forward {{ {_CHAIN_EXAMPLE} … }}")
        accepts, rules = self.chain
        return Ruleset(self.families, accepts, tuple(rules))

    def _define(self) -> None:
        reader = self.reader
        name = reader.name("the name to define")
        if name.text in self.names.defines:
            reader.refuse_at(name, f"{name.text} is defined twice", "another name")
        reader.expect("=", "=")
        self.names.defines[name.text] = self.expressions.value(may_be_empty=True)

    def _table(self) -> None:
        reader = self.reader
        at = reader.advance()
        if self.families:
            reader.refuse_at(at, "there is a second table", "one table with one chain")
        self.families = _FAMILIES[reader.one_of("the family of the table", _FAMILIES).text]
        reader.name("the name of the table")
        parts = {"define": self._define, "set": self._set, "chain": self._chain, "comment": self._comment}
        self._block("table", parts)

    def _block(self, what: str, statements: dict[str, Callable[[], None]]) -> None:
        """Statements in braces, by the word that each begins with."""
        reader = self.reader
        opened = reader.expect("{", f"the {what}")
        reader.skip_separators()
        while not reader.at("}"):
            if reader.at(END):
                reader.refuse_at(opened, f"the {what} that begins here has no end", "}")
            statements[reader.one_of(f"a part of the {what}", statements).text]()
            reader.end_statement()
        reader.advance()

    def _comment(self) -> None:
        self.reader.quoted()

    def _set(self) -> None:
        reader = self.reader
        name = reader.name("the name of the set")
        if name.text in self.names.sets:
            reader.refuse_at(name, f"there are two sets {name.text}", "another name")
        declared = _Declaration()

        def flags() -> None:
            declared.flags.add(reader.one_of("a flag", _SET_FLAGS).text)
            while reader.skip(","):
                declared.flags.add(reader.one_of("a flag", _SET_FLAGS).text)

        def elements() -> None:
            reader.expect("=", "=")
            at, value = reader.token, self.expressions.value()
            if not isinstance(value, Members):
                reader.refuse_at(at, "the elements are no set", "{ … }")
            declared.elements.extend(value.elements())

        def kind() -> None:
            declared.kind = SET_KINDS[reader.one_of("the type of the elements", SET_KINDS).text]

        parts = {"type": kind, "flags": flags, "elements": elements, "auto-merge": declared.merge}
        self._block("set", parts | {"comment": self._comment})
        if declared.kind is None:
            reader.refuse_at(name, f"the set {name.text} has no type", "type ipv4_addr")
        self.names.sets[name.text] = NamedSet(name, declared.kind, self._elements(name, declared.kind, declared))

    def _elements(self, name: Token, kind: Kind, declared: "_Declaration") -> Spans:
        """The numbers in a named set; refused as nft does what only a set of intervals can have, and overlaps."""
        spans = []
        for element in declared.elements:
            if (element.last or element.length) and "interval" not in declared.flags:
                what = f"the set {name.text} has a range or prefix, but not the flag for it"
                self.reader.refuse_at(element.first, what, "flags interval")
            spans.append(self.evaluation.span(element, kind))
        ordered = sorted(set(spans))
        if not declared.merges and any(before[1] >= after[0] for before, after in pairwise(ordered)):
            self.reader.refuse_at(name, f"elements of the set {name.text} overlap", "auto-merge")
        return union(spans)

    def _chain(self) -> None:
        reader = self.reader
        name = reader.name("the name of the chain")
        if self.chain is not None:
            reader.refuse_at(name, "there is a second chain", "one table with one chain")
        opened = reader.expect("{", "the chain")
        reader.skip_separators()
        if not reader.at("type"):
            reader.refuse(f"{reader.token.shown} stands where the chain's type should be", _CHAIN_EXAMPLE)
        self._hook()
        accepts, rules = True, []
        rule_reader = RuleReader(reader, self.names, self.expressions, self.families)
        while not reader.at("}"):
            if reader.at(END):
                reader.refuse_at(opened, "the chain that begins here has no end", "}")
            if reader.skip("policy"):
                accepts = reader.one_of("the policy", _POLICIES).text == "accept"
            elif reader.skip("define"):
                self._define()
            elif not self._skip_comment():
                rules.append(rule_reader.read())
                if len(rules) > MAXIMUM_RULES:
                    reader.refuse_at(name, f"the chain has more than {MAXIMUM_RULES:,} rules", "fewer: sets, ranges")
            reader.end_statement()
        reader.advance()
        self.chain = (accepts, rules)

    def _skip_comment(self) -> bool:
        """Go past a comment of the chain."""
        if self.reader.skip("comment"):
            self.reader.quoted()
            return True
        return False

    def _hook(self) -> None:
        """`type filter hook forward priority filter`: what hook and priority are makes no difference here."""
        reader = self.reader
        reader.advance()
        reader.expect("filter", "filter")
        reader.expect("hook", "hook")
        reader.one_of("a hook", _HOOKS)
        reader.expect("priority", "priority")
        named = reader.token.kind == "word"
        if named:
            reader.one_of("a priority", _PRIORITIES)
        if (reader.skip("-") or (named and reader.skip("+")) or not named) and reader.token.kind != "number":
            reader.refuse(f"{reader.token.shown} stands where a priority should be", "filter, or a number such as 0")
        if reader.token.kind == "number":
            reader.advance()
        reader.end_statement()


@dataclass
class _Declaration:
    """What a set says of itself."""

    kind: Kind | None = None
    flags: set[str] = field(default_factory=set)
    elements: list[Element] = field(default_factory=list)
    merges: bool = False

    def merge(self) -> None:
        """Overlapping elements become one."""
        self.merges = True
