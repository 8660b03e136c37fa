import os

from fajita.engine.precedence import precedence


def refuse(*_):
    raise PermissionError(1, "Operation not permitted")


def test_a_thread_is_as_usual_afterwards():
    before = os.sched_getscheduler(0)
    with precedence() as granted:
        during = os.sched_getscheduler(0)
    assert during == (os.SCHED_FIFO if granted else before)
    assert os.sched_getscheduler(0) == before


def test_without_the_right_everything_goes_on_as_usual(monkeypatch):
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with precedence() as granted:
        assert not granted
