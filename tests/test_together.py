"""`together` of an NF: packets that share its variables come to one worker."""

from functools import partial
from typing import Any

import pytest

from fajita import NF, PASS, Array, Chain, InputError, Packet, connection, everything, key_of, source, u32, u64
from fajita.explain import explain
from fajita.key import Key, find_key
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.rate_limiter import RateLimiter
from fajita.rss import HashFields
from fajita.verify import both_engines, verify_blocks
from tests.before_lookup_nfs import Ports
from tests.traffic import many_flows


class Numbers(NF):
    """Numbers the packets of all hosts with the same last bits of their address, in an array."""

    class Params:
        by: str = ""

    class Core:
        counts: Array[u32, 64]
        last: u64

    def prepare(self) -> None:
        self.together = find_key(self.by) if self.by else None

    def packet(self, pkt: Packet) -> int:
        self.core.counts[pkt.src % 64] += 1
        self.core.last = self.core.counts[pkt.src % 64]
        return PASS


def fields(*nfs: NF, **options: Any) -> HashFields | None:
    return Chain(nfs, **options).plan.sharding.fields


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("source", HashFields(source=True)),
        ("address_pair", HashFields(source=True, destination=True)),
        ("connection", HashFields(True, True, True, True, symmetric=True)),
        ("five_tuple", HashFields(True, True, True, True)),
        ("all", None),
        ("source_prefix(24)", None),
        ("dst_port", None),
    ],
)
def test_fields_that_are_hashed_are_in_the_key(by: str, expected: HashFields | None) -> None:
    assert fields(Numbers(by=by)) == expected


def test_states_are_minded_as_well() -> None:
    limiter = RateLimiter(rate="1Gbps", burst="64kB", key="address_pair")
    assert fields(Numbers(by="source"), limiter) == HashFields(source=True)
    assert fields(Numbers(by="destination"), RateLimiter(rate="1Gbps", burst="64kB", key="source")) is None


def test_a_field_that_was_rewritten_before_does_not_keep_packets_together() -> None:
    assert fields(LoadBalancer(servers=["10.0.0.1"]), Numbers(by="destination")) is None
    assert fields(Numbers(by="destination"), LoadBalancer(servers=["10.0.0.1"])) == HashFields(destination=True)


def test_explain_says_so() -> None:
    assert "numbers has packets that agree in source together, at one worker" in explain(
        Chain([Numbers(by="source")]).plan
    )
    why = Chain([FlowCounter(), Numbers(by="all")]).plan.sharding
    assert "the key all has no src, and numbers has packets that agree in it together" in why.why
    assert why.change == "a chain without numbers"


def test_packets_cannot_be_spread_otherwise() -> None:
    right = "packets cannot be spread by five_tuple: the key source has no dst, and numbers has packets .*; source, as"
    with pytest.raises(InputError, match=right):
        Chain([Numbers(by="source")]).plan_with(shard="five_tuple")


def test_flows_do_not_change_their_worker() -> None:
    sent = many_flows(10, repeats=1)
    with pytest.raises(InputError, match=r"packets that agree in source share variables \(Core\) of numbers"):
        Chain([Numbers(by="source")]).run(sent.blocks(), cores=2, balance="1ms")


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("by", ["", "source", "all"])
def test_engines_agree_with_several_workers(by: str, workers: int) -> None:
    plan, sent = Chain([FlowCounter(), Ports(), Numbers(by=by)]).plan, many_flows(200, repeats=3)
    result = verify_blocks(plan, sent.blocks(), partial(both_engines, cores=workers))
    assert result.difference is None, str(result.difference)


def test_a_class_may_say_it() -> None:
    class Whole(Numbers):
        together = everything

        def prepare(self) -> None:
            pass

    assert fields(Whole()) is None


@pytest.mark.parametrize("wrong", ["source", 3])
def test_what_is_no_key_is_refused(wrong: object) -> None:
    class Wrong(Numbers):
        def prepare(self) -> None:
            self.together = wrong  # type: ignore[assignment]

    with pytest.raises(InputError, match=r"Wrong\.together is .*, no granularity; for example: source, or everything"):
        Wrong()


def test_any_key_will_do() -> None:
    class Own(Numbers):
        together: Key | None = key_of("src", "vlan")

        def prepare(self) -> None:
            pass

    assert fields(Own(), FlowCounter(key=connection)) is None
    assert fields(Own(), FlowCounter(key=source)) == HashFields(source=True)
