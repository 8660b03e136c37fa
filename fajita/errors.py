"""The one error a user sees: what is wrong, where, and what would be right, in one line."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fajita.run import Run


class InputError(Exception):
    """The user's input is at fault. The command line prints it as one line and exits with status 2.

    The message says what is wrong, where (file and line, packet number, byte offset) and what would be right.
    run: what was done before, if packets were processed.
    """

    run: "Run | None" = None

    def __init__(self, what: str, where: str = "", right: str = "") -> None:
        self.what, self.where, self.right = what, where, right
        message = f"{where}: {what}" if where else what
        super().__init__(f"{message}; {right}" if right else message)


@contextmanager
def errors_at_the_end() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Gives what keeps the InputErrors of several bodies from costing the others; raises the first when all is done."""
    errors: list[InputError] = []

    @contextmanager
    def kept() -> Iterator[None]:
        try:
            yield
        except InputError as error:
            errors.append(error)

    yield kept
    if errors:
        raise errors[0]


def with_article(noun: str) -> str:
    """`an int`, `a bool`; of the names of types, those that begin with a u are read `you`."""
    return f"{'an' if noun[:1] in 'aeio' else 'a'} {noun}"


def nearest(name: str, known: Iterable[str]) -> str:
    """What would be right where a name is not known: the ones closest to it."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, 3, 0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known) or 'none'}"
