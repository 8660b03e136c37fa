import struct

from hypothesis import given
from hypothesis import strategies as st

from fajita.reference.checksum import updated, updated_udp
from tests.traffic import internet_checksum

words = st.lists(st.integers(0, 0xFFFF), min_size=2, max_size=20)


def _checksum(values):
    return internet_checksum(struct.pack(f">{len(values)}H", *values))


@given(values=words, position=st.integers(0, 18), new=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=2))
def test_an_updated_checksum_is_the_one_computed_anew(values, position, new):
    # Some nonzero word stays, as in every real header; of all zeros the sum has two representations.
    values = [0x4500, *values]
    position = 1 + position % (len(values) - 1)
    new = new[: len(values) - position]
    replaced = [*values[:position], *new, *values[position + len(new) :]]
    old = values[position : position + len(new)]
    assert updated(_checksum(values), old, new) == _checksum(replaced)


def test_the_example_of_rfc_1624():
    assert updated(0xDD2F, [0x5555], [0x3285]) == 0x0000


def test_udp_without_a_checksum_stays_without():
    assert updated_udp(0, [1], [2]) == 0


def test_a_udp_checksum_that_becomes_zero_is_sent_as_ones():
    assert updated(0xDD2F, [0x5555], [0x3285]) == 0
    assert updated_udp(0xDD2F, [0x5555], [0x3285]) == 0xFFFF
