"""The compiled engine's memory of first fragments does what the reference's does, however small it is."""

import dataclasses
import struct
from random import Random
from typing import Any

import numpy as np
import pytest

from fajita import NF, PASS, Chain, Packet, connection, five_tuple, u64
from fajita.engine.compiled import CompiledEngine
from fajita.engine.counters import FragmentCounters
from fajita.io.frames import ETHERNET
from fajita.kernel.fragments import DONE, NEWEST, fragment_functions, place_fragments
from fajita.kernel.layout import BURST
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.rate_limiter import RateLimiter
from fajita.packet import IPV4_TYPE, IPV6_TYPE, MAXIMUM_DATAGRAMS, OTHER_REASONS, UDP_PROTOCOL
from fajita.plan import Plan
from fajita.settings import CHOICES
from fajita.verify import verify_blocks
from tests.traffic import ADDRESSES, IPV6_ADDRESSES, Traffic, ipv4_packet, ipv6_packet, many_flows, with_link


class MovesPorts(NF):
    """Gives every packet that has ports other ones, as its own bytes say: what came before does not tell which."""

    key = connection
    keys = (five_tuple,)

    class State:
        packets: u64

    def packet(self, pkt: Packet, state: Any) -> int:
        state.packets += 1
        if pkt.src_port & 7 == 1:
            return pkt.drop("ports")
        pkt.src_port = pkt.src_port * 3 + pkt.length
        pkt.dst_port = pkt.dst_port ^ pkt.ip_id
        return PASS


def moving(setting: str = "pass") -> Chain:
    """Three lookups, each after ports have been rewritten or packets dropped."""
    nfs = [
        FlowCounter(),
        MovesPorts(name="first_move"),
        FlowCounter(name="moved", timeout="1ms"),
        MovesPorts(name="second_move", key="five_tuple"),
        DestinationCounter(),
        FlowCounter(name="last", key="connection"),
        RateLimiter(rate="100kpps", burst=2),
        FlowCounter(name="services", key="destination_port"),
    ]
    return Chain(nfs, fragments=setting, other="drop")


def remembering(plan: Plan, datagrams: int) -> Plan:
    """The same with room for fewer datagrams."""
    return dataclasses.replace(plan, datagrams=datagrams)


def random_fragment(random: Random, identifications: int) -> bytes:
    """First or later, of one of a few datagrams; now and then a whole packet."""
    identification = random.randrange(identifications)
    body = struct.pack(">HHHH", random.randrange(16), random.randrange(3), 32, 0) + bytes(random.randrange(24, 40))
    offset, more = random.choice(((0, 1), (0, 1), (1, 1), (3, 0), (0, 0)))
    if random.random() < 0.3:
        extensions = random.choice(((44,), (0, 44), (44, 60), (44, 44)))
        packet = ipv6_packet(
            random.choice(IPV6_ADDRESSES[:2]),
            IPV6_ADDRESSES[2],
            random.choice((UDP_PROTOCOL, 6, 58)),
            body,
            extensions=extensions,
            fragment=offset << 3 | more,
            identification=identification,
        )
        return with_link(ETHERNET, IPV6_TYPE, packet)
    packet = ipv4_packet(
        random.choice(ADDRESSES[:2]),
        ADDRESSES[2],
        random.choice((UDP_PROTOCOL, UDP_PROTOCOL, 1)),
        body,
        fragment=more << 13 | offset,
        identification=identification,
    )
    return with_link(ETHERNET, IPV4_TYPE, packet)


def random_traffic(seed: int, frames: list[bytes]) -> Traffic:
    random = Random(seed)
    steps = [random.choice((0, 1000, 1_000_000, 4_000_000_000, -1_000_000)) for _ in frames]
    times = (10**18 + np.cumsum(steps)).tolist()
    links = [ETHERNET] * len(frames)
    return Traffic(frames, times, [len(frame) for frame in frames], links, [random.randrange(len(frames))])


#: What becomes of later fragments without a first depends on how many there are, not on how many datagrams are counted.
CAPACITIES = [("pass", datagrams) for datagrams in (2, 16, MAXIMUM_DATAGRAMS)]
CAPACITIES += [(setting, datagrams) for setting in CHOICES["fragments"] for datagrams in (1, 5)]


@pytest.mark.parametrize(("setting", "datagrams"), CAPACITIES)
def test_engines_agree_however_few_datagrams_are_remembered(setting: str, datagrams: int) -> None:
    plan = remembering(moving(setting).plan, datagrams)
    assert len(plan.segments) >= 3
    random = Random(datagrams)
    for identifications in (1, 3, 40):
        frames = [random_fragment(random, identifications) for _ in range(400)]
        result = verify_blocks(plan, random_traffic(identifications, frames).blocks())
        assert result.difference is None, f"{identifications}: {result.difference}"


@pytest.mark.parametrize("setting", CHOICES["fragments"])
def test_a_burst_that_is_looked_up_again_because_a_table_grows_counts_once(setting: str) -> None:
    random = Random(7)
    flows = many_flows(1000, repeats=1).frames
    frames = [frame for flow in flows for frame in (flow, random_fragment(random, 3))]
    result = verify_blocks(remembering(moving(setting).plan, 5), random_traffic(1, frames).blocks())
    assert result.difference is None, str(result.difference)


def test_a_slot_is_not_taken_while_a_packet_of_the_burst_before_may_need_it() -> None:
    """A later fragment at the end of a burst, and the next burst full of first ones, in a memory for one."""
    plan = remembering(moving().plan, 1)

    def part(identification: int, *, offset: int, port: int) -> bytes:
        body = struct.pack(">HHHH", port, 53, 32, 0) + bytes(24)
        fragment = offset or 0x2000
        packet = ipv4_packet(1, 2, UDP_PROTOCOL, body, fragment=fragment, identification=identification)
        return with_link(ETHERNET, IPV4_TYPE, packet)

    for position in range(1, 3 * BURST):
        frames = [part(100 + index, offset=0, port=8 * index) for index in range(6 * BURST)]
        frames[position] = part(100 + position - 1, offset=1, port=0)
        result = verify_blocks(plan, random_traffic(0, frames).blocks())
        assert result.difference is None, f"{position}: {result.difference}"


def test_the_memory_has_room_for_what_counts_and_three_bursts() -> None:
    layout = place_fragments(MAXIMUM_DATAGRAMS, 3)
    assert layout.slots == MAXIMUM_DATAGRAMS + 3 * BURST
    assert layout.heads == MAXIMUM_DATAGRAMS
    assert place_fragments(5, 1).heads == 8
    assert layout.total == layout.first_slot + layout.slots * layout.slot_bytes
    assert layout.total % 8 == 0
    assert fragment_functions(5, 1, "pass") is fragment_functions(5, 1, "pass")


def test_what_a_dropped_fragment_counts_as_is_no_other_reason() -> None:
    assert len(OTHER_REASONS) < 0xFF


def test_each_worker_has_secrets_of_its_own_and_begins_with_nothing() -> None:
    plan = Chain([FlowCounter()]).plan
    first, second = (CompiledEngine(plan).fragments for _ in range(2))
    assert first.words[NEWEST // 8] == MAXIMUM_DATAGRAMS
    assert (first.followed, first.early, first.words[DONE // 8]) == (0, 0, 0)
    assert not np.array_equal(first.words[:6], second.words[:6])


def test_a_plan_that_needs_none_has_next_to_no_memory_for_it() -> None:
    engine = CompiledEngine(Chain([DestinationCounter()]).plan)
    assert engine.fragments.words.nbytes < 100
    assert engine.counters().fragments == FragmentCounters()
