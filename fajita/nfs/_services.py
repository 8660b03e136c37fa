"""Virtual services as a chain describes them, checked, and tables in which a packet's endpoints are looked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from operator import attrgetter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from fajita import IPv4
from fajita.nfs._routes import parse_mac
from fajita.nfs._servers import DEFAULT_TABLE, MAXIMUM_COUNTED, check_table_size, checked_weights
from fajita.protocols import TCP_PROTOCOL, UDP_PROTOCOL

PROTOCOLS = {"tcp": TCP_PROTOCOL, "udp": UDP_PROTOCOL}
#: Fibonacci hashing (Knuth, TAOCP 3, 6.4): a place is told by some bits from here on of a product with one of these.
HASH_SHIFT = 40
_FACTORS = [0x9E3779B97F4A7C15 * odd & (1 << 63) - 1 for odd in range(1, 33, 2)]
#: In an empty place of a table: a packet's endpoint may be 0.
NO_KEY = -1
#: The number of a server has 16 bits, one of which says that there is none.
MAXIMUM_SERVERS = (1 << 15) - 1


def checked_mac(value: Any) -> int:
    """Turn 02:00:00:00:00:01 into a number; ValueError says what would be right."""
    number = parse_mac(value) if isinstance(value, str) else None
    if number is None:
        raise ValueError(f"{value!r} is not a MAC address such as 02:00:00:00:00:01")
    return number


Port = Annotated[int, Field(ge=1, le=65535)]


class Server(BaseModel):
    """One of a service's servers. port: that of the service if left out. mac: for forwarding: direct."""

    model_config = ConfigDict(extra="forbid", strict=True)

    address: IPv4
    port: Port | None = None
    weight: int = 1
    mac: Annotated[int, BeforeValidator(checked_mac)] | None = None


class Service(BaseModel):
    """What clients know, and the servers that it stands for."""

    model_config = ConfigDict(extra="forbid", strict=True)

    address: IPv4
    port: Port
    protocol: Literal["tcp", "udp"] = "tcp"
    servers: list[Server]
    algorithm: Literal["round_robin", "least_connections", "hash", "maglev"] = "round_robin"
    forwarding: Literal["nat", "direct"] = "nat"
    table_size: int = DEFAULT_TABLE

    def __str__(self) -> str:
        return f"{IPv4Address(self.address)}:{self.port}/{self.protocol}"

    @property
    def weights(self) -> list[int]:
        """Those of its servers, in lowest terms."""
        return checked_weights([server.weight for server in self.servers], len(self.servers))

    @property
    def front(self) -> int:
        """What clients send to."""
        return packed(int(self.address), self.port, self.protocol)

    def port_of(self, server: Server) -> int:
        """Where a server of it listens."""
        return server.port or self.port

    def back(self, server: Server) -> int:
        """What a server of it answers from."""
        return packed(int(server.address), self.port_of(server), self.protocol)

    def shown(self, server: Server) -> str:
        """A server of it."""
        return f"{IPv4Address(server.address)}:{self.port_of(server)}/{self.protocol}"

    def check(self) -> None:
        """ValueError for what makes no sense together."""
        if not 1 <= len(self.servers) <= MAXIMUM_COUNTED:
            raise ValueError(f"{len(self.servers):,} servers; give 1 to {MAXIMUM_COUNTED:,}")
        weights = self.weights
        if self.algorithm == "maglev":
            check_table_size(self.table_size, sum(weights))
        elif self.table_size != DEFAULT_TABLE:
            raise ValueError(f"table_size is for algorithm: maglev; leave it out for {self.algorithm}")
        endpoints = [self.back(server) for server in self.servers]
        for server in self.servers:
            if endpoints.count(self.back(server)) > 1:
                raise ValueError(f"{self.shown(server)} stands twice; give it a weight of 2")
            if self.forwarding == "nat" and server.mac is not None:
                raise ValueError(f"the mac of {self.shown(server)} is for forwarding: direct; leave it out")
            if self.forwarding == "direct" and server.mac is None:
                raise ValueError(f"forwarding: direct needs the MAC address of {self.shown(server)}; give mac")
            if self.forwarding == "direct" and self.port_of(server) != self.port:
                raise ValueError(f"forwarding: direct leaves the port as it is; {self.shown(server)} needs none")


def check_services(services: list[Service]) -> None:
    """ValueError for services that are wrong, or are not to be told apart."""
    if not services:
        raise ValueError("services is empty; give at least one")
    if sum(len(service.servers) for service in services) > MAXIMUM_SERVERS:
        raise ValueError(f"services have more than {MAXIMUM_SERVERS:,} servers together")
    fronts: set[int] = set()
    answering: dict[int, Service] = {}
    for service in services:
        try:
            service.check()
        except ValueError as error:
            raise ValueError(f"service {service}: {error}") from None
        if service.front in fronts:
            raise ValueError(f"service {service} stands twice; give one another port, or delete it")
        fronts.add(service.front)
        for server in service.servers if service.forwarding == "nat" else ():
            other = answering.setdefault(service.back(server), service)
            if other is not service:
                what = f"{service.shown(server)} answers for {other} and {service}, so that nobody knows for which"
                raise ValueError(f"{what}; give it another port in one")


def packed(address: int, port: int, protocol: str) -> int:
    """An endpoint as one number, never negative."""
    return address << 24 | port << 8 | PROTOCOLS[protocol]


@dataclass(frozen=True)
class EndpointTable:
    """Endpoints and their numbers by place: one of so many places (probes) on from (endpoint * factor >> 40) & mask.

    What is in it is the operator's, not the packets', so that the hash needs no key.
    """

    factor: int
    mask: int
    probes: int
    keys: list[int]
    numbers: list[int]

    @classmethod
    def of(cls, numbers: Mapping[int, int]) -> "EndpointTable":
        """Of some tables the one with the fewest probes."""
        return min((cls._made(numbers, factor) for factor in _FACTORS), key=attrgetter("probes"))

    @classmethod
    def _made(cls, numbers: Mapping[int, int], factor: int) -> "EndpointTable":
        places, probes = 4, 1
        while places < 4 * len(numbers):
            places *= 2
        keys, values = [NO_KEY] * (places + len(numbers)), [0] * (places + len(numbers))
        for key, number in numbers.items():
            first = (key * factor >> HASH_SHIFT) & (places - 1)
            place = next(place for place in range(first, len(keys)) if keys[place] == NO_KEY)
            keys[place], values[place] = key, number
            probes = max(probes, place - first + 1)
        return cls(factor, places - 1, probes, keys[: places + probes - 1], values[: places + probes - 1])
