import os

import pytest

from fajita.suite import machine
from fajita.suite.machine import describe_machine, watched


def test_the_machine_is_described():
    machine = describe_machine()
    assert machine["processor"]
    assert machine["processors"] == len(os.sched_getaffinity(0))
    assert machine["memory_bytes"] > 1 << 28
    assert machine["numba"].startswith("0.")


def test_shares_of_time_are_shares():
    with watched() as load:
        sum(range(300_000))
    assert 0 <= load.stolen <= 1
    assert 0 <= load.busy <= 1


def test_the_load_is_known_after_an_interruption_too(monkeypatch):
    ticks = iter([dict.fromkeys(machine._STATES, 0), dict.fromkeys(machine._STATES, 5)])
    monkeypatch.setattr(machine, "_ticks", lambda: next(ticks))
    with pytest.raises(KeyboardInterrupt), watched() as load:
        raise KeyboardInterrupt
    assert (load.busy, load.stolen) == (0.75, 0.125)
