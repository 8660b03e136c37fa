"""What people do with a network, through `chains/office_router.yaml` between two real interfaces.

Most of it is one test, as to begin takes longer than all that follows: a kernel is compiled for it.
"""

import hashlib
import importlib.util
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR

from tests.command import CHAINS
from tests.live.network import ADDRESSES, BETWEEN, EXTERNAL, INSIDE, OUTSIDE, Between, Network, until, why_not_here

_TOOLS = {"ping": "iputils-ping", "curl": "curl", "iperf3": "iperf3"}
_FILE_BYTES = 20 << 20
_METRICS = "9400"
_HAS_METRICS = importlib.util.find_spec("prometheus_client") is not None
_SERVER = ADDRESSES[OUTSIDE]

pytestmark = pytest.mark.skipif(bool(why := why_not_here(**_TOOLS)), reason=why)


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(is_routed=True) as made:
        yield made


@pytest.fixture
def chain(tmp_path) -> Path:
    """The router, whose sessions of UDP end after three seconds: time for an answer on a busy machine."""
    path = tmp_path / "office_router.yaml"
    path.write_text((CHAINS / "office_router.yaml").read_text().replace("[203.0.113.1]", "[203.0.113.1], udp: 3s"))
    (tmp_path / "office_router.nft").write_text((CHAINS / "office_router.nft").read_text())
    return path


def test_a_router_between_real_interfaces(network, chain, tmp_path):
    router = Between(network, chain, tmp_path / "report.json", *(("--metrics", _METRICS) if _HAS_METRICS else ()))
    router.wait_until_it_runs()

    check_ping(network)
    check_download(network, tmp_path)
    check_iperf3(network)
    check_names_and_time_outs(network)
    check_what_is_forbidden(network)
    if _HAS_METRICS:
        check_metrics(network)

    status, complaints = router.stop()
    assert status == 143
    assert complaints.startswith("fajita: interrupted after ")
    assert complaints.count("\n") == 1
    check_report(router.report())


def test_the_same_by_af_xdp(network, chain, tmp_path):
    router = Between(network, chain, tmp_path / "report.json", driver="net_af_xdp", devices="force_copy=1")
    router.wait_until_it_runs_or(pytest.skip)
    check_ping(network)
    check_download(network, tmp_path)
    status, complaints = router.stop()
    assert (status, complaints.count("\n")) == (143, 1), complaints
    packets = router.report()["packets"]
    assert (packets["in"], packets["dropped"]) == (packets["out"], 0)


def check_ping(network: Network) -> None:
    """There is a router on the way: an answer's time to live is one less."""
    printed = network.run(INSIDE, "ping", "-nc", "3", "-i", "0.2", _SERVER).stdout
    assert "3 packets transmitted, 3 received, 0% packet loss" in printed
    assert printed.count("ttl=63") == 3


def check_download(network: Network, folder: Path) -> None:
    """A file that has to come as it is, over hundreds of thousands of bytes of TCP windows."""
    wanted = folder / "wanted"
    wanted.write_bytes(hashlib.shake_256(b"fajita").digest(_FILE_BYTES))
    network.start(OUTSIDE, sys.executable, "-m", "http.server", "80", "--directory", str(folder))
    url = f"http://{_SERVER}/wanted"
    until(lambda: network.run(INSIDE, "curl", "-sI", url).returncode == 0)
    done = network.run(INSIDE, "curl", "-sS", "-o", str(folder / "came"), url)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "came").read_bytes() == wanted.read_bytes()


def check_iperf3(network: Network) -> None:
    network.start(OUTSIDE, "iperf3", "-s")
    for options in ((), ("-R",), ("-u", "-b", "20M")):
        end = measured(network, *options)
        if "-u" in options:
            assert end["sum"]["packets"] > end["sum"]["lost_packets"]
        else:
            assert end["sum_received"]["bytes"] > 0


def measured(network: Network, *options: str) -> dict:
    """What iperf3 says at the end of a second, once its server is ready for it."""
    found: list[dict] = []

    def is_done() -> bool:
        found[:] = [json.loads(network.run(INSIDE, "iperf3", "-J", "-t", "1", *options, "-c", _SERVER).stdout)]
        return "error" not in found[0]

    until(is_done)
    return found[0]["end"]


def check_names_and_time_outs(network: Network) -> None:
    """A query, its answer, and for how long more may come by that way: by the clock on the wall."""
    with network.socket(INSIDE) as client, network.socket(OUTSIDE) as server:
        server.bind((_SERVER, 53))
        query = DNS(id=7, rd=1, qd=DNSQR(qname="fajita.example"))
        client.sendto(bytes(query), (_SERVER, 53))
        asked, there = server.recvfrom(512)
        assert there[0] == EXTERNAL
        assert asked == bytes(query)
        record = DNSRR(rrname="fajita.example", rdata="192.0.2.7")
        server.sendto(bytes(DNS(id=7, qr=1, rd=1, qd=query.qd, an=record)), there)
        answer = DNS(client.recv(512))
        assert (answer.id, answer.an[0].rdata) == (7, "192.0.2.7")
        server.sendto(b"in time", there)
        assert client.recv(512) == b"in time"
        nothing_comes_for(client, 3.2)
        server.sendto(b"too late", there)
        nothing_comes_for(client, 0.3)
        client.sendto(b"again", (_SERVER, 53))
        again, there = server.recvfrom(512)
        assert (again, there[0]) == (b"again", EXTERNAL)


def nothing_comes_for(client: socket.socket, seconds: float) -> None:
    client.settimeout(seconds)
    with pytest.raises(TimeoutError):
        client.recv(512)


def check_what_is_forbidden(network: Network) -> None:
    with network.socket(INSIDE, socket.SOCK_STREAM) as client, network.socket(OUTSIDE, socket.SOCK_STREAM) as server:
        server.bind((_SERVER, 25))
        server.listen()
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.connect((_SERVER, 25))


def check_metrics(network: Network) -> None:
    """They are those of a second ago, at most."""
    dropped = 'fajita_drops_total{nf="firewall",reason="policy"}'

    def is_there() -> bool:
        return dropped in network.run(BETWEEN, "curl", "-s", f"http://127.0.0.1:{_METRICS}/metrics").stdout

    until(is_there)


def check_report(report: dict) -> None:
    packets, (first, second) = report["packets"], report["ports"]
    assert packets["in"] == packets["out"] + packets["dropped"]
    assert packets["in"] == first["in"]["packets"] + second["in"]["packets"]
    assert packets["out"] == sum(port["out"]["packets"] + port["unsent"] for port in report["ports"])
    assert report["drops"]["firewall"]["policy"] >= 1
    assert sum(report["drops"]["nat"].values()) == 1
    assert first["out"]["bytes"] > _FILE_BYTES
    assert report["warnings"] == []
    assert report["error"] is None
