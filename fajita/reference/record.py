"""Objects whose attributes keep as many bits as their type has: an NF's state and its worker's variables."""

from typing import Any, ClassVar

from fajita.matcher_type import MatcherType
from fajita.reference.array import ElementView, cut, new_array
from fajita.reference.integer import Int64
from fajita.reference.map import MapView
from fajita.reference.matcher import matcher_property
from fajita.state_types import ArrayType, MapType, StateType


class Record:
    """Named fields, which begin as their types say.

    `kept` holds what lies in memory: of a signed field the number, else the bits; an array's elements; a map's pairs.
    """

    __slots__ = ("__weakref__", "kept")
    fields: ClassVar[dict[str, StateType]] = {}
    arrays: ClassVar[dict[str, ArrayType]] = {}
    maps: ClassVar[dict[str, MapType]] = {}
    begin: ClassVar[dict[str, int]] = {}

    def __init__(self) -> None:
        begin = type(self).begin
        self.kept: dict[str, Any] = {name: begin[name] for name in type(self).fields}
        self.kept |= {name: new_array(kind, begin[name]) for name, kind in type(self).arrays.items()}
        self.kept |= {name: {} for name in type(self).maps}


def record_class(
    name: str,
    fields: dict[str, StateType],
    arrays: dict[str, ArrayType] | None = None,
    stored: frozenset[str] | None = None,
    maps: dict[str, MapType] | None = None,
) -> type[Record]:
    """A Record with these fields, arrays and maps as attributes; any other attribute is an AttributeError.

    stored: those that something assigns; the others are 0, whatever their types begin as. None: all.
    """
    arrays, maps = arrays or {}, maps or {}
    types = fields | {array: kind.element for array, kind in arrays.items()}
    begin = {field: kind.begin if stored is None or field in stored else 0 for field, kind in types.items()}
    members: dict[str, Any] = {"__slots__": (), "fields": fields, "arrays": arrays, "maps": maps, "begin": begin}
    members |= {field: _property(field, kind) for field, kind in fields.items()}
    members |= {array: _array_property(array, kind) for array, kind in arrays.items()}
    members |= {map_: _map_property(map_, kind) for map_, kind in maps.items()}
    members |= {name: matcher_property(name, kind) for name, kind in maps.items() if isinstance(kind, MatcherType)}
    return type(name, (Record,), members)


def _property(field: str, kind: StateType) -> property:
    def read(record: Record) -> Int64 | bool:
        kept = record.kept[field]
        return kept != 0 if kind.shown == "bool" else Int64(kept)

    def write(record: Record, value: int) -> None:
        record.kept[field] = cut(value, kind)

    return property(read, write)


def _array_property(array: str, kind: ArrayType) -> property:
    return property(lambda record: ElementView(record.kept[array], kind.element))


def _map_property(map_: str, kind: MapType) -> property:
    return property(lambda record: MapView(record.kept[map_], kind))
