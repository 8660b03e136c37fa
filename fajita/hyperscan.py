"""The library that looks for many patterns at once: Hyperscan, or Vectorscan, which has the same functions.

It is optional, and looked for when patterns are compiled. What it does is declared here as far as it is needed
(Hyperscan's developer reference, "API Reference").
"""

import ctypes
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_uint, c_ulonglong, c_void_p
from functools import cache
from typing import Any

from fajita.errors import InputError

_NAMES = ("libhs.so.5", "libhs.so")
_BLOCK, _STREAM = 1, 2
_SUCCESS = 0

#: void or int f(id, from, to, flags, context): what is called for each match.
ON_MATCH = ctypes.CFUNCTYPE(c_int, c_uint, c_ulonglong, c_ulonglong, c_uint, c_void_p)


class _CompileError(Structure):
    _fields_ = (("message", c_char_p), ("expression", c_int))


class PatternError(ValueError):
    """A pattern that the library refuses. index: which; -1: it is none in particular."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


@cache
def library() -> Any:
    """The library; InputError says that it is not there, and what brings it."""
    for name in _NAMES:
        try:
            found = ctypes.CDLL(name)
        except OSError:
            continue
        break
    else:
        right = "install Debian's package libhyperscan5, or libvectorscan5"
        raise InputError("patterns need the library Hyperscan (libhs.so.5), which is not here", "", right)
    if found.hs_valid_platform() != _SUCCESS:
        right = "Debian's package libvectorscan5 in place of libhyperscan5"
        raise InputError("this processor lacks instructions that the library Hyperscan needs", "", right)
    pointers = {
        "hs_free_database": [c_void_p],
        "hs_free_compile_error": [POINTER(_CompileError)],
        "hs_alloc_scratch": [c_void_p, POINTER(c_void_p)],
        "hs_free_scratch": [c_void_p],
        "hs_open_stream": [c_void_p, c_uint, POINTER(c_void_p)],
        "hs_reset_stream": [c_void_p, c_uint, c_void_p, c_void_p, c_void_p],
        "hs_close_stream": [c_void_p, c_void_p, c_void_p, c_void_p],
        "hs_scan_stream": [c_void_p, c_char_p, c_uint, c_uint, c_void_p, ON_MATCH, c_void_p],
        "hs_scan": [c_void_p, c_char_p, c_uint, c_uint, c_void_p, ON_MATCH, c_void_p],
    }
    for function, arguments in pointers.items():
        getattr(found, function).argtypes = arguments
    return found


def address_of(function: str) -> int:
    """The address of one of its functions, for compiled code."""
    return int(ctypes.cast(getattr(library(), function), c_void_p).value or 0)


def compile_database(expressions: list[bytes], flags: list[int], *, streaming: bool) -> int:
    """A database of expressions, whose identifiers are their places in the list; PatternError for one that is wrong."""
    count = len(expressions)
    database, error = c_void_p(), POINTER(_CompileError)()
    failed = library().hs_compile_multi(
        (c_char_p * count)(*expressions),
        (c_uint * count)(*flags),
        (c_uint * count)(*range(count)),
        c_uint(count),
        c_uint(_STREAM if streaming else _BLOCK),
        None,
        byref(database),
        byref(error),
    )
    if failed != _SUCCESS:
        message, index = error.contents.message.decode(errors="replace"), int(error.contents.expression)
        library().hs_free_compile_error(error)
        raise PatternError(index, message)
    return int(database.value or 0)


def new_scratch(*databases: int) -> int:
    """Working memory for scans of these databases, by one thread at a time."""
    scratch = c_void_p()
    for database in databases:
        if library().hs_alloc_scratch(database, byref(scratch)) != _SUCCESS:
            raise MemoryError("no memory to look for patterns with")
    return int(scratch.value or 0)


def new_stream(database: int) -> int:
    """A stream, 0 if there is no memory for one."""
    stream = c_void_p()
    failed = library().hs_open_stream(database, 0, byref(stream))
    return 0 if failed != _SUCCESS else int(stream.value or 0)


def free_streams(streams: list[int], scratch: int) -> None:
    """Give back streams and the scratch that they were scanned with."""
    for stream in streams:
        library().hs_close_stream(stream, None, None, None)
    library().hs_free_scratch(scratch)
