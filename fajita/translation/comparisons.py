"""Comparisons and membership in an NF: `a < b <= c`, `mode == "fast"`, `port in (53, 80)`, `port in self.ports`."""

import ast
from typing import TYPE_CHECKING

from fajita.translation.calls import draws, has_effect
from fajita.translation.scope import Value

if TYPE_CHECKING:
    from fajita.translation.expressions import Expressions

_SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
#: `in` becomes a comparison with each element, one after the other.
MAXIMUM_ELEMENTS = 32
#: Characters of the translation of one `in`, whose left side stands in each of its comparisons.
_MAXIMUM_TEXT = 20_000


def compare(expressions: "Expressions", node: ast.Compare) -> Value:
    """Translate a comparison."""
    for part in filter(has_effect, _not_evaluated_once(node)):
        what, result = ("draws", "the random number") if draws(part) else ("changes a map", "what that gives")
        expressions.refuse(node, f"`{ast.unparse(node)}` {what} in its midst", f"assign {result} to a variable")
    if any(isinstance(operator, ast.In | ast.NotIn) for operator in node.ops):
        return _membership(expressions, node)
    operands = [expressions.value(part) for part in (node.left, *node.comparators)]
    signs = []
    for operator in node.ops:
        if type(operator) not in _SIGNS:
            what = f"`{ast.unparse(node)}` uses a comparison that NFs do not have"
            expressions.refuse(node, what, "==, !=, <, <=, >, >=, in")
        signs.append(_SIGNS[type(operator)])
    if any(operand.type == "str" for operand in operands):
        return _text_comparison(expressions, node, operands, signs)
    if any(operand.type != operands[0].type or operand.type not in ("int", "bool") for operand in operands):
        expressions.refuse(node, f"`{ast.unparse(node)}` compares things of different types")
    pairs = zip(operands, signs, operands[1:], strict=False)
    text = " and ".join(f"({left.text} {sign} {right.text})" for left, sign, right in pairs)
    return Value(f"({text})" if len(signs) > 1 else text, "bool")


def _not_evaluated_once(node: ast.Compare) -> list[ast.expr]:
    """What the translation has more than once, or, of the elements right of `in`, may leave out."""
    if not isinstance(node.ops[0], ast.In | ast.NotIn):
        return node.comparators[:-1]
    among = node.comparators[0]
    return [node.left, *(among.elts[1:] if isinstance(among, ast.Tuple | ast.List | ast.Set) else [])]


def _text_comparison(expressions: "Expressions", node: ast.Compare, operands: list[Value], signs: list[str]) -> Value:
    """Text exists only among the parameters, so that a comparison of it is decided here."""
    if len(operands) != 2 or any(operand.type != "str" for operand in operands) or signs[0] not in ("==", "!="):
        right = "compare a text parameter with == or !="
        expressions.refuse(node, f"`{ast.unparse(node)}` cannot be decided", right)
    equal = (operands[0].known == operands[1].known) == (signs[0] == "==")
    return Value(str(equal), "bool", equal)


def _membership(expressions: "Expressions", node: ast.Compare) -> Value:
    """`x in (1, 2)` and `x not in self.ports`."""
    if len(node.ops) != 1:
        expressions.refuse(node, f"`{ast.unparse(node)}` is a chain of comparisons with `in`", "join them with and")
    wanted = expressions.integer(node.left).text
    elements = _elements(expressions, node.comparators[0])
    is_in = isinstance(node.ops[0], ast.In)
    if not elements:
        return Value(str(not is_in), "bool", not is_in)
    text = " or ".join(f"({wanted} == {element})" for element in elements)
    if len(text) > _MAXIMUM_TEXT:
        expressions.refuse(node, f"`{ast.unparse(node)}` is too large", "assign its left side to a variable before")
    return Value(f"({text})" if is_in else f"(not ({text}))", "bool")


def _elements(expressions: "Expressions", node: ast.expr) -> list[str]:
    """The translated elements of what stands right of `in`."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        elements = [expressions.integer(element).text for element in node.elts]
    else:
        collection = expressions.value(node)
        if collection.type != "list":
            what = f"`{ast.unparse(node)}` is not a list of integers"
            expressions.refuse(node, what, "in (53, 80), or in a list among the parameters")
        elements = [str(element) for element in collection.known[: MAXIMUM_ELEMENTS + 1]]
    if len(elements) > MAXIMUM_ELEMENTS:
        what = f"`in` looks through {len(elements)} elements one by one; at most {MAXIMUM_ELEMENTS}"
        expressions.refuse(node, what, "loop: for i in range(len(numbers)), or index a table")
    return elements
