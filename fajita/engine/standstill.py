"""Where workers wait for each other, so that one can do what all others have to stand still for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition

import numpy as np
from numpy.typing import NDArray


class Standstill:
    """act: what is done while all workers stand still, by the last of them to come to it.

    stop: a word that kernels look at from burst to burst; not 0: they return, and their threads come here.
    """

    def __init__(self, stop: NDArray[np.int64], act: Callable[[], None]) -> None:
        self._stop, self._act = stop, act
        self._changed = Condition()
        self._at_work = self._waiting = self._round = 0

    def expect(self, workers: int) -> None:
        """So many workers begin a task now."""
        self._at_work = workers

    @contextmanager
    def working(self) -> Iterator[None]:
        """The task of a worker, for which nobody waits once it has ended."""
        try:
            yield
        finally:
            with self._changed:
                self._at_work -= 1
                self._act_if_all_wait()

    def wait(self) -> None:
        """Stand still until all have, and what is to be done is done."""
        with self._changed:
            this_round = self._round
            self._waiting += 1
            self._act_if_all_wait()
            self._changed.wait_for(lambda: self._round != this_round)

    def _act_if_all_wait(self) -> None:
        if self._waiting == 0 or self._waiting < self._at_work:
            return
        try:
            self._act()
        finally:  # one that fails must not leave the others waiting
            self._stop[0] = 0
            self._waiting = 0
            self._round += 1
            self._changed.notify_all()
