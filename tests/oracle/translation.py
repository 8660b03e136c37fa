"""The same conversations through two translators, and what comes out of them."""

import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Protocol

from fajita import Chain, FrameBlock
from fajita.engine.compiled import CompiledEngine
from tests.oracle.packets import dscp, header_length, is_fragment, is_later_fragment, with_header_checksum
from tests.oracle.router import INSIDE, OUTSIDE, Came, Router, Sent
from tests.oracle.sides import (
    Endpoints,
    endpoints,
    is_error,
    quoted,
    sum_place,
    transport_sum,
    with_checksums,
    with_endpoints,
    with_quoted,
)
from tests.oracle.traffic import ICMP, TCP, UDP

EXTERNAL = "203.0.113.7"
_EXTERNAL = socket.inet_aton(EXTERNAL)
_INVALID = 1
#: ICMP types: echo and timestamp, asked and answered; redirect.
QUERIES, REDIRECT = (b"\x00", b"\x08", b"\x0d", b"\x0e"), b"\x05"
#: The kernel as a translator. What it finds invalid it does not translate, so that a rule has to drop it: here that is
#: marked and taken for dropped, to know why it is. What comes from outside and is of no session goes nowhere.
RULES = f"""
table ip translator {{
chain source {{
type nat hook postrouting priority 100; policy accept;
oifname "r1" ip saddr 10.0.0.0/8 meta l4proto {{ tcp, udp }} snat to {EXTERNAL}:1024-65535
oifname "r1" ip saddr 10.0.0.0/8 snat to {EXTERNAL}
}}
chain forward {{
type filter hook forward priority 0; policy accept;
ct state invalid ip dscp set {_INVALID} accept
iifname "r1" oifname "r1" drop
}}
chain input {{
type filter hook input priority 0; policy drop;
}}
}}
"""


class Translator(Protocol):
    """What translates packets that are sent through it, one after the other."""

    def forward(self, packets: Sequence[Sent]) -> list[Came | None]:
        """What comes out for each."""


@dataclass
class FajitaTranslator:
    """A chain as a translator: where a packet goes is what its destination says."""

    chain: Chain
    packets: int = 0

    def __post_init__(self) -> None:
        self._engine = CompiledEngine(self.chain.plan)

    def forward(self, packets: Sequence[Sent]) -> list[Came | None]:
        """What comes out for each packet; a microsecond is between two."""
        times_ns = [10**18 + 1_000 * (self.packets + number) for number in range(len(packets))]
        self.packets += len(packets)
        block = FrameBlock.from_frames([bytes(12) + b"\x08\x00" + sent.packet for sent in packets], times_ns)
        self._engine.process(block)
        came = [bytes(block.frame(number))[14:] for number in range(len(packets))]
        sides = [INSIDE if packet[16] == 10 else OUTSIDE for packet in came]
        return [
            Came(packet, side) if passed else None
            for packet, side, passed in zip(came, sides, block.verdict.tolist(), strict=True)
        ]


@dataclass
class Conversation:
    """What has been said through a translator.

    ports: the external port of each session, as its packets had it outside. untranslated: sessions of which a packet
    came out as it was; unknown: the numbers of packets from outside of such that had no other.
    """

    translator: Translator
    ports: dict[Endpoints, int] = field(default_factory=dict)
    untranslated: set[Endpoints] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)

    def hold(self, packets: Sequence[Sent]) -> list[Came | None]:
        """What comes out for each packet; what is sent from outside goes to the external endpoint of its session."""
        results: list[Came | None] = []
        for side, group in groupby(packets, lambda sent: sent.side):
            listed = list(group)
            if side == OUTSIDE:
                sessions = [endpoints(sent.packet).turned for sent in listed]
                unknown = self.untranslated - self.ports.keys()
                self.unknown |= {len(results) + at for at, session in enumerate(sessions) if session in unknown}
                listed = [Sent(self._addressed(sent.packet), OUTSIDE) for sent in listed]
            came = self.translator.forward(listed)
            if side == INSIDE:
                self._learn(listed, came)
            results += came
        return results

    def _learn(self, sent: Sequence[Sent], came: Sequence[Came | None]) -> None:
        for before, after in zip(sent, came, strict=True):
            if after is None or is_error(before.packet) or is_later_fragment(before.packet):
                continue
            if after.packet[12:16] == _EXTERNAL:
                self.ports[endpoints(before.packet)] = endpoints(after.packet).source_port
            else:
                self.untranslated.add(endpoints(before.packet))

    def _outside(self, seen: Endpoints) -> Endpoints:
        """Of a packet that was sent from inside, as it is outside."""
        port = self.ports.get(seen, seen.source_port)
        far_port = port if seen.protocol == ICMP else seen.destination_port
        return Endpoints(seen.protocol, _EXTERNAL, port, seen.destination, far_port)

    def _addressed(self, packet: bytes) -> bytes:
        if is_error(packet):
            about = quoted(packet)
            error = with_quoted(packet, with_header_checksum(with_endpoints(about, self._outside(endpoints(about)))))
            return with_checksums(error[:16] + _EXTERNAL + error[20:])
        return with_checksums(with_endpoints(packet, self._outside(endpoints(packet).turned).turned))


@dataclass(frozen=True)
class Outcome:
    """What has become of a packet, as far as two translators may agree on it; port: the one that was chosen."""

    side: int
    ttl_lost: int
    are_checksums_right: bool
    packet: bytes
    port: int


def outcome(came: Came | None, sent: Sent) -> Outcome | None:
    """What has become of a packet; None: nothing came."""
    if came is None:
        return None
    packet = came.packet
    right = with_header_checksum(packet) == packet
    place = sum_place(packet)
    if place is not None:
        # 0 and 0xFFFF are the same number to a one's complement sum.
        right = right and {packet[place], transport_sum(packet)} - {b"\xff\xff"} <= {packet[place], b"\0\0"}
        packet = packet[: place.start] + b"\0\0" + packet[place.stop :]
    lost = sent.packet[8] - packet[8]
    seen = endpoints(packet)
    port = 0
    if came.side == OUTSIDE and is_error(packet):
        about = quoted(packet)
        inner = endpoints(about)
        port = inner.destination_port
        hidden = Endpoints(inner.protocol, inner.source, inner.source_port, inner.destination, 0)
        if inner.protocol == 1:
            hidden = Endpoints(inner.protocol, inner.source, 0, inner.destination, 0)
        packet = with_quoted(packet, _without_quoted_sums(with_endpoints(about, hidden)))
    elif is_error(packet):
        packet = with_quoted(packet, _without_quoted_sums(quoted(packet)))
    elif came.side == OUTSIDE:
        port = seen.source_port
        packet = with_endpoints(
            packet, Endpoints(seen.protocol, seen.source, 0, seen.destination, seen.destination_port)
        )
    if is_fragment(sent.packet):
        packet = packet[:20]  # the kernel puts datagrams together
        packet, right = packet[9:10] + packet[12:20], True
    else:
        packet = packet[:1] + b"\0" + packet[2:8] + b"\0" + packet[9:10] + b"\0\0" + packet[12:]
    return Outcome(came.side, lost, right, packet, port)


def _without_quoted_sums(packet: bytes) -> bytes:
    """What is quoted without checksums: those of the transport cannot be told, as its end is missing."""
    end = header_length(packet)
    at = end + {6: 16, 17: 6, 1: 2}.get(packet[9], 6)
    packet = packet[:10] + b"\0\0" + packet[12:]
    return packet[:at] + b"\0\0" + packet[at + 2 :] if len(packet) >= at + 2 else packet


def compare(router: Router, chain: Chain, packets: Sequence[Sent]) -> Iterator[tuple[Sent, str]]:
    """Each packet, and how the kernel and fajita differ on it; empty if they do not."""
    router.forget()
    conversation = Conversation(router)
    kernel = conversation.hold(packets)
    fajita = Conversation(FajitaTranslator(chain)).hold(packets)
    for number, (sent, theirs, ours) in enumerate(zip(packets, kernel, fajita, strict=True)):
        how = difference(sent, theirs, ours)
        yield sent, "of a session invalid to the kernel" if how and number in conversation.unknown else how


def difference(sent: Sent, theirs: Came | None, ours: Came | None) -> str:
    """How the kernel and fajita differ on a packet; empty if they do not."""
    if theirs is not None and dscp(theirs.packet) == _INVALID:
        return "" if ours is None else "invalid to the kernel"
    one, other = outcome(theirs, sent), outcome(ours, sent)
    if one is None or other is None:
        why = on_purpose(sent.packet) or f"only {'fajita' if one is None else 'the kernel'} lets it through"
        return "" if one is other else why
    if not (one.are_checksums_right and other.are_checksums_right):
        return "a checksum is wrong"
    if (one.ttl_lost, other.ttl_lost) != (1, 0):
        return "time to live"
    if (one.side, one.packet) != (other.side, other.packet):
        return "translated otherwise"
    return "" if one.port == other.port else "another port"


def on_purpose(packet: bytes) -> str:
    """Why one of the two does not translate a packet that the other does; empty if that is not known."""
    kind = packet[header_length(packet) :][:1]
    if packet[9] not in (ICMP, TCP, UDP):
        return "another protocol"
    if is_fragment(packet):
        return "a fragment"
    if packet[9] == ICMP and is_error(packet):
        about = quoted(packet)
        if kind == REDIRECT:
            return "a redirect"
        return "an error that quotes too little" if len(about) < header_length(about) + 8 else ""
    return "another ICMP message" if packet[9] == ICMP and kind not in QUERIES else ""


def counted(compared: Iterator[tuple[Sent, str]]) -> Counter[str]:
    """How many packets differ in what way; the others under the empty text."""
    return Counter(how for _, how in compared)
