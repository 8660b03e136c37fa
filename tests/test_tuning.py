"""Tuning changes how fast a chain is, never what it does: against the interpreted engine, packet by packet."""

import os

import pytest
from hypothesis import HealthCheck, given, settings

from fajita.suite.throughput import TUNINGS
from fajita.tuning import Tuning
from fajita.verify import verify_blocks
from tests.test_differential import CHAINS
from tests.traffic import Traffic, traffic

EXAMPLES = int(os.environ.get("FAJITA_EXAMPLES", "10"))


@pytest.mark.parametrize("tuning", [name for name in TUNINGS if name != "everything"])
@pytest.mark.parametrize("chain", ["one table, shared", "one table, before and after another lookup", "records"])
def test_what_a_chain_does_does_not_depend_on_its_tuning(chain: str, tuning: str) -> None:
    plan = CHAINS[chain].plan_with(TUNINGS[tuning])

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(traffic())
    def check(packets: Traffic) -> None:
        result = verify_blocks(plan, packets.blocks())
        assert result.difference is None, result.difference

    check()


def test_without_looking_ahead_nothing_is_prefetched() -> None:
    assert not Tuning(ahead=False).prefetch
    assert Tuning().prefetch
