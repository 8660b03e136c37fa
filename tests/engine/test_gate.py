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


def test_a_worker_that_has_gone_is_not_waited_for():
    gate = Gate()
    with pytest.raises(ZeroDivisionError), gate.worker():
        raise ZeroDivisionError
    with gate.closed(lambda: None):
        pass
