"""The array elements that an NF's `packet` will touch, as a hook that asks for them before: derived from its source.

What remains of the method is what the indices need, and nothing that changes anything: `if`s whose tests are known by
then, assignments of variables that are assigned once, small loops. An index that is known too late, as it depends on
another element, a random number or a variable that changes, is left out; so is of lists what only some packets need. A
wrong guess is harmless: it only prefetches.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from fajita.packet import METADATA
from fajita.translation.arrays import ArrayPlace, arrays_in
from fajita.translation.calls import asks_landing, has_effect
from fajita.translation.expressions import Expressions
from fajita.translation.lists import AREA, ListPlace, list_name, list_place
from fajita.translation.maps import is_map_call
from fajita.translation.same_line import merge
from fajita.translation.scope import Scope, Value
from fajita.translation.statements import Statements

#: Turns of a loop for which all elements are asked for.
MAXIMUM_TURNS = 8
#: What a hook may be handed that differs from packet to packet of a flow.
_FACTS_OF_ONE_PACKET = {"captured", "length", "time_ns"}


@dataclass(frozen=True)
class ArrayAccess:
    """An element as the source of `packet` names it. ahead: its index is known before the NF runs. is_fixed: it is the
    same element of a worker's array for every packet, which is in the cache. in_doubt: of a list, and left out as only
    some packets need it."""

    area: str
    array: str
    text: str
    ahead: bool
    is_fixed: bool
    in_doubt: bool = False


@dataclass(frozen=True)
class Asked:
    """How many elements of each area a hook asks for at most, of lists among those of core. reads: the header fields
    that decide which, beside the state; None: more than that decides it."""

    core: int
    state: int
    reads: frozenset[str] | None


@dataclass(frozen=True)
class Prefetches:
    """The lines of a hook, empty if there is nothing to ask for; the scope says what they need."""

    accesses: tuple[ArrayAccess, ...]
    lines: tuple[str, ...]
    asked: Asked
    scope: Scope


def derive_prefetches(scope: Scope, wanted: set[tuple[str, str]]) -> Prefetches:
    """The prefetches of a `packet` method. scope: a fresh one. wanted: the arrays, as (area, name), that need any."""
    reduction = _Reduction(scope, wanted)
    body = reduction.block(scope.method.tree.body, set())
    accesses = tuple(dict.fromkeys(reduction.accesses))
    if not any(isinstance(node, ast.Expr) for statement in body for node in ast.walk(statement)):
        return Prefetches(accesses, (), Asked(0, 0, None), scope)
    scope.method, scope.is_hint = replace(scope.method, name="prefetch"), True
    statements = _PrefetchStatements(scope)
    if not statements.block(body, 1):
        statements.lines.append("    return 0")
    reads = None if scope.used & _FACTS_OF_ONE_PACKET else frozenset(scope.reads)
    asked = Asked(statements.asked["core"], statements.asked["state"], reads)
    return Prefetches(accesses, tuple(statements.lines), asked, scope)


class _Reduction:
    """Makes of a method's statements those of its hook, in which an element stands for its prefetch."""

    def __init__(self, scope: Scope, wanted: set[tuple[str, str]]) -> None:
        self.scope, self.wanted = scope, wanted
        self.accesses: list[ArrayAccess] = []
        #: How many `if`s are around that nobody can decide before the method runs.
        self.doubts = 0
        #: How often the method assigns each of its variables.
        self.stored = Counter(stored_names(scope.method.tree))
        #: What the variables are assigned that are known.
        self.values: dict[str, ast.expr] = {}

    def block(self, body: list[ast.stmt], known: set[str]) -> list[ast.stmt]:
        """known: variables that have the value here that they have in the method."""
        known = set(known)
        reduced: list[ast.stmt] = []
        for statement in body:
            reduced += self._statement(statement, known)
            if isinstance(statement, ast.Return):
                break
        return merge(reduced, self._array, self.values)

    def _array(self, node: ast.expr) -> ArrayPlace | ListPlace:
        return _place(Expressions(replace(self.scope, used=set())).value(node))

    def _statement(self, statement: ast.stmt, known: set[str]) -> Iterator[ast.stmt]:
        if isinstance(statement, ast.If):
            yield from self._if(statement, known)
        elif isinstance(statement, ast.For):
            yield from self._for(statement, known)
        else:
            yield from self._elements(statement, known)
            yield from self._assignments(statement, known)
            if isinstance(statement, ast.Return):
                yield ast.copy_location(ast.Return(None), statement)

    def _if(self, statement: ast.If, known: set[str]) -> Iterator[ast.stmt]:
        test = self._constant(statement.test)
        if test is not None:
            yield from self.block(statement.body if test else statement.orelse, known)
            return
        yield from self._elements(statement.test, known)
        is_known = self._is_known(statement.test, known)
        self.doubts += not is_known
        body, other = self.block(statement.body, known), self.block(statement.orelse, known)
        self.doubts -= not is_known
        if is_known:
            if body or other:
                empty: list[ast.stmt] = [ast.copy_location(ast.Pass(), statement)]
                yield ast.copy_location(ast.If(statement.test, body or empty, other), statement)
        else:  # either may be taken
            yield from (made for made in (*body, *other) if not isinstance(made, ast.Return))

    def _for(self, statement: ast.For, known: set[str]) -> Iterator[ast.stmt]:
        assert isinstance(statement.iter, ast.Call)
        assert isinstance(statement.target, ast.Name)
        yield from self._elements(statement.iter, known)
        target = statement.target.id
        is_its_own = stored_names(statement).count(target) == 1
        if is_its_own and self._is_small(statement.iter):
            body = _without_returns(self.block(statement.body, known | {target}))
            if body:
                yield ast.copy_location(ast.For(statement.target, statement.iter, body, []), statement)
        else:
            yield from _without_returns(self.block(statement.body, known))

    def _is_small(self, loop: ast.Call) -> bool:
        bounds = [self._constant(bound) for bound in loop.args]
        return None not in bounds and len(range(*bounds)) <= MAXIMUM_TURNS

    def _constant(self, node: ast.expr) -> Any:
        """The value of an expression that is known when the chain is compiled, else None."""
        changing = {*self.stored, self.scope.pkt, self.scope.state}
        if has_effect(node) or any(isinstance(part, ast.Name) and part.id in changing for part in ast.walk(node)):
            return None
        return Expressions(replace(self.scope, used=set())).value(node).known

    def _elements(self, node: ast.AST, known: set[str]) -> Iterator[ast.stmt]:
        """A prefetch for each element in a statement or expression, in the order Python evaluates them."""
        for part in ast.walk(node):
            if not isinstance(part, ast.Subscript) or (array := self._array_of(part.value)) is None:
                continue
            in_doubt = self.doubts > 0 and array[0] == AREA
            ahead = self._is_known(part.slice, known) and not in_doubt
            is_fixed = array[0] in ("core", AREA) and self._constant(part.slice) is not None
            self.accesses.append(ArrayAccess(*array, ast.unparse(part), ahead, is_fixed, in_doubt))
            if ahead and array in self.wanted and not is_fixed:
                loaded = ast.copy_location(ast.Subscript(part.value, part.slice, ast.Load()), part)
                yield ast.copy_location(ast.Expr(loaded), part)

    def _assignments(self, statement: ast.stmt, known: set[str]) -> Iterator[ast.stmt]:
        """The assignments of variables that the method assigns nowhere else, each of its own."""
        for target, value in assigned(statement):
            if isinstance(target, ast.Name) and self.stored[target.id] == 1 and self._is_known(value, known):
                known.add(target.id)
                self.values[target.id] = value
                yield ast.copy_location(ast.Assign([target], value), statement)

    def _is_known(self, node: ast.expr, known: set[str]) -> bool:
        """Whether an expression can be computed before the method runs, but for what other NFs may change."""
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        elements = (part.value for part in ast.walk(node) if isinstance(part, ast.Subscript))
        return (
            not names & (self.stored.keys() - known)
            and not any(self._array_of(owner) for owner in elements)
            and not has_effect(node)
            and not asks_landing(node)
            and not any(is_map_call(part) for part in ast.walk(node))
            and not _reads_metadata(node, self.scope)
        )

    def _array_of(self, node: ast.expr) -> tuple[str, str] | None:
        """The array that an expression names, or the large list: its area, and its name there."""
        if isinstance(node, ast.Attribute):
            area = {self.scope.state: "state", "self.core": "core"}.get(ast.unparse(node.value))
            if area is not None and node.attr in arrays_in(self.scope, area):
                return area, node.attr
        if isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"):
            name = list_name(self.scope.prefix, node)
            return (AREA, name) if (AREA, name) in self.wanted else None
        return None


class _PrefetchStatements(Statements):
    """Writes the hook: an expression that stands alone is an element to ask for."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope)
        self.asked: Counter[str] = Counter()
        self.turns = 1

    def _for(self, statement: ast.For, level: int) -> bool:
        assert isinstance(statement.iter, ast.Call)
        turns = len(range(*(self.expressions.integer(bound).known for bound in statement.iter.args)))
        self.turns *= turns
        super()._for(statement, level)
        self.turns //= max(turns, 1)
        return False

    def _expr(self, statement: ast.Expr, level: int) -> bool:
        element = statement.value
        assert isinstance(element, ast.Subscript)
        array = _place(self.expressions.value(element.value))
        index = self.expressions.integer(element.slice).text
        self.scope.used.add(array.area)
        suffix = "bits" if array.kind.packed else f"array_{array.kind.element.bytes}"
        self.asked["core" if array.area == AREA else array.area] += self.turns
        self._emit(level, f"prefetch_{suffix}({array.start(self.scope.prefix)}, {index})")
        return False


def stored_names(tree: ast.AST) -> list[str]:
    """The variables that are assigned, each as often as it is."""
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def _without_returns(body: list[ast.stmt]) -> list[ast.stmt]:
    return [statement for statement in body if not isinstance(statement, ast.Return)]


def _reads_metadata(node: ast.AST, scope: Scope) -> bool:
    """Whether an expression depends on what NFs before this one leave with the packet."""
    attributes = (part for part in ast.walk(node) if isinstance(part, ast.Attribute) and part.attr in METADATA)
    return any(ast.unparse(part.value) == scope.pkt for part in attributes)


def _place(value: Value) -> ArrayPlace | ListPlace:
    if value.type == "list":
        return list_place(value)
    place: ArrayPlace = value.known
    return place


def assigned(statement: ast.stmt) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What a statement assigns, and what to."""
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        yield statement.target, statement.value
    elif isinstance(statement, ast.Assign):
        target, value = statement.targets[0], statement.value
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            yield from zip(target.elts, value.elts, strict=True)
        else:
            yield target, value
