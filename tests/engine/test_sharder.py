"""Which bucket a frame gets: the compiled sharder does what the reference's does; a flow's packets stay together."""

import dataclasses
from random import Random
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, Ether
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q
from scapy.packet import Raw

from fajita import NF, Chain, FrameBlock, connection, five_tuple
from fajita.engine.sharder import Sharder
from fajita.io.frames import RAW_IP
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.source_counter import SourceCounter
from fajita.plan import Plan
from fajita.reference.engine import ReferenceEngine
from fajita.reference.flow_key import KeyValues, key_values, turned
from fajita.reference.packet_view import PacketView
from fajita.reference.sharder import Sharder as ReferenceSharder
from fajita.rss import INDIRECTION_ENTRIES, SHARD_KEYS, HashFields
from fajita.settings import CHOICES
from tests.error_nfs import CountsErrors
from tests.kernel.test_fragments import random_fragment, random_traffic
from tests.traffic import Traffic, traffic

ETHERNET = Ether(src="02:00:00:00:00:0a", dst="02:00:00:00:00:0b")

#: All that there are, and some that no key is named after.
FIELDS = [
    *SHARD_KEYS.values(),
    HashFields(source=True, source_port=True),
    HashFields(destination=True, source_port=True, destination_port=True),
    HashFields(destination_port=True),
    HashFields(source=True, destination=True, symmetric=True),
]


def plan_of(*, fragments: str = "pass", inner: bool = False, ports: bool = True, errors: bool = False) -> Plan:
    nfs: list[NF] = [FlowCounter()] if ports else [SourceCounter()]
    if errors:
        nfs = [CountsErrors(key="five_tuple" if ports else "source")]
    return Chain(nfs, fragments=fragments, inner=inner).plan


def buckets_of(plan: Plan, fields: HashFields, packets: Traffic) -> list[int]:
    sharder = Sharder(plan, fields)
    return [bucket for block in packets.blocks() for bucket in sharder.buckets(block).tolist()]


def expected_buckets(plan: Plan, fields: HashFields, packets: Traffic) -> list[int]:
    sharder = ReferenceSharder(plan, fields)
    return [
        sharder.bucket(block.frame(index), int(block.link[index]), int(block.time_ns[index]))
        for block in packets.blocks()
        for index in range(len(block))
    ]


#: A chain that remembers first fragments, by what becomes of later ones; and one that does not.
SETTINGS = (
    {},
    {"inner": True, "fragments": "flow"},
    {"fragments": "drop"},
    {"ports": False},
    {"errors": True},
    {"errors": True, "inner": True, "fragments": "flow"},
    {"errors": True, "ports": False},
)


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: fields.name)
@settings(deadline=None, max_examples=25)
@given(packets=traffic(), of_chain=st.sampled_from(SETTINGS))
def test_both_sharders_agree(fields, packets, of_chain):
    plan = plan_of(**of_chain)
    assert buckets_of(plan, fields, packets) == expected_buckets(plan, fields, packets)


class Keys(ReferenceEngine):
    """Notes the key that the only table of a chain has for each packet."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.keys: list[KeyValues | None] = []

    def process(self, block: FrameBlock) -> None:
        before = len(self.keys)
        for index in range(len(block)):
            one = FrameBlock(
                *(getattr(block, name)[index : index + 1] for name in ("address", "captured", "wire", "time_ns")),
                *(getattr(block, name)[index : index + 1] for name in ("link", "verdict")),
                memory=block.memory,
            )
            super().process(one)
            if len(self.keys) == before + index:
                self.keys.append(None)  # dropped before any NF

    def _run(self, pkt: PacketView, first):
        result = super()._run(pkt, first)
        (table,) = self.plan.tables
        self.keys.append(key_values(table.key, pkt))
        return result


@pytest.mark.parametrize("name", SHARD_KEYS)
@settings(deadline=None, max_examples=25)
@given(packets=traffic(), of_chain=st.sampled_from(SETTINGS[:3]), may_be_symmetric=st.booleans())
def test_packets_of_a_flow_have_one_bucket(name, packets, of_chain, may_be_symmetric):
    key = connection if may_be_symmetric and SHARD_KEYS[name].symmetric else five_tuple
    plan = Chain([FlowCounter(key=key)], **of_chain).plan
    noting = Keys(plan)
    for block in packets.blocks():
        noting.process(block)
    of_flow: dict[KeyValues, int] = {}
    for flow, bucket in zip(noting.keys, buckets_of(plan, SHARD_KEYS[name], packets), strict=True):
        if flow is not None:
            flow = min(flow, turned(flow)) if key.symmetric else flow
            assert of_flow.setdefault(flow, bucket) == bucket


@pytest.mark.parametrize("setting", CHOICES["fragments"])
@pytest.mark.parametrize("datagrams", [1, 5])
def test_sharders_agree_however_few_datagrams_are_remembered(setting, datagrams):
    plan = dataclasses.replace(plan_of(fragments=setting), datagrams=datagrams)
    random = Random(datagrams)
    for identifications in (1, 3, 40):
        packets = random_traffic(identifications, [random_fragment(random, identifications) for _ in range(400)])
        fields = SHARD_KEYS["five_tuple"]
        assert buckets_of(plan, fields, packets) == expected_buckets(plan, fields, packets)


def bucket_of(packet, name: str = "five_tuple", link: int | None = None) -> int:
    block = FrameBlock.from_frames([bytes(packet)])
    if link is not None:
        block.link[:] = link
    return int(Sharder(plan_of(), SHARD_KEYS[name]).buckets(block)[0])


@pytest.mark.parametrize(
    ("ip", "transport", "hashed"),
    [
        (IP(src="66.9.149.187", dst="161.142.100.80"), TCP(sport=2794, dport=1766), 0x51CCC178),
        (IP(src="66.9.149.187", dst="161.142.100.80", proto=47), b"", 0x323E8FC2),
        (IPv6(src="3ffe:2501:200:1fff::7", dst="3ffe:2501:200:3::1"), TCP(sport=2794, dport=1766), 0x40207D3D),
        (IPv6(src="3ffe:2501:200:1fff::7", dst="3ffe:2501:200:3::1", nh=59), b"", 0x2CC18CD5),
    ],
)
def test_buckets_are_those_of_the_verification_suite(ip, transport, hashed):
    packet = ip / transport
    assert bucket_of(ETHERNET / packet) == hashed % INDIRECTION_ENTRIES
    assert bucket_of(ETHERNET / Dot1Q(vlan=7) / Dot1Q(vlan=9) / packet) == hashed % INDIRECTION_ENTRIES
    assert bucket_of(packet, link=RAW_IP) == hashed % INDIRECTION_ENTRIES


def test_both_directions_of_a_connection_have_one_bucket():
    there = ETHERNET / IP(src="10.0.0.1", dst="192.0.2.7") / UDP(sport=53, dport=4000)
    back = ETHERNET / IP(src="192.0.2.7", dst="10.0.0.1") / UDP(sport=4000, dport=53)
    assert bucket_of(there, "connection") == bucket_of(back, "connection")
    assert bucket_of(there, "source") == bucket_of(back, "destination")


def test_an_error_has_the_bucket_of_what_it_quotes():
    request = IP(src="10.0.0.1", dst="192.0.2.7") / UDP(sport=4000, dport=53)
    error = IP(src="198.51.100.1", dst="10.0.0.1") / ICMP(type=3) / Raw(bytes(request)[:28])
    frames = [bytes(ETHERNET / packet) for packet in (request, error)]
    for name in SHARD_KEYS:
        alone, with_errors = (
            Sharder(plan_of(errors=errors), SHARD_KEYS[name]).buckets(FrameBlock.from_frames(frames)).tolist()
            for errors in (False, True)
        )
        assert with_errors == [alone[0]] * 2
        assert alone[0] != alone[1] or name == "destination_port"


def test_what_has_no_ip_header_is_in_the_first_bucket():
    for frame in (ETHERNET / ARP(), b"", b"\x45", bytes(60)):
        assert bucket_of(frame) == 0
    assert Sharder(plan_of(), SHARD_KEYS["source"]).buckets(FrameBlock.from_frames([])).tolist() == []


def test_sharders_do_not_share_what_they_remember():
    plan = plan_of()
    first, second = (Sharder(plan, SHARD_KEYS["five_tuple"]) for _ in range(2))
    parts = IP(src="10.0.0.1", dst="10.0.0.2", id=5) / UDP(sport=1, dport=2, chksum=1) / bytes(16)
    head, tail = (ETHERNET / IP(src="10.0.0.1", dst="10.0.0.2", id=5, proto=17, flags="MF", frag=0) for _ in range(2))
    head = head / bytes(parts[UDP])[:16]
    tail[IP].flags, tail[IP].frag = 0, 2
    tail = tail / bytes(8)
    both = FrameBlock.from_frames([bytes(head), bytes(tail)])
    assert len(set(first.buckets(both).tolist())) == 1
    assert first.fragments.followed == 1
    alone = FrameBlock.from_frames([bytes(tail)])
    assert second.buckets(alone)[0] != first.buckets(alone)[0]
    assert (second.fragments.followed, second.fragments.early) == (0, 1)


@settings(deadline=None, max_examples=1)
@given(packets=traffic())
def test_threads_with_sharders_of_their_own_agree(packets):
    plan, found = plan_of(), {}
    threads = [
        Thread(target=lambda number=number: found.update({number: buckets_of(plan, SHARD_KEYS["source"], packets)}))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(buckets == found[0] for buckets in found.values())
    assert all(np.array(buckets, int).max(initial=0) < INDIRECTION_ENTRIES for buckets in found.values())
