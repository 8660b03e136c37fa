"""Kernel functions: written in Python, run only as part of a compiled kernel."""

import ast
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from llvmlite import ir

from fajita.kernel.lower import Lowering
from fajita.kernel.operation import I64, Operation

_numbers = count()


@cache
def _functions_of(path: str) -> dict[int, ast.FunctionDef]:
    """The functions of a source file by the line of their first decorator."""
    tree = ast.parse(Path(path).read_text(), path)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.decorator_list]
    return {node.decorator_list[0].lineno: node for node in functions}


class KernelFunction:
    """A callee that is lowered from Python once for each LLVM module that needs it. All arguments are int64."""

    def __init__(self, function: Callable[..., Any], *attributes: str) -> None:
        """attributes: LLVM's, which say where it is inlined."""
        self.function, self.attributes = function, attributes
        self.name = function.__name__
        self.arity = function.__code__.co_argcount
        self._symbol = f"fajita.{self.name}.{next(_numbers)}"

    def __repr__(self) -> str:
        return self.name

    def _lookup(self, name: str) -> Any:
        free = self.function.__code__.co_freevars
        if name in free:
            return (self.function.__closure__ or ())[free.index(name)].cell_contents
        if name not in self.function.__globals__:
            raise NameError(f"{self.name}: a kernel function cannot use {name!r}, which is neither constant nor callee")
        return self.function.__globals__[name]

    def _defined_in(self, module: Any) -> Any:
        function = module.globals.get(self._symbol)
        if function is None:
            code = self.function.__code__
            tree = _functions_of(code.co_filename)[code.co_firstlineno]
            kind = ir.FunctionType(I64, [I64] * self.arity)
            function = ir.Function(module, kind, self._symbol)
            function.linkage = "internal"
            for attribute in self.attributes:
                function.attributes.add(attribute)
            Lowering(function, tree, self._lookup)
        return function

    def emit(self, builder: Any, *arguments: Any) -> Any:
        """Call the function, lowering it if the module does not have it yet."""
        return builder.call(self._defined_in(builder.module), arguments)

    def address(self, builder: Any) -> Any:
        """Its address, lowering it likewise."""
        return builder.ptrtoint(self._defined_in(builder.module), I64)


def address_of(function: KernelFunction) -> Operation:
    """An operation that gives the address of a function, for C to call: int64 in and out."""
    return Operation(f"address_of_{function.name}", function.address)


def kernel_function(function: Callable[..., Any]) -> KernelFunction:
    """Make a Python function part of kernels; it is inlined wherever it is called."""
    return KernelFunction(function, "alwaysinline")


def rare_function(function: Callable[..., Any]) -> KernelFunction:
    """The same for what few packets need: it stays a function of its own, out of the way of the others."""
    return KernelFunction(function, "noinline", "cold")


def burst_function(function: Callable[..., Any]) -> KernelFunction:
    """The same for a pass over a burst: a function of its own, so that each pass has all the registers."""
    return KernelFunction(function, "noinline")
