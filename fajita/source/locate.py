"""Find the source of an NF's methods, with the user's file and line for every message."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from fajita.errors import InputError


@dataclass(frozen=True)
class Method:
    """A method's syntax tree; `file` and `first_line` place its nodes, `names` are the globals it can see."""

    name: str
    tree: ast.FunctionDef
    file: str
    first_line: int
    names: dict[str, Any]

    def where(self, node: ast.AST) -> str:
        """`file:line` of a node."""
        return f"{self.file}:{self.first_line + getattr(node, 'lineno', 1) - 1}"

    def refuse(self, node: ast.AST, what: str, right: str = "") -> NoReturn:
        """Raise the InputError for something an NF cannot do."""
        raise InputError(what, self.where(node), right)


def find_method(nf_class: type, name: str) -> Method | None:
    """The method as the class has it, also when inherited; None if there is none."""
    function: Callable[..., Any] | None = getattr(nf_class, name, None)
    if function is None:
        return None
    try:
        file = inspect.getsourcefile(function) or "<unknown>"
        lines, first_line = inspect.getsourcelines(function)
    except (OSError, TypeError):
        raise InputError(
            f"the source of {nf_class.__name__}.{name} cannot be found", "", "define the class in a file or a notebook"
        ) from None
    tree = ast.parse(textwrap.dedent("".join(lines))).body[0]
    if not isinstance(tree, ast.FunctionDef):
        raise InputError(f"{nf_class.__name__}.{name} is not a plain function", f"{file}:{first_line}", "use def")
    return Method(name, tree, file, first_line, function.__globals__)
