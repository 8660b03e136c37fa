"""Finds the longest prefix that an address begins with, in few steps.

An address's first bits are the place of an entry in a large array, as in DIR-24-8 (Gupta, Lin and McKeown, Routing
Lookups in Hardware at Memory Access Speeds, INFOCOM 1998). If all addresses that begin so have one value, that is it.
Else the entry says where their ranges are, of which the one is found by halving, as in DXR (Zec, Rizzo and Mikuc, DXR:
Towards a Billion Routing Lookups per Second in Software, CCR 42(5), 2012): a range takes 8 bytes, where the 256 places
of DIR-24-8 take a kilobyte. Of IPv6 the upper half of an address is looked for so, and the lower one where prefixes are
longer than that; in ranges too.

An entry is 32 * number + steps. Without steps the number is the value, else that of the first of 2**steps ranges, of
which the last is repeated until there are so many.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]
Values = NDArray[np.int64]

#: Bits of an entry that say how often to halve.
STEP_BITS = 5
#: So many bits of an address are the place of an entry, by the number of prefixes.
DIRECT_BITS = ((1 << 12, 16), (1 << 16, 20), (1 << 62, 24))
#: Entries have 32 bits, so ranges and values fit these.
MAXIMUM_PLACES = 1 << (32 - STEP_BITS)

_SIGN = np.uint64(1 << 63)
_LAST = np.uint64((1 << 64) - 1)


@dataclass
class Prefixes:
    """Some of a family. upper: an address of IPv4, or the upper half of one of IPv6; lower: the other half, or 0.

    values: what an address has that begins so. over: of a prefix that counts only where the next shorter one has this
    value: that; else -1.
    """

    upper: Numbers
    lower: Numbers
    lengths: Values
    values: Values
    over: Values

    def __len__(self) -> int:
        return len(self.lengths)

    def those(self, which: NDArray[Any]) -> "Prefixes":
        """Some of them."""
        columns = (self.upper, self.lower, self.lengths, self.values, self.over)
        return Prefixes(*(column[which] for column in columns))


@dataclass
class Ranges:
    """Ranges of one or more tables, in order. groups: of what table each is; firsts: where it begins."""

    groups: Values
    firsts: Numbers
    values: Values


@dataclass
class PrefixTable:
    """The arrays for a family. direct: entries; ranges: numbers that are `value_bits` bits of a value after the rest of
    the first address; lower_*: of the lower half: entries by the number of an upper half, firsts of ranges with the
    sign turned, so that they compare as signed numbers do, and their values.
    """

    direct: NDArray[np.uint32]
    ranges: Values
    lower_entries: Values = field(default_factory=lambda: np.zeros(0, np.int64))
    lower_firsts: Values = field(default_factory=lambda: np.zeros(0, np.int64))
    lower_values: Values = field(default_factory=lambda: np.zeros(0, np.int64))


def direct_bits(prefixes: int) -> int:
    """Bits of an address that are the place of an entry."""
    return next(bits for most, bits in DIRECT_BITS if prefixes <= most)


def prefix_table(
    prefixes: Prefixes, width: int, bits: int, value_bits: int, first_range: int, first_lower: int
) -> PrefixTable:
    """Make the arrays.

    width: of an address, or its upper half. bits: of it, for the place of an entry. first_range: the place that ranges
    begin at in an array that other tables have ranges in, too. first_lower: the value that stands for the first upper
    half of which the lower one decides; the next one has the next.
    """
    if width == 32:
        direct, ranges = _direct(_ranges(prefixes, width), width, bits, value_bits, first_range)
        return PrefixTable(direct, ranges)
    is_long = prefixes.lengths > width
    short, long = prefixes.those(~is_long), prefixes.those(is_long)
    halves = distinct_values(long.upper)
    numbers = np.arange(len(halves), dtype=np.int64)
    upper = _ranges(short, width)
    # What is at the upper half by itself is what the lower one has where no longer prefix says more.
    found = np.searchsorted(upper.firsts, halves, "right") - 1
    beneath = Prefixes(
        halves, np.zeros_like(halves), np.full(len(halves), width + 1), upper.values[found], numbers * 0 - 1
    )
    lower = _lower_ranges(long, beneath)
    beneath.values = first_lower + numbers
    both = Prefixes(*(np.concatenate(pair) for pair in zip(_columns(short), _columns(beneath), strict=True)))
    direct, ranges = _direct(_ranges(both, width), width, bits, value_bits, first_range)
    entries, places = _placed(lower.groups, 0)
    return PrefixTable(direct, ranges, entries, (lower.firsts ^ _SIGN).view(np.int64)[places], lower.values[places])


def distinct_values(numbers: NDArray[Any]) -> NDArray[Any]:
    """The numbers in order, each once. Of millions numpy's own way takes several times as long."""
    ordered = np.sort(numbers)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]]


def _columns(prefixes: Prefixes) -> tuple[NDArray[Any], ...]:
    return prefixes.upper, prefixes.lower, prefixes.lengths, prefixes.values, prefixes.over


def _ranges(prefixes: Prefixes, width: int) -> Ranges:
    """The ranges of upper halves, or addresses of IPv4. A length of more than `width` is one of this number alone."""
    lasts = prefixes.upper | _rest(np.maximum(width - prefixes.lengths, 0))
    after = lasts[lasts < np.uint64((1 << width) - 1)] + np.uint64(1)
    firsts = distinct_values(np.concatenate([np.zeros(1, np.uint64), prefixes.upper, after]))
    begins = np.searchsorted(firsts, prefixes.upper)
    ends = np.searchsorted(firsts, lasts, "right")
    values = _painted(len(firsts), begins, ends, prefixes)
    return _merged(Ranges(np.zeros(len(firsts), np.int64), firsts, values))


def _lower_ranges(long: Prefixes, beneath: Prefixes) -> Ranges:
    """The ranges of lower halves, by the number of the upper half. beneath: by this number, what all begin with."""
    groups = np.searchsorted(beneath.upper, long.upper)
    lasts = long.lower | _rest(128 - long.lengths)
    after = lasts[lasts < _LAST] + np.uint64(1)
    # All of the numbers that occur, so that a group and the place of a number are one integer together.
    numbers = distinct_values(np.concatenate([np.zeros(1, np.uint64), long.lower, after]))
    size = len(numbers)

    def key(groups: Values, places: Values) -> Values:
        return groups * size + places

    begins_of = key(groups, np.searchsorted(numbers, long.lower))
    lasts_of = key(groups, np.searchsorted(numbers, lasts, "right") - 1)
    after_of = key(groups[lasts < _LAST], np.searchsorted(numbers, after))
    keys = distinct_values(np.concatenate([key(np.arange(len(beneath)), np.zeros(1, np.int64)), begins_of, after_of]))
    begins, ends = np.searchsorted(keys, begins_of), np.searchsorted(keys, lasts_of, "right")
    values = _painted(len(keys), begins, ends, long, beneath.values[keys // size])
    return _merged(Ranges(keys // size, numbers[keys % size], values))


def _rest(bits: Values) -> Numbers:
    """Numbers of which so many lower bits are set."""
    shifted = _LAST >> np.minimum(64 - bits, 63).astype(np.uint64)
    return np.where(bits == 0, np.uint64(0), shifted).astype(np.uint64)


def _painted(count: int, begins: Values, ends: Values, prefixes: Prefixes, values: Values | None = None) -> Values:
    """The values of so many ranges, of which each prefix has those from begins to ends: the longest counts."""
    values = np.zeros(count, np.int64) if values is None else values
    is_sure = prefixes.over < 0
    for which in _by_length(2 * prefixes.lengths + is_sure):
        begin, end, value = begins[which], ends[which], prefixes.values[which]
        if not is_sure[which[0]]:
            counts = values[begin] == prefixes.over[which]
            begin, end, value = begin[counts], end[counts], value[counts]
        # Those of one length do not overlap.
        sizes = end - begin
        places = np.arange(sizes.sum()) + np.repeat(begin - (np.cumsum(sizes) - sizes), sizes)
        values[places] = np.repeat(value, sizes)
    return values


def _by_length(order: Values) -> Iterator[Values]:
    """The places of equal numbers, the smallest first."""
    sorted_places = np.argsort(order, kind="stable")
    yield from (
        part for part in np.split(sorted_places, np.flatnonzero(np.diff(order[sorted_places])) + 1) if len(part)
    )


def _merged(ranges: Ranges) -> Ranges:
    """The same without ranges that are as the one before."""
    differs = np.ones(len(ranges.values), bool)
    differs[1:] = (np.diff(ranges.values) != 0) | (np.diff(ranges.groups) != 0)
    return Ranges(ranges.groups[differs], ranges.firsts[differs], ranges.values[differs])


def _direct(
    ranges: Ranges, width: int, bits: int, value_bits: int, first_range: int
) -> tuple[NDArray[np.uint32], Values]:
    """Entries by the first bits, and the ranges of those of which they do not decide."""
    shift, rest = np.uint64(width - bits), np.uint64((1 << (width - bits)) - 1)
    # The range that a place begins in: that of the first places from which on it is another.
    begins = ((ranges.firsts >> shift) + ((ranges.firsts & rest) != 0)).astype(np.int64)
    at_begin = np.repeat(np.arange(len(begins), dtype=np.int32), np.diff(begins, append=1 << bits))
    direct = (ranges.values << STEP_BITS).astype(np.uint32)[at_begin]
    inside = np.flatnonzero(ranges.firsts & rest)
    places = (ranges.firsts[inside] >> shift).astype(np.int64)
    divided = distinct_values(places)
    groups = np.concatenate([divided, places])
    firsts = np.concatenate([np.zeros(len(divided), np.int64), (ranges.firsts[inside] & rest).astype(np.int64)])
    numbers = (firsts << value_bits) | ranges.values[np.concatenate([at_begin[divided], inside])]
    order = np.lexsort([firsts, groups])
    entries, repeated = _placed(np.searchsorted(divided, groups[order]), first_range)
    direct[divided] = entries.astype(np.uint32)
    return direct, numbers[order][repeated]


def _placed(groups: Values, first: int) -> tuple[Values, Values]:
    """Entries of groups of ranges, which follow one another; and the ranges that are to stand there, some repeated."""
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    counts = np.diff(begins, append=len(groups))
    steps = np.ceil(np.log2(np.maximum(counts, 1))).astype(np.int64)
    sizes = np.left_shift(1, steps)
    places = np.cumsum(sizes) - sizes
    inside = np.arange(sizes.sum()) - np.repeat(places, sizes)
    return ((places + first) << STEP_BITS) | steps, np.repeat(begins, sizes) + np.minimum(
        inside, np.repeat(counts - 1, sizes)
    )
