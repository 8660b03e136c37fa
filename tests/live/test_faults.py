"""What goes wrong around a live run: it goes on, or ends with a line, and nothing is left in the way of the next."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import CHAINS
from tests.live.network import ADDRESSES, INSIDE, OUTSIDE, Between, Network, until, why_not_here
from tests.namespaces import call

_TOOLS = {"ping": "iputils-ping", "tc": "iproute2"}
#: Where DPDK leaves things for other processes.
_COMMON_PLACES = (Path("/dev/shm"), Path("/var/run/dpdk"), Path("/dev/hugepages"))

pytestmark = pytest.mark.skipif(bool(why := why_not_here(**_TOOLS)), reason=why)

CHAIN = CHAINS / "one.yaml"


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


def left_behind() -> set[Path]:
    return {file for place in _COMMON_PLACES if place.is_dir() for file in place.rglob("*")}


def test_links_that_go_and_come_do_not_end_a_run(network, tmp_path):
    between = Between(network, CHAIN, tmp_path / "report.json")
    between.wait_until_it_runs()
    for port in ("inside", "outside"):
        network.set_port(port, "down")
        assert not network.answers()
        network.set_port(port, "up")
        until(network.answers, lambda: between.process.poll() is None)
    status, complaints = between.stop()
    assert status == 143, complaints
    assert between.report()["error"] is None


def test_a_link_that_is_down_at_the_end_does_not_keep_a_run_from_ending(network, tmp_path):
    between = Between(network, CHAIN, tmp_path / "report.json")
    between.wait_until_it_runs()
    network.set_port("outside", "down")
    assert not network.answers()
    assert between.stop()[0] == 143


def test_a_peer_that_stops_reading_costs_what_it_does_not_take(network, tmp_path):
    """A line of a few frames a second behind the port: its ring is soon full."""
    between = Between(network, CHAIN, tmp_path / "report.json")
    between.wait_until_it_runs()
    shaper = ("tbf", "rate", "8kbit", "burst", "1600", "latency", "1000s")
    call("tc", "-n", network.names[2], "qdisc", "add", "dev", "outside", "root", *shaper)
    with network.socket(INSIDE) as client:
        for number in range(20_000):
            client.sendto(number.to_bytes(4, "big"), (ADDRESSES[OUTSIDE], 9))
    status, complaints = between.stop()
    assert status == 143, complaints
    report = between.report()
    sent = report["ports"][1]["out"]["packets"]
    assert report["ports"][1]["unsent"] > 0
    assert report["packets"]["out"] == sent + report["ports"][0]["out"]["packets"] + report["ports"][1]["unsent"]


def test_after_a_kill_the_next_run_begins_as_ever(network, tmp_path):
    before = left_behind()
    killed = Between(network, CHAIN, tmp_path / "killed.json")
    killed.wait_until_it_runs()
    assert killed.stop(signal.SIGKILL)[0] == -signal.SIGKILL
    assert left_behind() == before
    assert not network.answers()
    again = Between(network, CHAIN, tmp_path / "again.json")
    again.wait_until_it_runs()
    assert again.stop(signal.SIGINT)[0] == 130
    assert left_behind() == before
    assert again.report()["packets"]["in"] > 0
    assert not os.path.exists(tmp_path / "killed.json")
