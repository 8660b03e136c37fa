"""An NF's methods as the interpreted engine calls them: the user's own code, with integers of 64 bits throughout.

CPython runs the method, and those of the NF's own that it calls; but a literal, a module's constant, a parameter and
the variable of a loop are Int64 there, so that `1 << 70` is what it is in the compiled kernel. Parameters and constants
are taken once, until the NF becomes another.
"""

import __future__

import ast
from collections.abc import Callable
from functools import partial
from types import CodeType
from typing import Any
from weakref import WeakKeyDictionary

from fajita.fixed_hash import hash_of
from fajita.nf import NF
from fajita.reference.integer import Int64, int64_length, int64_range, to_int64
from fajita.reference.record import Record
from fajita.splitmix import SplitMix
from fajita.translation.locate import find_method
from fajita.translation.own_calls import is_own

_BUILTINS: dict[str, Any] = {"range": int64_range, "len": int64_length, "min": min, "max": max, "abs": abs}


class NFView:
    """What `self` is in a method: the NF's parameters, the worker's variables as `core`, and what it can call."""

    def __init__(
        self,
        nf: NF,
        core: Record,
        emit: Callable[[Record], None],
        lands_here: Callable[[int, int, int, int], bool],
        numbers: SplitMix,
    ) -> None:
        self.__nf, self.__numbers = nf, numbers  # not to be in the way of what the NF calls its own
        self.core, self.emit, self.lands_here = core, emit, lands_here

    def random(self, limit: int) -> Int64:
        """The next of the NF's random numbers, from 0 to limit - 1."""
        return Int64(self.__numbers.below(int(limit)))

    def __getattr__(self, name: str) -> Any:
        method = load_method(self.__nf, name) if is_own(type(self.__nf), name) else None
        value = to_int64(getattr(self.__nf, name)) if method is None else partial(method, self)
        setattr(self, name, value)
        return value


class _Literals(ast.NodeTransformer):
    """Replaces each integer literal by a global of its own, whose name is the literal."""

    def __init__(self) -> None:
        self.values: dict[str, Int64] = {}

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if type(node.value) is not int:
            return node
        self.values[str(node.value)] = Int64(node.value)
        return ast.copy_location(ast.Name(str(node.value), ast.Load()), node)


def _as_seen(value: Any) -> Any:
    """What a global of the module is in a method."""
    return (lambda *numbers: Int64(hash_of(*numbers))) if value is hash_of else to_int64(value)


#: What `_code_of` made of methods; each engine runs them again.
_CODES: WeakKeyDictionary[Callable[..., Any], tuple[CodeType, dict[str, Int64]]] = WeakKeyDictionary()


def _code_of(nf_class: type[NF], name: str, defined: Callable[..., Any]) -> tuple[CodeType, dict[str, Int64]]:
    """Code that defines a method as it is here, and the literals in it."""
    if defined not in _CODES:
        method = find_method(nf_class, name)
        assert method is not None
        literals = _Literals()
        module = ast.Module([literals.visit(method.tree)], [])
        ast.increment_lineno(module, method.first_line - 1)
        code = compile(module, method.file, "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True)
        _CODES[defined] = code, literals.values
    return _CODES[defined]


def load_method(nf: NF, name: str) -> Callable[..., Any] | None:
    """The method `name` of an NF as a function of (self, ...); None if the NF has none."""
    defined = getattr(type(nf), name, None)
    if defined is None:
        return None
    code, literals = _code_of(type(nf), name, defined)
    names = {global_name: _as_seen(value) for global_name, value in defined.__globals__.items()} | _BUILTINS | literals
    exec(code, names)
    # A class may have one method under two names.
    function: Callable[..., Any] = names[defined.__name__]
    return function
