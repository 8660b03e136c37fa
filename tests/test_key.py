"""Granularities: how fields are packed into words."""

import re

import pytest

from fajita.errors import InputError
from fajita.key import KEYS, Key, Packing, find_key, five_tuple, key_of, source_prefix
from fajita.packet import FIELDS, Layer

every_key = pytest.mark.parametrize("key", KEYS.values(), ids=str)
PACKINGS = [(key, packing) for key in KEYS.values() for packing in key.packings]
every_packing = pytest.mark.parametrize(
    ("key", "packing"), PACKINGS, ids=[f"{key}-{packing.family}" for key, packing in PACKINGS]
)


def bits(shift: int, count: int) -> set[int]:
    return set(range(shift, shift + count))


@every_packing
def test_parts_lie_side_by_side_and_leave_the_marks_byte_free(key: Key, packing: Packing) -> None:
    for word in range(packing.words):
        parts = [bits(part.shift, part.bits) for part in packing.parts if part.word == word]
        used = set().union(*parts)
        assert len(used) == sum(map(len, parts))
        assert max(used, default=0) < (56 if word == packing.words - 1 else 64)
    assert all(0 <= part.word < packing.words for part in packing.parts)


@every_packing
def test_columns_are_the_fields_in_order_and_cover_the_parts(key: Key, packing: Packing) -> None:
    assert tuple(column.name for column in packing.columns) == key.fields
    covered = {64 * part.word + bit for part in packing.parts for bit in bits(part.shift, part.bits)}
    shown = {64 * column.word + bit for column in packing.columns for bit in bits(column.shift, column.bits)}
    assert covered == shown


@every_packing
def test_columns_take_each_field_from_where_it_lies_in_the_packet(key: Key, packing: Packing) -> None:
    """A packed word keeps network byte order, so that bit 8 n of a part is byte n of the header."""
    for column in packing.columns:
        part = next(
            part for part in packing.parts if part.word == column.word and column.shift in bits(part.shift, part.bits)
        )
        if column.kind == "ipv6":
            assert (part.start, part.offset, column.bits) == ("ip", {"src": 8, "dst": 24}[column.name], 128)
            continue
        field = FIELDS[column.name]
        assert part.start == field.start
        assert part.offset + (column.shift - part.shift) // 8 == field.offset
        assert column.bits == field.bits


@every_packing
def test_layer_of_a_key_lets_all_its_parts_be_loaded(key: Key, packing: Packing) -> None:
    """Ports and VLAN are the exceptions: a flow of a protocol without ports, an untagged frame have zeros there."""
    for part in packing.parts:
        if part.start != "protocol":
            assert part.layer in (Layer.PORTS, Layer.VLAN) or part.layer & packing.layer == part.layer


@every_key
def test_a_key_of_addresses_has_a_packing_for_each_family(key: Key) -> None:
    families = [packing.family for packing in key.packings]
    assert families == ([4, 6] if {"src", "dst"} & set(key.fields) else [0])


def test_fields_of_one_family_make_a_key_of_that_family() -> None:
    assert [packing.family for packing in key_of("ip_id", "src_port").packings] == [4]
    assert [packing.family for packing in key_of("src_high").packings] == [6]


def test_two_addresses_and_two_ports_are_one_load_each() -> None:
    assert [(part.start, part.offset, part.bits) for part in five_tuple.packings[0].parts] == [
        ("ip", 12, 64),
        ("transport", 0, 32),
        ("protocol", 0, 8),
    ]


def test_a_prefix_keeps_the_upper_bits_as_they_lie_in_the_packet() -> None:
    ipv4, ipv6 = source_prefix(20, 70).packings
    assert ipv4.parts[0].mask.to_bytes(4, "little") == bytes([255, 255, 240, 0])
    assert [part.mask for part in ipv6.parts] == [-1, 0xFC]
    assert [packing.masks for packing in source_prefix(32, 128).packings] == [(2**32 - 1,), (2**128 - 1,)]


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("source", ("src",)),
        ("source_prefix(24)", ("src",)),
        ("destination_prefix( 8 )", ("dst",)),
        ("src+dst_port", ("src", "dst_port")),
        ("ttl", ("ttl",)),
        ("all", ()),
    ],
)
def test_a_key_is_found_by_its_text(text: str, fields: tuple[str, ...]) -> None:
    assert find_key(text).fields == fields


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sourc", "there is no key sourc; did you mean source"),
        ("source_prefix(0)", "1 to 32 bits"),
        ("source_prefix(24, 129)", "1 to 128 of IPv6"),
        ("ip_id+flow_label", "no packet has all fields"),
        ("source_prefix(33)", "1 to 32 bits"),
        ("source(24)", "there is no key"),
        ("src+src", "stands twice"),
        ("src+dts", "a packet has no field dts; did you mean dst"),
        ("eth_src+eth_dst+tcp_sequence+tcp_acknowledgment+src_high+src_low+dst_high+dst_low", "at most 47 bytes"),
    ],
)
def test_what_is_no_key_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        find_key(text)


def test_keys_by_name() -> None:
    assert all(key.name == name and repr(key) == name for name, key in KEYS.items())
