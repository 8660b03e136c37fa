"""The threads that workers run in: one per worker, pinned to a processor of its own where there are enough."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from threading import Barrier
from typing import Any

from fajita.errors import InputError

Task = Callable[[], Any]


class WorkerThreads:
    """So many, one per worker, each started when it first has something to do. is_stopping: tasks are to end soon."""

    def __init__(self, count: int) -> None:
        processors = sorted(os.sched_getaffinity(0))
        self.count, self.is_stopping = count, False
        self._threads = [
            ThreadPoolExecutor(1, f"worker-{number}", _pin, (processors[number % len(processors)],))
            for number in range(count)
        ]

    def run(self, tasks: Sequence[Task]) -> None:
        """Run a task in each worker's thread and wait for all.

        InputError if one fails, once all have come to their ends; so is an exception in the waiting thread raised, such
        as a signal's, which asks the tasks to stop.
        """
        self.finish(self.begin(tasks))

    def begin(self, tasks: Sequence[Task]) -> list[Future[Any]]:
        """Begin a task in each worker's thread."""
        self.is_stopping = False
        return [thread.submit(task) for thread, task in zip(self._threads, tasks, strict=True)]

    def finish(self, futures: Sequence[Future[Any]], ask: Callable[[], None] = lambda: None) -> None:
        """Wait for the ends of all that were begun; raises as `run`. ask: has them come to their ends.

        However often that is interrupted: what they work on may be taken away afterwards.
        """
        interrupted: BaseException | None = None
        is_over = False
        while not is_over:
            try:
                ask()
                wait(futures)
                is_over = True
            except BaseException as interruption:
                self.is_stopping, interrupted = True, interruption
        if interrupted is not None:
            raise interrupted
        for number, future in enumerate(futures):
            if error := future.exception():
                raise _told(number, error) from error

    def run_here(self, tasks: Sequence[Task]) -> None:
        """Run the tasks of all workers one after the other in the calling thread."""
        self.is_stopping = False
        for number, task in enumerate(tasks):
            try:
                task()
            except Exception as error:
                raise _told(number, error) from error

    def run_timed(self, tasks: Sequence[Task]) -> float:
        """The same; the seconds from when the first task began, all threads being ready, to when the last was done."""
        ready, times = Barrier(len(tasks)), []

        def timed(task: Task) -> None:
            ready.wait()
            times.append(time.perf_counter())
            task()
            times.append(time.perf_counter())

        self.run([partial(timed, task) for task in tasks])
        return max(times) - min(times)


def _told(number: int, error: BaseException) -> InputError:
    """What is said of a worker's failure."""
    if isinstance(error, InputError):
        return error
    what = f"worker {number} failed, {type(error).__name__}: {error}"
    return InputError(what, right="what the workers did before is accounted for; a fault of fajita, please report it")


def _pin(processor: int) -> None:
    # 0: the calling thread alone.
    os.sched_setaffinity(0, {processor})
