"""The threads of workers: all run, failures are told, a signal asks them to stop."""

import os
import threading

import pytest

from fajita.engine.threads import WorkerThreads
from fajita.errors import InputError


def test_each_task_runs_in_a_thread_of_its_own_pinned_to_one_processor() -> None:
    threads, seen = WorkerThreads(3), []

    def note() -> None:
        seen.append((threading.get_ident(), frozenset(os.sched_getaffinity(0))))

    before = os.sched_getaffinity(0)
    threads.run([note] * 3)
    assert len({thread for thread, _ in seen}) == 3
    assert all(len(processors) == 1 and processors <= before for _, processors in seen)
    assert os.sched_getaffinity(0) == before


def test_a_worker_has_the_same_thread_every_time() -> None:
    threads, seen = WorkerThreads(2), [set(), set()]
    for _ in range(5):
        threads.run([lambda own=own: own.add(threading.get_ident()) for own in seen])
    assert [len(own) for own in seen] == [1, 1]


def test_a_failure_is_told_after_all_tasks_have_come_to_their_ends() -> None:
    threads, done = WorkerThreads(2), []

    def fail() -> None:
        raise ZeroDivisionError("by nothing")

    with pytest.raises(InputError, match="worker 0 failed, ZeroDivisionError: by nothing; what the workers did before"):
        threads.run([fail, lambda: done.append(1)])
    assert done == [1]


def test_an_input_error_of_a_worker_is_told_as_it_is() -> None:
    def fail() -> None:
        raise InputError("no memory", right="fewer flows")

    with pytest.raises(InputError, match=r"^no memory; fewer flows$"):
        WorkerThreads(2).run([fail, fail])


@pytest.mark.parametrize("times", [2, 5])
def test_an_interruption_asks_the_tasks_to_stop_and_waits_for_them(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    threads, stopped, calls = WorkerThreads(1), [], []
    from fajita.engine import threads as module

    real = module.wait

    def interrupted(futures: object) -> object:
        calls.append(futures)
        if len(calls) < times:
            raise KeyboardInterrupt
        return real(futures)

    def run() -> None:
        while not threads.is_stopping:
            pass
        stopped.append(1)

    monkeypatch.setattr(module, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        threads.run([run])
    assert stopped == [1]


def test_tasks_are_asked_to_end_again_if_that_is_interrupted() -> None:
    threads, is_over, asked = WorkerThreads(1), threading.Event(), []

    def ask() -> None:
        asked.append(1)
        if len(asked) < 3:
            raise KeyboardInterrupt
        is_over.set()

    (future,) = futures = threads.begin([is_over.wait])
    with pytest.raises(KeyboardInterrupt):
        threads.finish(futures, ask)
    assert future.done()


def test_the_time_is_from_the_first_beginning_to_the_last_end() -> None:
    threads = WorkerThreads(2)
    assert 0 <= threads.run_timed([lambda: None, lambda: None]) < 60
