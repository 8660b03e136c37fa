"""The internet checksum after a change, against RFC 1624's equation 3."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.kernel.bounds import allow_only
from fajita.kernel.checksum import fold, less, repair, repair_udp
from fajita.kernel.entry import compiled
from tests.kernel.callees import Callees

CALLEES = Callees({"fold": fold, "less": less, "repair": repair, "repair_udp": repair_udp})
ENTER = CALLEES.enter
halfword = st.one_of(st.integers(0, 0xFFFF), st.sampled_from((0, 1, 0xFFFE, 0xFFFF)))


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


def folded(total: int) -> int:
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def by_the_equation(checksum: int, change: int) -> int:
    return folded((checksum ^ 0xFFFF) + change) ^ 0xFFFF


@given(total=st.integers(0, (1 << 32) - 1))
def test_a_sum_is_folded_until_it_has_16_bits(call, total):
    assert call("fold", total) == folded(total)


@given(checksum=halfword, change=halfword)
def test_a_checksum_less_a_change_is_what_the_equation_gives(call, checksum, change):
    assert call("less", checksum, change) == by_the_equation(checksum, change)


@pytest.mark.parametrize("name", ["repair", "repair_udp"])
@given(checksum=halfword, change=halfword)
def test_checksums_are_repaired_where_they_lie(call, name, checksum, change):
    memory = np.array([checksum], np.uint16)
    allow_only([memory], [])
    call(name, memory.ctypes.data, change)
    expected = by_the_equation(checksum, change)
    if name == "repair_udp":
        expected = 0 if checksum == 0 else expected or 0xFFFF
    assert memory[0] == expected
