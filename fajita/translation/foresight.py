"""What an NF's before_lookup will probably do, as a hook that runs before it: derived from its source.

The entry of a packet is asked for long before the NF runs, but its key is known only after before_lookup. What remains
of that here has no effect but on the header: fields that it or the key reads are written, without checksums; whoever
calls it puts them back. It reads variables of Core as they are then, which the NF may change until its turn comes, and
no random numbers. So what it says is no more than a hint.
"""

import ast
import re

from fajita.packet import FIELDS, HALVES
from fajita.translation.expressions import Expressions
from fajita.translation.maps import CHANGES, is_map_call
from fajita.translation.scope import Scope, Value
from fajita.translation.statements import Statements

#: What may be called in such a hook: functions of which it is known that they change nothing.
_HARMLESS = re.compile(
    r"(read|load|hash_of|poke|map_get)_\w+|minimum|maximum|absolute|bit_length|floor_(divide|modulo)|(left|right)_shift"
    r"|payload_length|is_error|lands_here|range"
)
_CALL = re.compile(r"\b(\w+)\(")
#: What there is of a packet before its NFs run.
_KNOWN = {"frame", "headers", "captured", "length", "time_ns", "core", "constants", "context"}


def foresee(scope: Scope, reads: frozenset[str]) -> tuple[list[str], tuple[str, ...]] | None:
    """The lines of the hook, and the header fields that it writes; None where it would have to do more.

    scope: a fresh one of before_lookup. reads: the fields that this reads.
    """
    key = scope.nf.granularity
    assert key is not None
    scope.is_hint = True
    statements = _ForesightStatements(scope, reads | set(key.fields))
    statements.block(scope.method.tree.body, 1)
    called = {name for line in statements.lines for name in _CALL.findall(line)}
    if not scope.used <= _KNOWN or not all(_HARMLESS.fullmatch(name) for name in called):
        return None
    return statements.lines, tuple(sorted(statements.written))


class _ForesightExpressions(Expressions):
    """The expressions of the hook."""

    def _call(self, node: ast.Call) -> Value:
        return Value("0", "int") if ast.unparse(node.func) == "self.random" else super()._call(node)


class _ForesightStatements(Statements):
    """Writes the hook. wanted: the header fields that have to be written. written: those that are."""

    def __init__(self, scope: Scope, wanted: frozenset[str]) -> None:
        super().__init__(scope)
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
