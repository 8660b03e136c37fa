"""Ctrl-C and SIGTERM: the first asks a run to stop after the block it is at, the second stops it where it is."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """signal_number: the signal that came, or None."""

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def requested(self) -> bool:
        """Whether somebody asked to stop."""
        return self.signal_number is not None

    @property
    def exit_status(self) -> int:
        """What a shell expects of a program that a signal ended: 130 after Ctrl-C."""
        return 128 + (self.signal_number or signal.SIGINT)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """While the body runs, note the signals; a second one raises KeyboardInterrupt at once."""
    interruption = Interruption()

    def note(number: int, frame: FrameType | None) -> None:
        if interruption.requested():
            raise KeyboardInterrupt
        interruption.signal_number = number

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
