"""Files of text that a command writes: checked before its work, written after it; `-` is standard output."""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from fajita import console
from fajita.errors import InputError


def check_outputs(outputs: Mapping[str, str | None], inputs: Iterable[Path]) -> None:
    """Find out before the work what would make writing fail after it, or destroy what else is needed.

    outputs: the path by option, None where the option is not used. InputError for a folder, a file in a folder that is
    not there, an input, and two outputs in one file.
    """
    inputs = list(inputs)
    option_of: dict[str, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        if not path:
            raise InputError(f"{option} is empty", right="name a file, or - for standard output")
        if path != "-":
            _check_place(path, inputs)
        # What is neither a file nor new, such as /dev/null, may be written to twice.
        target = path if path == "-" else os.path.realpath(path)
        if target == "-" or os.path.isfile(target) or not os.path.exists(target):
            if other := option_of.get(target):
                name = "standard output" if path == "-" else path
                raise InputError(
                    f"{other} and {option} both write to {name}", right="name another file for one of them"
                )
            option_of[target] = option


def _check_place(path: str, inputs: Iterable[Path]) -> None:
    if os.path.isdir(path):
        raise InputError("is a folder", path, "name a file")
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise InputError(f"there is no folder {os.path.dirname(path)}", path, "name a file in a folder that is there")
    if os.path.isfile(path) and any(given.exists() and os.path.samefile(path, given) for given in inputs):
        raise InputError("the output is the input", path, "write to another file")


def check_folder(folder: str | Path, doing: str) -> None:
    """Make a folder that files are to be written into, before the work; InputError, which says what for, if not."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        right = "name a folder that can be written"
        raise InputError(f"cannot {doing} there: {error.strerror}", str(folder), right) from None


def write_text(path: str, text: str) -> None:
    """Write a file of whole lines; InputError if that cannot be."""
    if path == "-":
        console.say(text.removesuffix("\n"))
        return
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", path, "name a file that can be written") from None


def write_json(path: str, value: Any) -> None:
    """Write a value as JSON, indented; InputError if that cannot be. JSON has neither infinity nor NaN: ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def failures(write: Callable[[], object]) -> list[InputError]:
    """What goes wrong in writing one result, which must not cost the others."""
    try:
        write()
    except InputError as error:
        return [error]
    return []
