"""The counters of a virtual machine may be none; those of the system itself are always there, if it lets one ask."""

import mmap

import pytest

from fajita.suite import cache_misses, page
from fajita.suite.cache_misses import EventCounter, counter_of_misses, why_not_counted

PAGES = 64
#: An event that the system counts, not the processor (linux/perf_event.h).
PAGE_FAULTS = (1, 2)


def test_events_of_the_thread_are_counted():
    try:
        counter = EventCounter(PAGE_FAULTS)
    except OSError as error:
        pytest.skip(f"the system does not let events be counted: {error.strerror}")
    with counter, mmap.mmap(-1, PAGES * mmap.PAGESIZE) as memory:
        if hasattr(mmap, "MADV_NOHUGEPAGE"):
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        before = counter.read()
        for page_number in range(PAGES):
            memory[page_number * mmap.PAGESIZE] = 1
        assert counter.read() - before >= PAGES


def test_an_event_that_the_machine_does_not_have_is_an_error():
    no_such_event = (1, 1 << 40)
    with pytest.raises(OSError, match=r".+"):
        EventCounter(no_such_event)


def test_a_machine_without_counters_says_why_and_counts_nothing(monkeypatch):
    monkeypatch.setattr(cache_misses, "_SYSTEM_CALLS", {})
    with counter_of_misses() as counter:
        assert counter is None
    assert why_not_counted().startswith("no counters are known of")


def test_the_page_says_that_cache_misses_were_not_counted():
    machine = {"processor": "a", "processors": 1, "memory_bytes": 1 << 30, "kernel": "6", "date": "today"}
    assert not any("cache misses" in line for line in page._machine(machine))
    assert "* cache misses: not counted here (No such file or directory)" in page._machine(
        machine | {"cache_misses_not_counted": "No such file or directory"}
    )
