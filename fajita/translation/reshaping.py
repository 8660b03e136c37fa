"""Frames that an NF makes longer or shorter: `pkt.grow(at, count)`, `pkt.shrink(at, count)`, `pkt.frame[i] = byte`.

Headers are found again after each of the first two, and after bytes were written where something asks for them: a
length that was written is not believed before it is checked.
"""

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fajita.packet import FACTS, FIELDS, FRAME, HALVES, MAXIMUM_GROWTH, METADATA, SEQUENCES

if TYPE_CHECKING:
    from fajita.translation.expressions import Expressions

CALLS = ("grow", "shrink")
#: What is the same whatever the headers are.
_WITHOUT_HEADERS = {FRAME, *METADATA, *CALLS, "drop"} | FACTS.keys() - {f"{name}_length" for name in SEQUENCES}
#: What every header may be afterwards.
_ALL_FIELDS = {*FIELDS, *HALVES.values()}


def reshaping_call(pkt: str | None, node: ast.expr) -> str:
    """`grow` or `shrink`, if an expression calls that; else empty."""
    if not pkt or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return ""
    return node.func.attr if ast.unparse(node.func.value) == pkt and node.func.attr in CALLS else ""


def is_frame(pkt: str | None, node: ast.expr) -> bool:
    """Whether an expression is `pkt.frame`."""
    return isinstance(node, ast.Attribute) and node.attr == "frame" and ast.unparse(node.value) == pkt


def changes_frame(pkt: str | None, node: ast.AST) -> bool:
    """Whether anything in it changes the frame itself."""
    return any(
        is_frame(pkt, part.value) and isinstance(part.ctx, ast.Store)
        if isinstance(part, ast.Subscript)
        else isinstance(part, ast.Call) and bool(reshaping_call(pkt, part))
        for part in ast.walk(node)
    )


def asks_headers(pkt: str | None, node: ast.AST) -> bool:
    """Whether something in it depends on where the frame's headers are."""
    attributes = (part for part in ast.walk(node) if isinstance(part, ast.Attribute))
    return any(part.attr not in _WITHOUT_HEADERS for part in attributes if ast.unparse(part.value) == pkt)


def reshape(expressions: "Expressions", call: ast.Call, name: str) -> Iterator[str]:
    """The statements of a call, and those after which the method sees the frame as it is now."""
    scope = expressions.scope
    note_reshape(expressions, call)
    if len(call.args) != 2 or call.keywords:
        right = f"{scope.pkt}.{name}(at, count)"
        expressions.refuse(call, f"`{ast.unparse(call)}` needs an offset and a number of bytes", right)
    at, count = (expressions.integer(argument) for argument in call.args)
    if name == "grow":
        if scope.loops:
            expressions.refuse(call, f"{scope.pkt}.grow in a loop: nothing bounds what it needs", "grow once by more")
        # Nothing is inserted if it is none of these numbers.
        scope.growth += (
            count.known if count.known is not None and 0 <= count.known <= MAXIMUM_GROWTH else MAXIMUM_GROWTH
        )
    headroom = ", HEADROOM" if name == "grow" else ""
    yield f"{name}(block, packet, {at.text}, {count.text}{headroom})"
    yield from seen_anew()


def seen_anew(block: str = "block", captured: str = "captured", packet: str = "packet") -> Iterator[str]:
    """What the frame is now, in the names of a hook, or of the pass that calls it. block: the context, which leads to
    the columns of the block."""
    yield f"frame = address_of({block}, {packet})"
    yield f"{captured} = captured_of({block}, {packet})"
    yield f"length = wire_of({block}, {packet})"
    yield f"headers = parse(frame, {captured}, link_of({block}, {packet}))"


def note_reshape(expressions: "Expressions", node: ast.expr) -> None:
    """That the NF changes more of a frame than its fields; only one that keeps no state may."""
    scope = expressions.scope
    if scope.method.name != "packet" or scope.nf.granularity is not None:
        what = f"`{ast.unparse(node)}` changes the frame itself"
        expressions.refuse(node, what, "only packet of a network function without a key may")
    scope.reshapes = scope.is_changed = True
    scope.writes |= _ALL_FIELDS
    scope.reads |= FIELDS.keys()
    scope.rewrites_per_flow = False
    scope.used |= {"frame", "headers", "captured", "length", "block", "packet"}
