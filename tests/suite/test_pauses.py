import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.suite.pauses import behind_pauses, waits_behind

GAP, BURST = 0.025, 1.25  # µs: 40 Mpps, and bursts of 64 at 50 Mpps, so a load of 0.8
LOAD = 0.8


def idle_waits(packets, pauses):
    """What packets wait for a loop that does nothing but pause. pauses: when each begins, and for how long, in µs."""
    due = np.arange(packets) * GAP
    waits = np.zeros(packets)
    for begins, length in pauses:
        is_in = (due >= begins) & (due < begins + length)
        waits[is_in] = begins + length - due[is_in]
    return waits


@pytest.mark.parametrize("length", [10.0, 30.0])
def test_a_queue_lasts_several_times_as_long_as_its_pause(length):
    waits = waits_behind(idle_waits(40_000, [(100, length)]), GAP, LOAD)
    behind = behind_pauses(waits, BURST)
    assert waits.max() == pytest.approx(length, abs=GAP)
    first, last = np.flatnonzero(behind)[[0, -1]]
    assert first == 100 / GAP
    assert (waits > 0).sum() == pytest.approx(length / GAP / (1 - LOAD), abs=2)
    # the last packets, which wait for less than half a burst's time, are not counted
    assert last == pytest.approx(first + (length - BURST / 2) / GAP / (1 - LOAD), abs=2)
    assert behind.sum() == last - first + 1


def test_a_second_pause_makes_the_same_queue_longer():
    waits = waits_behind(idle_waits(40_000, [(100, 10), (130, 20)]), GAP, LOAD)
    (edges,) = np.nonzero(np.diff(behind_pauses(waits, BURST)))
    assert len(edges) == 2


def test_packets_that_wait_for_slow_bursts_are_behind_no_pause():
    waits = np.tile(np.concatenate([np.full(100, 0.2), np.linspace(4.8, 0.3, 50)]), 20)
    assert not behind_pauses(waits, BURST).any()


def test_what_is_a_pause_depends_on_how_long_a_burst_takes():
    waits = np.concatenate([np.zeros(10), np.linspace(9, 0, 100)])
    assert behind_pauses(waits, 1.0).any()
    assert not behind_pauses(waits, 3.0).any()


def test_a_queue_that_is_there_at_the_beginning_is_a_pause_s():
    waits = np.concatenate([np.full(5, 50.0), np.zeros(5)])
    assert behind_pauses(waits, BURST).tolist() == [True] * 5 + [False] * 5


def test_no_packets_are_behind_nothing():
    assert len(behind_pauses(np.zeros(0), BURST)) == 0


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=50),
    st.floats(0.001, 10),
    st.floats(0.05, 1.5),
)
def test_a_queue_follows_lindley_s_recursion(idle, gap, load):
    expected, before = [], 0.0
    for wait in idle:
        before = max(wait, before - (1 - load) * gap) if expected else wait
        expected.append(before)
    assert waits_behind(np.array(idle), gap, load) == pytest.approx(expected, abs=1e-6)
