"""Granularities: how fields are packed into words."""

import re

import pytest

from fajita.errors import InputError
from fajita.key import KEYS, Key, find_key, five_tuple, source_prefix
from fajita.packet import FIELDS, Layer

every_key = pytest.mark.parametrize("key", KEYS.values(), ids=str)


def bits(shift: int, count: int) -> set[int]:
    return set(range(shift, shift + count))


@every_key
def test_parts_lie_side_by_side_and_leave_the_marks_byte_free(key: Key) -> None:
    for word in range(key.words):
        parts = [bits(part.shift, part.bits) for part in key.parts if part.word == word]
        used = set().union(*parts)
        assert len(used) == sum(map(len, parts))
        assert max(used, default=0) < (56 if word == key.words - 1 else 64)
    assert all(0 <= part.word < key.words for part in key.parts)


@every_key
def test_columns_are_the_fields_in_order_and_cover_the_parts(key: Key) -> None:
    assert tuple(column.name for column in key.columns) == key.fields
    covered = {(part.word, bit) for part in key.parts for bit in bits(part.shift, part.bits)}
    shown = {(column.word, bit) for column in key.columns for bit in bits(column.shift, column.bits)}
    assert covered == shown


@every_key
def test_columns_take_each_field_from_where_it_lies_in_the_packet(key: Key) -> None:
    """A packed word keeps network byte order, so that bit 8 n of a part is byte n of the header."""
    for column in key.columns:
        part = next(
            part for part in key.parts if part.word == column.word and column.shift in bits(part.shift, part.bits)
        )
        field = FIELDS[column.name]
        assert part.start == field.start
        assert part.offset + (column.shift - part.shift) // 8 == field.offset
        assert column.bits == field.bits


@every_key
def test_layer_of_a_key_lets_all_its_parts_be_loaded(key: Key) -> None:
    """Ports and VLAN are the exceptions: a flow of a protocol without ports, an untagged frame have zeros there."""
    for part in key.parts:
        assert part.layer in (key.layer, Layer.PORTS, Layer.VLAN) or part.layer & key.layer == part.layer


def test_two_addresses_and_two_ports_are_one_load_each() -> None:
    assert [(part.start, part.offset, part.bits) for part in five_tuple.parts] == [
        ("ip", 12, 64),
        ("transport", 0, 32),
        ("ip", 9, 8),
    ]


def test_a_prefix_keeps_the_upper_bits_as_they_lie_in_the_packet() -> None:
    (part,) = source_prefix(20).parts
    assert part.mask.to_bytes(4, "little") == bytes([255, 255, 240, 0])
    assert source_prefix(32).masks == (0xFFFFFFFF,)


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
        ("source_prefix(33)", "1 to 32 bits"),
        ("source(24)", "there is no key"),
        ("src+src", "stands twice"),
        ("src+dts", "a packet has no field dts; did you mean dst"),
        ("eth_src+eth_dst+tcp_sequence+tcp_acknowledgment+src", "too long; at most 23 bytes"),
    ],
)
def test_what_is_no_key_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        find_key(text)


def test_keys_by_name() -> None:
    assert all(key.name == name and repr(key) == name for name, key in KEYS.items())
