"""Many random packets between few hosts, as frames and as what rules see of them."""

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

import numpy as np
from numpy.typing import NDArray

from fajita import FrameBlock
from tests.nfs.firewall_rules.naive import GRE, ICMP, ICMPV6, SCTP, TCP, UDP, WITH_PORTS, Header, NaiveRule

NEW, ESTABLISHED = 2, 3
PORTS = (1, 22, 53, 80, 443, 1024, 8080, 65535)
#: Neighbours, so that ranges and prefixes end between them.
ADDRESSES: dict[int, Sequence[int]] = {
    4: [int(IPv4Address(f"{net}.{last}")) for net in ("10.0.0", "10.0.1", "192.0.2") for last in (0, 1, 7, 8, 255)]
    + [0, int(IPv4Address("127.255.255.255")), int(IPv4Address("128.0.0.0")), (1 << 32) - 1],
    6: [int(IPv6Address(f"2001:db8:{net}::{last}")) for net in ("0", "0:1:8000", "1") for last in ("0", "1", "ffff")]
    + [int(IPv6Address(text)) for text in ("::", "fe80::8000:0:0:0", "fe80::7fff:ffff:ffff:ffff")]
    + [int(IPv6Address("7fff::")), int(IPv6Address("8000::")), (1 << 128) - 1],
}
_MACS = bytes.fromhex("02000000000b02000000000a")
_SLOT = 128
#: Where the addresses lie in a frame, and bytes of each.
_AT = {4: (26, 4), 6: (22, 16)}


def headers(seed: int) -> list[tuple[Header, bytes]]:
    """Headers with a frame each, its addresses 0: protocols, ports both ways, messages, and what cannot be read."""
    draw = random.Random(seed)
    found = []
    for family in (4, 6):
        for protocol in WITH_PORTS:
            for _ in range(5):
                ports = draw.choice(PORTS), draw.choice(PORTS)
                found += [Header(family, protocol, ports), Header(family, protocol, ports[::-1])]
        message = ICMP if family == 4 else ICMPV6
        found += [Header(family, message, None, (kind, draw.choice((0, 1, 255)))) for kind in (0, 3, 8, 128, 129, 255)]
        # Cut off before its end; the other family's ICMP, which no rule of ours names there.
        found += [Header(family, message), Header(family, GRE)]
    made = [(header, _frame(header)) for header in found]
    return [*made, *((Header(4, protocol), _frame(Header(4, protocol), later=True)) for protocol in (TCP, UDP, ICMP))]


def _frame(header: Header, *, later: bool = False) -> bytes:
    """An Ethernet frame; later: a later fragment."""
    payload = _transport(header)
    if header.family == 4:
        offset = 100 if later else 0
        ip = struct.pack(">BBHHHBBH8x", 0x45, 0, 20 + 20, 7, offset, 64, header.protocol, 0)
        return _MACS + b"\x08\x00" + ip + payload
    return _MACS + b"\x86\xdd" + struct.pack(">IHBB32x", 6 << 28, 20, header.protocol, 64) + payload


def _transport(header: Header) -> bytes:
    if header.message is not None:
        return struct.pack(">BBHI", *header.message, 0, 0).ljust(20, b"\0")
    if header.protocol in (ICMP, ICMPV6):
        return b"\x08\x00"
    ports = struct.pack(">HH", *(header.ports or (0x1616, 0x1616)))
    rest = {TCP: b"\0" * 8 + b"\x50\x10", UDP: b"\x00\x14", SCTP: b""}.get(header.protocol, b"")
    return (ports + rest).ljust(20, b"\0")


@dataclass
class Packets:
    """Columns by packet: which header, source and destination (places in ADDRESSES), which connection, which way."""

    headers: list[tuple[Header, bytes]]
    header: NDArray[np.int64]
    source: NDArray[np.int64]
    destination: NDArray[np.int64]
    connection: list[int]
    forward: list[bool]

    def frames(self) -> FrameBlock:
        """The packets, one a microsecond."""
        templates = np.zeros((len(self.headers), _SLOT), np.uint8)
        for row, (_, frame) in zip(templates, self.headers, strict=True):
            row[: len(frame)] = np.frombuffer(frame, np.uint8)
        slots = templates[self.header]
        for family, (at, size) in _AT.items():
            pool = b"".join(address.to_bytes(size, "big") for address in ADDRESSES[family])
            bytes_of = np.frombuffer(pool, np.uint8).reshape(-1, size)
            mine = self._are_of(family)
            for place, column in ((at, self.source), (at + size, self.destination)):
                slots[mine, place : place + size] = bytes_of[column[mine]]
        captured = np.array([len(frame) for _, frame in self.headers])[self.header]
        return FrameBlock.from_slots(slots, captured, np.arange(len(slots)) * 1000)

    def _are_of(self, family: int) -> NDArray[np.bool_]:
        return np.array([header.family == family for header, _ in self.headers])[self.header]

    def matches(self, rule: NaiveRule) -> NDArray[np.bool_]:
        """Which packets a rule matches, whatever the state of their connections."""
        found = np.array([all(condition.holds(header) for condition in rule.headers) for header, _ in self.headers])[
            self.header
        ]
        for conditions, column in ((rule.source, self.source), (rule.destination, self.destination)):
            for condition in conditions:
                family = condition.family or 0
                holds = np.array([condition.matches(address) for address in ADDRESSES[family]] + [False] * 32)
                found &= holds[column] & self._are_of(family)
        return found

    def verdicts(self, rules: Sequence[NaiveRule], policy: bool) -> tuple[list[bool], list[int]]:
        """Which packets go on, and how many each rule decided, the policy last."""
        deciding = {state: np.full(len(self.header), len(rules)) for state in (NEW, ESTABLISHED)}
        for number in reversed(range(len(rules))):
            found = self.matches(rules[number])
            for state, decided in deciding.items():
                if all(condition.matches(state) for condition in rules[number].states):
                    decided[found] = number
        accepts = [*(rule.accepts for rule in rules), policy]
        return self._walk(deciding[NEW].tolist(), deciding[ESTABLISHED].tolist(), accepts)

    def _walk(self, new: list[int], established: list[int], accepts: list[bool]) -> tuple[list[bool], list[int]]:
        """A connection is established once a packet came the way that is not that of its first accepted one."""
        began: dict[int, bool] = {}
        answered: set[int] = set()
        go_on, counts = [], [0] * len(accepts)
        for index, (connection, forward) in enumerate(zip(self.connection, self.forward, strict=True)):
            if began.get(connection, forward) != forward:
                answered.add(connection)
            rule = established[index] if connection in answered else new[index]
            counts[rule] += 1
            go_on.append(accepts[rule])
            if accepts[rule]:
                began.setdefault(connection, forward)
        return go_on, counts


def random_packets(count: int, seed: int) -> Packets:
    """Packets of both families and of all headers."""
    rng = np.random.default_rng(seed)
    made = headers(seed)
    header = rng.integers(len(made), size=count)
    families = np.array([header.family for header, _ in made])[header]
    hosts = np.where(families == 4, len(ADDRESSES[4]), len(ADDRESSES[6]))
    source, destination = (rng.integers(1 << 30, size=count) % hosts for _ in range(2))
    numbers: dict[object, int] = {}
    connection, forward = [], []
    for at, first, second in zip(header.tolist(), source.tolist(), destination.tolist(), strict=True):
        seen, _ = made[at]
        ports = seen.ports or (0, 0)
        here, there = (ADDRESSES[seen.family][first], ports[0]), (ADDRESSES[seen.family][second], ports[1])
        # The number of a connection does not depend on the way; `forward` here is whether it goes up.
        ends = (min(here, there), max(here, there))
        connection.append(numbers.setdefault((seen.family, seen.protocol, ends), len(numbers)))
        forward.append(here <= there)
    return Packets(made, header, source, destination, connection, forward)
