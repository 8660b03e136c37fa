from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from fajita.engine.gate import Gate


def test_while_it_is_closed_all_workers_wait():
    gate, come, over, seen = Gate(), Event(), Event(), []

    def work(number):
        with gate.worker():
            entered[number].set()
            while not over.is_set():
                come.wait()
                gate.wait()
                seen.append(number)

    entered = [Event(), Event()]
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(work, number) for number in range(2)]
        for event in entered:
            event.wait()
        with gate.closed(come.set):
            before = list(seen)
            over.set()
            assert seen == before
        for future in futures:
            future.result()
    assert {0, 1} <= set(seen)


def test_a_worker_that_does_not_come_is_waited_for_so_long_and_the_gate_opens_again():
    gate, over = Gate(), Event()

    def work():
        with gate.worker():
            entered.set()
            over.wait()
            gate.wait()

    entered = Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        entered.wait()
        with gate.closed(lambda: None, 0) as have_come:
            assert not have_come
        over.set()
        future.result()


def test_it_opens_again_if_workers_cannot_be_called():
    gate = Gate()
    with pytest.raises(ZeroDivisionError), gate.closed(lambda: 1 // 0):
        pass
    with gate.worker():
        gate.wait()


def test_a_worker_that_has_gone_is_not_waited_for():
    gate = Gate()
    with pytest.raises(ZeroDivisionError), gate.worker():
        raise ZeroDivisionError
    with gate.closed(lambda: None):
        pass
