"""Matchers of an NF's core: `self.core.matcher.scan(pkt, stream, skip)`, `.open()`, `.pattern(i)` and the others."""

import ast
from typing import TYPE_CHECKING

from fajita.packet import ERROR_FIELDS

if TYPE_CHECKING:
    from fajita.translation.expressions import Expressions

#: Methods by name: the numbers they take (scan: after the packet), and what they give.
_METHODS = {
    "scan": (2, "int"),
    "open": (0, "int"),
    "restart": (1, "bool"),
    "close": (1, "bool"),
    "pattern": (1, "int"),
    "end": (1, "int"),
}
#: Those that change it.
MATCHER_CHANGES = ("scan", "open", "restart", "close")
_SCAN = "scan(pkt, stream, skip)"


def call_matcher(expressions: "Expressions", node: ast.Call, place: str) -> tuple[str, str]:
    """The call in the kernel, and the type of what the method gives. place: where the matcher lies."""
    scope, function = expressions.scope, node.func
    assert isinstance(function, ast.Attribute)
    name, arguments = function.attr, list(node.args)
    if name not in _METHODS:
        what = f"{ast.unparse(function.value)} is a matcher, which has no {name}"
        expressions.refuse(node, what, f"known: {', '.join(_METHODS)}")
    before = [place]
    if name == "scan":
        if scope.pkt is None or not arguments or ast.unparse(arguments.pop(0)) != scope.pkt:
            expressions.refuse(node, f"`{ast.unparse(node)}` does not scan the packet", _SCAN)
        scope.reads |= ERROR_FIELDS
        scope.used |= {"frame", "headers", "captured"}
        before += ["payload_address(frame, headers)", "payload_length(frame, headers, captured)"]
    count, result = _METHODS[name]
    if node.keywords or len(arguments) != count:
        right = _SCAN if name == "scan" else f"{count} in all"
        expressions.refuse(node, f"`{ast.unparse(node)}` does not have the arguments of {name}", right)
    scope.used.add("core")
    numbers = [expressions.integer(argument).text for argument in arguments]
    return f"matcher_{name}({', '.join([*before, *numbers])})", result
