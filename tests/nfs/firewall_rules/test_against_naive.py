"""Random rule sets on random packets: every verdict and every count is that of going through the rules one by one.

FAJITA_FIREWALL_RULE_SETS and FAJITA_FIREWALL_PACKETS say how many (8 and 3,000).
"""

import os
from functools import cache

import numpy as np
import pytest

from fajita import Chain, TextFileValue
from fajita.engine.compiled import CompiledEngine
from fajita.engine.interface import Engine
from fajita.nfs.firewall import Firewall
from fajita.reference import ReferenceEngine
from tests.nfs.firewall_rules.naive import NaiveRule, RandomRules, file_text
from tests.nfs.firewall_rules.packets import ADDRESSES, PORTS, Packets, random_packets

RULE_SETS = int(os.environ.get("FAJITA_FIREWALL_RULE_SETS", "8"))
PACKETS = int(os.environ.get("FAJITA_FIREWALL_PACKETS", "3000"))


@cache
def packets(count: int) -> Packets:
    return random_packets(count, seed=1)


def rule_set(seed: int, most: int = 200) -> tuple[list[NaiveRule], bool]:
    """Rules, a hundred in the middle, and the policy."""
    made = RandomRules(seed, ADDRESSES, PORTS)
    return made.rules(made.random.choice((1, 5, 20, 63, 64, 65, most))), made.random.random() < 0.5


def check(engine: type[Engine], rules: list[NaiveRule], policy: bool, count: int) -> None:
    text = file_text(rules, "accept" if policy else "drop")
    chain = Chain([Firewall(rules=TextFileValue("random.nft", text))], fragments="flow")
    running = engine(chain.plan)  # type: ignore[call-arg]
    block = packets(count).frames()
    running.process(block)
    made = packets(count)
    go_on, counts = made.verdicts(rules, policy)
    wrong = np.nonzero(block.verdict.astype(bool) != np.array(go_on))[0]
    assert not len(wrong), f"{len(wrong)} packets, the first {wrong[0]}: {made.headers[made.header[wrong[0]]]}\n{text}"
    core = running.core(chain.plan.nfs[0])["counts"]
    assert core.reshape(-1, 2)[1 : len(rules) + 2, 0].tolist() == counts


@pytest.mark.parametrize("seed", range(RULE_SETS))
def test_verdicts_and_counts_are_those_of_going_through_the_rules(seed: int) -> None:
    check(CompiledEngine, *rule_set(seed), PACKETS)


def test_a_thousand_rules() -> None:
    check(CompiledEngine, RandomRules(99, ADDRESSES, PORTS).rules(1000), False, PACKETS)


def test_more_rules_than_one_aggregate_has_bits_for() -> None:
    rules = RandomRules(98, ADDRESSES, PORTS).rules(4500)
    # Most decide nothing where others stand before them: the last ones have to be reached.
    rare = [rule for rule in rules if rule.source and rule.destination and rule.headers]
    check(CompiledEngine, [*(rare * 4)[:4500], *rules[:50]], True, PACKETS)


def test_the_interpreted_engine_too() -> None:
    check(ReferenceEngine, *rule_set(3), 300)
