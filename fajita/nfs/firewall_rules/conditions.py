"""What a rule can ask of a packet, and the conjunction of what it asks."""

from dataclasses import dataclass, field

from fajita.nfs.firewall_rules import values
from fajita.nfs.firewall_rules.spans import Spans, everything, intersection
from fajita.nfs.firewall_rules.values import Kind
from fajita.protocols import ICMP_PROTOCOL, ICMPV6_PROTOCOL, SCTP_PROTOCOL, TCP_PROTOCOL, UDP_PROTOCOL

#: Protocols that have ports, as one set of numbers.
PORT_PROTOCOLS: Spans = ((TCP_PROTOCOL, TCP_PROTOCOL), (UDP_PROTOCOL, UDP_PROTOCOL), (SCTP_PROTOCOL, SCTP_PROTOCOL))
FAMILIES: Spans = ((4, 4), (6, 6))


@dataclass(frozen=True)
class Field:
    """A thing that a rule can compare. part: of a Rule. family, protocol: what packets have it, None: any.

    needs_ports: the rule has to say that the protocol is one with ports.
    """

    part: str
    kind: Kind
    family: int | None = None
    protocol: int | None = None
    needs_ports: bool = False


_PORTS = {"sport": "sport", "dport": "dport"}
#: By the two words that name it.
FIELDS: dict[tuple[str, str], Field] = {
    ("ip", "saddr"): Field("src", values.IPV4, family=4),
    ("ip", "daddr"): Field("dst", values.IPV4, family=4),
    ("ip", "protocol"): Field("protocol", values.PROTOCOL, family=4),
    ("ip6", "saddr"): Field("src", values.IPV6, family=6),
    ("ip6", "daddr"): Field("dst", values.IPV6, family=6),
    ("meta", "l4proto"): Field("protocol", values.PROTOCOL),
    ("meta", "nfproto"): Field("family", values.FAMILY),
    ("th", "sport"): Field("sport", values.PORT, needs_ports=True),
    ("th", "dport"): Field("dport", values.PORT, needs_ports=True),
    ("icmp", "type"): Field("icmp_type", values.ICMP_TYPE, family=4, protocol=ICMP_PROTOCOL),
    ("icmp", "code"): Field("icmp_code", values.CODE, family=4, protocol=ICMP_PROTOCOL),
    ("icmpv6", "type"): Field("icmp_type", values.ICMPV6_TYPE, family=6, protocol=ICMPV6_PROTOCOL),
    ("icmpv6", "code"): Field("icmp_code", values.CODE, family=6, protocol=ICMPV6_PROTOCOL),
    ("ct", "state"): Field("state", values.STATE),
} | {
    (name, port): Field(port, values.PORT, protocol=number)
    for name, number in (("tcp", TCP_PROTOCOL), ("udp", UDP_PROTOCOL), ("sctp", SCTP_PROTOCOL))
    for port in ("sport", "dport")
}
#: The bits of the parts of a rule; those of addresses depend on the family.
BITS = {"family": 3, "protocol": 8, "sport": 16, "dport": 16, "icmp_type": 8, "icmp_code": 8, "state": 3}


class ContradictionError(ValueError):
    """No packet is what a rule asks for; `args` say what it asks."""


@dataclass
class Conditions:
    """What a rule asks so far: of each part the numbers that it may be; a part that is not there may be any."""

    parts: dict[str, Spans] = field(default_factory=dict)
    needs_ports: bool = False

    def add(self, asked: Field, spans: Spans) -> None:
        """Ask for one thing more; ContradictionError where no packet has such a header beside what is asked already."""
        if asked.family is not None:
            self._narrow("family", ((asked.family, asked.family),), FAMILIES, "IPv4 and of IPv6")
        if asked.protocol is not None:
            self._narrow("protocol", ((asked.protocol, asked.protocol),), everything(8), "several protocols")
        if asked.part in ("family", "protocol") and spans:
            known = FAMILIES if asked.part == "family" else everything(8)
            what = "IPv4 and of IPv6" if asked.part == "family" else "several protocols"
            self._narrow(asked.part, intersection(spans, known), known, what)
        else:
            self.parts[asked.part] = intersection(self.parts.get(asked.part, spans), spans)
        self.needs_ports |= asked.needs_ports

    def _narrow(self, part: str, spans: Spans, known: Spans, what: str) -> None:
        before = self.parts.get(part, known)
        self.parts[part] = intersection(before, spans)
        if before and not self.parts[part]:
            raise ContradictionError(f"the rule asks for a packet of {what} at once")

    @property
    def lacks_protocol(self) -> bool:
        """Whether `th` stands in a rule that does not say that the protocol is one that has ports."""
        protocols = self.parts.get("protocol", everything(8))
        return self.needs_ports and intersection(protocols, PORT_PROTOCOLS) != protocols


@dataclass(frozen=True)
class Rule:
    """A rule: of each part the numbers that match, what it does, and where it stands."""

    parts: dict[str, Spans]
    accepts: bool
    text: str
    line: int

    def spans(self, part: str, bits: int) -> Spans:
        """The numbers, of so many bits, that a part may be."""
        return self.parts.get(part, everything(bits))

    def messages(self) -> Spans:
        """The ICMP messages that match: numbers that are 256 * type + code."""
        types, codes = self.spans("icmp_type", 8), self.spans("icmp_code", 8)
        if codes == everything(8):
            return tuple((first << 8, last << 8 | 0xFF) for first, last in types)
        kinds = (kind for first, last in types for kind in range(first, last + 1))
        return tuple((kind << 8 | first, kind << 8 | last) for kind in kinds for first, last in codes)


@dataclass(frozen=True)
class Ruleset:
    """A chain of rules, in their order. families: 4, 6 or both. accepts: its policy."""

    families: frozenset[int]
    accepts: bool
    rules: tuple[Rule, ...]
