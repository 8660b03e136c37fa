"""Kernel functions: written in Python, run only as part of a compiled kernel."""

import ast
from collections.abc import Callable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from llvmlite import ir

from fajita.kernel.lower import Lowering, statements
from fajita.kernel.operation import I64, Operation

_numbers = count()


@cache
def _functions_of(path: str) -> dict[int, ast.FunctionDef]:
    """The functions of a source file by the line of their first decorator."""
    return {
        node.decorator_list[0].lineno: node
        for node in statements(ast.parse(Path(path).read_text(), path).body)
        if isinstance(node, ast.FunctionDef) and node.decorator_list
    }


class _Lowered(ir.Function):
    """A function that keeps its text in place of its instructions once it is whole: other modules take it as it is.

    callees: what it calls, or takes the address of.
    """

    text = ""
    callees: tuple[Any, ...] = ()

    def close(self) -> None:
        """Say that it is whole."""
        calls = (each for block in self.blocks for each in block.instructions if isinstance(each, ir.CallInstr))
        called = [each.callee for each in calls if isinstance(each.callee, ir.Function)]
        self.callees = tuple({callee.name: callee for callee in (*self.callees, *called)}.values())
        self.text = str(self)
        self.blocks.clear()

    def __str__(self) -> str:
        return self.text or super().__str__()


def _add(module: Any, function: Any) -> None:
    """Put a function into a module, with all that it calls."""
    if function.name not in module.globals:
        module.add_global(function)
        for callee in getattr(function, "callees", ()):
            _add(module, callee)


class KernelFunction:
    """A callee that is lowered from Python once, for whatever LLVM modules need it. All arguments are int64."""

    def __init__(self, function: Callable[..., Any], *attributes: str) -> None:
        """attributes: LLVM's, which say where it is inlined."""
        self.function, self.attributes = function, attributes
        self.name = function.__name__
        self.arity = function.__code__.co_argcount
        self._symbol = f"fajita.{self.name}.{next(_numbers)}"
        self._lowered: Any = None

    def __repr__(self) -> str:
        return self.name

    def _lookup(self, name: str) -> Any:
        free = self.function.__code__.co_freevars
        if name in free:
            return (self.function.__closure__ or ())[free.index(name)].cell_contents
        if name not in self.function.__globals__:
            raise NameError(f"{self.name}: a kernel function cannot use {name!r}, which is neither constant nor callee")
        return self.function.__globals__[name]

    def _lower(self) -> Any:
        code = self.function.__code__
        tree = _functions_of(code.co_filename)[code.co_firstlineno]
        function = self._lowered = _Lowered(ir.Module(), ir.FunctionType(I64, [I64] * self.arity), self._symbol)
        function.linkage = "internal"
        for attribute in self.attributes:
            function.attributes.add(attribute)
        try:
            Lowering(function, tree, self._lookup)  # in which it may call itself
        except BaseException:
            self._lowered = None
            raise
        function.close()
        return function

    def emit(self, builder: Any, *arguments: Any) -> Any:
        """Call the function, lowering it if that was not done before."""
        return builder.call(self._in(builder.module), arguments)

    def address(self, builder: Any) -> Any:
        """Its address, lowering it likewise."""
        function = self._in(builder.module)
        if isinstance(builder.function, _Lowered):
            builder.function.callees += (function,)
        return builder.ptrtoint(function, I64)

    def _in(self, module: Any) -> Any:
        function = self._lowered or self._lower()
        _add(module, function)
        return function


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
