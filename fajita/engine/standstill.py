"""Where workers that share tables wait for each other, while one of them does what needs that nobody is at work."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Condition

from fajita.engine.shared_table import SharedTable, words_apart


class Standstill:
    """Grows the tables when a worker asks for it and all that are at work have come here."""

    def __init__(self, tables: Iterable[SharedTable]) -> None:
        self._tables = list(tables)
        #: Not 0 when all are to come; kernels look at it before each burst, and set it when they need to.
        self.stop = words_apart(1)
        self._changed = Condition()
        self._working = self._waiting = self._times = 0

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """What a worker does with its kernel; others wait for it."""
        with self._changed:
            self._working += 1
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                if self._waiting and self._waiting == self._working:
                    self._grow()

    def wait(self) -> None:
        """Called by a worker whose kernel has stopped; it comes back when all have been here."""
        with self._changed:
            self._waiting += 1
            if self._waiting == self._working:
                self._grow()
                return
            times = self._times
            self._changed.wait_for(lambda: self._times != times)

    def _grow(self) -> None:
        try:
            for table in self._tables:
                table.grow()
        finally:
            self.stop[0] = 0
            self._waiting, self._times = 0, self._times + 1
            self._changed.notify_all()
