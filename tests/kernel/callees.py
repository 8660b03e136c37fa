"""Kernel functions and operations made callable from a test, many by one compilation."""

from collections.abc import Callable
from typing import Any

from fajita.kernel.entry import CompiledCall, entry
from fajita.kernel.function import KernelFunction, kernel_function
from fajita.kernel.hash import HASHES
from fajita.kernel.operation import I64, Callee, Operation, operation
from fajita.reference.integer import wrap


def _arity(callee: Callee) -> int:
    if isinstance(callee, KernelFunction):
        return callee.arity
    assert isinstance(callee, Operation)
    for words, hash_words in HASHES.items():
        if callee is hash_words:
            return 2 + words
    return callee.emit.__code__.co_argcount - 1  # the first is the builder


class Callees:
    """Callees by name behind one function of a number and eight arguments.

    A test file compiles `enter` in a fixture, where the cache of the tests is in use, and gives the result to `bind`.
    """

    def __init__(self, callees: dict[str, Callee]) -> None:
        self._numbers = {name: number for number, name in enumerate(callees)}

        @operation
        def choose(builder: Any, number: Any, *arguments: Any) -> Any:
            result = builder.alloca(I64)
            builder.store(I64(0), result)
            for index, callee in enumerate(callees.values()):
                with builder.if_then(builder.icmp_signed("==", number, I64(index))):
                    value = callee.emit(builder, *arguments[: _arity(callee)])
                    if value is not None:
                        builder.store(value, result)
            return builder.load(result)

        @kernel_function
        def call(number, first, second, third, fourth, fifth, sixth, seventh, eighth):
            return choose(number, first, second, third, fourth, fifth, sixth, seventh, eighth)

        self.enter = entry(call)

    def bind(self, run: CompiledCall) -> Callable[..., int]:
        """A function `call(name, *arguments)`; integers of any size, of which the low 64 bits count."""

        def call(name: str, *arguments: int) -> int:
            words = [wrap(argument) for argument in arguments] + [0] * (8 - len(arguments))
            return run(self._numbers[name], *words)

        return call
