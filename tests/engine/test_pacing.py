from contextlib import nullcontext

import numpy as np
import pytest

from fajita import Chain, InputError
from fajita.benchmark import make_every_flow
from fajita.engine import pacing
from fajita.engine.compiled import CompiledEngine
from fajita.engine.pacing import PacedEngine
from fajita.io.flow_order import FlowOrder
from fajita.io.synthetic import synthetic_block
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer


def block(packets=3000):
    return synthetic_block(FlowOrder("uniform", 40, 1), packets, first=40, traffic="udp")


@pytest.mark.parametrize(("gap_ns", "most"), [(0, 64), (0, 1), (50, 256), (300, 7)])
def test_a_paced_engine_does_what_any_does(gap_ns, most):
    plan = Chain([FlowCounter(), LoadBalancer(servers=["10.0.0.1", "10.0.0.2"])]).plan
    paced, usual, one, other = PacedEngine(plan), CompiledEngine(plan), block(), block()
    for engine in (paced, usual):
        make_every_flow(engine, 40)
    seconds, late_ns = paced.run_paced(one, gap_ns, most)
    usual.process(other)
    assert np.array_equal(one.memory, other.memory)
    assert np.array_equal(one.verdict, other.verdict)
    for nf in plan.nfs:
        for mine, theirs in zip(paced.rows(nf), usual.rows(nf), strict=True):
            assert np.array_equal(mine, theirs)
    assert len(late_ns) == 3000
    assert (late_ns >= 0).all()
    assert late_ns.max() <= seconds * 1.1e9
    if gap_ns:
        assert seconds >= 2999 * gap_ns * 0.9e-9


def test_packets_to_warm_up_are_run_and_not_counted():
    plan, frames = Chain([FlowCounter()]).plan, block()
    engine = PacedEngine(plan)
    make_every_flow(engine, 40)
    _, late_ns = engine.run_paced(frames, 50, 64, warm_up=1000)
    assert len(late_ns) == 2000
    assert (late_ns >= 0).all()
    assert sum(int(rows["packets"].sum()) for rows in engine.rows(plan.nfs[0])) == 40 + 3000


def test_with_all_packets_there_the_last_waits_longest():
    plan = Chain([FlowCounter()]).plan
    engine = PacedEngine(plan)
    make_every_flow(engine, 40)
    _, late_ns = engine.run_paced(block(), 0, 100)
    assert (np.diff(late_ns) >= -1).all()  # the smallest gap


def test_an_idle_run_touches_no_packet_and_no_state_and_waits_as_little_as_the_machine_lets_it():
    plan = Chain([FlowCounter()]).plan
    engine, frames = PacedEngine(plan), block()
    pristine = frames.memory.copy()
    late_ns = engine.run_idle(3000, 50, 64)
    assert np.array_equal(frames.memory, pristine)
    assert engine.counters().packets_in == 0
    assert len(late_ns) == 3000
    assert (late_ns >= 0).all()


def test_a_long_run_leaves_the_processor_to_others_too(monkeypatch):
    taken = []

    def noted():
        taken.append(True)
        return nullcontext()

    monkeypatch.setattr(pacing, "precedence", noted)
    engine = PacedEngine(Chain([FlowCounter()]).plan)
    engine.run_idle(1000, 100, 64)
    assert taken == [True]
    monkeypatch.setattr(pacing, "_LONGEST_ALONE_NS", 99_000)
    engine.run_idle(1000, 100, 64)
    assert taken == [True]


def test_a_table_that_has_to_grow_ends_the_measurement():
    engine = PacedEngine(Chain([FlowCounter()]).plan)
    many = synthetic_block(FlowOrder("roundrobin", 100_000, 1), 100_000, traffic="udp")
    with pytest.raises(InputError, match="a table grew while latency was measured"):
        engine.run_paced(many, 0, 64)
