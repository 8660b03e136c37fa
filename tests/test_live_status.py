"""The line for how a live run goes."""

from types import SimpleNamespace

import pytest

from fajita.live_status import LiveStatus

SECOND = 1_000_000_000


def test_rates_are_since_the_last_line_and_at_first_since_the_run_began(monkeypatch: pytest.MonkeyPatch) -> None:
    now, packets, busy = [100 * SECOND], [0, 0, 0], [0.0]
    monkeypatch.setattr("fajita.live_status.time.monotonic_ns", lambda: now[0])
    run = SimpleNamespace(
        started_ns=107 * SECOND,
        packets_now=lambda: list(packets),
        busy_now=lambda: list(busy),
        tables_now=lambda: [("five_tuple", 10, 4096)],
        ports_down=lambda: ["net_null0"],
    )
    status = LiveStatus("three")
    now[0], packets[:], busy[:] = 109 * SECOND, [4_000_000, 2_000_000, 2_000_000], [1.0]
    first = "three: 2.000 Mpps in, 1.000 out, 1.000 dropped | load 50% | five_tuple 10/4,096 | net_null0 is down"
    assert status.line(run) == first
    now[0], packets[:] = 110 * SECOND, [5_000_000, 2_500_000, 2_500_000]
    assert status.line(run).startswith("three: 1.000 Mpps in, 0.500 out, 0.500 dropped | load 0% | ")
