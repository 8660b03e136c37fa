"""Granularities: how fields are packed into words."""

import pytest

from fajita.key import KEYS, Key
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
        assert max(used) < (56 if word == key.words - 1 else 64)
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
    """Ports are the exception: a flow of a protocol without them has zeros there."""
    for part in key.parts:
        assert part.layer in (key.layer, Layer.PORTS) or part.layer & key.layer == part.layer


def test_keys_by_name() -> None:
    assert all(key.name == name and repr(key) == name for name, key in KEYS.items())
