"""What compiled code can call: operations, which write LLVM instructions where they are called, and functions of them.

Every value is a signed 64-bit integer. There is no other type, so nothing is inferred and nothing converts behind one's
back; a condition is a one-bit value that becomes 0 or 1 where it is stored.
"""

from collections.abc import Callable
from typing import Any, Protocol

from llvmlite import ir

I1, I8, I16, I32, I64, I128 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64, 128))
VOID = ir.VoidType()


class Callee(Protocol):
    """A thing that compiled code can call."""

    name: str

    def emit(self, builder: Any, *arguments: Any) -> Any:
        """Write the instructions; arguments and result are LLVM values of 64 bits (or one bit), None is no result."""


class Operation:
    """A callee that is written in LLVM instructions."""

    def __init__(self, name: str, emit: Callable[..., Any]) -> None:
        self.name, self.emit = name, emit

    def __repr__(self) -> str:
        return self.name


def operation(emit: Callable[..., Any]) -> Operation:
    """Make an operation of a Python function `(builder, *arguments) -> value`."""
    made = Operation(emit.__name__, emit)
    made.__doc__ = emit.__doc__
    return made


def llvm_intrinsic(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Call one of LLVM's own functions, or another that is known by name."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [value.type for value in arguments]), name)
    return builder.call(function, arguments)
