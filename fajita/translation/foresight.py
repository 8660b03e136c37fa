"""What an NF's before_lookup will probably do, as a hook that runs before it: derived from its source.

The entry of a packet is asked for long before the NF runs, but its key is known only after before_lookup. What remains
of that here has no effect but on the header: fields that it or the key reads are written, without checksums; whoever
calls it puts them back. It reads variables of Core as they are then, which the NF may change until its turn comes, and
no random numbers. So what it says is no more than a hint.

Where elements of large arrays decide, there are two such hooks: the first asks for them, and knows no more then; when
they have come, the second tells.
"""

import ast
import re
from dataclasses import dataclass
from typing import TypeVar

from fajita.packet import FIELDS, HALVES
from fajita.translation.arrays import ArrayPlace, arrays_in
from fajita.translation.expressions import Expressions
from fajita.translation.maps import CHANGES, is_map_call
from fajita.translation.prefetches import stored_names
from fajita.translation.scope import AWAITS_CODE, Scope, Value, head_of
from fajita.translation.statements import Statements

Node = TypeVar("Node", bound=ast.AST)

#: What may be called in such a hook: functions of which it is known that they change nothing.
_HARMLESS = re.compile(
    r"(read|load|hash_of|poke|prefetch|map_get)_\w+|minimum|maximum|absolute|bit_length"
    r"|floor_(divide|modulo)|(left|right)_shift"
    r"|payload_length|ip_length|is_error|lands_here|range"
)
_CALL = re.compile(r"\b(\w+)\(")
#: What there is of a packet before its NFs run.
_KNOWN = {"frame", "headers", "captured", "length", "time_ns", "core", "constants", "context"}


def foresee(scope: Scope, reads: frozenset[str]) -> tuple[list[str], tuple[str, ...]] | None:
    """The lines of the hook, and the header fields that it writes; None where it would have to do more.

    scope: a fresh one of before_lookup. reads: the fields that this reads.
    """
    statements = _ForesightStatements(scope, _wanted_fields(scope, reads))
    statements.block(scope.method.tree.body, 1)
    return (statements.lines, tuple(sorted(statements.written))) if _is_harmless(scope, statements.lines) else None


@dataclass(frozen=True)
class First:
    """The hook that comes before: its lines, the header fields that it writes, the elements it asks for as they stand
    in the source."""

    lines: list[str]
    written: tuple[str, ...]
    asked: frozenset[str]


def foresee_first(scope: Scope, reads: frozenset[str], arrays: frozenset[str]) -> First | None:
    """The same for the first hook; None if there are no elements to ask for. arrays: of Core, the large ones."""
    statements = _FirstStatements(scope, _wanted_fields(scope, reads), arrays)
    statements.block(scope.method.tree.body, 1)
    if not statements.asked or not _is_harmless(scope, statements.lines):
        return None
    return First(["    awaits = 0", *statements.lines], tuple(sorted(statements.written)), frozenset(statements.asked))


def _wanted_fields(scope: Scope, reads: frozenset[str]) -> frozenset[str]:
    key = scope.nf.granularity
    assert key is not None
    return reads | set(key.fields)


def _is_harmless(scope: Scope, lines: list[str]) -> bool:
    called = {name for line in lines for name in _CALL.findall(line)}
    return scope.used <= _KNOWN and all(_HARMLESS.fullmatch(name) for name in called)


class _ForesightExpressions(Expressions):
    """The expressions of the hook."""

    def _call(self, node: ast.Call) -> Value:
        return Value("0", "int") if ast.unparse(node.func) == "self.random" else super()._call(node)


class _ForesightStatements(Statements):
    """Writes the hook. wanted: the header fields that have to be written. written: those that are."""

    def __init__(self, scope: Scope, wanted: frozenset[str]) -> None:
        super().__init__(scope)
        scope.is_hint = True
        self.expressions = _ForesightExpressions(scope)
        self.wanted = wanted
        self.written: set[str] = set()

    def _store_field(self, target: ast.Attribute, value: Value, level: int, origin: ast.expr | None) -> None:
        name = target.attr
        if name not in FIELDS or not {name, HALVES.get(name, name)} & self.wanted:
            self._emit(level, "pass")
            return
        self.written.add(name)
        self.scope.used |= {"frame", "headers"}
        self._emit(level, f"poke_{name}(frame, headers, {value.text})")

    def _store_kept(self, target: ast.Attribute, value: Value, level: int, area: str) -> None:
        self._emit(level, "pass")

    def _store(self, target: ast.expr, value: Value, level: int, origin: ast.expr | None = None) -> None:
        if isinstance(target, ast.Subscript):
            self._emit(level, "pass")
        else:
            super()._store(target, value, level, origin)

    def _expr(self, statement: ast.Expr, level: int) -> bool:
        if is_map_call(statement.value, CHANGES):
            self._emit(level, "pass")
            return False
        return super()._expr(statement, level)

    def _change_element(self, statement: ast.AugAssign, target: ast.Subscript, level: int) -> None:
        self._emit(level, "pass")


class _FirstStatements(_ForesightStatements):
    """Writes the first hook. asked: the elements of `arrays` that it asks for.

    unknown: variables that depend on elements. A statement with any of all these is left out.
    """

    def __init__(self, scope: Scope, wanted: frozenset[str], arrays: frozenset[str]) -> None:
        super().__init__(scope, wanted)
        self.arrays = arrays
        self.asked: set[str] = set()
        self.unknown: set[str] = set()
        self.variables = set(stored_names(scope.method.tree))

    def block(self, body: list[ast.stmt], level: int) -> bool:
        for statement in body:
            if self._is_unknown(head_of(statement)):
                self._await(statement, level)
                if isinstance(statement, ast.Return):
                    self._emit(level, f"return {AWAITS_CODE}")
                    return True
            elif super().block([statement], level):
                return True
        return False

    def _is_unknown(self, node: ast.AST) -> bool:
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        return bool(names & self.unknown) or any(self._is_element(part) for part in ast.walk(node))

    def _is_element(self, node: ast.AST) -> bool:
        """Whether it is an element of one of the arrays."""
        if not isinstance(node, ast.Subscript) or not isinstance(node.value, ast.Attribute):
            return False
        return ast.unparse(node.value.value) == "self.core" and node.value.attr in self.arrays

    def _await(self, statement: ast.stmt, level: int) -> None:
        """Ask for the elements in a statement whose places are known by now; what it assigns is not known."""
        stored = {part.id for part in _parts(statement, ast.Name) if isinstance(part.ctx, ast.Store)}
        elements = {ast.unparse(part): part for part in _parts(statement, ast.Subscript) if self._is_element(part)}
        for element in elements.values():
            variables = {part.id for part in _parts(element.slice, ast.Name)} & self.variables
            if variables <= self.scope.locals.keys() - stored and not self._is_unknown(element.slice):
                self._ask(element, level)
        self.unknown |= stored
        self._emit(level, "awaits = 1")

    def _ask(self, element: ast.Subscript, level: int) -> None:
        assert isinstance(element.value, ast.Attribute)
        array = ArrayPlace("core", element.value.attr, arrays_in(self.scope, "core")[element.value.attr])
        self.scope.used.add("core")
        suffix = "bits" if array.kind.packed else f"array_{array.kind.element.bytes}"
        index = self.expressions.integer(element.slice).text
        self._emit(level, f"prefetch_{suffix}({array.start(self.scope.prefix)}, {index})")
        self.asked.add(ast.unparse(element))

    def _return(self, statement: ast.Return, level: int) -> bool:
        super()._return(statement, level)
        self.lines[-1] = f"{self.lines[-1]} if awaits == 0 else {AWAITS_CODE}"
        return True


def _parts(node: ast.AST, kind: type[Node]) -> list[Node]:
    return [part for part in ast.walk(node) if isinstance(part, kind)]
