"""Ctrl-C and SIGTERM: the first asks a run to stop after the block it is at, the second stops it where it is.

Where a run waits for its input, perhaps for ever, already the first stops it: nothing is lost there. Where it takes
away what threads work on, none does.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """signal_number: the signal that came, or None.

    is_deferred: signals are noted and raise nothing. To be set is no call, before which a signal could still raise.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self.is_deferred = False
        self._is_immediate = False

    def requested(self) -> bool:
        """Whether somebody asked to stop."""
        return self.signal_number is not None

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """While the body runs, a signal raises KeyboardInterrupt, as does one that came before."""
        self._is_immediate = True
        try:
            # After the line above: a signal just before it would be noticed only at the end of the body.
            if self.signal_number is not None:
                raise KeyboardInterrupt(self.signal_number)
            yield
        finally:
            self._is_immediate = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        is_first = not self.requested()
        if is_first:
            self.signal_number = number
        if (self._is_immediate or not is_first) and not self.is_deferred:
            raise KeyboardInterrupt(self.signal_number)

    @property
    def exit_status(self) -> int:
        """What a shell expects of a program that a signal ended: 130 after Ctrl-C."""
        return 128 + (self.signal_number or signal.SIGINT)


def status_of(interrupt: KeyboardInterrupt) -> int:
    """The exit status after one of `Interruption`, which has its signal's number, or of Python's own at Ctrl-C."""
    number: int = interrupt.args[0] if interrupt.args else signal.SIGINT
    return 128 + number


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """While the body runs, signals are noted and not fatal."""
    interruption = Interruption()
    previous = {number: signal.signal(number, interruption.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
