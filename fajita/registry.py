"""From the name of an NF in a chain to its class: shipped NFs by name, a user's own by module or file.

Only the NF that is asked for is imported. A shipped NF is found by listing the folder, so that a new file is enough.
"""

import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import fajita.nfs
from fajita.errors import InputError
from fajita.nf import NF, snake_case, source_location

_PACKAGE = Path(__file__).parent


def shipped_nfs() -> list[str]:
    """The names of the NFs that fajita ships, sorted."""
    files = (path for folder in fajita.nfs.__path__ for path in Path(folder).glob("*.py"))
    return sorted(path.stem for path in files if not path.stem.startswith("_"))


def find_nf(name: str, folder: Path) -> type[NF]:
    """The class of an NF: `rate_limiter`, `my_module:MyNF`, or `./file.py:MyNF` relative to `folder`.

    `folder` is where a chain's own modules lie; it is on sys.path during the import. InputError where there is no such
    NF or where importing it fails; then `where` is the user's file and line, else empty.
    """
    place, colon, class_name = name.rpartition(":")
    if not colon:
        return _shipped(name)
    is_path = "/" in place or place.endswith(".py")
    is_module = all(part.isidentifier() for part in place.split("."))
    if not name.isprintable() or not class_name.isidentifier() or not (is_path or is_module):
        raise InputError(f"{name!r} does not name a class", "", "my_module:MyNF or ./file.py:MyNF")
    path = _own_file(place if is_path else f"{place}.py", folder, is_path)
    module = _import_module(place, folder) if path is None else _import_file(place, path, folder)
    return _class_of(module, place, class_name)


def _shipped(name: str) -> type[NF]:
    known = shipped_nfs()
    if name not in known:
        close = difflib.get_close_matches(snake_case(name).replace("-", "_"), known, 3, 0.5)
        own = "an NF of your own is ./file.py:MyNF"
        right = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}; {own}"
        raise InputError(f"there is no network function {name}", "", right)
    module = importlib.import_module(f"{fajita.nfs.__name__}.{name}")
    return next(nf_class for nf_class in _classes_in(module) if snake_case(nf_class.__name__) == name)


def _classes_in(module: ModuleType) -> list[type[NF]]:
    """The NFs that a module defines itself."""
    members = (member for member in vars(module).values() if isinstance(member, type) and issubclass(member, NF))
    return [member for member in members if member.__module__ == module.__name__]


def _own_file(file: str, folder: Path, is_path: bool) -> Path | None:
    """The file that is meant, if one is: given as a path, or a module that lies in the chain's folder."""
    path = (folder / file).resolve()
    return path if is_path or os.path.isfile(path) else None


def _import_file(place: str, path: Path, folder: Path) -> ModuleType:
    """Import a file, once in a process, under a name of its own: two chains may both have a `my_nfs.py`."""
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    if not os.path.isfile(path):
        raise InputError(f"there is no file {place}", "", f"looked for {path}")
    if path.suffix != ".py":
        raise InputError(f"{place} is not a Python file", "", "./file.py:MyNF")
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    # Before its code runs: typing and inspect look a class's module up by name.
    sys.modules[name] = module
    try:
        with _on_path(folder), _refusing(place, [path.parent, folder]), redirect_stdout(sys.stderr):
            specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_module(place: str, folder: Path) -> ModuleType:
    # What the module prints must not get among the results.
    with _on_path(folder), _refusing(place, [folder]), redirect_stdout(sys.stderr):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{place}.".startswith(f"{error.name}."):
                right = f"install it, or put it beside the chain, in {folder}"
                raise InputError(f"there is no module {error.name}", "", right) from None
            raise


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with suppress(ValueError):  # the module may have changed sys.path itself
            sys.path.remove(entry)


@contextmanager
def _refusing(place: str, folders: list[Path]) -> Iterator[None]:
    """Turn whatever the user's module raises while it is imported into an InputError."""
    try:
        yield
    except InputError:
        raise
    except SyntaxError as error:
        where = f"{error.filename or place}:{error.lineno or 1}"
        raise InputError(f"not valid Python: {error.msg}", where) from None
    # A module may call sys.exit as well.
    except (Exception, SystemExit) as error:
        _refuse_import(place, error, folders)


def _refuse_import(place: str, error: BaseException, folders: Iterable[Path]) -> NoReturn:
    """Name the innermost line of the user's own files that the exception passed through, else of any module."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_machinery(frame.filename)]
    roots = [folder.resolve() for folder in folders]
    own = [frame for frame in frames if any(Path(frame.filename).is_relative_to(root) for root in roots)]
    own = [frame for frame in own if "site-packages" not in frame.filename] or frames
    where = f"{own[-1].filename}:{own[-1].lineno}" if own else ""
    message = " ".join(str(error).split())
    raise InputError(f"importing {place} failed: {type(error).__name__}: {message}", where) from None


def _is_machinery(filename: str) -> bool:
    return filename.startswith("<frozen importlib") or Path(filename).is_relative_to(_PACKAGE)


def _class_of(module: ModuleType, place: str, class_name: str) -> type[NF]:
    found = getattr(module, class_name, None)
    defined = [nf_class.__name__ for nf_class in _classes_in(module)]
    right = f"network functions in it: {', '.join(defined) or 'none'}"
    if found is None:
        raise InputError(f"{place} has no class {class_name}", "", right)
    if not isinstance(found, type) or not issubclass(found, NF) or found is NF:
        where = source_location(found) if isinstance(found, type) and found is not NF else ""
        raise InputError(f"{class_name} in {place} is not a network function", where, f"class {class_name}(NF)")
    return found
