"""Elements that lie in one cache line need one prefetch: `lines[at]` and `lines[at + 2]`, where `at` is `8 * slot`."""

import ast
from collections.abc import Callable
from dataclasses import dataclass

from fajita.cache_line import LINE_BYTES
from fajita.translation.arrays import ArrayPlace
from fajita.translation.lists import ListPlace


@dataclass(frozen=True)
class _Asked:
    """An element that a prefetch asks for: its array, and its index as an expression and a number added to it."""

    element: ast.expr
    array: ArrayPlace | ListPlace
    base: ast.expr
    offset: int


def merge(
    statements: list[ast.stmt], array_of: Callable[[ast.expr], ArrayPlace | ListPlace], values: dict[str, ast.expr]
) -> list[ast.stmt]:
    """A block, in which an expression stands for the prefetch of an element, without the needless ones.

    Of elements of one array near each other the first is asked for, and the last if it may lie in the next line.
    values: what the variables are assigned that are assigned once.
    """
    groups: dict[str, list[_Asked]] = {}
    places: dict[str, list[int]] = {}
    for place, statement in enumerate(statements):
        if isinstance(statement, ast.Expr):
            asked = _asked(statement.value, array_of)
            name = f"{asked.array.area} {asked.array.name} {ast.unparse(asked.base)}"
            groups.setdefault(name, []).append(asked)
            places.setdefault(name, []).append(place)
    merged: list[ast.stmt | None] = list(statements)
    for name, group in groups.items():
        needed: list[ast.stmt] = [
            ast.copy_location(ast.Expr(asked.element), asked.element) for asked in _needed(group, values)
        ]
        # In the places of the first, as what the index is made of is known there already.
        for number, place in enumerate(places[name]):
            merged[place] = needed[number] if number < len(needed) else None
    return [statement for statement in merged if statement is not None]


def _asked(element: ast.expr, array_of: Callable[[ast.expr], ArrayPlace | ListPlace]) -> _Asked:
    assert isinstance(element, ast.Subscript)
    base, offset = _split(element.slice)
    return _Asked(element, array_of(element.value), base, offset)


def _split(index: ast.expr) -> tuple[ast.expr, int]:
    """`at + 2` is `at` and 2."""
    if isinstance(index, ast.BinOp) and isinstance(index.op, ast.Add):
        for number, rest in ((index.right, index.left), (index.left, index.right)):
            if isinstance(number, ast.Constant) and isinstance(number.value, int):
                return rest, number.value
    return index, 0


def _needed(group: list[_Asked], values: dict[str, ast.expr]) -> list[_Asked]:
    by_offset = list({asked.offset: asked for asked in sorted(group, key=lambda asked: asked.offset)}.values())
    first, last, array = by_offset[0], by_offset[-1], group[0].array
    in_line = 8 * LINE_BYTES // (1 if array.kind.packed else 8 * array.kind.element.bytes)
    if last.offset - first.offset >= in_line:
        return by_offset
    is_aligned = array.area != "state" and _factor(first.base, values) % in_line == 0
    if first is last or (is_aligned and first.offset // in_line == last.offset // in_line):
        return [first]
    return [first, last]


def _factor(node: ast.expr, values: dict[str, ast.expr]) -> int:
    """A power of two that is known to divide an expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value & -node.value or 1 << 63
    if isinstance(node, ast.Name) and node.id in values:
        return _factor(values[node.id], values)
    if isinstance(node, ast.BinOp):
        left, right = _factor(node.left, values), _factor(node.right, values)
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.LShift) and isinstance(node.right, ast.Constant):
            return left << (node.right.value & 63) if isinstance(node.right.value, int) else 1
        if isinstance(node.op, ast.BitAnd):
            return max(left, right)
        if isinstance(node.op, ast.Add | ast.Sub | ast.BitOr):
            return min(left, right)
    return 1
