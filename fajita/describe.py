"""What can be said of an NF to the person who wants to use it: its purpose, keys, parameters and state."""

import inspect
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from fajita.nf import NF
from fajita.packet import (
    FACTS,
    FIELDS,
    FLAGS,
    FLOW_PORTS,
    FORWARD,
    FRAME,
    METADATA,
    QUOTED,
    RELATED,
    SEQUENCES,
    TESTS,
    Layer,
    places,
)
from fajita.quantities import Burst, ByteSize, Duration, IPv4, Rate
from fajita.state_types import ArrayType, MapType, StateType
from fajita.text_file import TextFile, TextFileValue

#: How a chain writes a value of a type. Not a dict: a type with a pydantic constraint cannot be hashed.
_TYPE_TEXTS: tuple[tuple[Any, str], ...] = (
    (Rate, "rate, such as 1Gbps or 100kpps"),
    (ByteSize, "size, such as 64kB"),
    (Burst, "size, such as 64kB, or a number of packets"),
    (Duration, "time, such as 30s"),
    (IPv4, "IPv4 address"),
    (TextFile, "file, relative to the chain's, or list of lines"),
    (str, "text"),
    (bool, "true or false"),
    (int, "integer"),
    (float, "number"),
    (type(None), "nothing"),
)

#: Which packets have a layer, as a user calls them.
_PACKETS: dict[Layer, str] = {
    Layer.ETHERNET: "Ethernet",
    Layer.VLAN: "VLAN",
    Layer.IP: "IPv4, IPv6",
    Layer.IPV4: "IPv4",
    Layer.IPV6: "IPv6",
    Layer.PORTS: "TCP, UDP, SCTP",
    Layer.TCP: "TCP",
    Layer.UDP: "UDP",
    Layer.ICMP: "ICMP, ICMPv6",
    Layer.FRAGMENT: "fragments",
}


#: By the layer of a field of a quoted packet: which packets have that.
_ERRORS: dict[Layer, str] = {
    Layer.IP: "ICMP errors",
    Layer.IPV4: "of IPv4",
    Layer.IPV6: "of IPv6",
    Layer.PORTS: "of TCP, UDP, SCTP",
    Layer.ICMP: "of ICMP, ICMPv6",
}


@dataclass(frozen=True)
class FieldDescription:
    """An attribute of `pkt`. packets: which have it; in others it is 0 or false. written_in: those it is written in."""

    name: str
    packets: str
    written_in: str
    text: str


def describe_fields() -> tuple[FieldDescription, ...]:
    """Everything an NF can read of a packet: header fields, then facts, flags, metadata."""
    fields = [
        FieldDescription(
            name,
            _packets(*(place.layer for place in places(name))),
            _packets(*(place.write_layer for place in places(name))),
            field.text,
        )
        for name, field in FIELDS.items()
    ]
    quoted = [
        FieldDescription(
            name,
            _ERRORS[each.field.layer],
            _ERRORS[each.field.layer].replace(", SCTP", "") if each.is_writable else "",
            each.text,
        )
        for name, each in QUOTED.items()
    ]
    facts = [FieldDescription(name, "all", "", text) for name, text in FACTS.items()]
    bytes_ = [
        FieldDescription(name, _packets(layers), "", f"{name}[i] is one of these bytes, 0 outside them")
        for name, layers in SEQUENCES.items()
    ]
    bytes_.append(FieldDescription(FRAME, "all", "all", "frame[i] is a captured byte of the frame, 0 outside them"))
    flags = [FieldDescription(name, _packets(layer), "", _flag_text(layer)) for name, layer in FLAGS.items()]
    tests = [FieldDescription(name, "all", "", text) for name, text in TESTS.items()]
    forward = FieldDescription(FORWARD, "all", "", "goes the way of the connection's first packet; other keys: true")
    related = FieldDescription(RELATED, "all", "", "in the method error: the flow has a state; in others: true")
    metadata = [FieldDescription(name, "all", "all", each.text) for name, each in METADATA.items()]
    ports = [FieldDescription(name, "TCP, UDP, SCTP", "", text) for name, (_, text) in FLOW_PORTS.items()]
    return (*fields, *quoted, *facts, *bytes_, *ports, *flags, *tests, forward, related, *metadata)


def _flag_text(layer: Layer) -> str:
    return "true: a part of an IP packet" if layer == Layer.FRAGMENT else "true: the whole header is there"


def _packets(*layers: Layer) -> str:
    return ", ".join(_PACKETS[layer] for several in layers for layer in several)


@dataclass(frozen=True)
class ParameterDescription:
    """A parameter as a chain gives it. default: as YAML text, None where the parameter has to be given."""

    name: str
    type: str
    default: str | None


@dataclass(frozen=True)
class NFDescription:
    """An NF as a user sees it. key: its own granularity, None without state; keys: all that `key:` can choose.

    timeout: if the chain gives none. state, core: types by field, in words of the source (u64, Sum[u64], ipv4, ...).
    """

    name: str
    purpose: str
    text: str
    key: str | None
    keys: tuple[str, ...]
    timeout: str | None
    parameters: tuple[ParameterDescription, ...]
    state: dict[str, str]
    core: dict[str, str]


def describe(name: str, nf_class: type[NF]) -> NFDescription:
    """Describe an NF. name: as a chain writes it."""
    text = inspect.cleandoc(nf_class.__doc__ or "")
    keys = [nf_class.key, *nf_class.keys] if nf_class.key is not None else []
    return NFDescription(
        name=name,
        purpose=text.partition("\n")[0],
        text=text,
        key=nf_class.key.name if nf_class.key is not None else None,
        keys=tuple(key.name for key in keys),
        timeout=nf_class.timeout,
        parameters=_parameters(nf_class),
        state=_types(nf_class.state_fields, nf_class.state_arrays),
        core=_types(nf_class.core_fields, nf_class.core_arrays, nf_class.core_maps),
    )


def _types(*kinds: Mapping[str, StateType | ArrayType | MapType]) -> dict[str, str]:
    return {name: kind.declared for some in kinds for name, kind in some.items()}


def _parameters(nf_class: type[NF]) -> tuple[ParameterDescription, ...]:
    declared = getattr(nf_class, "Params", None)
    hints = get_type_hints(declared, include_extras=True) if declared is not None else {}
    fields = nf_class.params_model.model_fields
    return tuple(
        ParameterDescription(
            name,
            _type_text(hint),
            None if fields[name].is_required() else _yaml(fields[name].get_default(call_default_factory=True)),
        )
        for name, hint in hints.items()
    )


def _yaml(value: Any) -> str:
    if isinstance(value, TextFileValue):
        value = value.text.splitlines()
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _type_text(hint: Any) -> str:
    for kind, text in _TYPE_TEXTS:
        if hint == kind:
            return text
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _type_text(arguments[0])
    if origin is list:
        return f"list of {_type_text(arguments[0])}"
    if origin is Literal:
        return " or ".join(str(choice) for choice in arguments)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return f"{{{', '.join(hint.model_fields)}}}"
    if origin in (Union, types.UnionType):
        return " or ".join(_type_text(choice) for choice in arguments)
    return str(getattr(hint, "__name__", hint))
