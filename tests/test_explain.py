"""The explanation says what the plan says: keys, places in entries, lookups and why, memory."""

import re
from itertools import pairwise

import pytest

from fajita import NF, PASS, Chain, FrameBlock, Packet, five_tuple, u64
from fajita.engine.compiled import CompiledEngine
from fajita.explain import explain
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.mac_swap import MacSwap
from fajita.nfs.rate_limiter import RateLimiter
from fajita.nfs.router import Router
from fajita.nfs.source_counter import SourceCounter
from fajita.table_size import side_bytes
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
    assert text.startswith("chain explained: 4 network functions, bursts of 16 packets\n")
    assert len(plan.tables) == 2
    for table in plan.tables:
        assert f"table {table.index}: key {table.key.name} ({', '.join(table.key.fields)})" in text
        assert f"  a {'table' if table.link else 'lookup'} of its own because: {table.why}" in text
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


def test_links_with_their_places_and_what_they_save():
    nfs = [LoadBalancer(servers=["10.0.0.1"]), SourceCounter(), FlowCounter(name="pairs", key="address_pair")]
    flows, sources, pairs = explain(Chain(nfs).plan).split("\n\n")[1:4]
    assert "\n    place of the entry in table 1 (source): bytes 4-7\n" in flows
    assert "\n    place of the entry in table 2 (address_pair): bytes 8-11\n" in flows
    assert "found by" not in flows
    for linked in (sources, pairs):
        assert "\n  found by a link from table 0 (five_tuple), IPv4 only\n  a table of its own because: " in linked
        assert "place of the entry" not in linked
    assert "(1 cache line, and one of tags, a packet)" in flows
    assert re.findall(r"^  (\S+): .* bytes \((.*) a packet\)", sources, re.M) == [
        ("IPv4", "1 cache line"),
        ("IPv6", "1 cache line, and one of tags,"),
    ]


def test_who_is_looked_up_and_whose_entries_are_asked_for_by_links():
    (line,) = lines_of(Chain([LoadBalancer(servers=["10.0.0.1"]), SourceCounter()]), "segment")
    assert "hash five_tuple, source (IPv6 only), prefetch tags; " in line
    assert line.endswith("; prefetch entries of source by links; run load_balancer, source_counter")
    (line,) = lines_of(Chain([FlowCounter(), SourceCounter()]), "segment")
    assert "hash five_tuple, prefetch tags; " in line
    text = explain(Chain([FlowCounter(), SourceCounter()]).plan_with(Tuning(auxiliary=False)))
    assert "by a link" not in text
    assert "by links" not in text


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


def test_who_emits_records_and_what_nothing_stores():
    text = explain(Chain([FlowCounter(timeout="1s", records=True), FlowCounter(name="silent")]).plan)
    assert re.search(r"^    flow_counter: bytes 8-39, given back after 1 s idle, emits records$", text, re.M)
    assert re.search(r"^    silent: bytes 40-55$", text, re.M)


def test_what_happens_to_other_frames():
    assert explain(chain().plan).endswith("are passed on and counted by reason")
    assert explain(chain("drop").plan).endswith("are dropped and counted by reason")


@pytest.mark.parametrize(
    ("nfs", "unseen"),
    [
        ([FlowCounter()], "ARP, malformed headers, later fragments without their first, unknown link types"),
        ([SourceCounter()], "ARP, malformed headers, unknown link types"),
        (
            [LoadBalancer(servers=["10.0.0.1"])],
            "ARP, malformed headers, IPv6, later fragments without their first, unknown link types",
        ),
        (
            [FlowCounter(key="destination_port")],
            "ARP, malformed headers, ICMP, later fragments without their first, unknown link types",
        ),
        ([FlowCounter(), MacSwap()], "unknown link types"),
    ],
    ids=["flows", "addresses", "IPv4 alone", "ports", "Ethernet"],
)
def test_which_frames_are_other(nfs, unseen):
    last = explain(Chain(nfs).plan).splitlines()[-1]
    assert last == f"frames that none of them is about ({unseen}) are passed on and counted by reason"


@pytest.mark.parametrize(
    ("setting", "early", "unseen"),
    [
        ("pass", "passes as a packet of no flow", True),
        ("flow", "is of a flow with ports 0", False),
        ("drop", "is dropped", False),
    ],
)
def test_what_becomes_of_later_fragments(setting, early, unseen):
    *_, fragments, other = explain(Chain([FlowCounter()], fragments=setting).plan).splitlines()
    assert fragments.startswith("later fragments are of the flow of their first, if that is one of the latest 4,096 ")
    assert fragments.endswith(f"came less than 30 s before; without it one {early}")
    assert ("fragments" in other) == unseen
    (*_, fragments, _) = explain(Chain([SourceCounter()], fragments="pass").plan).splitlines()
    assert fragments == "later fragments are packets without ports: no network function here asks for their flow"


def test_a_chain_without_state():
    text = explain(Chain([MacSwap()]).plan)
    assert "no tables: no network function keeps state per key" in text
    assert "segment 0: parse all, run mac_swap" in text


def test_whose_keys_and_fields_in_tunnels():
    line = "keys and fields are those of the packet inside tunnels: GRE, IP in IP, VXLAN, GENEVE, GTP-U\n"
    assert line in explain(Chain([FlowCounter()], inner=True).plan)
    assert line not in explain(Chain([FlowCounter()]).plan)


@pytest.mark.parametrize("flows", [1, 700, 5000])
def test_memory_is_what_a_table_takes(flows):
    """Of a table of its first size or larger, once it has moved."""
    engine = CompiledEngine(Chain([FlowCounter()]).plan)
    for block in many_flows(flows, repeats=4).blocks():
        engine.process(block)
    engine.process(FrameBlock.from_frames([]))
    ((capacity, size),) = engine.table_memory()
    ipv4, ipv6 = engine.plan.tables[0].sides
    least = engine.tables[0].sides[ipv6.index].capacity
    table = engine.plan.tables[0]
    expected = side_bytes(table, ipv4, capacity - least) + side_bytes(table, ipv6, least)
    huge_page = 2 << 20
    assert expected <= size <= expected + 5 * huge_page


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


def lines_of(chain: Chain, beginning: str) -> list[str]:
    return [line.strip() for line in explain(chain.plan).splitlines() if line.strip().startswith(beginning)]


class Chooses(NF):
    """Says of each flow when it ends."""

    key = five_tuple

    class State:
        expire_in: u64

    def packet(self, pkt: Packet, state: State) -> int:
        state.expire_in = pkt.length
        return PASS


def test_when_flows_end_that_have_no_more_packets():
    nfs = [FlowCounter(), SourceCounter(timeout="3s"), Chooses(key="five_tuple")]
    idle = "flows that are idle: "
    search = (
        "ended at their next packet, or by a search that takes {} s of packet time through all slots, 64 in 16 packets"
    )
    assert lines_of(Chain(nfs[:1]), idle) == [f"{idle}kept"]
    found = lines_of(Chain(nfs), idle)
    assert [line.removesuffix(" at most") for line in found] == [idle + search.format(0.5), idle + search.format(1.5)]
    assert lines_of(Chain(nfs), "chooses") == ["chooses: bytes 24-31, given back when expire_in says"]
    assert lines_of(Chain(nfs, timeout="1min"), "chooses") == [
        "chooses: bytes 24-31, given back when expire_in says, else after 60 s idle"
    ]
    # The chain's timeout is for those without one of their own.
    assert lines_of(Chain(nfs, timeout="1min"), "flow_counter")[0].endswith(", given back after 60 s idle")
    assert lines_of(Chain(nfs, timeout="1min"), "source_counter")[0].endswith(", given back after 3 s idle")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "as many as fit the memory that tables may take; then packets of new ones are dropped"),
        ({"capacity": 10_000}, "10,000 of all families; then packets of new ones are dropped"),
        ({"full": "bypass"}, "as many as fit the memory that tables may take; then packets of new ones pass its"),
        ({"capacity": 1, "full": "evict"}, "1 of all families; then a new one takes the place of one that had no"),
    ],
)
def test_how_many_flows_there_may_be_and_what_happens_then(settings, told):
    (line,) = lines_of(Chain([FlowCounter()], **settings), "flows at most: ")
    assert line.removeprefix("flows at most: ").startswith(told)


def test_slots_have_their_place_and_their_memory():
    text = explain(Chain([FlowCounter(timeout="1s")]).plan)
    assert re.search(r"^    number of its slot: bytes \d+-\d+$", text, re.M)
    assert text.count(", a tag byte and a slot of 16 bytes") == 2
    text = explain(Chain([FlowCounter()], capacity=10_000).plan)
    assert "slot" not in text
    assert re.findall(r"memory: (.*)", text) == ["0.517 MiB at 10,000 flows", "1.02 MiB at 10,000 flows"]


def workers_of(*nfs: NF, **options: str) -> str:
    text = explain(Chain(nfs).plan_with(**options))
    (section,) = (part for part in text.split("\n\n") if part.startswith("several workers"))
    return section


def test_which_worker_gets_a_packet_and_whose_entries_are():
    balancer = LoadBalancer(servers=["10.0.0.1"])
    section = workers_of(balancer, SourceCounter(), DestinationCounter())
    assert "\n  a packet goes to one by a hash of src, as it came in\n    because: no field is in all keys; " in section
    assert "\n    what would change that: without destination_counter workers would meet nowhere\n" in section
    assert "\n  table 0 (five_tuple): each worker has its own" in section
    assert re.search(r"^  table 2 \(destination\): replicated, .*, as the key destination has no src$", section, re.M)
    section = workers_of(balancer, DestinationCounter(timeout="5s"), shard="destination")
    assert (
        "because: this was asked for\n    what would change that: if nothing is asked for, it is five_tuple" in section
    )
    assert (
        ": shared by all, as load_balancer rewrites dst before the key destination is read, and its states" in section
    )
    section = workers_of(balancer, SourceCounter(), DestinationCounter(), sharing="shared")
    assert re.search(r"^  table 2 \(destination\): shared by all, .*, and this was asked for$", section, re.M)
    section = workers_of(FlowCounter(key="connection"))
    assert "by a hash of src, dst, src_port, dst_port, the same in both directions, as it came in" in section


def test_why_states_are_shared_and_why_one_worker_does_all():
    section = workers_of(SourceCounter(), DestinationCounter(timeout="5s"))
    assert re.search(
        r"shared by all, as the key destination has no src, and its states end when a key is idle", section
    )
    limiters = [RateLimiter(rate="1Gbps", burst="64kB", name=key, key=key) for key in ("source", "destination")]
    section = workers_of(*limiters)
    assert (
        "\n  all packets go to one, the others have nothing to do\n    because: however packets are spread" in section
    )
    assert re.search(
        r"the order of packets matters to destination: packet reads state.\w+ \(rate_limiter.py:\d+\)", section
    )
    assert section.count("one worker has it") == 2


def test_states_of_a_table_that_workers_share_end_at_ticks() -> None:
    text = explain(Chain([SourceCounter(), FlowCounter(), DestinationCounter(timeout="30s")]).plan)
    assert "flows that are idle: ended when all workers stand still for it, every 15 s of packet time" in text
    assert "by a search" not in text


def test_large_lists_are_arrays_too():
    lines = [line.strip() for line in explain(Chain([Router(routes=["default via 192.0.2.1"])]).plan).splitlines()]
    for name in ("direct_ipv4", "direct_ipv6"):
        at = lines.index(f"router: {name}, a list of 65,536 numbers of 4 bytes, 262,144 bytes")
        assert lines[at + 1].startswith(f"self.{name}[")
        assert lines[at + 1].endswith(": prefetched")
    assert not any("self.macs" in line or "ranges" in line for line in lines)
