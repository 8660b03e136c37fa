"""What can stand for a value in a rule: its kinds, their names as nft knows them, and numbers of what is written."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from fajita.nfs.connection_tracker import INVALID, KNOWN, NEW, RELATED
from fajita.nfs.firewall_rules.tokens import Token
from fajita.protocols import ICMP_PROTOCOL, ICMPV6_PROTOCOL, SCTP_PROTOCOL, TCP_PROTOCOL, UDP_PROTOCOL

_PROTOCOLS = {
    "icmp": ICMP_PROTOCOL,
    "igmp": 2,
    "tcp": TCP_PROTOCOL,
    "udp": UDP_PROTOCOL,
    "dccp": 33,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": ICMPV6_PROTOCOL,
    "ipv6-icmp": ICMPV6_PROTOCOL,
    "comp": 108,
    "sctp": SCTP_PROTOCOL,
    "udplite": 136,
}
#: Of IANA's services those that rules are written about; nft takes them from the machine's /etc/services.
_SERVICES = {
    "ftp": 21,
    "ssh": 22,
    "telnet": 23,
    "smtp": 25,
    "domain": 53,
    "http": 80,
    "pop3": 110,
    "ntp": 123,
    "snmp": 161,
    "bgp": 179,
    "https": 443,
    "submission": 587,
    "imaps": 993,
    "pop3s": 995,
}
_ICMP_TYPES = {
    "echo-reply": 0,
    "destination-unreachable": 3,
    "source-quench": 4,
    "redirect": 5,
    "echo-request": 8,
    "router-advertisement": 9,
    "router-solicitation": 10,
    "time-exceeded": 11,
    "parameter-problem": 12,
    "timestamp-request": 13,
    "timestamp-reply": 14,
    "info-request": 15,
    "info-reply": 16,
    "address-mask-request": 17,
    "address-mask-reply": 18,
}
_ICMPV6_TYPES = {
    "destination-unreachable": 1,
    "packet-too-big": 2,
    "time-exceeded": 3,
    "parameter-problem": 4,
    "echo-request": 128,
    "echo-reply": 129,
    "mld-listener-query": 130,
    "mld-listener-report": 131,
    "mld-listener-done": 132,
    "nd-router-solicit": 133,
    "nd-router-advert": 134,
    "nd-neighbor-solicit": 135,
    "nd-neighbor-advert": 136,
    "nd-redirect": 137,
    "router-renumbering": 138,
    "ind-neighbor-solicit": 141,
    "ind-neighbor-advert": 142,
    "mld2-listener-report": 143,
}
#: The states of a connection as `pkt.connection_state` has them.
STATES = {"invalid": INVALID, "new": NEW, "established": KNOWN, "related": RELATED}


@dataclass(frozen=True)
class Kind:
    """A kind of values. set_type: what a named set of them says. example: one, for messages.

    names: words for values. takes_numbers: whether a number stands for a value. has_order: whether there are ranges.
    """

    text: str
    set_type: str
    bits: int
    example: str
    names: dict[str, int] = field(default_factory=dict)
    takes_numbers: bool = True
    has_order: bool = True

    @property
    def is_address(self) -> bool:
        """Whether it has prefixes, and values of its own."""
        return self in (IPV4, IPV6)

    def number(self, token: Token) -> int | None:
        """The value that a word stands for; None if it is none of this kind."""
        if self.is_address:
            return _address(token, self.bits)
        if token.kind == "number" and self.takes_numbers:
            value = int(token.text, 16 if token.text.startswith("0x") else 10)
            return value if value < 1 << self.bits else None
        return self.names.get(token.text) if token.kind == "word" else None

    @property
    def right(self) -> str:
        """What would be right, for messages."""
        names = f"one of {', '.join(self.names)}" if self.names else ""
        numbers = f"0 to {(1 << self.bits) - 1}" if self.takes_numbers and not self.is_address else ""
        return " or ".join(part for part in (numbers, names) if part) or f"such as {self.example}"


def _address(token: Token, bits: int) -> int | None:
    try:
        if token.kind == "ipv4" and bits == 32:
            return int(IPv4Address(token.text))
        return int(IPv6Address(token.text)) if token.kind == "ipv6" and bits == 128 else None
    except ValueError:
        return None


IPV4 = Kind("an IPv4 address", "ipv4_addr", 32, "10.0.0.1")
IPV6 = Kind("an IPv6 address", "ipv6_addr", 128, "2001:db8::1")
PORT = Kind("a port", "inet_service", 16, "443", _SERVICES)
PROTOCOL = Kind("a protocol", "inet_proto", 8, "tcp", _PROTOCOLS)
ICMP_TYPE = Kind("an ICMP type", "icmp_type", 8, "echo-request", _ICMP_TYPES)
ICMPV6_TYPE = Kind("an ICMPv6 type", "icmpv6_type", 8, "echo-request", _ICMPV6_TYPES)
CODE = Kind("an ICMP code", "", 8, "0")
STATE = Kind("a state", "", 3, "established", STATES, takes_numbers=False, has_order=False)
FAMILY = Kind("a family", "", 3, "ipv4", {"ipv4": 4, "ipv6": 6}, takes_numbers=False, has_order=False)

#: By the type that a named set says.
SET_KINDS = {kind.set_type: kind for kind in (IPV4, IPV6, PORT, PROTOCOL, ICMP_TYPE, ICMPV6_TYPE)}
