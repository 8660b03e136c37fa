"""Workers stand still together, however many there are and whoever has ended or failed."""

import threading

import numpy as np
import pytest

from fajita.engine.standstill import Standstill
from fajita.engine.threads import WorkerThreads
from fajita.errors import InputError


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_one_acts_while_all_wait(workers: int) -> None:
    stop, acts, inside = np.zeros(1, np.int64), [], []

    def act() -> None:
        acts.append((len(inside), int(stop[0])))

    still = Standstill(stop, act)

    def work() -> None:
        with still.working():
            for _ in range(50):
                stop[0] = 1
                inside.append(threading.get_ident())
                still.wait()
                inside.remove(threading.get_ident())

    still.expect(workers)
    WorkerThreads(workers).run([work] * workers)
    assert acts == [(workers, 1)] * 50
    assert stop[0] == 0


def test_nobody_waits_for_a_worker_that_has_ended() -> None:
    acts: list[int] = []
    still = Standstill(np.zeros(1, np.int64), lambda: acts.append(1))

    def ends_at_once() -> None:
        with still.working():
            pass

    def waits() -> None:
        with still.working():
            still.wait()

    still.expect(3)
    WorkerThreads(3).run([ends_at_once, waits, ends_at_once])
    assert acts == [1]


def test_nobody_waits_for_a_worker_that_fails() -> None:
    acts: list[int] = []
    still = Standstill(np.zeros(1, np.int64), lambda: acts.append(1))

    def fails() -> None:
        with still.working():
            raise ZeroDivisionError

    def waits() -> None:
        with still.working():
            still.wait()

    still.expect(2)
    with pytest.raises(InputError, match="ZeroDivisionError"):
        WorkerThreads(2).run([waits, fails])
    assert acts == [1]


def test_an_act_that_fails_lets_all_go_on() -> None:
    def act() -> None:
        raise InputError("no memory")

    still = Standstill(np.zeros(1, np.int64), act)

    def waits() -> None:
        with still.working():
            still.wait()

    still.expect(2)
    with pytest.raises(InputError, match="no memory"):
        WorkerThreads(2).run([waits, waits])
