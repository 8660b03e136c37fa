"""What goes wrong around a live run: it goes on, or ends with a line, and nothing is left in the way of the next."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import CHAINS
from tests.live.network import ADDRESSES, BETWEEN, INSIDE, OUTSIDE, Between, Network, until, why_not_here
from tests.namespaces import call

_TOOLS = {"ping": "iputils-ping", "tc": "iproute2", "curl": "curl"}
_METRICS = "9400"
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


def test_links_that_go_and_come_are_told_and_do_not_end_a_run(network, tmp_path):
    """Nor does one that is down keep it from ending."""
    pytest.importorskip("prometheus_client")
    between = Between(network, CHAIN, tmp_path / "report.json", "--metrics", _METRICS)

    def until_told(port: str, link: str) -> None:
        line = f'fajita_port_up{{port="{port}"}} {"1.0" if link == "up" else "0.0"}'
        where = f"http://127.0.0.1:{_METRICS}/metrics"
        until(lambda: line in network.run(BETWEEN, "curl", "-s", where).stdout, lambda: between.process.poll() is None)

    between.wait_until_it_runs()
    assert is_promiscuous(network, "inside")
    network.set_port("inside", "down")
    until_told("net_af_packet0", "down")
    assert not network.answers()
    network.set_port("inside", "up")
    until_told("net_af_packet0", "up")
    until(network.answers, lambda: between.process.poll() is None)
    network.set_port("outside", "down")
    until_told("net_af_packet1", "down")
    status, complaints = between.stop()
    assert status == 143, complaints
    report = between.report()
    told = [warning.rpartition(" at ")[0] for warning in report["warnings"]]
    changes = (("net_af_packet0", "down"), ("net_af_packet0", "up"), ("net_af_packet1", "down"))
    assert told == [f"{port}: the link went {way}" for port, way in changes]
    assert [port["link"] for port in report["ports"]] == [True, False]
    assert report["error"] is None
    assert not is_promiscuous(network, "inside")
    assert not is_promiscuous(network, "outside")


def is_promiscuous(network: Network, port: str) -> bool:
    return "PROMISC" in network.run(BETWEEN, "ip", "link", "show", port).stdout


def test_a_peer_that_stops_reading_does_not_keep_a_run_from_ending(network, tmp_path):
    """A line of a byte a second behind the port: the driver waits for room in its ring, by itself for ever."""
    between = Between(network, CHAIN, tmp_path / "report.json", devices="qdisc_bypass=0")
    between.wait_until_it_runs()
    shaper = ("tbf", "rate", "8bit", "burst", "1600", "limit", "1000000")
    call("tc", "-n", network.names[2], "qdisc", "add", "dev", "outside", "root", *shaper)
    with network.socket(INSIDE) as client:
        for number in range(5_000):
            client.sendto(number.to_bytes(4, "big"), (ADDRESSES[OUTSIDE], 9))
    status, complaints = between.stop()
    assert status == 143, complaints
    report = between.report()
    first, second = report["ports"]
    assert second["unsent"] > 0
    assert report["packets"]["out"] == first["out"]["packets"] + second["out"]["packets"] + second["unsent"]


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
