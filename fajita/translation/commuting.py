"""Whether the order of packets does not matter to the states of an NF: seen from the syntax of its `packet`.

It does not if all fields are declared (Sum, Max, Min, Or) and `packet` does nothing with them but what their merge
says: then workers may each keep a state for the same key, which are merged when they are read, or share one. Whatever
else looks at a state, even where it would do no harm, is taken as a reason that it does. `expire` may do what it likes.
"""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fajita.packet import FACTS, FIELDS, FLOW_PORTS, METADATA
from fajita.state_types import StateType
from fajita.translation.arrays import arrays_in
from fajita.translation.calls import has_effect
from fajita.translation.expressions import Expressions
from fajita.translation.prefetches import assigned, stored_names
from fajita.translation.scope import Scope

#: Statements that update a field, by its merge.
_UPDATES = {
    "sum": "`+= x` or `-= x`",
    "max": "`= max(…, x)`",
    "min": "`= min(…, x)`",
    "or": "`|= x`, of a flag `= True`",
}
_OPERATORS: dict[str, tuple[type[ast.operator], ...]] = {"sum": (ast.Add, ast.Sub), "or": (ast.BitOr,)}
#: Bits of what is no header field; the time may be before 1970.
_FACT_BITS = dict.fromkeys(FACTS, 32) | dict.fromkeys(FLOW_PORTS, 16) | {"time_ns": 64}
_FACT_BITS |= {name: each.bits for name, each in METADATA.items()}


def why_not_commuting(scope: Scope, stored: frozenset[str], *, has_new_flow: bool) -> str:
    """Why an NF's states depend on the order of packets, with file and line; empty if they do not.

    scope: a fresh one of `packet`. stored: the fields and arrays that some method assigns. has_new_flow: whether its
    new_flow does anything.
    """
    found = next(_Search(scope, stored).block(scope.method.tree.body), None)
    if found is not None:
        node, what = found
        file, _, line = scope.method.where(node).rpartition(":")
        return f"packet {what} ({Path(file).name}:{line})"
    if scope.state is None:
        return ""
    if has_new_flow:
        return "it has a new_flow"
    types = _types(scope)
    undeclared = next((name for name, kind in types.items() if name in stored and kind.merge is None), None)
    return "" if undeclared is None else f"{undeclared} is not declared as Sum, Max, Min or Or"


def _types(scope: Scope) -> dict[str, StateType]:
    arrays = arrays_in(scope, "state")
    return scope.state_fields() | {name: kind.element for name, kind in arrays.items()}


#: What is wrong: the place, and what `packet` does there.
_Found = tuple[ast.AST, str]


class _Search:
    """Goes through the statements of `packet` that are not left out by the NF's parameters."""

    def __init__(self, scope: Scope, stored: frozenset[str]) -> None:
        self.scope, self.stored, self.types = scope, stored, _types(scope)
        self._variables = set(stored_names(scope.method.tree))

    def block(self, body: list[ast.stmt]) -> Iterator[_Found]:
        """What is wrong in statements."""
        for statement in body:
            yield from self._statement(statement)

    def _statement(self, statement: ast.stmt) -> Iterator[_Found]:
        if isinstance(statement, ast.If):
            test = self._known(statement.test)
            if test is None:
                yield from self._reads(statement.test)
            if test is None or test:
                yield from self.block(statement.body)
            if not test:
                yield from self.block(statement.orelse)
        elif isinstance(statement, ast.For):
            yield from self._reads(statement.iter)
            yield from self.block(statement.body)
        elif isinstance(statement, ast.AugAssign):
            yield from self._change(statement)
        else:
            assignments = list(assigned(statement))
            for target, value in assignments:
                yield from self._assignment(target, value)
            if not assignments:
                yield from self._reads(statement)

    def _change(self, statement: ast.AugAssign) -> Iterator[_Found]:
        name = self._kept(statement.target)
        if name is None:
            yield from self._reads(statement.target)
        elif not isinstance(statement.op, _OPERATORS.get(self.types[name].merge or "sum", ())):
            yield self._misuse(statement, name)
        else:
            yield from self._index(statement.target)
        yield from self._reads(statement.value)

    def _assignment(self, target: ast.expr, value: ast.expr) -> Iterator[_Found]:
        name = self._kept(target)
        if name is None:
            yield from self._reads(target)
            yield from self._reads(value)
            return
        given = self._merged(target, value, self.types[name])
        if given is None:
            yield self._misuse(target, name)
            return
        yield from self._index(target)
        for part in given:
            yield from self._reads(part)
            if self._may_not_fit(part, self.types[name]):
                right = f"& {(1 << 8 * self.types[name].bytes) - 1:#x}"
                yield target, f"gives {name} what may not fit {self.types[name].name} (`{right}` makes it fit)"

    def _misuse(self, node: ast.AST, name: str) -> _Found:
        merge = self.types[name].merge
        if merge is None:
            return node, f"assigns state.{name}"
        return node, f"changes state.{name}, a {merge.capitalize()}, otherwise than by {_UPDATES[merge]}"

    def _kept(self, target: ast.expr) -> str | None:
        """The field, or the array of the element, that is assigned."""
        owner = target.value if isinstance(target, ast.Subscript) else target
        return owner.attr if isinstance(owner, ast.Attribute) and self._is_state(owner.value) else None

    def _index(self, target: ast.expr) -> Iterator[_Found]:
        if isinstance(target, ast.Subscript):
            yield from self._reads(target.slice)

    def _merged(self, target: ast.expr, value: ast.expr, kind: StateType) -> list[ast.expr] | None:
        """What an assignment merges into the field; None if it does something else."""
        if kind.merge == "or" and kind.shown == "bool":
            return self._raised(target, value)
        if kind.merge not in ("max", "min") or has_effect(target):
            return None
        is_call = isinstance(value, ast.Call) and ast.unparse(value.func) == kind.merge
        if not isinstance(value, ast.Call) or not is_call:
            return None
        others = [part for part in value.args if not _same(part, target)]
        return others if len(others) == len(value.args) - 1 else None

    def _raised(self, target: ast.expr, value: ast.expr) -> list[ast.expr] | None:
        """The same of a flag: `= True`, `= itself or x`."""
        if self._known(value) is True:
            return []
        is_or = isinstance(value, ast.BoolOp) and isinstance(value.op, ast.Or)
        # Python would not come to a random number if the flag is set.
        if not isinstance(value, ast.BoolOp) or not is_or or has_effect(value) or has_effect(target):
            return None
        others = [part for part in value.values if not _same(part, target)]
        return others if len(others) < len(value.values) else None

    def _reads(self, node: ast.AST) -> Iterator[_Found]:
        """Where a state is read."""
        if isinstance(node, ast.IfExp) and (test := self._known(node.test)) is not None:
            yield from self._reads(node.body if test else node.orelse)
        elif isinstance(node, ast.BoolOp) and self._known(node) is not None:
            return
        elif isinstance(node, ast.Attribute) and self._is_state(node.value):
            if node.attr in self.stored:
                yield node, f"reads state.{node.attr}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "self.lands_here":
            yield node, "asks where packets land, which depends on the worker"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("len", "self.emit"):
            if ast.unparse(node.func) == "self.emit":
                yield node, "emits the state"
        else:
            for child in ast.iter_child_nodes(node):
                yield from self._reads(child)

    def _is_state(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id == self.scope.state

    def _known(self, node: ast.expr) -> Any:
        """The value of an expression that is known when the chain is compiled, else None."""
        names = (part.id for part in ast.walk(node) if isinstance(part, ast.Name))
        if has_effect(node) or not self._variables.isdisjoint(names):
            return None
        return Expressions(replace(self.scope, used=set())).value(node).known

    def _may_not_fit(self, node: ast.expr, kind: StateType) -> bool:
        """Whether a value of a narrow Max or Min may lose bits, so that it matters when that happens."""
        return kind.merge in ("max", "min") and kind.bytes < 8 and self._bits(node) > 8 * kind.bytes

    def _bits(self, node: ast.expr) -> int:
        """Bits that hold every value of an expression; 64 also where it may be negative, or nothing is known."""
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == self.scope.pkt:
            field = FIELDS.get(node.attr)
            return _FACT_BITS.get(node.attr, 64) if field is None else field.value_mask.bit_length()
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd):
            return min(self._bits(node.left), self._bits(node.right))
        known = self._known(node)
        return known.bit_length() if isinstance(known, int) and known >= 0 else 64


def _same(left: ast.expr, right: ast.expr) -> bool:
    """Whether two expressions are written alike."""
    return ast.unparse(left) == ast.unparse(right)
