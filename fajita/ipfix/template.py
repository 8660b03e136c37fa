"""Templates of IPFIX (RFC 7011, 3.4.1), and records as these say, made of rows without a Python object for each."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fajita.engine.rows import state_column
from fajita.errors import InputError
from fajita.ipfix.elements import ICMP_ELEMENT, KEY_ELEMENTS, PREFIX_ELEMENTS, Element, find_element
from fajita.key import Packing
from fajita.nf import NF, source_location
from fajita.packet import ICMP_PROTOCOL, ICMPV6_PROTOCOL
from fajita.plan import NFPlan, Plan
from fajita.state_types import StateType

#: Of the sets that hold data.
FIRST_TEMPLATE = 256
#: From 1900, where NTP begins, to 1970.
_NTP_SECONDS = 2_208_988_800
_NS, _NS_IN_MS = 10**9, 10**6
_OF_ENTERPRISE = 1 << 15

_ICMP_FIELDS = ("icmp_type", "icmp_code")
_PORTS = ("src_port", "dst_port")
_ICMP_PROTOCOLS = (ICMP_PROTOCOL, ICMPV6_PROTOCOL)


@dataclass(frozen=True)
class TemplateField:
    """An element, and the columns of rows that it has: one, or several that are its bytes."""

    element: Element
    columns: tuple[str, ...]

    @property
    def dtype(self) -> tuple[str, tuple[int, ...]]:
        """How numpy has it in a record."""
        return {6: ("u1", (6,)), 16: (">u8", (2,))}.get(self.element.bytes, (f">u{self.element.bytes}", ()))

    def values(self, rows: NDArray[np.void]) -> NDArray[np.unsignedinteger]:
        """What records have of these rows, in host byte order, but for what has no type of numpy's."""
        if self.element.bytes == 16:
            return rows[self.columns[0]]
        values = rows[self.columns[0]].astype(np.uint64)
        for column in self.columns[1:]:
            values = values << np.uint64(8) | rows[column]
        if self.element.bytes == 6:
            return values.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 2:]
        if self.element.kind == "milliseconds":
            return values // np.uint64(_NS_IN_MS)
        if self.element.kind == "nanoseconds":
            return _ntp(values)
        return values


def _ntp(times_ns: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Seconds since 1900, and parts of 2**32 of one: the first from which rounding down gives the nanosecond again."""
    seconds, rest = np.divmod(times_ns, np.uint64(_NS))
    parts = ((rest << np.uint64(32)) + np.uint64(_NS - 1)) // np.uint64(_NS)
    return (seconds + np.uint64(_NTP_SECONDS)) << np.uint64(32) | parts


class Template:
    """What records of an NF and a family look like. icmp: of ICMP alone, or of all but that; None: of all."""

    def __init__(self, number: int, fields: list[TemplateField], icmp: bool | None) -> None:
        self.number, self.fields, self.icmp = number, fields, icmp
        self.dtype = np.dtype([(str(index), *field.dtype) for index, field in enumerate(fields)])

    def definition(self) -> bytes:
        """The template record: its number, and the elements with their lengths."""
        parts = [struct.pack(">HH", self.number, len(self.fields))]
        for field in self.fields:
            element = field.element
            if element.enterprise:
                numbers = element.number | _OF_ENTERPRISE, element.bytes, element.enterprise
                parts.append(struct.pack(">HHI", *numbers))
            else:
                parts.append(struct.pack(">HH", element.number, element.bytes))
        return b"".join(parts)

    def records(self, rows: NDArray[np.void]) -> NDArray[np.void]:
        """Data records of those rows that are the template's."""
        if self.icmp is not None:
            rows = rows[np.isin(rows["protocol"], _ICMP_PROTOCOLS) == self.icmp]
        records = np.empty(len(rows), self.dtype)
        for index, field in enumerate(self.fields):
            records[str(index)] = field.values(rows)
        return records

    def latest_second(self, rows: NDArray[np.void]) -> int:
        """The latest time in rows, in whole seconds; 0 where they have none."""
        columns = [field.columns[0] for field in self.fields if field.element.kind != "number"]
        return max((int(rows[column].max()) // _NS for column in columns if len(rows)), default=0)


def make_templates(plan: Plan) -> dict[int, list[list[Template]]]:
    """By index of each NF that emits and names elements: templates by side of its table.

    InputError if there is no such NF, and for what has no element.
    """
    made: dict[int, list[list[Template]]] = {}
    number = FIRST_TEMPLATE
    for nf in plan.nfs:
        if nf.table is None or not nf.translated.may_emit or not type(nf.nf).ipfix:
            continue
        made[nf.index] = []
        for side in plan.tables[nf.table].sides:
            variants = list(_variants(nf, side.packing))
            made[nf.index].append([Template(number + at, *variant) for at, variant in enumerate(variants)])
            number += len(variants)
    if not made:
        what = "no network function of the chain writes records that IPFIX has names for"
        raise InputError(what, plan.name, "add flow_exporter, or leave out --ipfix")
    return made


def _variants(nf: NFPlan, packing: Packing) -> Iterator[tuple[list[TemplateField], bool | None]]:
    """The fields of records; where the key tells ICMP's types, those of ICMP have them in place of ports."""
    names = [column.name for column in packing.columns]
    state = _state_fields(nf, set(names))
    if not {"protocol", *_ICMP_FIELDS} <= set(names):
        yield [_key_field(nf.nf, packing, name) for name in names] + state, None
        return
    others = [name for name in names if name not in _ICMP_FIELDS]
    yield [_key_field(nf.nf, packing, name) for name in others] + state, False
    icmp = TemplateField(find_element(ICMP_ELEMENT.format(packing.family), nf.nf.name), _ICMP_FIELDS)
    others = [name for name in others if name not in _PORTS]
    yield [*(_key_field(nf.nf, packing, name) for name in others), icmp, *state], True


def _key_field(nf: NF, packing: Packing, name: str) -> TemplateField:
    at = [column.name for column in packing.columns].index(name)
    column = packing.columns[at]
    is_whole = column.kind == "ipv6" and packing.masks[at] in (-1, (1 << 128) - 1)
    is_whole = is_whole or packing.masks[at] == column.value_mask
    element = (KEY_ELEMENTS if is_whole or name not in PREFIX_ELEMENTS else PREFIX_ELEMENTS).get(name)
    if element is None or ("{}" in element and not packing.family):
        right = f"another key than {nf.granularity}, or leave out --ipfix"
        raise InputError(f"IPFIX has no information element for the field {name} of a key", nf.name, right)
    return TemplateField(find_element(element.format(packing.family), nf.name), (name,))


def _state_fields(nf: NFPlan, taken: set[str]) -> list[TemplateField]:
    """Those that the NF's class names elements for; of what this NF never stores there is nothing to tell."""
    kind, where = type(nf.nf), source_location(type(nf.nf))
    fields = []
    for name, elements in kind.ipfix.items():
        if name not in kind.state_fields:
            raise InputError(f"{kind.__name__}.ipfix names {name}, which is no field of its State", where)
        if name not in nf.translated.stored:
            continue
        for element in (find_element(each, where) for each in ([elements] if isinstance(elements, str) else elements)):
            if _bytes_of(kind.state_fields[name]) > element.bytes:
                what = f"{kind.__name__}.State.{name} does not fit {element.name}, which has {element.bytes} bytes"
                raise InputError(what, where)
            fields.append(TemplateField(element, (state_column(name, taken),)))
    return fields


def _bytes_of(kind: StateType) -> int:
    """Bytes that a value of a field needs."""
    return 6 if kind.shown == "mac" else kind.bytes
