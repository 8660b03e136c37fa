"""Find the source of an NF's methods, with the user's file and line for every message."""

import ast
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from fajita.errors import InputError

#: Nodes that come from another file than the method: their lines are so many more for each of `others`.
OTHER_FILE = 1 << 24


@dataclass(frozen=True)
class Method:
    """A method's syntax tree; `file` and `first_line` place its nodes, `names` are the globals it can see.

    others: the files of nodes whose line numbers are that in the file and OTHER_FILE, or 2 * OTHER_FILE, and so on.
    """

    name: str
    tree: ast.FunctionDef
    file: str
    first_line: int
    names: dict[str, Any]
    others: tuple[str, ...] = ()

    def where(self, node: ast.AST) -> str:
        """`file:line` of a node."""
        number, line = divmod(getattr(node, "lineno", 1), OTHER_FILE)
        if number > 0:
            return f"{self.others[number - 1]}:{line}"
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
    tree = _parse(lines)
    if not isinstance(tree, ast.FunctionDef) or tree.decorator_list:
        right = "use def, without decorators"
        raise InputError(f"{nf_class.__name__}.{name} is not a plain method", f"{file}:{first_line}", right)
    return Method(name, tree, file, first_line, function.__globals__)


def _parse(lines: list[str]) -> ast.stmt:
    """The statement in these lines, which are indented as in a class, but for comments and text that may not be."""
    if not lines[0][:1].isspace():
        return ast.parse("".join(lines)).body[0]
    block = ast.parse("if True:\n" + "".join(lines)).body[0]
    assert isinstance(block, ast.If)
    return ast.increment_lineno(block.body[0], -1)
