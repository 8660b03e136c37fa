"""Lists that NFs index, `self.servers[i]`: read in the kernel, and, where they are large, asked for ahead."""

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fajita.constant_lists import as_elements
from fajita.state_types import ArrayType, StateType

if TYPE_CHECKING:
    from fajita.translation.scope import Value

#: The area that lists lie in, as the kernel and `ArrayAccess` name it.
AREA = "constants"


@dataclass(frozen=True)
class ListPlace:
    """A list under translation, as an ArrayPlace is an array. name: its name in the kernel."""

    name: str
    kind: ArrayType
    area: str = AREA

    def start(self, _: str = "") -> str:
        """Its address in the kernel, and its length, as arguments."""
        return f"{AREA} + {self.name}, {self.kind.length}"


def list_name(prefix: str, node: ast.Name | ast.Attribute) -> str:
    """The name in the kernel of the list that an expression names, if it names one."""
    return f"{prefix}__list_{node.attr}" if isinstance(node, ast.Attribute) else f"{prefix}__global_{node.id}"


def list_place(value: "Value") -> ListPlace:
    """Where a list is."""
    return ListPlace(value.text, list_type(value.known))


def list_type(values: Any) -> ArrayType:
    """How a list is kept."""
    dtype = as_elements(values[:1]).dtype
    name = f"{dtype.kind}{8 * dtype.itemsize}"
    return ArrayType(StateType(name, dtype.itemsize, signed=dtype.kind == "i"), len(values))


def read_list_element(value: "Value", index: str) -> str:
    """An element of a list at a translated index; 0 outside it."""
    place = list_place(value)
    reader = "read_list" if place.kind.element.bytes == 8 else f"read_array_{place.kind.element.dtype}"
    return f"{reader}({place.start()}, {index})"
