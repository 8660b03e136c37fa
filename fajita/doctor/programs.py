"""Checks of programs and libraries: DPDK, the module through which fajita uses it, and what builds that."""

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from fajita.doctor.finding import Finding, missing, ok, warning
from fajita.doctor.machine import Machine
from fajita.dpdk.build import COMMAND, INSTALL, OLDEST, is_too_old
from fajita.errors import InputError


def loaded_version() -> str:
    """DPDK's as the module has it; InputError if that cannot be loaded."""
    from fajita.dpdk.library import library

    lib, ffi = library()
    return str(ffi.string(lib.fajita_version()).decode())


def check_module(load: Callable[[], str] = loaded_version) -> Finding:
    """The module; load: gives DPDK's version or raises InputError."""
    try:
        return ok("module for DPDK", f"built, with {load()}")
    except InputError as error:
        return missing("module for DPDK", error.what, COMMAND)


def check_what_builds(machine: Machine, is_built: bool, modules: Callable[[str], bool] | None = None) -> list[Finding]:
    """What it takes to build the module; is_built: none of it is needed. modules: whether Python has one."""
    has_module = modules or (lambda name: importlib.util.find_spec(name) is not None)
    findings = [_library(machine, is_built)]
    headers = f"{sysconfig.get_path('include')}/Python.h"
    tools = [name for name in ("pkg-config", "gcc") if not machine.has_command(name)]
    absent = [*tools, *([] if machine.place(headers).is_file() else [headers])]
    if not absent:
        findings.append(ok("C compiler", "gcc, pkg-config and Python's headers"))
    elif is_built:
        findings.append(ok("C compiler", f"no {', '.join(absent)}, not needed any more"))
    else:
        findings.append(missing("C compiler", f"no {', '.join(absent)}", INSTALL))
    lacking = " ".join(name for name in ("cffi", "setuptools") if not has_module(name))
    if lacking and not is_built:
        findings.append(missing("cffi", f"no {lacking}", f"{sys.executable} -m pip install {lacking}"))
    return findings


def _library(machine: Machine, is_built: bool) -> Finding:
    what, version = "libdpdk", machine.output(["pkg-config", "--modversion", "libdpdk"])
    if version is None:
        found = "pkg-config does not find it"
        return ok(what, f"{found}, not needed any more") if is_built else missing(what, found, INSTALL)
    if is_too_old(version):
        if is_built:
            return ok(what, f"{version} is too old, not needed any more")
        return missing(what, f"{version} is too old", f"DPDK {OLDEST} or newer, such as Debian 12's: {INSTALL}")
    return ok(what, version)


def check_cache(folder: Path) -> Finding:
    """Where compiled kernels are kept."""
    what = "kernel cache"
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return ok(what, str(folder))
    found = f"{folder} cannot be written: each start compiles its chain anew"
    return warning(what, found, "export FAJITA_CACHE_DIR=/a/folder/that/can")
