"""Workers that are given flows of busier ones: results are those of one worker, and the load is more even."""

import numpy as np
import pytest

from fajita import NF, PASS, Array, Chain, InputError, Packet, Sum, five_tuple, u32, u64
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.run import execute
from tests.test_workers import results
from tests.traffic import Traffic, many_flows

SERVERS = ["10.0.0.1", "10.0.0.9"]
CHAINS = {
    "own": Chain(
        [FlowCounter(), LoadBalancer(servers=SERVERS, algorithm="hash"), RateLimiter(rate="1Mbps", burst="1kB")]
    ),
    "ending": Chain([FlowCounter(timeout="300us", records=True), SourceCounter(timeout="1ms")]),
    "shared": Chain([FlowCounter(timeout="1ms"), SourceCounter(), DestinationCounter(timeout="500us")]),
    "both directions": Chain([FlowCounter(key="connection", timeout="1ms", records=True)]),
}


def skewed(flows: int = 200, packets: int = 6000) -> Traffic:
    """Few flows have nearly all packets; which, changes now and then."""
    generator, sent = np.random.default_rng(1), many_flows(flows, repeats=1)
    popular = np.minimum(generator.geometric(0.15, packets), flows) - 1
    chosen = (popular + np.arange(packets) // 1500 * 7) % flows
    return Traffic(
        frames=[sent.frames[flow] for flow in chosen],
        times_ns=[1000 * index for index in range(packets)],
        wire=[sent.wire[flow] for flow in chosen],
        links=[sent.links[flow] for flow in chosen],
        cuts=list(range(0, packets, 700)),
    )


@pytest.mark.parametrize("workers", [2, 3, 8])
@pytest.mark.parametrize("name", CHAINS)
def test_results_are_those_of_one_worker(name: str, workers: int) -> None:
    sent, chain = skewed(), CHAINS[name]
    one, balanced = chain.run(sent.blocks()), chain.run(sent.blocks(), cores=workers, balance="100us")
    assert results(one) == results(balanced)
    balance = balanced.report["sharding"]["balance"]
    assert balance["buckets_moved"] >= balance["rewrites"] > 3
    assert one.report["sharding"]["balance"] is None


def test_the_busiest_worker_has_less_to_do() -> None:
    sent = skewed()
    busiest = []
    for balance_ns in (None, 100_000):
        run = CHAINS["own"].run(sent.blocks(), cores=4, balance_ns=balance_ns)
        loads = [load.packets for load in run.engine.loads()]
        assert sum(loads) == len(sent.frames)
        busiest.append(max(loads))
    plain, balanced = busiest
    assert balanced < plain
    assert balanced < len(sent.frames) / 4 * 2


class Numbered(NF):
    """Keeps what it knows of a flow where the worker says."""

    key = five_tuple

    class State:
        number: u32

    class Core:
        given: u32
        packets: Array[u64, 64]

    def new_flow(self, pkt: Packet, state: State) -> None:
        state.number = self.core.given & 63
        self.core.given += 1

    def packet(self, pkt: Packet, state: State) -> int:
        self.core.packets[state.number] += 1
        return PASS


class Counted(NF):
    """Counts once per worker what is summed up."""

    key = five_tuple

    class Core:
        packets: Sum[u64]

    def packet(self, pkt: Packet, state: object) -> int:
        self.core.packets += 1
        return PASS


@pytest.mark.parametrize(
    ("chain", "why"),
    [
        (Chain([Numbered()]), "what numbered does with a flow depends on variables of the flow's worker"),
        (Chain([FlowCounter()], capacity=100), "each worker has its part of the capacity"),
        (
            Chain(
                [
                    RateLimiter(rate="1pps", burst=1, key="source"),
                    RateLimiter(name="to", rate="1pps", burst=1, key="destination"),
                ]
            ),
            "all packets go to one worker",
        ),
    ],
)
def test_what_cannot_be_balanced_is_refused(chain: Chain, why: str) -> None:
    with pytest.raises(InputError, match=rf"^the chain chain cannot be balanced: {why}.*; leave out --balance$"):
        execute(chain.plan, [], cores=2, balance_ns=10**6)


def test_variables_that_are_summed_up_stay_with_their_workers() -> None:
    run = Chain([Counted()]).run(skewed().blocks(), cores=3, balance="100us")
    assert run.core("counted") == {"packets": 6000}


def test_the_reference_engine_refuses_to_balance() -> None:
    with pytest.raises(InputError, match="the reference engine does not balance workers; leave out --balance"):
        execute(CHAINS["own"].plan, [], cores=2, balance_ns=10**6, engine="reference")
