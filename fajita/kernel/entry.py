"""The way from Python into compiled code: numba compiles what `lower` has written, keeps it on disk and calls it."""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from fajita.errors import InputError
from fajita.kernel.cache import discard, numba_caches_here
from fajita.kernel.function import KernelFunction
from fajita.kernel.operation import I64

_SIGNATURE = "int64(int64)"


def entry(kernel: KernelFunction) -> Any:
    """The kernel as numba sees it: a function of the address where its arguments lie, int64 one after the other."""

    @intrinsic
    def call(typing_context: Any, arguments: Any) -> Any:
        def codegen(target: Any, builder: Any, signature: Any, values: Any) -> Any:
            places = [builder.add(values[0], I64(8 * index)) for index in range(kernel.arity)]
            words = [builder.load(builder.inttoptr(place, I64.as_pointer())) for place in places]
            return kernel.emit(builder, *words)

        return types.int64(types.int64), codegen

    call.arity = kernel.arity
    return call


class CompiledCall:
    """A kernel function that Python can call, with int64 (addresses, numbers) in and out, without Python's lock."""

    def __init__(self, function: Callable[[int], int], arity: int) -> None:
        self._function, self._arity = function, arity

    def __call__(self, *arguments: int) -> int:
        """Call it; the arguments are given by position."""
        if len(arguments) != self._arity:
            raise TypeError(f"{len(arguments)} arguments for a kernel function of {self._arity}")
        words = np.array(arguments, np.int64)
        return self._function(words.ctypes.data)


def compiled(call: Any) -> Callable[[Callable[[int], int]], CompiledCall]:
    """Compile a function that does nothing but hand its argument to `call`, an `entry`.

    numba keeps what it compiled only of a function that stands in a file: hence a function, and a decorator.
    """
    return lambda function: CompiledCall(_compile(function), call.arity)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """While a kernel is compiled, objects come by the hundred thousand and stay: looking for garbage finds none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _compile(function: Callable[[int], int]) -> Any:
    """Load the function from the cache; compile it if it is not there."""
    with numba_caches_here():
        dispatcher = njit(nogil=True, cache=True, no_cfunc_wrapper=True)(function)
    if sys.byteorder != "little":
        raise InputError("this machine is big-endian", right="keys and tags are laid out for little-endian ones")
    if not hasattr(dispatcher, "compile"):
        raise InputError("numba compiles nothing", "NUMBA_DISABLE_JIT", "unset it")
    try:
        with _without_collecting():
            dispatcher.compile(_SIGNATURE)
    except Exception:
        # The cache may be to blame: a file cut short, for which numba raises whatever unpickling it does, or a full
        # disk. So the next process finds none, and this one keeps nothing. Any other fault shows itself again.
        discard(function, dispatcher.stats.cache_path)
        dispatcher = njit(nogil=True, no_cfunc_wrapper=True)(function)
        dispatcher.compile(_SIGNATURE)
    dispatcher.disable_compile()
    return dispatcher
