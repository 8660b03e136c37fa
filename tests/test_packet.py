"""The table of header fields holds together, and agrees with what editors are told of a packet."""

from typing import get_type_hints

import pytest

from fajita import packet
from fajita.packet import (
    FACTS,
    FIELDS,
    FLAGS,
    FLOW_PORTS,
    FORWARD,
    FRAME,
    IPV6_FIELDS,
    METADATA,
    OTHER_REASONS,
    QUOTED,
    READ_ONLY,
    RELATED,
    SEQUENCES,
    TESTS,
    TRANSPORT,
    Layer,
    places,
)
from fajita.packet_attributes import Packet

#: Bytes of each header that its layer promises.
HEADER_BYTES = {
    ("frame", Layer.ETHERNET): 14,
    ("frame", Layer.VLAN): 18,
    ("ip", Layer.IPV4): 20,
    ("ip", Layer.IPV6): 40,
    ("protocol", Layer.IP): 1,
    ("transport", Layer.PORTS): 4,
    ("transport", Layer.TCP): 20,
    ("transport", Layer.UDP): 8,
    ("transport", Layer.ICMP): 8,
}


ALL_PLACES = [field for name in FIELDS for field in places(name)]


@pytest.mark.parametrize("field", ALL_PLACES, ids=lambda field: f"{field.name}-{field.layer.name}")
def test_a_field_lies_within_the_header_that_its_layer_promises(field):
    assert field.bits in (8, 16, 32, 48, 64)
    assert field.offset + field.bits // 8 <= HEADER_BYTES[field.start, field.layer]
    assert field.value_mask << field.shift < 1 << field.bits


@pytest.mark.parametrize(
    "field",
    [field for field in ALL_PLACES if field.write_layer],
    ids=lambda field: f"{field.name}-{field.layer.name}",
)
def test_what_may_be_written_may_be_read_and_its_checksum_can_follow(field):
    for layer in field.write_layer:
        assert field.layer in (layer, Layer.PORTS)
    # IPv6 has no header checksum, so that of it only what the pseudo header covers has one to repair.
    repaired = {"frame": {""}, "ip": {"ip", "ip pseudo"}, "transport": {"transport"}}
    of_ipv6 = {"pseudo"} if field.name.startswith(("src_", "dst_")) else {""}
    assert field.repairs in (of_ipv6 if field.layer == Layer.IPV6 else repaired[field.start])
    if field.start == "transport":
        assert field.write_layer & (TRANSPORT | Layer.ICMP) == field.write_layer


@pytest.mark.parametrize("name", ["eth_type", "total_length", "protocol", "udp_length"])
def test_what_says_where_headers_begin_and_end_is_read_only(name):
    assert FIELDS[name].write_layer == READ_ONLY
    assert FIELDS[name].repairs == ""


def test_fields_that_share_a_byte_share_no_bit():
    dscp, ecn = FIELDS["dscp"], FIELDS["ecn"]
    assert dscp.value_mask << dscp.shift ^ ecn.value_mask << ecn.shift == 0xFF
    # RFC 8200, 3: version, 8 bits of traffic class, flow label.
    dscp, ecn, label = IPV6_FIELDS["dscp"], IPV6_FIELDS["ecn"], FIELDS["flow_label"]
    assert dscp.value_mask << dscp.shift ^ ecn.value_mask << ecn.shift == 0x0FF0
    assert (0x0FF0 << 16) ^ label.value_mask << label.shift == 0x0FFFFFFF


def test_a_field_in_two_places_is_the_same_field_of_either_family():
    for name, ipv6 in IPV6_FIELDS.items():
        ipv4 = FIELDS[name]
        assert places(name) == (ipv4, ipv6)
        assert (ipv4.layer, ipv6.layer) == (Layer.IPV4, Layer.IPV6)
        assert ipv6.value_mask == ipv4.value_mask
    assert all(len(places(name)) == 1 for name in FIELDS.keys() - IPV6_FIELDS.keys())


def test_editors_are_told_of_every_attribute_and_of_no_other():
    names = [*FIELDS, *QUOTED, *FACTS, *SEQUENCES, *FLOW_PORTS, *FLAGS, *TESTS, *METADATA, FORWARD, RELATED, FRAME]
    assert sorted(get_type_hints(Packet)) == sorted(names)


def test_every_field_and_fact_says_what_it_is():
    texts = [field.text for field in (*FIELDS.values(), *METADATA.values())] + [*FACTS.values(), *TESTS.values()]
    assert all(texts)
    assert len(set(texts)) == len(texts)


def test_metadata_fits_one_word_side_by_side():
    bits = [set(range(8 * each.offset, 8 * each.offset + each.bits)) for each in METADATA.values()]
    assert sum(len(each) for each in bits) == len(set().union(*bits))
    assert set().union(*bits) <= set(range(64))


def test_a_layer_is_one_bit_of_sixteen():
    assert [int(layer) for layer in Layer] == [1 << bit for bit in range(len(Layer))]
    assert len(Layer) <= 16


def test_reasons_have_the_names_of_their_numbers():
    numbers = {
        packet.OTHER_TRAFFIC: "not an NF's traffic",
        packet.UNKNOWN_LINK_TYPE: "unknown link type",
        packet.TRUNCATED: "truncated",
        packet.ARP: "arp",
        packet.MALFORMED_IPV6: "malformed ipv6",
        packet.NOT_IP: "not ip",
        packet.MALFORMED_IPV4: "malformed ipv4",
        packet.LATER_FRAGMENT: "fragment",
        packet.PORTS_NOT_CAPTURED: "ports not captured",
    }
    assert tuple(numbers[number] for number in range(len(OTHER_REASONS))) == OTHER_REASONS
    assert packet.OTHER_TRAFFIC == 0  # what the headers word of a sound frame says
