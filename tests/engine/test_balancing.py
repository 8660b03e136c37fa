"""The table of indirection of a run follows the load, and the state of flows follows the table."""

import numpy as np

from fajita import Chain
from fajita.balance import is_balanced, loads
from fajita.engine.balancing import Balancer
from fajita.nfs.flow_counter import FlowCounter
from fajita.rss import INDIRECTION_ENTRIES, SHARD_KEYS, usual_indirection
from tests.engine.test_migration import Workers, counting
from tests.traffic import Traffic, many_flows


def skewed(workers: Workers, flows: int) -> Traffic:
    """Four packets of each flow of the first worker's, as the table is at first, and one of all others."""
    packets = many_flows(flows, repeats=1)
    usual = usual_indirection(len(workers.engines))
    worker = np.concatenate([usual[workers.sharder.buckets(block)] for block in packets.blocks()])
    chosen = [index for index in range(flows) for _ in range(4 if worker[index] == 0 else 1)]
    return Traffic(
        *([column[index] for index in chosen] for column in (packets.frames, packets.times_ns, packets.wire)),
        [packets.links[0]] * len(chosen),
        [len(chosen) // 2],
    )


def packets_per_bucket(workers: Workers, packets: Traffic) -> np.ndarray:
    return sum(np.bincount(workers.sharder.buckets(block), minlength=INDIRECTION_ENTRIES) for block in packets.blocks())


def test_the_load_is_levelled_and_all_goes_on_as_with_one_worker():
    workers = Workers(counting(timeout="1h"), SHARD_KEYS["five_tuple"], count=3)
    balancer = Balancer(workers.plan, SHARD_KEYS["five_tuple"], [engine.tables for engine in workers.engines])
    workers.table = balancer.indirection
    packets = skewed(workers, 2000)
    counts = packets_per_bucket(workers, packets)
    assert not is_balanced(loads(counts, balancer.indirection, 3), 0.5)
    for expected in (True, False):
        workers.process(packets)
        assert (balancer.rebalance(counts) > 0) == expected  # once is enough
        workers.check()
        assert workers.rows() == workers.expected_rows()
    assert is_balanced(loads(counts, balancer.indirection, 3), 0.05)


def test_buckets_stay_where_there_is_no_room_for_their_state():
    workers = Workers(Chain([FlowCounter()], capacity=64), SHARD_KEYS["five_tuple"])
    balancer = Balancer(workers.plan, SHARD_KEYS["five_tuple"], [engine.tables for engine in workers.engines])
    workers.process(many_flows(128 + 32, repeats=1))
    before = workers.rows()
    assert all(engine.tables[0].entries == 64 for engine in workers.engines)
    counts = np.zeros(INDIRECTION_ENTRIES, np.int64)
    counts[::2] = 1
    assert balancer.rebalance(counts) == 0
    assert balancer.indirection.tolist() == usual_indirection(2).tolist()
    assert workers.rows() == before
