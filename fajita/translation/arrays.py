"""Arrays of an NF's state and core: `state.buckets[i]`, `self.core.counts[i] += 1`, `len(state.buckets)`."""

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fajita.errors import with_article
from fajita.state_types import ArrayType
from fajita.translation.scope import Scope, Value

if TYPE_CHECKING:
    from fajita.translation.expressions import Expressions


@dataclass(frozen=True)
class ArrayPlace:
    """An array under translation. area: state or core."""

    area: str
    name: str
    kind: ArrayType

    def start(self, prefix: str) -> str:
        """Its address in the kernel, and its length, as arguments."""
        return f"{self.area} + {prefix}__{self.area}_{self.name}, {self.kind.length}"

    @property
    def element_type(self) -> str:
        """The type of an element as an expression."""
        return "bool" if self.kind.element.shown == "bool" else "int"


def arrays_in(scope: Scope, area: str) -> dict[str, ArrayType]:
    """The arrays of the NF's state or core, with their lengths."""
    return scope.nf.state_arrays if area == "state" else scope.nf.core_arrays


def array_value(scope: Scope, area: str, name: str) -> Value | None:
    """What `state.name` or `self.core.name` is, if it is an array."""
    kind = arrays_in(scope, area).get(name)
    return None if kind is None else Value(name, "array", ArrayPlace(area, name, kind))


def read_element(expressions: "Expressions", node: ast.Subscript, array: ArrayPlace) -> Value:
    """An element; 0 or False outside the array."""
    index = expressions.integer(node.slice).text
    return element_at(expressions.scope, array, index)


def element_at(scope: Scope, array: ArrayPlace, index: str) -> Value:
    """The element at a translated index."""
    scope.used.add(array.area)
    suffix = "bits" if array.kind.packed else f"array_{array.kind.element.dtype}"
    text = f"read_{suffix}({array.start(scope.prefix)}, {index})"
    is_flag = array.element_type == "bool"
    return Value(f"({text} != 0)", "bool") if is_flag else Value(text, "int")


def target_of(expressions: "Expressions", target: ast.Subscript) -> ArrayPlace:
    """The array whose element is assigned."""
    owner = target.value
    is_payload = isinstance(owner, ast.Attribute) and ast.unparse(owner.value) == expressions.scope.pkt
    array = None if is_payload else expressions.value(owner)
    if array is None or array.type != "array":
        right = "elements of lists and of the payload cannot be changed, those of arrays in State and Core can"
        expressions.refuse(target, f"`{ast.unparse(target)}` cannot be assigned to", right)
    place: ArrayPlace = array.known
    return place


def write_element(
    expressions: "Expressions", target: ast.Subscript, array: ArrayPlace, index: str, value: Value
) -> str:
    """The statement that assigns a value to the element at a translated index."""
    scope = expressions.scope
    if value.type != array.element_type:
        right = "write x != 0" if array.element_type == "bool" else "write 1 if x else 0"
        what = f"{array.name} is {array.kind.name}, whose elements cannot be {with_article(value.type)}"
        expressions.refuse(target, what, right)
    scope.used.add(array.area)
    if array.area == "state":
        scope.stored.add(array.name)
    suffix = "bits" if array.kind.packed else f"array_{array.kind.element.bytes}"
    return f"write_{suffix}({value.text}, {array.start(scope.prefix)}, {index})"
