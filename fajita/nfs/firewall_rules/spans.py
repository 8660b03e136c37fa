"""Sets of numbers as spans: pairs of a first and a last number, sorted, with gaps between."""

from collections.abc import Iterable

Spans = tuple[tuple[int, int], ...]


def union(spans: Iterable[tuple[int, int]]) -> Spans:
    """The numbers that are in any of the spans."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def complement(spans: Spans, bits: int) -> Spans:
    """The numbers of so many bits that are in none."""
    gaps, next_ = [], 0
    for first, last in spans:
        if first > next_:
            gaps.append((next_, first - 1))
        next_ = last + 1
    return (*gaps, (next_, (1 << bits) - 1)) if next_ < 1 << bits else tuple(gaps)


def intersection(left: Spans, right: Spans) -> Spans:
    """The numbers that are in both."""
    common, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        first, last = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if first <= last:
            common.append((first, last))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(common)


def everything(bits: int) -> Spans:
    """All numbers of so many bits."""
    return ((0, (1 << bits) - 1),)
