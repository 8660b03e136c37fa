"""The two engines agree: on frames, verdicts, counters, flow states and worker variables.

For a longer run than the default:
  FAJITA_EXAMPLES       random traffics per chain (25)
  FAJITA_RANDOM_CHAINS  random chains of shipped NFs (4)
  FAJITA_RANDOM_NFS     chains with two NFs of random source (4)
  FAJITA_FIRST_SEED     seed of the first random chain and NF (0)
"""

import os
from collections.abc import Callable
from functools import cache
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings

from fajita import ANY_KEY, NF, PASS, Packet, connection, five_tuple, u32, u64
from fajita.chain import Chain
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.flow_exporter import FlowExporter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.verify import verify_blocks
from tests.chains import describe, random_chain, random_settings, shipped_nfs, variants
from tests.error_nfs import Errors
from tests.random_nf import random_nf
from tests.reshaping_nfs import Squeeze, Stretch, Tag, Untag
from tests.traffic import Traffic, many_flows, traffic

EXAMPLES = int(os.environ.get("FAJITA_EXAMPLES", "25"))
RANDOM_CHAINS = int(os.environ.get("FAJITA_RANDOM_CHAINS", "4"))
RANDOM_NFS = int(os.environ.get("FAJITA_RANDOM_NFS", "4"))
FIRST_SEED = int(os.environ.get("FAJITA_FIRST_SEED", "0"))

SERVERS = ["10.0.0.1", "10.0.0.9", "172.16.0.1"]


class Ends(NF):
    """Keeps which flows ended in which order, in one number."""

    key = five_tuple
    keys = ANY_KEY

    class State:
        number: u32
        packets: u32

    class Core:
        flows: u32
        order: u64

    def new_flow(self, pkt: Packet, state: State) -> None:
        self.core.flows += 1
        state.number = self.core.flows

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        return PASS

    def expire(self, state: State) -> None:
        self.core.order = (self.core.order ^ (state.number << 16) ^ state.packets) * 0x100000001B3


class Chooses(NF):
    """Ends flows to some ports sooner, to others later."""

    key = connection

    class State:
        expire_in: u64

    class Core:
        order: u64

    def packet(self, pkt: Packet, state: State) -> int:
        if pkt.dst_port & 1:
            state.expire_in = 1_000_000
        elif pkt.is_tcp:
            state.expire_in = 3_000_000_000
        return PASS

    def expire(self, state: State) -> None:
        self.core.order = (self.core.order ^ state.expire_in) * 0x100000001B3 + 1


CHAINS = {
    "one table, shared": Chain(
        [FlowCounter(), LoadBalancer(servers=SERVERS), RateLimiter(rate="1Mbps", burst="100B", timeout="1ms")]
    ),
    "three keys": Chain(
        [SourceCounter(timeout="5us"), FlowCounter(timeout="1ms"), DestinationCounter(timeout="1s"), MacSwap()]
    ),
    "drops before other tables": Chain(
        [RateLimiter(rate="100kpps", burst=1, key="source"), FlowCounter(), DestinationCounter()], other="drop"
    ),
    "a key that was rewritten": Chain(
        [LoadBalancer(servers=SERVERS, algorithm="hash", key="source"), DestinationCounter(), FlowCounter()]
    ),
    "one table, before and after another lookup": Chain(
        [
            LoadBalancer(servers=SERVERS, timeout="1ms"),
            DestinationCounter(timeout="5us"),
            RateLimiter(rate="1Mpps", burst=4, timeout="5us"),
        ]
    ),
    "keys of every kind": Chain(
        [
            FlowCounter(name="a", key="connection", timeout="1ms"),
            FlowCounter(name="b", key="all"),
            FlowCounter(name="c", key="vlan"),
            FlowCounter(name="d", key="source_prefix(20)"),
            FlowCounter(name="e", key="dscp+eth_src+dst_port"),
            FlowCounter(name="f", key="destination_port"),
            RateLimiter(rate="100kpps", burst=1, key="address_pair", timeout="1s"),
        ]
    ),
    "records": Chain(
        [
            FlowCounter(name="ended", key="connection", timeout="5us", records=True),
            FlowCounter(name="shared", key="connection", timeout="1ms", records=True),
            RateLimiter(rate="1Mpps", burst=4),
            FlowCounter(name="sources", key="source", timeout="1s", records=True),
        ]
    ),
    "inside tunnels": Chain(
        [
            SourceCounter(timeout="5us"),
            LoadBalancer(servers=SERVERS, key="source", timeout="1ms"),
            FlowCounter(key="connection"),
            MacSwap(),
        ],
        inner=True,
    ),
    "no state": Chain([MacSwap()], other="drop"),
    "full: evict": Chain(
        [Ends(timeout="1ms"), Ends(name="sources", key="source"), LoadBalancer(servers=SERVERS)],
        capacity=3,
        full="evict",
    ),
    "flow records that are evicted": Chain(
        [
            FlowExporter(timeout="1ms"),
            FlowExporter(name="both", key="connection", active="1us", timeout="1s"),
            FlowExporter(name="sources", key="source", timeout="5us"),
        ],
        capacity=3,
        full="evict",
        fragments="flow",
    ),
    "full: drop": Chain([Ends(), Ends(name="sources", key="source")], capacity=3, timeout="5us"),
    "full: bypass": Chain(
        [FlowCounter(), Ends(name="sources", key="source"), FlowCounter(name="again")], capacity=2, full="bypass"
    ),
    "errors": Chain(
        [
            Errors(timeout="1ms"),
            FlowCounter(key="connection", timeout="1s"),
            Errors(name="sources", key="source", timeout="5us"),
            Errors(name="again", timeout="1ms"),
        ]
    ),
    "errors, before and after another lookup": Chain(
        [
            Errors(key="source", writes=False),
            LoadBalancer(servers=SERVERS, key="source"),
            Ends(key="destination"),
            Errors(name="again", key="source"),
            Errors(name="rewritten", key="source"),
        ],
        capacity=2,
        full="drop",
        inner=True,
    ),
    "frames of other lengths": Chain(
        [
            FlowCounter(name="before", timeout="1ms"),
            Tag(),
            FlowCounter(name="tagged", key="vlan"),
            Stretch(),
            SourceCounter(timeout="5us"),
            Squeeze(),
            FlowCounter(key="connection", timeout="1ms", records=True),
            Untag(),
            LoadBalancer(servers=SERVERS),
            DestinationCounter(),
            Stretch(name="again"),
        ]
    ),
    "frames of other lengths, inside tunnels": Chain(
        [
            Untag(),
            FlowCounter(),
            Squeeze(),
            Tag(),
            LoadBalancer(servers=SERVERS, key="source"),
            FlowCounter(name="after"),
        ],
        inner=True,
        fragments="flow",
        other="drop",
    ),
    "frames of other lengths, fragments dropped": Chain([Squeeze(), Untag(), FlowCounter()], fragments="drop"),
    "timeouts of their own": Chain([Chooses(), Ends(key="source", timeout="1s"), Chooses(name="more", timeout="5us")]),
}

given_traffic = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def assert_engines_agree(chain: Chain, packets: Traffic) -> None:
    result = verify_blocks(chain.plan, packets.blocks())
    assert result.difference is None, f"{describe(chain)}\n{result.difference}"
    assert result.packets == len(packets.frames)


@pytest.mark.parametrize("name", CHAINS)
@given_traffic
@given(packets=traffic())
def test_engines_agree_on_a_chain(name: str, packets: Traffic) -> None:
    assert_engines_agree(CHAINS[name], packets)


@cache
def chain_of_variants(nf_class: type[NF]) -> Chain:
    """All the ways to run one NF, one after the other."""
    timeout = {} if nf_class.key is None else {"timeout": "1ms"}
    return Chain([nf_class(name=f"nf{i}", **timeout, **params) for i, params in enumerate(variants(nf_class))])


@pytest.mark.parametrize("nf_class", shipped_nfs(), ids=lambda nf_class: nf_class.__name__)
@given_traffic
@given(packets=traffic())
def test_engines_agree_on_every_shipped_nf(nf_class: type[NF], packets: Traffic) -> None:
    assert_engines_agree(chain_of_variants(nf_class), packets)


chain_of_seed = cache(random_chain)


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + RANDOM_CHAINS))
@given_traffic
@given(packets=traffic())
def test_engines_agree_on_random_chains(seed: int, packets: Traffic) -> None:
    assert_engines_agree(chain_of_seed(seed), packets)


@pytest.fixture(scope="module")
def nfs_of_seed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Chain]:
    """Makes the chain of two random NFs that belongs to a seed, once."""
    folder = tmp_path_factory.mktemp("nfs")

    @cache
    def make(seed: int) -> Chain:
        first, second = random_nf(2 * seed, folder), random_nf(2 * seed + 1, folder)
        return Chain(
            [first(name="first", timeout="5us"), FlowCounter(timeout="1ms"), second(name="second", timeout="1ms")],
            name=f"random_nfs_{seed}",
            **random_settings(Random(seed)),
        )

    return make


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + RANDOM_NFS))
@given_traffic
@given(packets=traffic())
def test_engines_agree_on_nfs_of_random_source(
    nfs_of_seed: Callable[[int], Chain], seed: int, packets: Traffic
) -> None:
    assert_engines_agree(nfs_of_seed(seed), packets)


@pytest.mark.parametrize("name", CHAINS)
def test_engines_agree_while_tables_grow(name: str) -> None:
    """More flows than fit the first table, which grows more than once; then all of them again."""
    assert_engines_agree(CHAINS[name], many_flows(4000, repeats=2))
