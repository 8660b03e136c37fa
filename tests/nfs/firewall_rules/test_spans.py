"""Spans against sets of numbers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fajita.nfs.firewall_rules.spans import complement, everything, intersection, union

BITS = 6
spans = st.lists(st.tuples(st.integers(0, 63), st.integers(0, 63)).map(lambda pair: tuple(sorted(pair))), max_size=5)


def numbers(found):
    return {number for first, last in found for number in range(first, last + 1)}


@given(spans)
def test_a_union_is_sorted_with_gaps_and_has_the_same_numbers(given_spans):
    joined = union(given_spans)
    assert numbers(joined) == numbers(given_spans)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(joined))


@given(spans, spans)
def test_intersection_and_complement(left, right):
    one, other = union(left), union(right)
    assert numbers(intersection(one, other)) == numbers(one) & numbers(other)
    assert numbers(complement(one, BITS)) == numbers(everything(BITS)) - numbers(one)
