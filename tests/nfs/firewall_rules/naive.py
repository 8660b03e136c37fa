"""Random rules as text, and what they say of a packet, rule by rule: without fajita's parser and classifier."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

TCP, UDP, SCTP, ICMP, ICMPV6, GRE = 6, 17, 132, 1, 58, 47
WITH_PORTS = (TCP, UDP, SCTP)
STATES = {"invalid": 1, "new": 2, "established": 3, "related": 4}
PROTOCOL_NAMES = {TCP: "tcp", UDP: "udp", SCTP: "sctp", ICMP: "icmp", ICMPV6: "icmpv6", GRE: "gre"}


@dataclass(frozen=True)
class Header:
    """What a rule sees of a packet beside its addresses. ports: None where they cannot be read; message likewise."""

    family: int
    protocol: int
    ports: tuple[int, int] | None = None
    message: tuple[int, int] | None = None


@dataclass(frozen=True)
class Condition:
    """`name operator value`. family, protocols: what a packet has to have, any if there are none."""

    name: str
    operator: str
    value: str
    matches: Callable[[int], bool]
    family: int | None = None
    protocols: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        return " ".join(part for part in (self.name, self.operator, self.value) if part)

    def holds(self, header: Header) -> bool:
        """Of what is no address and no state."""
        if self.family not in (None, header.family) or (self.protocols and header.protocol not in self.protocols):
            return False
        number = _number(self.name, header)
        return number is not None and self.matches(number)


def _number(name: str, header: Header) -> int | None:
    match name.split()[1]:
        case "sport":
            return header.ports[0] if header.ports is not None else None
        case "dport":
            return header.ports[1] if header.ports is not None else None
        case "type":
            return header.message[0] if header.message is not None else None
        case "code":
            return header.message[1] if header.message is not None else None
        case "nfproto":
            return header.family
    return header.protocol


@dataclass(frozen=True)
class NaiveRule:
    """source, destination, states: of the addresses and the connection's state; headers: the other conditions."""

    accepts: bool
    source: tuple[Condition, ...] = ()
    destination: tuple[Condition, ...] = ()
    headers: tuple[Condition, ...] = ()
    states: tuple[Condition, ...] = ()

    @property
    def text(self) -> str:
        conditions = (*self.headers, *self.source, *self.destination, *self.states)
        return " ".join([*(condition.text for condition in conditions), "accept" if self.accepts else "drop"])

    def matches(self, header: Header, source: int, destination: int, state: int) -> bool:
        return (
            all(condition.holds(header) for condition in self.headers)
            and all(self.holds_address(condition, header.family, source) for condition in self.source)
            and all(self.holds_address(condition, header.family, destination) for condition in self.destination)
            and all(condition.matches(state) for condition in self.states)
        )

    @staticmethod
    def holds_address(condition: Condition, family: int, address: int) -> bool:
        return condition.family == family and condition.matches(address)


def file_text(rules: Sequence[NaiveRule], policy: str) -> str:
    """A file with these rules."""
    lines = [f"type filter hook forward priority filter; policy {policy};", *(rule.text for rule in rules)]
    return "table inet t {\n  chain c {\n    " + "\n    ".join(lines) + "\n  }\n}\n"


class RandomRules:
    """Makes rules that a good part of packets meets, whose addresses and ports are from some pools."""

    def __init__(self, seed: int, addresses: dict[int, Sequence[int]], ports: Sequence[int]) -> None:
        self.random = random.Random(seed)
        self.addresses, self.ports = addresses, ports

    def rules(self, count: int) -> list[NaiveRule]:
        return [self.rule() for _ in range(count)]

    def rule(self) -> NaiveRule:
        draw = self.random
        family = draw.choice((None, 4, 4, 6))
        protocol = draw.choice((None, None, TCP, TCP, UDP, SCTP, ICMP, ICMPV6, GRE))
        if protocol in (ICMP, ICMPV6):
            family = 4 if protocol == ICMP else 6
        rule = NaiveRule(draw.random() < 0.5, headers=tuple(self._headers(family, protocol)))
        if family is not None:
            if draw.random() < 0.6:
                rule = replace(rule, source=(self._address(family, "saddr"),))
            if draw.random() < 0.5:
                rule = replace(rule, destination=(self._address(family, "daddr"),))
        if draw.random() < 0.25:
            rule = replace(rule, states=(self._state(),))
        return rule

    def _headers(self, family: int | None, protocol: int | None) -> list[Condition]:
        draw = self.random
        made: list[Condition] = []
        if family is not None and draw.random() < 0.2:
            made.append(Condition("meta nfproto", "", f"ipv{family}", lambda found: found == family))
        if protocol is None:
            if draw.random() < 0.3:
                made.append(self._one_of_protocols())
            elif draw.random() < 0.3:
                return [*made, self._several_protocols(), self._port("th dport", WITH_PORTS[:2])]
        elif protocol in WITH_PORTS:
            made += [self._port(f"{PROTOCOL_NAMES[protocol]} {port}", (protocol,)) for port in self._some_ports()]
        elif protocol in (ICMP, ICMPV6) and draw.random() < 0.8:
            made += self._messages(protocol, 4 if protocol == ICMP else 6)
        else:
            name = "ip protocol" if family == 4 and draw.random() < 0.5 else "meta l4proto"
            of = 4 if name == "ip protocol" else None
            made.append(Condition(name, "", PROTOCOL_NAMES[protocol], lambda found: found == protocol, of))
        return made

    def _some_ports(self) -> Sequence[str]:
        return self.random.choice((("dport",), ("dport",), ("sport",), ("sport", "dport")))

    def _several_protocols(self) -> Condition:
        return Condition("meta l4proto", "", "{ tcp, udp }", lambda found: found in (TCP, UDP))

    def _one_of_protocols(self) -> Condition:
        chosen = self.random.sample(sorted(PROTOCOL_NAMES), self.random.randint(1, 3))
        text = "{ " + ", ".join(PROTOCOL_NAMES[number] for number in chosen) + " }"
        if self.random.random() < 0.5:
            return Condition("meta l4proto", "!=", text, lambda found: found not in chosen)
        return Condition("meta l4proto", "", text, lambda found: found in chosen)

    def _messages(self, protocol: int, family: int) -> list[Condition]:
        name = PROTOCOL_NAMES[protocol]
        made = [self._numbers(f"{name} type", (0, 3, 8, 11, 128, 129, 255), 255, family, (protocol,))]
        if self.random.random() < 0.3:
            made.append(self._numbers(f"{name} code", (0, 1, 3, 255), 255, family, (protocol,)))
        return made

    def _port(self, name: str, protocols: tuple[int, ...]) -> Condition:
        return self._numbers(name, self.ports, 65535, None, protocols)

    def _numbers(
        self, name: str, pool: Sequence[int], most: int, family: int | None, protocols: tuple[int, ...]
    ) -> Condition:
        """A number, a range, a set, a comparison."""
        draw = self.random
        if draw.random() < 0.2:
            number, sign = draw.choice(pool), draw.choice(("<", ">", "<=", ">="))
            tests: dict[str, Callable[[int], bool]] = {
                "<": lambda found: found < number,
                ">": lambda found: found > number,
                "<=": lambda found: found <= number,
                ">=": lambda found: found >= number,
            }
            return Condition(name, sign, str(number), tests[sign], family, protocols)
        spans = [self._span(pool, most) for _ in range(draw.choice((1, 1, 1, 2, 4)))]
        texts = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
        return self._among(name, spans, texts, family, protocols)

    def _span(self, pool: Sequence[int], most: int) -> tuple[int, int]:
        near = min(max(0, self.random.choice(pool) + self.random.choice((-1, 0, 0, 0, 1))), most)
        if self.random.random() < 0.6:
            return near, near
        first, last = sorted((near, self.random.choice(pool)))
        return first, last

    def _among(
        self,
        name: str,
        spans: Sequence[tuple[int, int]],
        texts: Sequence[str],
        family: int | None,
        protocols: tuple[int, ...] = (),
    ) -> Condition:
        value = texts[0] if len(texts) == 1 else "{ " + ", ".join(texts) + " }"
        if self.random.random() < 0.2:
            return Condition(name, "!=", value, lambda found: not _is_in(found, spans), family, protocols)
        return Condition(name, "", value, lambda found: _is_in(found, spans), family, protocols)

    def _address(self, family: int, name: str) -> Condition:
        shown, bits = (IPv4Address, 32) if family == 4 else (IPv6Address, 128)
        spans, texts = [], []
        for _ in range(self.random.choice((1, 1, 1, 3))):
            address = self.random.choice(self.addresses[family])
            if self.random.random() < 0.3:
                first, last = sorted((address, self.random.choice(self.addresses[family])))
                texts.append(f"{shown(first)}-{shown(last)}")
            else:
                # Prefixes of a byte or so as often as whole addresses.
                length = self.random.choice((bits, bits - 1, bits - 8, bits // 2 + 1, bits // 2, 8, 1, 0))
                others = (1 << (bits - length)) - 1
                first, last = address & ~others, address | others
                texts.append(str(shown(address)) if length == bits else f"{shown(address)}/{length}")
            spans.append((first, last))
        return self._among(f"{'ip' if family == 4 else 'ip6'} {name}", spans, texts, family)

    def _state(self) -> Condition:
        chosen = self.random.sample(sorted(STATES), self.random.randint(1, 3))
        numbers = [STATES[name] for name in chosen]
        if self.random.random() < 0.3:
            return Condition("ct state", "!=", "{ " + ", ".join(chosen) + " }", lambda found: found not in numbers)
        return Condition("ct state", "", ",".join(chosen), lambda found: found in numbers)


def _is_in(number: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(first <= number <= last for first, last in spans)
