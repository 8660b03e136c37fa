"""The compiled module for DPDK, loaded when it is first asked for."""

from functools import cache
from typing import Any, NamedTuple

from fajita.dpdk.build import COMMAND, INSTALL, INSTALL_PYTHON, fingerprint
from fajita.errors import InputError


class Library(NamedTuple):
    """The functions of native/fajita_dpdk.h, and cffi's ways to make what they take."""

    lib: Any
    ffi: Any


@cache
def library() -> Library:
    """The module; InputError, with the command that builds it, if it cannot be loaded."""
    try:
        from fajita.dpdk import _shim  # type: ignore[attr-defined]
    except ModuleNotFoundError as error:
        what = "the module for DPDK has not been built" if error.name != "_cffi_backend" else "cffi is not installed"
        raise InputError(what, right=f"{INSTALL}; {INSTALL_PYTHON}; {COMMAND}") from None
    except ImportError as error:
        raise InputError(f"DPDK cannot be loaded: {error}", right=f"install it, then {COMMAND}") from None
    built_from = _shim.ffi.string(_shim.lib.fajita_fingerprint).decode()
    if built_from != fingerprint():
        raise InputError("the module for DPDK was built from other sources", _shim.__file__, COMMAND)
    return Library(_shim.lib, _shim.ffi)
