"""A parameter that is a text file: rules, lists, whatever is too much for a chain. An NF gets its name and its text.

What is not too much the chain may have itself, as a list of lines.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from fajita.errors import InputError

#: Longer than any file of rules; what a chain names by mistake may be a trace.
MAXIMUM_BYTES = 64 << 20


@dataclass(frozen=True)
class TextFileValue:
    """A file that was read. path: as the chain names it, for messages; empty: its lines stand in the chain."""

    path: str
    text: str

    def refuse(self, what: str, line: int, column: int, right: str) -> InputError:
        """The error for what stands in a place of the file, counted from 1."""
        where = f"{self.path}:{line}:{column}" if self.path else f"line {line} of the parameter, column {column}"
        return InputError(what, where, right)


def read_text_file(value: Any) -> TextFileValue:
    """Read the file that a parameter names; ValueError says why that cannot be done."""
    if isinstance(value, TextFileValue):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return TextFileValue("", "\n".join(value))
    if not isinstance(value, str | Path) or not str(value).isprintable():
        raise ValueError(f"{value!r} is not the name of a file, or a list of lines")
    path = Path(value)
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise ValueError(f"{path} has more than {MAXIMUM_BYTES:,} bytes")
        return TextFileValue(str(path), path.read_bytes().decode())
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8, from byte {error.start} on") from None


_READ = BeforeValidator(read_text_file)
#: For the `Params` of an NF. A chain gives the name of a file, relative to its own, or a list of lines; the NF gets a
#: TextFileValue.
TextFile = Annotated[TextFileValue, _READ]


def relative_to(folder: Path, given: dict[str, Any], fields: dict[str, FieldInfo]) -> dict[str, Any]:
    """What a chain in a folder gives an NF, with the names of its files as one finds them from here."""
    files = {name for name, field in fields.items() if _READ in field.metadata}
    return given | {name: str(folder / given[name]) for name in files & given.keys() if isinstance(given[name], str)}
