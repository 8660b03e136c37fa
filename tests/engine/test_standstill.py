"""Workers stand still together, however many there are and whoever has ended or failed."""

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from fajita.engine.shared_table import SharedTable
from fajita.engine.standstill import Standstill
from fajita.engine.threads import WorkerThreads
from fajita.errors import InputError


class Table:
    """A table that only says that it is to grow."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.grow = act


def standstill(act: Callable[[], Any]) -> Standstill:
    return Standstill([cast(SharedTable, Table(act))])


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_one_acts_while_all_wait(workers: int) -> None:
    acts, inside = [], []

    def act() -> None:
        acts.append((len(inside), int(still.stop[0])))

    still = standstill(act)
    begin = threading.Barrier(workers)

    def work() -> None:
        with still.at_work():
            begin.wait()
            for _ in range(50):
                still.stop[0] = 1
                inside.append(threading.get_ident())
                still.wait()
                inside.remove(threading.get_ident())

    WorkerThreads(workers).run([work] * workers)
    assert acts == [(workers, 1)] * 50
    assert still.stop[0] == 0


def test_nobody_waits_for_a_worker_that_has_ended() -> None:
    acts: list[int] = []
    still = standstill(lambda: acts.append(1))

    def ends_at_once() -> None:
        with still.at_work():
            pass

    def waits() -> None:
        with still.at_work():
            still.wait()

    WorkerThreads(3).run([ends_at_once, waits, ends_at_once])
    assert acts == [1]


def test_nobody_waits_for_a_worker_that_fails() -> None:
    acts: list[int] = []
    still = standstill(lambda: acts.append(1))

    def fails() -> None:
        with still.at_work():
            raise ZeroDivisionError

    def waits() -> None:
        with still.at_work():
            still.wait()

    with pytest.raises(InputError, match="ZeroDivisionError"):
        WorkerThreads(2).run([waits, fails])
    assert acts == [1]


def test_an_act_that_fails_lets_all_go_on() -> None:
    def act() -> None:
        raise InputError("no memory")

    still = standstill(act)

    def waits() -> None:
        with still.at_work():
            still.wait()

    with pytest.raises(InputError, match="no memory"):
        WorkerThreads(2).run([waits, waits])
