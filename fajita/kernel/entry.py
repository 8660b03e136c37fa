"""The way from Python into compiled code: numba compiles, caches on disk and calls what `lower` has written."""

from collections.abc import Callable
from typing import Any

from numba import njit, types
from numba.extending import intrinsic

from fajita.kernel.bounds import CHECKED
from fajita.kernel.function import KernelFunction


def entry(kernel: KernelFunction) -> Any:
    """What numba calls in a function: the kernel, with one int64 (an address) as its argument and an int64 result."""

    @intrinsic
    def call(typing_context: Any, context: Any) -> Any:
        def codegen(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return kernel.emit(builder, *arguments)

        return types.int64(types.int64), codegen

    return call


def compiled(function: Callable[..., Any]) -> Callable[[int], int]:
    """Compile a function that stands in a file and calls an `entry`; kept on disk, without Python's lock."""
    made: Callable[[int], int] = njit("int64(int64)", nogil=True, cache=not CHECKED, no_cfunc_wrapper=True)(function)
    return made
