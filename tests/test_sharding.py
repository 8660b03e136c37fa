"""Which fields decide a packet's worker, and whose the entries of each table are: what is chosen, and why."""

from typing import Any

import pytest

from fajita import ANY_KEY, NF, PASS, Chain, InputError, Packet, Sum, five_tuple, u64
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.plan import Plan
from fajita.rss import HashFields
from fajita.sharding import CANDIDATES, OWN, REPLICATED, SHARED
from fajita.tuning import Tuning
from tests.traffic import many_flows

FIVE_TUPLE = HashFields(source=True, destination=True, source_port=True, destination_port=True)
CONNECTION = HashFields(True, True, True, True, symmetric=True)
PAIR = HashFields(source=True, destination=True)
SYMMETRIC_PAIR = HashFields(source=True, destination=True, symmetric=True)
SOURCE = HashFields(source=True)
DESTINATION = HashFields(destination=True)


class Counter(NF):
    """Counts packets by any key, and has no `expire`."""

    key = five_tuple
    keys = ANY_KEY

    class State:
        packets: Sum[u64]

    def packet(self, pkt: Packet, state: State) -> int:
        state.packets += 1
        return PASS


class Rewriter(NF):
    """Rewrites IPv6 sources."""

    def packet(self, pkt: Packet) -> int:
        pkt.src_low = 1
        return PASS


def balancer(**options: Any) -> NF:
    return LoadBalancer(servers=["10.0.0.1", "10.0.0.2"], **options)


def limiter(**options: Any) -> NF:
    return RateLimiter(rate="1Gbps", burst="64kB", **options)


def share() -> list[NF]:
    return [balancer(), SourceCounter(), DestinationCounter()]


def sharing(plan: Plan) -> dict[str, str]:
    return {table.key.name: table.sharing for table in plan.tables}


def test_candidates_are_what_nics_can_hash_finest_first() -> None:
    counts = [len(fields.fields) for fields in CANDIDATES]
    assert counts == sorted(counts, reverse=True)
    assert len(set(CANDIDATES)) == len(CANDIDATES) == 14
    assert all(fields.source or fields.destination for fields in CANDIDATES)
    assert CANDIDATES[:2] == (FIVE_TUPLE, CONNECTION)


@pytest.mark.parametrize(
    ("nfs", "fields"),
    [
        ([FlowCounter(), balancer(), limiter()], FIVE_TUPLE),
        ([FlowCounter(key="connection")], CONNECTION),
        ([FlowCounter(key="connection"), limiter()], CONNECTION),
        ([FlowCounter(), SourceCounter()], SOURCE),
        ([limiter(key="address_pair"), FlowCounter()], PAIR),
        ([limiter(key="src+dst_port"), FlowCounter()], HashFields(source=True, destination_port=True)),
        ([FlowCounter(), limiter(key="destination")], DESTINATION),
        ([limiter(key="address_pair"), limiter(name="other", key="connection")], SYMMETRIC_PAIR),
        ([MacSwap()], FIVE_TUPLE),
        ([limiter(key="vlan+src")], SOURCE),
    ],
    ids=lambda value: "+".join(nf.name for nf in value) if isinstance(value, list) else "",
)
def test_finest_fields_with_which_all_entries_are_workers_own(nfs: list[NF], fields: HashFields | None) -> None:
    plan = Chain(nfs).plan
    assert plan.sharding.fields == fields
    assert set(sharing(plan).values()) <= {OWN}


def test_a_destination_that_was_rewritten_is_replicated() -> None:
    plan = Chain(share()).plan
    assert plan.sharding.fields == SOURCE
    assert sharing(plan) == {"five_tuple": OWN, "source": OWN, "destination": REPLICATED}
    assert "destination" in plan.sharding.why
    assert "destination_counter" in plan.sharding.change


@pytest.mark.parametrize("auxiliary", [True, False])
def test_links_change_nothing_of_that(auxiliary: bool) -> None:
    plan = Chain(share()).plan_with(Tuning(auxiliary=auxiliary))
    assert plan.sharding.fields == SOURCE
    assert sharing(plan) == {"five_tuple": OWN, "source": OWN, "destination": REPLICATED}


def test_a_key_that_is_read_before_the_rewrite_is_whole() -> None:
    # Both tables are looked up before the load balancer of the same segment runs.
    plan = Chain([DestinationCounter(), balancer()]).plan
    assert plan.sharding.fields == DESTINATION


def test_a_rewrite_of_half_an_address_counts() -> None:
    plan = Chain([Counter(), Rewriter(), SourceCounter()]).plan_with(shard="source")
    assert sharing(plan) == {"five_tuple": OWN, "source": REPLICATED}


def test_states_that_end_idle_are_shared() -> None:
    plan = Chain(share(), timeout="5s").plan
    assert plan.sharding.fields == SOURCE
    assert sharing(plan) == {"five_tuple": OWN, "source": OWN, "destination": SHARED}


def test_states_that_expire_are_shared() -> None:
    plan = Chain([balancer(), SourceCounter(), FlowCounter(key="destination")]).plan
    assert sharing(plan) == {"five_tuple": OWN, "source": OWN, "destination": SHARED}


def test_two_tables_in_whose_entries_workers_must_not_meet() -> None:
    plan = Chain([limiter(key="source"), limiter(name="other", key="destination")]).plan
    assert plan.sharding.fields is None
    assert set(sharing(plan).values()) == {OWN}
    assert "the order of packets matters to other: packet reads state.last_ns (rate_limiter.py:" in plan.sharding.why
    assert plan.sharding.change.startswith("a key of other that has src; or states of it that are declared")


@pytest.mark.parametrize("key", ["all", "vlan", "source_prefix(24)", "destination_port", "ip_id"])
def test_keys_without_a_whole_address(key: str) -> None:
    plan = Chain([Counter(key=key)]).plan
    assert (plan.sharding.fields, sharing(plan)) == (FIVE_TUPLE, {key: REPLICATED})
    plan = Chain([limiter(key=key)]).plan
    assert plan.sharding.fields is None
    assert "rate_limiter" in plan.sharding.why


def test_a_prefix_of_all_bits_is_an_address() -> None:
    assert Chain([limiter(key="source_prefix(32, 128)")]).plan.sharding.fields == SOURCE
    assert Chain([limiter(key="source_prefix(32, 127)")]).plan.sharding.fields is None


def test_workers_do_not_meet_in_connections_whose_key_is_that_of_the_first_packet() -> None:
    nfs = [Counter(key="connection"), limiter(key="source")]
    assert Chain(nfs).plan.sharding.fields is None
    with pytest.raises(InputError, match="the order of packets matters to the key connection, which is that of the"):
        Chain(nfs).plan_with(shard="source")


@pytest.mark.parametrize(("settings", "why"), [({"capacity": 5}, "(capacity)"), ({"full": "evict"}, "(full: evict)")])
def test_a_table_with_room_for_so_many_is_not_divided(settings: dict[str, Any], why: str) -> None:
    plan = Chain(share(), **settings).plan
    assert plan.sharding.fields is None
    assert why in plan.sharding.why
    assert set(sharing(plan).values()) == {OWN}
    assert Chain([FlowCounter()], **settings).plan.sharding.fields == FIVE_TUPLE


def test_fields_that_were_asked_for() -> None:
    plan = Chain([FlowCounter()]).plan_with(shard="source")
    assert (plan.sharding.fields, sharing(plan)) == (SOURCE, {"five_tuple": OWN})
    assert plan.sharding.why == "this was asked for"
    plan = Chain(share()).plan_with(shard="five_tuple")
    assert (plan.sharding.fields, sharing(plan)) == (
        FIVE_TUPLE,
        {"five_tuple": OWN, "source": REPLICATED, "destination": REPLICATED},
    )


def test_sharing_that_was_asked_for() -> None:
    plan = Chain(share()).plan_with(sharing="shared")
    assert sharing(plan) == {"five_tuple": OWN, "source": OWN, "destination": SHARED}
    plan = Chain(share()).plan_with(shard="five_tuple", sharing="shared")
    assert sharing(plan) == {"five_tuple": OWN, "source": SHARED, "destination": SHARED}
    assert sharing(Chain([FlowCounter()]).plan_with(sharing="shared")) == {"five_tuple": OWN}


@pytest.mark.parametrize(
    ("nfs", "settings", "options", "what", "right"),
    [
        (
            [FlowCounter(), limiter(key="source")],
            {},
            {"shard": "five_tuple"},
            "packets cannot be spread by five_tuple: the key source has no dst, and the order of packets matters to"
            " rate_limiter: packet reads state.last_ns",
            "source, as without this option",
        ),
        (
            [FlowCounter(key="connection")],
            {},
            {"shard": "five_tuple"},
            "the key connection is the same in both directions",
            "connection",
        ),
        ([limiter(key="vlan")], {}, {"shard": "source"}, "the key vlan has no src", "one worker"),
        (
            [limiter(key="vlan")],
            {},
            {"sharing": "shared"},
            "the order of packets matters to rate_limiter",
            "one worker",
        ),
        (share(), {"capacity": 9}, {"shard": "source"}, "its flows are limited (capacity)", "one worker"),
        (share(), {"timeout": "1s"}, {"sharing": "replicated"}, "the table destination cannot be replicated", "shared"),
        (share(), {}, {"sharing": "both"}, "tables cannot be 'both'", "replicated or shared"),
        (share(), {}, {"shard": "vlan"}, "packets cannot be spread by vlan", "five_tuple"),
    ],
)
def test_what_cannot_be_asked_for(
    nfs: list[NF], settings: dict[str, Any], options: dict[str, str], what: str, right: str
) -> None:
    with pytest.raises(InputError) as caught:
        Chain(nfs, **settings).plan_with(**options)  # type: ignore[arg-type]
    assert what in caught.value.what
    assert right in caught.value.right


def test_options_of_a_run() -> None:
    chain = Chain([FlowCounter()])
    assert chain.run(many_flows(5, 2).blocks()).plan.sharding.fields == FIVE_TUPLE
    assert chain.run(many_flows(5, 2).blocks(), shard="source").plan.sharding.fields == SOURCE
