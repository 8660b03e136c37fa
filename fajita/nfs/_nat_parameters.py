"""What a chain writes of a NAT, read: address ranges, a port range, static mappings.

Everything here raises ValueError for what is wrong, and says what would be right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, collapse_addresses


@dataclass(frozen=True)
class StaticMapping:
    """An external endpoint that leads to one inside. Addresses are numbers; protocol: tcp or udp."""

    protocol: str
    external: int
    port: int
    inside: int
    inside_port: int


def static_mapping(given: dict[str, str]) -> StaticMapping:
    """Read `{external: "203.0.113.7:80/tcp", inside: "10.0.0.5:8080"}`."""
    right = '{external: "203.0.113.7:80/tcp", inside: "10.0.0.5:8080"}'
    if given.keys() != {"external", "inside"}:
        raise ValueError(f"static has {given}; write {right}")
    endpoint, _, protocol = given["external"].partition("/")
    if protocol not in ("tcp", "udp"):
        raise ValueError(f"static has the protocol {protocol!r}; give tcp or udp: {right}")
    return StaticMapping(protocol, *endpoint_of(endpoint, right), *endpoint_of(given["inside"], right))


def is_in(address: int, first: Sequence[int], last: Sequence[int]) -> bool:
    """Whether an address is in one of the ranges."""
    return any(begin <= address <= end for begin, end in zip(first, last, strict=True))


def ranges(name: str, given: list[str]) -> tuple[list[int], list[int]]:
    """The first and the last addresses of ranges that do not touch, in order."""
    if not given:
        raise ValueError(f"{name} is empty; give addresses or prefixes, such as 10.0.0.0/8")
    networks = []
    for text in given:
        try:
            networks.append(IPv4Network(text))
        except ValueError as error:
            raise ValueError(f"{name}: {error}; give IPv4 addresses or prefixes, such as 10.0.0.0/8") from None
    first: list[int] = []
    last: list[int] = []
    for network in sorted(collapse_addresses(networks)):
        begin, end = int(network.network_address), int(network.broadcast_address)
        if last and last[-1] + 1 == begin:
            last[-1] = end
        else:
            first.append(begin)
            last.append(end)
    return first, last


def port_range(text: str) -> tuple[int, int]:
    """The first and the last of `1024-65535`."""
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last) <= 65535):
        raise ValueError(f"ports is {text!r}; give two of 1 to 65535, such as 1024-65535")
    return int(first), int(last)


def endpoint_of(text: str, right: str) -> tuple[int, int]:
    """Address and port of `10.0.0.5:8080`."""
    address, _, port = text.partition(":")
    try:
        if port.isdecimal() and 1 <= int(port) <= 65535:
            return int(IPv4Address(address)), int(port)
    except AddressValueError:
        pass
    raise ValueError(f"static has {text!r}, which is no address and port; write {right}")
