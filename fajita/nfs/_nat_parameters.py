"""What a chain writes of a NAT, read: address ranges, a port range, static mappings.

Everything here raises ValueError for what is wrong, and says what would be right.
"""

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, collapse_addresses

import numpy as np
from numpy.typing import NDArray

#: First and last addresses of ranges that do not touch, in order.
Ranges = tuple[list[int], list[int]]

MULTICAST = 224 << 24
#: What the first octet tells of an address: that it is neither inside nor external nor multicast; nothing; inside.
FAR, NEAR, INSIDE = 0, 1, 2


@dataclass(frozen=True)
class StaticMapping:
    """An external endpoint that leads to one inside. protocol: tcp or udp; external: its number among the addresses."""

    protocol: str
    external: int
    port: int
    inside: int
    inside_port: int


def static_mappings(
    given: list[dict[str, str]], inside: Ranges, external: Ranges, by_endpoint: bool
) -> list[StaticMapping]:
    """Read those of a chain. by_endpoint: an inside endpoint has one external one."""
    read = [static_mapping(one, inside, external) for one in given]
    if len({(one.protocol, one.external, one.port) for one in read}) < len(read):
        raise ValueError("static has an external endpoint twice; give each once")
    if by_endpoint and len({(one.protocol, one.inside, one.inside_port) for one in read}) < len(read):
        raise ValueError("static has an inside endpoint twice; give each once, or another mapping")
    return read


def static_mapping(given: dict[str, str], inside: Ranges, external: Ranges) -> StaticMapping:
    """Read `{external: "203.0.113.7:80/tcp", inside: "10.0.0.5:8080"}`."""
    right = '{external: "203.0.113.7:80/tcp", inside: "10.0.0.5:8080"}'
    if given.keys() != {"external", "inside"}:
        raise ValueError(f"static has {given}; write {right}")
    endpoint, _, protocol = given["external"].partition("/")
    if protocol not in ("tcp", "udp"):
        raise ValueError(f"static has the protocol {protocol!r}; give tcp or udp: {right}")
    address, port = endpoint_of(endpoint, right)
    inside_address, inside_port = endpoint_of(given["inside"], right)
    if not is_in(inside_address, inside):
        raise ValueError(f"static leads to {IPv4Address(inside_address)}, which is not among inside")
    if not is_in(address, external):
        raise ValueError(f"static has {IPv4Address(address)}, which is not among external")
    number = sum(min(last + 1, address) - first for first, last in zip(*external, strict=True) if first < address)
    return StaticMapping(protocol, number, port, inside_address, inside_port)


def is_in(address: int, among: Ranges) -> bool:
    """Whether an address is in one of the ranges."""
    return any(first <= address <= last for first, last in zip(*among, strict=True))


def ranges_apart(inside: list[str], external: list[str]) -> tuple[Ranges, Ranges]:
    """Those of inside and of external, which have no address in common."""
    hosts, outside = ranges("inside", inside), ranges("external", external)
    for edge in (*outside[0], *outside[1]):
        if is_in(edge, hosts):
            raise ValueError(f"the external address {IPv4Address(edge)} is inside, too; give others")
    for edge in hosts[0]:
        if is_in(edge, outside):
            raise ValueError(f"the inside address {IPv4Address(edge)} is external, too; give others")
    return hosts, outside


def octets(inside: Ranges, external: Ranges) -> NDArray[np.uint8]:
    """FAR, NEAR or INSIDE for each first octet of an address."""
    made = np.full(256, FAR, np.uint8)
    made[MULTICAST >> 24 :] = NEAR
    for first, last in (*zip(*inside, strict=True), *zip(*external, strict=True)):
        made[first >> 24 : (last >> 24) + 1] = NEAR
    for first, last in zip(*inside, strict=True):
        made[(first + 0xFFFFFF) >> 24 : (last + 1) >> 24] = INSIDE
    return made


def ranges(name: str, given: list[str]) -> Ranges:
    """Read addresses and prefixes."""
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
