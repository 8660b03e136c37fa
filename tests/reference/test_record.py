import pytest

from fajita.reference.integer import Int64
from fajita.reference.record import record_class
from fajita.state_types import StateType


def _kept_and_read(kind: StateType, value: int) -> tuple[int, int]:
    record = record_class("State", {"field": kind})()
    record.field = value
    return record.kept["field"], record.field


@pytest.mark.parametrize(
    ("kind", "value", "kept", "read"),
    [
        (StateType("u8", 1), 0x1FF, 0xFF, 0xFF),
        (StateType("i8", 1, signed=True), 0x80, -128, -128),
        (StateType("i32", 4, signed=True), -(1 << 31) - 1, (1 << 31) - 1, (1 << 31) - 1),
        (StateType("u32", 4), -1, 0xFFFFFFFF, 0xFFFFFFFF),
        (StateType("u64", 8), -1, (1 << 64) - 1, -1),
        (StateType("mac", 8, shown="mac"), 1 << 48, 1 << 48, 1 << 48),
        (StateType("ipv4", 4, shown="ipv4"), 1 << 32 | 9, 9, 9),
    ],
)
def test_a_field_keeps_the_low_bits_that_fit(kind, value, kept, read):
    assert _kept_and_read(kind, value) == (kept, read)
    assert type(_kept_and_read(kind, value)[1]) is Int64


def test_a_flag_is_a_condition():
    assert _kept_and_read(StateType("flag", 1, shown="bool"), True) == (1, True)
    record = record_class("State", {"field": StateType("flag", 1, shown="bool")})()
    assert record.field is False


def test_fields_begin_as_zero_and_no_others_can_be_made():
    record = record_class("State", {"a": StateType("u8", 1)})()
    assert record.a == 0
    with pytest.raises(AttributeError):
        record.b = 1
