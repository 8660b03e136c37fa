"""What an NF can call: `min`, `max`, `abs`, `len`, `hash_of`, `self.random`, `self.lands_here`, `pkt.drop`, maps,
`bit_length` of an integer."""

import ast
from functools import reduce
from typing import TYPE_CHECKING

from fajita.fixed_hash import MAXIMUM_NUMBERS, hash_of
from fajita.integers import wrap
from fajita.nf import NF
from fajita.splitmix import seed_of
from fajita.translation.maps import CHANGES, call_map, is_map_call, size_of
from fajita.translation.scope import Value

if TYPE_CHECKING:
    from fajita.translation.expressions import Expressions

_FUNCTIONS = ("min", "max", "abs", "len", "hash_of", "self.random", "self.lands_here")


def call(expressions: "Expressions", node: ast.Call) -> Value:
    """Translate a call."""
    scope, name = expressions.scope, ast.unparse(node.func)
    if node.keywords:
        expressions.refuse(node, f"`{ast.unparse(node)}` has keyword arguments")
    if scope.pkt and name == f"{scope.pkt}.drop":
        reason = node.args[0] if len(node.args) == 1 else None
        if not isinstance(reason, ast.Constant) or not isinstance(reason.value, str):
            expressions.refuse(node, f"{name} needs the reason as text", f'{name}("over rate")')
        return Value(str(scope.drop_code(reason.value)), "verdict")
    if isinstance(node.func, ast.Attribute) and node.func.attr == "bit_length":
        return _bit_length(expressions, node, node.func.value)
    if is_map_call(node):
        return call_map(expressions, node)
    if name == "self.random" and type(scope.nf).random is NF.random:
        return _random(expressions, node)
    if name == "self.lands_here":
        return _lands_here(expressions, node)
    if scope.method.names.get(name) is hash_of:
        return _hash_of(expressions, node)
    if name == "self.emit":
        expressions.refuse(node, "self.emit gives no value", f"write {ast.unparse(node)} on a line of its own")
    if name not in _FUNCTIONS[:4]:
        right = f"known: {', '.join(_FUNCTIONS)}, methods of the NF"
        expressions.refuse(node, f"{name} cannot be called in an NF", right)
    if name == "len":
        return _length(expressions, node)
    values = [expressions.integer(argument) for argument in node.args]
    if (name == "abs" and len(values) != 1) or (name != "abs" and len(values) < 2):
        right = "abs takes one, min and max two or more"
        expressions.refuse(node, f"{name} has the wrong number of arguments", right)
    if name == "abs":
        return Value(f"absolute({values[0].text})", "int")
    function = {"min": "minimum", "max": "maximum"}[name]
    return Value(reduce(lambda left, right: f"{function}({left}, {right})", (value.text for value in values)), "int")


def _bit_length(expressions: "Expressions", node: ast.Call, owner: ast.expr) -> Value:
    if node.args:
        expressions.refuse(node, "bit_length takes no arguments", f"{ast.unparse(owner)}.bit_length()")
    return Value(f"bit_length({expressions.integer(owner).text})", "int")


def _length(expressions: "Expressions", node: ast.Call) -> Value:
    if len(node.args) == 1 and (name := expressions.sequence(node.args[0])):
        return expressions.length(name)
    value = expressions.value(node.args[0]) if len(node.args) == 1 else None
    if value is not None and value.type == "map":
        return size_of(expressions.scope, value.text)
    if value is None or value.type not in ("list", "array"):
        expressions.refuse(node, f"`{ast.unparse(node)}` is not the length of a list or of the payload")
    length = len(value.known) if value.type == "list" else value.known.kind.length
    return Value(str(length), "int", length)


def _hash_of(expressions: "Expressions", node: ast.Call) -> Value:
    numbers = [expressions.integer(argument).text for argument in node.args]
    if not 1 <= len(numbers) <= MAXIMUM_NUMBERS:
        what = f"hash_of takes 1 to {MAXIMUM_NUMBERS} integers, not {len(numbers)}"
        expressions.refuse(node, what, "hash_of(hash_of(a, b), c) takes more")
    return Value(f"hash_of_{len(numbers)}({', '.join(numbers)})", "int")


def draws(node: ast.AST) -> bool:
    """Whether an expression draws a random number."""
    return _calls(node, "self.random")


def has_effect(node: ast.AST) -> bool:
    """Whether an expression draws a random number or changes a map, and so is evaluated as often as Python does it."""
    return draws(node) or any(is_map_call(part, CHANGES) for part in ast.walk(node))


def asks_landing(node: ast.AST) -> bool:
    """Whether an expression asks where a packet would land, which is not the same for all workers."""
    return _calls(node, "self.lands_here")


def _calls(node: ast.AST, name: str) -> bool:
    calls = (part for part in ast.walk(node) if isinstance(part, ast.Call))
    return any(ast.unparse(part.func) == name for part in calls)


def _random(expressions: "Expressions", node: ast.Call) -> Value:
    scope = expressions.scope
    if len(node.args) != 1:
        what = f"self.random takes one number, not {len(node.args)}"
        expressions.refuse(node, what, "self.random(6) is one of 0 to 5")
    limit = expressions.integer(node.args[0]).text
    scope.used.add("core")
    scope.draws = True
    return Value(f"draw(core + {scope.prefix}__random, {wrap(seed_of(scope.nf.name))}, {limit})", "int")


def _lands_here(expressions: "Expressions", node: ast.Call) -> Value:
    scope = expressions.scope
    if scope.pkt is None:
        right = "ask in new_flow or packet, and keep what comes of it in the state"
        expressions.refuse(node, f"{scope.method.name} has no packet, so it cannot ask where one would land", right)
    if len(node.args) != 4:
        what = f"self.lands_here takes four numbers, not {len(node.args)}"
        expressions.refuse(node, what, "self.lands_here(src, dst, src_port, dst_port)")
    numbers = ", ".join(expressions.integer(argument).text for argument in node.args)
    scope.used.add("context")
    return Value(f"(lands_here(context, {numbers}) != 0)", "bool")
