"""Where compiled kernels are kept, and how one is loaded.

numba caches a function only if its source is a real file, and sees changes neither of what the function calls in other
files nor of globals. So everything that goes into a kernel is hashed: the folder carries the hash of fajita's own
sources, the versions of numba and llvmlite, the processor, and whether bounds are checked; the file that of the
generated source.
"""

import atexit
import glob
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from llvmlite import binding
from numba.core import config

from fajita.errors import InputError
from fajita.kernel.bounds import CHECKED

#: Sources that end up in compiled code.
_PACKAGE = Path(__file__).parents[1]
_COMPILED_SOURCES = ("kernel/*.py", "io/*.py", "*.py")


def cache_home() -> Path:
    """The folder for compiled kernels: $FAJITA_CACHE_DIR, else fajita under the user's cache folder."""
    if chosen := os.environ.get("FAJITA_CACHE_DIR"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fajita"


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for pattern in _COMPILED_SOURCES:
        for path in sorted(_PACKAGE.glob(pattern)):
            digest.update(path.read_bytes())
    machine = (version("numba"), version("llvmlite"), binding.get_host_cpu_name(), sys.version, CHECKED)
    digest.update(repr(machine).encode())
    return digest.hexdigest()[:16]


@cache
def cache_folder() -> Path:
    """The folder in use, made if need be; a temporary one where the usual one cannot be written."""
    try:
        folder = cache_home() / _fingerprint()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):
        folder = Path(tempfile.mkdtemp(prefix="fajita-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def numba_caches_here() -> Iterator[None]:
    """While the body runs, numba keeps functions that it is given in the cache folder, fajita's own files' too."""
    before, config.CACHE_DIR = config.CACHE_DIR, str(cache_folder())
    try:
        yield
    finally:
        config.CACHE_DIR = before


def load_kernel(source: str) -> Callable[[int], int]:
    """The function `run` of a generated module, from the cache if it was compiled before.

    InputError if it cannot be kept: a disk that is full.
    """
    name = f"chain_{hashlib.sha256(source.encode()).hexdigest()[:32]}"
    path = cache_folder() / f"{name}.py"
    try:
        if not path.exists() or path.read_bytes() != source.encode():
            _write_whole(path, source)
        module = _import(name, path)
    except OSError as error:
        what = f"cannot keep the compiled kernel: {error.strerror or error}"
        raise InputError(
            what, str(path.parent), "make room there, or name another folder in FAJITA_CACHE_DIR"
        ) from None
    run: Callable[[int], int] = module.run
    return run


@cache
def kernel_at_hand(source: str) -> Callable[..., int]:
    """The same for what a process may ask for again, which then has it."""
    return load_kernel(source)


def _write_whole(path: Path, text: str) -> None:
    """Under a name of its own first: others may be about to do the same."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".partial", delete=False) as partial:
        try:
            partial.write(text)
            partial.flush()
        except BaseException:
            Path(partial.name).unlink()
            raise
    os.replace(partial.name, path)


def discard(function: Callable[..., Any], folder: str | None) -> None:
    """Delete what numba keeps of a function in a folder; None: it keeps nothing."""
    if folder is not None:
        for path in Path(folder).glob(f"{glob.escape(Path(function.__code__.co_filename).stem)}.*"):
            if path.suffix in (".nbi", ".nbc"):
                path.unlink(missing_ok=True)


def _import(name: str, path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module
