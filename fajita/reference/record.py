"""Objects whose attributes keep as many bits as their type has: an NF's state and its worker's variables."""

from typing import Any, ClassVar

from fajita.nf import StateType
from fajita.reference.integer import Int64


class Record:
    """Named fields, zero at first. `kept` holds what lies in memory: of a signed field the number, else the bits."""

    __slots__ = ("__weakref__", "kept")
    fields: ClassVar[dict[str, StateType]] = {}

    def __init__(self) -> None:
        self.kept = dict.fromkeys(type(self).fields, 0)


def record_class(name: str, fields: dict[str, StateType]) -> type[Record]:
    """A Record with these fields as attributes; any other attribute is an AttributeError."""
    members: dict[str, Any] = {"__slots__": (), "fields": fields}
    members |= {field: _property(field, kind) for field, kind in fields.items()}
    return type(name, (Record,), members)


def cut(value: int, kind: StateType) -> int:
    """What a field of this type keeps of a value: the low bits that fit."""
    bits = 8 * kind.bytes
    low = int(value) & ((1 << bits) - 1)
    return low - (1 << bits) if kind.signed and low >> (bits - 1) else low


def _property(field: str, kind: StateType) -> property:
    def read(record: Record) -> Int64 | bool:
        kept = record.kept[field]
        return kept != 0 if kind.shown == "bool" else Int64(kept)

    def write(record: Record, value: int) -> None:
        record.kept[field] = cut(value, kind)

    return property(read, write)
