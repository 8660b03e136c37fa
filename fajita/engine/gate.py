"""A gate at which workers wait while it is closed: for what needs that all of them stand still."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition


class Gate:
    """Unlike a Standstill (fajita.engine.standstill) it is closed by a thread that is no worker."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._is_closed = False
        self._workers = self._waiting = 0

    @contextmanager
    def worker(self) -> Iterator[None]:
        """What a worker does, with `wait` now and then."""
        with self._changed:
            self._workers += 1
        try:
            yield
        finally:
            with self._changed:
                self._workers -= 1
                self._changed.notify_all()

    def wait(self) -> None:
        """Called by a worker; it comes back when the gate is open."""
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._is_closed)
            self._waiting -= 1

    @contextmanager
    def closed(self, call: Callable[[], None], seconds: float | None = None) -> Iterator[bool]:
        """While the body runs, all workers wait; False: they did not all come within so many seconds.

        call: has them come.
        """
        try:
            with self._changed:
                self._is_closed = True
            call()
            with self._changed:
                have_come = self._changed.wait_for(lambda: self._waiting == self._workers, seconds)
            yield have_come
        finally:
            with self._changed:
                self._is_closed = False
                self._changed.notify_all()
