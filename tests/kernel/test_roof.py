import numpy as np

from fajita.io.flow_order import FlowOrder
from fajita.io.synthetic import synthetic_block
from fajita.suite.roof import Roof


def test_every_packet_touches_its_lines_and_its_own_byte():
    block = synthetic_block(FlowOrder("uniform", 50, 1), 333, traffic="udp")
    slots = block.memory
    before = slots.copy()
    roof = Roof(slots, [50, 7], [1, 3])
    assert roof.seconds() > 0
    assert np.array_equal(slots[:, 1:], before[:, 1:])
    assert np.array_equal(slots[:, 0], before[:, 0] + 1)
    _, _, one, other, _ = roof._memory
    assert one.view(np.uint64).reshape(-1, 8)[:, 0].sum() == 333
    lines = other.view(np.uint64).reshape(-1, 8)[:21, 0]
    assert lines.sum() == 3 * 333
    assert np.array_equal(lines[::3], lines[1::3])
    # Packets of a flow have the same line.
    assert (one.view(np.uint64).reshape(-1, 8)[:50, 0] > 0).sum() > 20


def test_a_chain_without_tables_touches_packets_alone():
    block = synthetic_block(FlowOrder("uniform", 5, 1), 10, traffic="udp")
    assert Roof(block.memory, [], []).seconds() > 0
