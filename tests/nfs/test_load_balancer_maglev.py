"""Maglev: the table is the paper's, flows are spread evenly, few move when a server goes and no tracked one does."""

from functools import cache
from ipaddress import IPv4Address
from math import isqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scapy.layers.inet import IP, TCP, UDP

from fajita import Chain, FrameBlock, InputError, hash_of
from fajita.engine.compiled import CompiledEngine
from fajita.nfs.load_balancer import DEFAULT_TABLE, LoadBalancer
from tests.nfs.running import both_engines, change, run
from tests.nfs.scapy_frames import destination_of, ethernet, tcp_frame, udp_frame

FLOWS = 1_000_000
SERVERS = [f"10.0.{n}.1" for n in range(10)]


def number(address: str) -> int:
    return int(IPv4Address(address))


def maglev(servers: list[str], **params: Any) -> LoadBalancer:
    return LoadBalancer(servers=servers, algorithm="maglev", **params)


def table(servers: list[str], **params: Any) -> NDArray[np.int64]:
    return np.array(maglev(servers, **params).places)


def papers_table(servers: list[str], weights: list[int], size: int) -> list[int]:
    """Pseudocode 1 of the paper, line by line, with the permutations written out as in its section 3.4.

    With weights, i goes round the backends by smooth weighted round robin instead of one after the other.
    """
    backends = sorted(zip(map(number, servers), weights, strict=True))
    permutation = []
    for backend, _ in backends:
        offset, skip = hash_of(backend, 0) % size, hash_of(backend, 1) % (size - 1) + 1
        permutation.append([(offset + j * skip) % size for j in range(size)])
    following = [0] * len(backends)
    entry = [-1] * size
    n, credit = 0, [0] * len(backends)
    while True:
        for index, (_, weight) in enumerate(backends):
            credit[index] += weight
        i = credit.index(max(credit))
        credit[i] -= sum(weight for _, weight in backends)
        c = permutation[i][following[i]]
        while entry[c] >= 0:
            following[i] += 1
            c = permutation[i][following[i]]
        entry[c] = i
        following[i] += 1
        n += 1
        if n == size:
            return [backends[i][0] for i in entry]


PRIMES = [size for size in range(2, 400) if all(size % divisor for divisor in range(2, isqrt(size) + 1))]
SOME_SERVERS = st.lists(st.ip_addresses(v=4).map(str), min_size=1, max_size=12, unique=True)


@given(data=st.data(), servers=SOME_SERVERS)
def test_the_table_is_that_of_the_papers_pseudocode(data: st.DataObject, servers: list[str]) -> None:
    weights = data.draw(st.lists(st.integers(1, 9), min_size=len(servers), max_size=len(servers)))
    size = data.draw(st.sampled_from([size for size in PRIMES if size >= sum(weights)]))
    assert table(servers, table_size=size).tolist() == papers_table(servers, [1] * len(servers), size)
    assert table(servers, weights=weights, table_size=size).tolist() == papers_table(servers, weights, size)


def test_the_usual_table_is_that_of_the_papers_pseudocode() -> None:
    assert table(SERVERS).tolist() == papers_table(SERVERS, [1] * 10, 65_537)


def test_the_table_stays_what_it_is() -> None:
    """Balancers of other versions next to this one rely on it."""
    assert [IPv4Address(place).packed[2] for place in table(SERVERS[:3], table_size=13).tolist()] == [
        1,
        1,
        2,
        0,
        0,
        2,
        0,
        2,
        1,
        1,
        0,
        2,
        0,
    ]


@given(data=st.data(), servers=SOME_SERVERS)
def test_the_order_of_the_servers_does_not_matter(data: st.DataObject, servers: list[str]) -> None:
    weights = [1 + number(server) % 3 for server in servers]
    order = data.draw(st.permutations(range(len(servers))))
    shuffled = table([servers[n] for n in order], weights=[weights[n] for n in order], table_size=397)
    assert shuffled.tolist() == table(servers, weights=weights, table_size=397).tolist()


@pytest.mark.parametrize("count", [1, 2, 10, 100])
def test_every_server_has_as_many_places_but_for_one(count: int) -> None:
    _, places = np.unique(table([f"192.0.2.{n}" for n in range(count)]), return_counts=True)
    assert len(places) == count
    assert places.max() - places.min() <= 1


@pytest.mark.parametrize("weights", [[3, 1, 1], [1, 100], [7, 7, 2, 50]])
def test_places_are_in_proportion_to_weights(weights: list[int]) -> None:
    _, places = np.unique(table(SERVERS[: len(weights)], weights=weights), return_counts=True)
    # A cycle of turns may be cut short at the end of the table.
    assert (abs(places - 65_537 * np.array(weights) / sum(weights)) <= np.array(weights)).all()


@pytest.mark.parametrize("count", [2, 3, 10, 30, 100])
def test_of_n_servers_one_that_goes_moves_at_most_2_of_n_places(count: int) -> None:
    servers = [f"192.0.2.{n}" for n in range(count)]
    before = table(servers)
    for gone in range(0, count, -(-count // 5)):
        after = table(servers[:gone] + servers[gone + 1 :])
        assert 1 / count * 0.99 < (before != after).mean() < 2 / count


@pytest.mark.parametrize("gone", range(3))
def test_with_weights_too_hardly_more_moves_than_the_server_had(gone: int) -> None:
    weights = [3, 1, 2]
    left = [n for n in range(3) if n != gone]
    before = table(SERVERS[:3], weights=weights)
    after = table([SERVERS[n] for n in left], weights=[weights[n] for n in left])
    assert (before != after).mean() < 1.5 * weights[gone] / 6


def million_flows() -> NDArray[np.uint8]:
    """UDP frames without checksum of 1,000 neighbouring clients with 1,000 neighbouring ports each."""
    slots = np.zeros((FLOWS, 64), np.uint8)
    packet = ethernet() / IP(src="10.1.0.0", dst="198.51.100.1") / UDP(sport=0, dport=443, chksum=0) / bytes(18)
    slots[:, :60] = np.frombuffer(bytes(packet), np.uint8)
    flow = np.arange(FLOWS)
    slots[:, 26:30] = (0x0A010000 + flow // 1000).astype(">u4").view(np.uint8).reshape(-1, 4)
    slots[:, 34:36] = (20_000 + flow % 1000).astype(">u2").view(np.uint8).reshape(-1, 2)
    return slots


def servers_of_a_million(servers: list[str], **params: Any) -> NDArray[np.uint32]:
    """Where the compiled engine sends each of the flows."""
    slots = million_flows()
    block = FrameBlock.from_slots(slots, np.full(FLOWS, 60, np.uint32), np.zeros(FLOWS, np.uint64))
    CompiledEngine(Chain([maglev(servers, **params)]).plan).process(block)
    return np.ascontiguousarray(slots[:, 30:34]).view(">u4").ravel()


def test_a_million_flows_are_balanced_within_1_percent_and_at_most_2_of_n_move() -> None:
    before = servers_of_a_million(SERVERS)
    _, flows = np.unique(before, return_counts=True)
    assert (abs(flows - FLOWS / 10) < 0.01 * FLOWS / 10).all()
    after = servers_of_a_million(SERVERS[:4] + SERVERS[5:])
    moved = before != after
    assert moved[before == number(SERVERS[4])].all()
    assert moved.mean() < 2 / 10


def test_a_million_flows_are_balanced_by_weight() -> None:
    _, flows = np.unique(servers_of_a_million(SERVERS[:3], weights=[3, 1, 1]), return_counts=True)
    shares = FLOWS * np.array([3, 1, 1]) / 5
    assert (abs(flows - shares) < 0.01 * shares).all()


@both_engines
@pytest.mark.parametrize("going", [{"servers": SERVERS[:4] + SERVERS[5:]}, {"down": [SERVERS[4]]}])
def test_no_tracked_connection_moves_when_a_server_goes(engine: Any, going: dict[str, Any]) -> None:
    def destinations(frames: list[bytes]) -> list[str]:
        block = FrameBlock.from_frames(frames)
        running.process(block)
        return [destination_of(bytes(block.frame(index))) for index in range(len(block))]

    tracked, new = ([tcp_frame(port) for port in range(first, first + 200)] for first in (1000, 5000))
    running = engine(Chain([maglev(SERVERS)]).plan)
    before = destinations(tracked)
    left = SERVERS[:4] + SERVERS[5:]
    change(running, "load_balancer", **going)
    # The gone server's own connections stay too: what it still answers is its own affair.
    assert SERVERS[4] in before
    assert destinations(tracked) == before
    expected = run(engine, maglev(left), new).frames
    assert destinations(new) == [destination_of(frame) for frame in expected]


@cache
def usual_table() -> NDArray[np.int64]:
    return table(SERVERS)


def by_definition(*fields: int) -> str:
    return str(IPv4Address(int(usual_table()[hash_of(*fields) % DEFAULT_TABLE])))


@both_engines
@pytest.mark.parametrize(("transport", "protocol"), [(UDP, 17), (TCP, 6)])
def test_a_frame_is_what_scapy_builds_for_the_server_of_its_five_tuple(
    engine: Any, transport: type, protocol: int
) -> None:
    sent, expected = [], []
    for port in range(1000, 1060):
        src, dst = f"192.0.2.{port % 7}", f"198.51.100.{port % 3}"
        server = by_definition(number(src), number(dst), port, 53, protocol)
        for frames, to in ((sent, dst), (expected, server)):
            frames.append(bytes(ethernet() / IP(src=src, dst=to) / transport(sport=port, dport=53) / b"data"))
    result = run(engine, maglev(SERVERS), sent)
    assert result.frames == expected
    assert sum(result.summary()["flows"].values()) == 60
    assert result.engine.core(result.chain.plan.nfs[0], arrays=False) == {"turn": [0]}


@both_engines
def test_by_source_the_client_alone_chooses(engine: Any) -> None:
    clients = [f"192.0.2.{n}" for n in range(40)]
    expected = [by_definition(number(client)) for client in clients]
    for port in (7, 8):
        frames = [udp_frame(port, src=client) for client in clients]
        result = run(engine, maglev(SERVERS, key="source"), frames)
        assert [destination_of(frame) for frame in result.frames] == expected


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (65_536, "table_size is 65,536, which is no prime; 65,537 is one"),
        (9, "table_size is 9; give a prime from 10 (the servers, by weight) to 1,048,576"),
        (-7, "table_size is -7; give a prime from 10 (the servers, by weight) to 1,048,576"),
        (16_777_213, "table_size is 16,777,213; give a prime from 10 (the servers, by weight) to 1,048,576"),
        (1 << 70, f"table_size is {1 << 70:,}; give a prime from 10 (the servers, by weight) to 1,048,576"),
    ],
)
def test_a_wrong_size_of_the_table_is_refused(size: int, message: str) -> None:
    with pytest.raises(InputError) as caught:
        maglev(SERVERS, table_size=size)
    assert str(caught.value) == f"LoadBalancer: {message}"


def test_one_server_may_have_a_table_of_two_places_but_not_of_one() -> None:
    assert table(["10.0.0.1"], table_size=2).tolist() == [number("10.0.0.1")] * 2
    with pytest.raises(InputError, match="table_size is 1, which is no prime"):
        maglev(["10.0.0.1"], table_size=1)


@pytest.mark.parametrize("algorithm", ["round_robin", "hash"])
def test_a_table_is_maglevs_alone(algorithm: str) -> None:
    message = f"LoadBalancer: table_size is for algorithm: maglev; leave it out for {algorithm}"
    with pytest.raises(InputError) as caught:
        LoadBalancer(servers=SERVERS, algorithm=algorithm, table_size=13)
    assert str(caught.value) == message
