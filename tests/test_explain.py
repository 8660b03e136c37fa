"""The explanation says what the plan says: keys, places in entries, lookups and why, memory."""

import re
from itertools import pairwise

import pytest

from fajita import Chain, FrameBlock
from fajita.engine.compiled import CompiledEngine
from fajita.explain import explain, side_bytes
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.source_counter import SourceCounter
from fajita.tuning import Tuning
from tests.array_nfs import BloomFilter, LargeState, PerHost, Reservoir
from tests.traffic import many_flows


def chain(other: str = "pass") -> Chain:
    nfs = [
        FlowCounter(),
        RateLimiter(rate="1Gbps", burst="64kB", timeout="30s"),
        LoadBalancer(servers=["10.0.0.1"]),
        DestinationCounter(),
    ]
    return Chain(nfs, name="explained", other=other)


def test_tables_with_their_keys_and_reasons():
    plan = chain().plan
    text = explain(plan)
    assert text.startswith("chain explained: 4 network functions, bursts of 16 packets, one core\n")
    assert len(plan.tables) == 2
    for table in plan.tables:
        assert f"table {table.index}: key {table.key.name} ({', '.join(table.key.fields)})" in text
        assert f"  a lookup of its own because: {table.why}" in text
        for side in table.sides:
            assert f"entry {side.entry_bytes} bytes (" in text
    assert "load_balancer" in plan.tables[1].why


def test_each_side_of_a_table_and_who_is_on_one_alone():
    plan = Chain([LoadBalancer(servers=["10.0.0.1"]), FlowCounter(), FlowCounter(name="links", key="vlan")]).plan
    flows, links = explain(plan).split("\n\n")[1:3]
    assert re.findall(r"^  (\S.*): key (\d+) bytes, entry (\d+) bytes", flows, re.M) == [
        ("IPv4", "16", "64"),
        ("IPv6", "40", "64"),
    ]
    assert re.findall(r"^  (\S.*): key (\d+) bytes", links, re.M) == [("all packets", "8")]
    assert re.search(r"^    load_balancer: bytes \d+-\d+, IPv4 only$", flows, re.M)
    assert re.search(r"^    flow_counter: bytes \d+-\d+$", flows, re.M)
    assert "IPv6" not in explain(Chain([LoadBalancer(servers=["10.0.0.1"])]).plan).split("\n\n")[1]


def test_places_in_an_entry_do_not_overlap():
    plan = chain().plan
    for section in explain(plan).split("\ntable ")[1:]:
        section = section.split("\n\n")[0]
        places = sorted(tuple(map(int, place)) for place in re.findall(r"bytes (\d+)-(\d+)", section))
        assert places
        assert all(end < start for (_, end), (start, _) in pairwise(places))
        sizes = re.findall(r"key (\d+) bytes, entry (\d+) bytes", section)
        assert sizes
        assert all(int(key) + places[-1][1] < int(entry) for key, entry in sizes)


def test_each_nf_with_its_timeout_and_segment():
    text = explain(chain().plan)
    assert re.search(r"^    rate_limiter: bytes \d+-\d+, given back after 30 s idle$", text, re.M)
    assert re.search(r"^    time of the last packet: bytes \d+-\d+$", text, re.M)
    segments = re.findall(r"^  segment \d: .*run (.*)$", text, re.M)
    assert ", ".join(segments) == "flow_counter, rate_limiter, load_balancer, destination_counter"


def test_what_happens_to_other_frames():
    assert explain(chain().plan).endswith("are passed on and counted by reason")
    assert explain(chain("drop").plan).endswith("are dropped and counted by reason")


@pytest.mark.parametrize(
    ("nfs", "unseen"),
    [
        ([FlowCounter()], "ARP, malformed headers, later fragments, unknown link types"),
        ([SourceCounter()], "ARP, malformed headers, unknown link types"),
        ([LoadBalancer(servers=["10.0.0.1"])], "ARP, malformed headers, IPv6, later fragments, unknown link types"),
        ([FlowCounter(key="destination_port")], "ARP, malformed headers, later fragments, ICMP, unknown link types"),
        ([FlowCounter(), MacSwap()], "unknown link types"),
    ],
    ids=["flows", "addresses", "IPv4 alone", "ports", "Ethernet"],
)
def test_which_frames_are_other(nfs, unseen):
    last = explain(Chain(nfs).plan).splitlines()[-1]
    assert last == f"frames that none of them is about ({unseen}) are passed on and counted by reason"


def test_a_chain_without_state():
    text = explain(Chain([MacSwap()]).plan)
    assert "no tables: no network function keeps state per key" in text
    assert "segment 0: parse all, run mac_swap" in text


@pytest.mark.parametrize("flows", [1, 700, 5000])
def test_memory_is_what_a_table_takes(flows):
    """Of a table of its first size or larger, once it has moved."""
    engine = CompiledEngine(Chain([FlowCounter()]).plan)
    for block in many_flows(flows, repeats=4).blocks():
        engine.process(block)
    engine.process(FrameBlock.from_frames([]))
    ((capacity, size),) = engine.table_memory()
    ipv4, ipv6 = engine.plan.tables[0].sides
    least = engine.tables[ipv6.index].capacity
    expected = side_bytes(ipv4, capacity - least) + side_bytes(ipv6, least)
    huge_page = 2 << 20
    assert expected <= size <= expected + 4 * huge_page


def test_arrays_and_which_of_their_elements_are_prefetched():
    nfs = [BloomFilter(), PerHost(), Reservoir(), LargeState()]
    lines = [line.strip() for line in explain(Chain(nfs).plan).splitlines()]
    for name, size, access, fate in (
        ("bloom_filter: seen of each worker, Bits[4194304]", "524,288 bytes", "self.core.seen[(first", "prefetched"),
        (
            "per_host: packets of each worker, Array[u64, 65536]",
            "524,288 bytes",
            "self.core.packets[slot]",
            "prefetched",
        ),
        ("per_host: drift of each worker", "131,072 bytes", "self.core.drift[slot]", "not prefetched: below 262,144"),
        ("reservoir: sample of each state, Array[u64, 6]", "48 bytes", "state.sample[", "prefetched with the entry"),
        ("large_state: seen of each state, Bits[4096]", "512 bytes", "state.seen[pkt.src_port & 4095]", "prefetched"),
    ):
        (at,) = [number for number, line in enumerate(lines) if line.startswith(name)]
        assert lines[at].endswith(size)
        assert lines[at + 1].startswith(access)
        assert lines[at + 1].split(": ", 1)[1].startswith(fate)
    assert any(line.endswith("large_state and prefetch elements of arrays") for line in lines)
    assert "entry 5440 bytes (85 cache lines, 1 prefetched at once)" in " ".join(lines)


def test_without_prefetching():
    text = explain(Chain([LargeState()]).plan_with(Tuning(prefetch=False)))
    assert "state.ports[pkt.dst_port & 4095]: not prefetched (--no-prefetch)" in text
    assert "and prefetch elements" not in text
