"""Finds the first rule that matches without going through the rules: bit vectors (Lakshman and Stiliadis, High-Speed
Policy-based Packet Forwarding Using Efficient Multi-dimensional Range Matching, SIGCOMM 1998), with aggregates of
their words (Baboescu and Varghese, Scalable Packet Classification, SIGCOMM 2001).

Each field's numbers fall into intervals in which the same rules match; a vector has a bit for each rule, from the
lowest of the first word on. What matches a packet is what is in the vectors of all its fields. A vector begins with
aggregates: a bit for each of its words, whether it is not 0. As rules for any source make all words of any source's
vector so, aggregates of sources leave these rules out, and those of destinations have no others: where a rule matches,
it is in one of the two. All of it is one array of integers:

    two headers, of IPv4 and IPv6   HEADER numbers each, at the places named below
    per field                       2**steps first numbers of intervals (of an IPv6 address the upper half, so that
                                    signed numbers compare), as many lower halves, as many places of vectors; the
                                    last interval is repeated until there are so many
    per protocol and state          the place of a vector, at 8 * protocol + state
    vectors                         aggregates, then words
    results                         by the number of a rule, from 0 on: its decision
"""

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fajita.nfs.firewall_rules.conditions import Rule, Ruleset
from fajita.nfs.firewall_rules.spans import Spans

#: The fields of a packet that are looked up in intervals; of ICMP the message is the destination port.
SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT = range(4)
FIELDS = 4
#: What stands for a port or a message that a packet lacks, a later fragment say: no rule can ask for it.
UNREADABLE = 1 << 16
#: In a header: places of the fields' intervals, then how many steps a search takes in each; place of the vectors by
#: protocol and state; aggregates of a vector; place of the results; the decision where no rule matches.
INTERVALS, STEPS, KINDS, AGGREGATES, RESULTS, NO_RULE = 0, 4, 8, 9, 10, 11
HEADER = 16
IPV4_HEADER, IPV6_HEADER = 0, HEADER

_WORD = (1 << 64) - 1
_SIGN = 1 << 63
STATES, PROTOCOLS = 8, 256
#: Numbers in the array, so that most sets of rules have the same kernel; and at most: 1 GiB.
LEAST_NUMBERS = 1 << 16
MAXIMUM_NUMBERS = 1 << 27


def decision(number: int, accepts: bool) -> int:
    """What becomes of a packet: twice a rule's number, from 1 on, plus 1 if the packet goes on. 0 is none."""
    return 2 * number + accepts


def classifier(rules: Ruleset) -> NDArray[np.int64]:
    """The array for a chain of rules; of a power of two, so that few kernels differ by it.

    The policy has the number after the last rule's, and packets that the table does not see the one after that.
    """
    made = _Array()
    for header, family in ((IPV4_HEADER, 4), (IPV6_HEADER, 6)):
        numbered = [(n, rule) for n, rule in enumerate(rules.rules, 1) if _is_about(rule, family)]
        policy = decision(len(rules.rules) + 1, rules.accepts)
        no_rule = policy if family in rules.families else decision(len(rules.rules) + 2, True)
        _Family(made, [rule for _, rule in numbered], 32 if family == 4 else 128).place(
            header, [decision(n, rule.accepts) for n, rule in numbered], no_rule
        )
    return made.padded()


def _is_about(rule: Rule, family: int) -> bool:
    return any(first <= family <= last for first, last in rule.parts["family"])


class _Array:
    """The array while it grows."""

    def __init__(self) -> None:
        self.header = np.zeros(2 * HEADER, np.int64)
        self._pieces: list[NDArray[np.int64]] = []
        self.length = len(self.header)

    def add(self, numbers: NDArray[np.int64]) -> int:
        """Where the numbers are from now on."""
        place, self.length = self.length, self.length + len(numbers)
        if self.length > MAXIMUM_NUMBERS:
            raise ValueError("the rules need more than 1 GiB; give fewer that differ in their addresses or ports")
        self._pieces.append(numbers)
        return place

    def padded(self) -> NDArray[np.int64]:
        """All of it."""
        size = max(LEAST_NUMBERS, 1 << (self.length - 1).bit_length())
        padding = np.zeros(size - self.length, np.int64)
        return np.concatenate([self.header, *self._pieces, padding])


class _Family:
    """The rules of a family. address_bits: 32 or 128."""

    def __init__(self, made: _Array, rules: list[Rule], address_bits: int) -> None:
        self.made, self.rules, self.address_bits = made, rules, address_bits
        #: Of a vector; a whole number of aggregates would be a waste.
        self.words = max(1, -(-len(rules) // 64))
        self.aggregates = -(-self.words // 64)
        self._any_source = sum(1 << n for n, rule in enumerate(rules) if "src" not in rule.parts)
        self._vectors: dict[tuple[int, int], int] = {}

    def place(self, header: int, results: list[int], no_rule: int) -> None:
        """Place everything, and say in the header where it is."""
        words = self.made.header[header : header + HEADER]
        for field in range(FIELDS):
            words[INTERVALS + field], words[STEPS + field] = self._place_intervals(field)
        words[KINDS] = self._place_kinds()
        words[AGGREGATES] = self.aggregates
        words[RESULTS] = self.made.add(np.array(results, np.int64))
        words[NO_RULE] = no_rule

    def _spans(self, rule: Rule, field: int) -> Spans:
        """The numbers of a field that a rule matches."""
        if field in (SOURCE, DESTINATION):
            return rule.spans("src" if field == SOURCE else "dst", self.address_bits)
        part = "sport" if field == SOURCE_PORT else "dport"
        if part in rule.parts:
            return rule.parts[part]
        if field == DESTINATION_PORT and ("icmp_type" in rule.parts or "icmp_code" in rule.parts):
            return rule.messages()
        return ((0, UNREADABLE),)

    def _place_intervals(self, field: int) -> tuple[int, int]:
        """Where the intervals of a field are, and the steps of a search."""
        is_address = field in (SOURCE, DESTINATION)
        limit = 1 << self.address_bits if is_address else UNREADABLE + 1
        sets = _intervals((self._spans(rule, field) for rule in self.rules), limit)
        among = {SOURCE: ~self._any_source, DESTINATION: self._any_source}.get(field, -1)
        firsts, vectors = zip(*((first, self._vector(matching, among)) for first, matching in sets), strict=True)
        steps = (len(firsts) - 1).bit_length()
        missing = (1 << steps) - len(firsts)
        is_ipv6 = is_address and self.address_bits == 128
        upper = [(first >> 64) - _SIGN if is_ipv6 else first for first in firsts]
        lower = [(first & _WORD) - _SIGN if is_ipv6 else 0 for first in firsts]
        columns = [[*column, *[column[-1]] * missing] for column in (upper, lower, list(vectors))]
        return self.made.add(np.array(columns, np.int64).reshape(-1)), steps

    def _place_kinds(self) -> int:
        """Where the places of vectors are, by protocol and state."""
        by_state = [sum(1 << n for n, rule in enumerate(self.rules) if _has(rule, state)) for state in range(STATES)]
        places: list[int] = []
        sets = [*_intervals((rule.spans("protocol", 8) for rule in self.rules), PROTOCOLS), (PROTOCOLS, 0)]
        for (first, matching), (next_, _) in pairwise(sets):
            places += [self._vector(matching & of_state) for of_state in by_state] * (next_ - first)
        return self.made.add(np.array(places, np.int64))

    def _vector(self, matching: int, among: int = -1) -> int:
        """Where the vector is that has these bits; its aggregates are about those of them that are among some."""
        if (matching, among) not in self._vectors:
            # Words beyond the last are in no aggregate, so that nothing reads them.
            filled = np.zeros(64 * self.aggregates, bool)
            filled[: self.words] = self._words_of(matching & among) != 0
            aggregates = np.packbits(filled, bitorder="little").view("<i8")
            self._vectors[matching, among] = self.made.add(np.concatenate([aggregates, self._words_of(matching)]))
        return self._vectors[matching, among]

    def _words_of(self, bits: int) -> NDArray[np.int64]:
        return np.frombuffer(bits.to_bytes(8 * self.words, "little"), "<i8")


def _has(rule: Rule, state: int) -> bool:
    return any(first <= state <= last for first, last in rule.spans("state", 3))


def _intervals(spans_of_rules: Iterable[Spans], limit: int) -> list[tuple[int, int]]:
    """The intervals below a limit in which the same rules match: their first numbers, and those rules, a bit each."""
    changes: defaultdict[int, int] = defaultdict(int, {0: 0})
    for number, spans in enumerate(spans_of_rules):
        for first, last in spans:
            changes[first] ^= 1 << number
            changes[last + 1] ^= 1 << number
    matching = 0
    intervals: list[tuple[int, int]] = []
    for first, change in sorted(changes.items()):
        matching ^= change
        if first < limit and (not intervals or matching != intervals[-1][1]):
            intervals.append((first, matching))
    return intervals
