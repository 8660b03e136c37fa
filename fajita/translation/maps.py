"""Maps of an NF's core: `self.core.mappings.get(a, b)`, `.set(a, b, value)`, `.remove(a, b)`, `len(…)`."""

import ast
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeGuard

from fajita.matcher_type import MatcherType
from fajita.state_types import MAXIMUM_MAP_KEY, MapType
from fajita.translation.matchers import MATCHER_CHANGES, call_matcher
from fajita.translation.scope import Scope, Value

if TYPE_CHECKING:
    from fajita.translation.expressions import Expressions

#: Methods by name: the numbers they take beside the key, what they give, and what these numbers are called.
_METHODS = {"get": (0, "int", ""), "set": (1, "bool", " and the value"), "remove": (0, "bool", "")}
#: Those that change a map.
CHANGES = ("set", "remove", *MATCHER_CHANGES)
_OWNER = "self.core."


def maps_in(scope: Scope, area: str) -> dict[str, MapType]:
    """The maps of the NF's core; a state has none."""
    return scope.nf.core_maps if area == "core" else {}


def map_value(scope: Scope, area: str, name: str) -> Value | None:
    """What `self.core.name` is, if it is a map."""
    kind = maps_in(scope, area).get(name)
    return None if kind is None else Value(name, "map", kind)


def is_map_call(node: ast.AST, methods: Iterable[str] | None = None) -> TypeGuard[ast.Call]:
    """Whether an expression calls a method of a variable, as only maps have some; methods: one of these."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    return ast.unparse(node.func.value).startswith(_OWNER) and (methods is None or node.func.attr in methods)


def call_map(expressions: "Expressions", node: ast.Call) -> Value:
    """Translate a call of a method of a map."""
    text, result = _call(expressions, node)
    return Value(f"({text} != 0)" if result == "bool" else text, result)


def change_map(expressions: "Expressions", node: ast.Call) -> str:
    """The statement that such a call is on a line of its own."""
    text, _ = _call(expressions, node)
    return text


def _call(expressions: "Expressions", node: ast.Call) -> tuple[str, str]:
    """The call in the kernel, and the type of what the method gives."""
    scope, function = expressions.scope, node.func
    assert isinstance(function, ast.Attribute)
    owner = expressions.value(function.value)
    if owner.type == "map" and isinstance(owner.known, MatcherType):
        return call_matcher(expressions, node, f"core + {scope.prefix}__core_{owner.text}")
    if owner.type != "map":
        expressions.refuse(node, f"`{ast.unparse(function.value)}` is no map", "of maps: get, set and remove")
    name, kind = owner.text, owner.known
    if node.keywords:
        expressions.refuse(node, f"`{ast.unparse(node)}` has keyword arguments")
    if function.attr not in _METHODS:
        expressions.refuse(node, f"{name} is a map, which has no {function.attr}", f"known: {', '.join(_METHODS)}")
    more, result, also = _METHODS[function.attr]
    if len(node.args) != kind.words + more:
        keys = "a number" if kind.words == 1 else f"{kind.words} numbers"
        what = f"{function.attr} of {name} takes {keys} as the key{also}, not {len(node.args)} in all"
        expressions.refuse(node, what, f"{name} is {kind.name}")
    numbers = [expressions.integer(argument).text for argument in node.args]
    unused = ["0"] * (MAXIMUM_MAP_KEY - kind.words)
    arguments = [*numbers[: kind.words], *unused, *numbers[kind.words :]]
    return f"map_{function.attr}_{kind.words}({address(scope, name)}, {', '.join(arguments)})", result


def size_of(scope: Scope, name: str) -> Value:
    """How many keys a map has, which is its first word."""
    return Value(f"load_i64({address(scope, name)})", "int")


def address(scope: Scope, name: str) -> str:
    """Where a map lies."""
    scope.used.add("core")
    return f"core + {scope.prefix}__core_{name}"
