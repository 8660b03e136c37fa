"""A stateful firewall with rules in nftables' notation."""

from typing import Any

from fajita import NF, PASS, Array, Packet, Sum, TextFile, connection, flag, u8, u16, u64
from fajita.nfs.connection_tracker import INVALID, KNOWN, NEW, RELATED
from fajita.nfs.firewall_rules.classifier import (
    AGGREGATES,
    DESTINATION,
    FIELDS,
    INTERVALS,
    IPV4_HEADER,
    IPV6_HEADER,
    KINDS,
    NO_RULE,
    RESULTS,
    SOURCE,
    SOURCE_PORT,
    STATES,
    STEPS,
    UNREADABLE,
    classifier,
)
from fajita.nfs.firewall_rules.notation import read_rules
from fajita.protocols import ICMP_PROTOCOL, ICMPV6_PROTOCOL, SCTP_PROTOCOL, TCP_PROTOCOL, UDP_PROTOCOL

#: IPv6's halves compare as numbers without a sign if this is taken off.
SIGN = 1 << 63
#: The place of the only bit in a word: a multiple of a de Bruijn sequence has it in its upper six bits.
DE_BRUIJN = 0x03F79D71B4CB0A89
BIT_AT = sorted(range(64), key=lambda bit: ((DE_BRUIJN << bit) & (2**64 - 1)) >> 58)
WITH_PORTS = (TCP_PROTOCOL, UDP_PROTOCOL, SCTP_PROTOCOL)
FORWARD, BACKWARD = 1, 2
LEAST_COUNTERS = 1 << 11


class Firewall(NF):
    """Accepts or drops packets by ordered rules, the first that matches.

    rules is a file in a subset of nftables' notation: a table with one chain, sets and defines (docs/firewall.md). What
    `ct state` says comes from a connection_tracker earlier in the chain; without one, a connection is established once
    both sides have sent a packet, the first of which was accepted. A known flow remembers its rule, and rules are
    not searched one by one: ten thousand cost little more than ten. The report counts packets and bytes by rule.
    """

    key = connection

    class Params:
        rules: TextFile

    class State:
        decisions: Array[u16, 8]  # of each way and state of the connection; 0: not yet made
        began: u8  # which way the first accepted packet went; 0: none yet
        answered: flag

    class Core:
        counts: Array[Sum[u64], "counters"]  # noqa: F821 - packets and bytes in turn, by a rule's number

    def prepare(self) -> None:
        if self.replaces is not None:
            raise ValueError("rules cannot change during a run, as known flows remember theirs; begin another run")
        self.chain_of_rules = read_rules(self.rules)
        self.classifier = classifier(self.chain_of_rules)
        # Of a power of two, so that few kernels differ by it.
        self.counters = max(LEAST_COUNTERS, 1 << (2 * len(self.chain_of_rules.rules) + 5).bit_length())

    def packet(self, pkt: Packet, state: State) -> int:
        way = FORWARD if pkt.forward else BACKWARD
        if state.began != 0 and state.began != way and not pkt.is_error:
            state.answered = True
        seen = self.seen(pkt, state)
        place = 4 * way + seen - 5
        decision = state.decisions[place]
        header = IPV6_HEADER if pkt.is_ipv6 else IPV4_HEADER
        if decision == 0:
            is_message = pkt.protocol == ICMP_PROTOCOL or pkt.protocol == ICMPV6_PROTOCOL
            lacks_ports = self.lacks_ports(pkt)
            decision = self.decided(pkt, header, seen, is_message, lacks_ports)
            if not (is_message or lacks_ports):
                state.decisions[place] = decision
        self.core.counts[decision & ~1] += 1
        self.core.counts[decision | 1] += pkt.length
        if decision & 1 == 0:
            return pkt.drop("policy") if decision == self.classifier[header + NO_RULE] else pkt.drop("rule")
        if state.began == 0 and not pkt.is_error:
            state.began = way
        return PASS

    def seen(self, pkt: Packet, state: State) -> int:
        """What the packet is to its connection, as `pkt.connection_state` tells it."""
        seen = pkt.connection_state
        if seen == 0 or seen > RELATED:
            seen = KNOWN if state.answered else NEW
            if pkt.is_error:
                # What was dropped began no connection that an error could be about.
                seen = RELATED if pkt.related and state.began != 0 else INVALID
        return seen

    def lacks_ports(self, pkt: Packet) -> bool:
        """Whether it is a later fragment that has none; what is decided without them is for no other packet."""
        lacks_ports = not (pkt.is_tcp or pkt.is_udp) and pkt.src_port | pkt.dst_port == 0
        return lacks_ports and pkt.protocol in WITH_PORTS

    def decided(self, pkt: Packet, header: int, seen: int, is_message: bool, lacks_ports: bool) -> int:
        """What the rules say."""
        source, destination, source_port, destination_port = 0, 0, 0, 0
        for field in range(FIELDS):
            lower = 0
            if field == SOURCE:
                number = pkt.src_high ^ SIGN if pkt.is_ipv6 else pkt.src
                lower = pkt.src_low ^ SIGN if pkt.is_ipv6 else 0
            elif field == DESTINATION:
                number = pkt.dst_high ^ SIGN if pkt.is_ipv6 else pkt.dst
                lower = pkt.dst_low ^ SIGN if pkt.is_ipv6 else 0
            elif is_message:
                number = pkt.icmp_type << 8 | pkt.icmp_code if pkt.is_icmp else UNREADABLE
            elif lacks_ports:
                number = UNREADABLE
            else:
                number = pkt.src_port if field == SOURCE_PORT else pkt.dst_port
            vector = self.vector_of(pkt, header + field, number, lower)
            if field == SOURCE:
                source = vector
            elif field == DESTINATION:
                destination = vector
            elif field == SOURCE_PORT:
                source_port = vector
            else:
                destination_port = vector
        kind = self.classifier[self.classifier[header + KINDS] + STATES * pkt.protocol + seen]
        return self.first_match(header, source, destination, source_port, destination_port, kind)

    def vector_of(self, pkt: Packet, field: int, number: int, lower: int) -> int:
        """Where the vector lies of the interval of a field that a number falls into. field: with that of its header."""
        steps = self.classifier[field + STEPS]
        first = self.classifier[field + INTERVALS]
        size = 1 << steps
        for step in range(steps):
            half = size >> (step + 1)
            begin = self.classifier[first + half]
            # Only of IPv6 do several begin alike; a test that no processor predicts costs more than the search.
            if pkt.is_ipv6 and begin == number and self.classifier[first + half + size] > lower:
                half = 0
            first += half if begin <= number else 0
        return self.classifier[first + 2 * size]

    def first_match(
        self, header: int, source: int, destination: int, source_port: int, destination_port: int, kind: int
    ) -> int:
        """The decision of the first rule whose bit is in all vectors; they are given by where they lie."""
        aggregates = self.classifier[header + AGGREGATES]
        decision = self.classifier[header + NO_RULE]
        for group in range(aggregates):
            filled = (
                (self.classifier[source + group] | self.classifier[destination + group])
                & self.classifier[source_port + group]
                & self.classifier[destination_port + group]
                & self.classifier[kind + group]
            )
            matching = 0
            for _ in range(64):
                if filled == 0:
                    break
                lowest = filled & -filled
                filled ^= lowest
                word = 64 * group + BIT_AT[(lowest * DE_BRUIJN >> 58) & 63]
                at = aggregates + word
                matching = self.classifier[source + at] & self.classifier[destination + at]
                if matching != 0:
                    matching &= self.classifier[destination_port + at]
                    matching &= self.classifier[source_port + at] & self.classifier[kind + at]
                if matching != 0:
                    rule = 64 * word + BIT_AT[((matching & -matching) * DE_BRUIJN >> 58) & 63]
                    decision = self.classifier[self.classifier[header + RESULTS] + rule]
                    break
            if matching != 0:
                break
        return decision

    #: Of an ICMP error, `state` is that of the flow that it is about.
    error = packet

    def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
        counts = core["counts"].reshape(-1, 2).tolist()
        listed = [
            {"line": rule.line, "rule": rule.text, "packets": packets, "bytes": length}
            for rule, (packets, length) in zip(self.chain_of_rules.rules, counts[1:], strict=False)
        ]
        (packets, length), (unseen, _) = counts[len(listed) + 1 : len(listed) + 3]
        policy = {"policy": "accept" if self.chain_of_rules.accepts else "drop", "packets": packets, "bytes": length}
        others = {"other family": unseen} if unseen else {}
        return {"connections": len(states), "rules": listed, "policy": policy} | others
