"""Flow records as IPFIX while packets of real interfaces still come, and at the end."""

import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.ipfix.reading import messages, scapy_records
from tests.live.network import ADDRESSES, BETWEEN, INSIDE, OUTSIDE, Between, Network, until, why_not_here

_COLLECTOR = ("127.0.0.1", 9995)
_RIGHT = "the address of a collector that listens"
_TO_COLLECTOR = "udp://{}:{}".format(*_COLLECTOR)
#: Why a record ends (flowEndReason): its flow was idle.
_IDLE = 1

pytestmark = pytest.mark.skipif(bool(why := why_not_here(ping="iputils-ping")), reason=why)


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture
def chain(tmp_path) -> Path:
    path = tmp_path / "exporter.yaml"
    path.write_text("name: exporter\nother: pass\nnfs: [{flow_exporter: {timeout: 1s}}]\n")
    return path


def send(network: Network, count: int) -> int:
    """So many datagrams from inside to outside; the port they came from."""
    with network.socket(INSIDE) as client:
        for _ in range(count):
            client.sendto(b"x", (ADDRESSES[OUTSIDE], 9))
        return client.getsockname()[1]


class Heard:
    """The records that have come to a collector."""

    def __init__(self, collector: socket.socket) -> None:
        collector.bind(_COLLECTOR)
        collector.setblocking(False)
        self._collector, self._messages = collector, list[bytes]()

    def of(self, port: int) -> list[tuple[int, int]]:
        """Of datagrams from a port: packets, and why the flow ended."""
        return of_port(self.all(), port)

    def all(self) -> list[dict[str, Any]]:
        """All of them so far."""
        with suppress(BlockingIOError):
            while True:
                self._messages.append(self._collector.recv(1 << 16))
        return scapy_records(self._messages)


def of_port(records: list[dict[str, Any]], port: int) -> list[tuple[int, int]]:
    return [
        (record["IN_PKTS"], int.from_bytes(record["flowEndReason"], "big"))
        for record in records
        if record.get("L4_SRC_PORT") == port
    ]


def test_a_collector_hears_of_flows_that_end_while_packets_come_and_of_the_others_at_the_end(network, chain, tmp_path):
    between = Between(network, chain, tmp_path / "report.json", "--ipfix", _TO_COLLECTOR)
    with network.socket(BETWEEN) as collector:
        heard = Heard(collector)
        between.wait_until_it_runs()
        first = send(network, 3)
        until(lambda: bool(heard.of(first)), lambda: between.process.poll() is None)
        last = send(network, 5)
        assert network.answers()
        status, complaints = between.stop(signal.SIGINT)
        assert status == 130, complaints
        assert heard.of(first) == [(3, _IDLE)]
        assert sum(packets for packets, _ in heard.of(last)) == 5
    assert between.report()["error"] is None


def test_packets_go_on_though_no_collector_listens_and_one_that_does_later_hears_of_what_ends_then(
    network, chain, tmp_path
):
    between = Between(network, chain, tmp_path / "report.json", "--ipfix", _TO_COLLECTOR)
    between.wait_until_it_runs()

    def goes_on() -> bool:
        send(network, 1)
        return network.answers()

    until(lambda: refused(network) > 2, goes_on)
    with network.socket(BETWEEN) as collector:
        heard = Heard(collector)
        until(lambda: bool(heard.all()), goes_on)
        status, complaints = between.stop()
    assert status == 2
    assert complaints.endswith(f"{_TO_COLLECTOR}: cannot send: Connection refused; {_RIGHT}\n")


def test_a_file_has_all_packets_at_the_end(network, chain, tmp_path):
    file = tmp_path / "flows.ipfix"
    between = Between(network, chain, tmp_path / "report.json", "--ipfix", str(file))
    between.wait_until_it_runs()
    first = send(network, 3)
    # It is written once a second.
    until(lambda: file.exists() and bool(of_port(records_of(file), first)), lambda: between.process.poll() is None)
    last = send(network, 5)
    assert network.answers()
    status, complaints = between.stop(signal.SIGINT)
    assert status == 130, complaints
    records = records_of(file)
    assert of_port(records, first) == [(3, _IDLE)]
    assert sum(packets for packets, _ in of_port(records, last)) == 5
    report = between.report()["packets"]
    assert sum(record["IN_PKTS"] for record in records) == report["in"] - report["other"]


def refused(network: Network) -> int:
    """Datagrams for which nobody listened where fajita is."""
    told = network.run(BETWEEN, "cat", "/proc/net/snmp").stdout
    names, values = (line.split()[1:] for line in told.splitlines() if line.startswith("Udp:"))
    return int(dict(zip(names, values, strict=True))["NoPorts"])


def records_of(file: Path) -> list[dict[str, Any]]:
    return scapy_records(messages(file.read_bytes()))
