"""Both directions of a connection come to one key, and it is known which of them a packet has."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fajita.kernel.direction import either, is_turned_4, is_turned_6, turned_addresses, turned_ports
from fajita.kernel.entry import compiled
from fajita.reference.integer import wrap
from tests.kernel.callees import Callees

CALLEES = Callees(
    {kernel.name: kernel for kernel in (either, is_turned_4, is_turned_6, turned_addresses, turned_ports)}
)
ENTER = CALLEES.enter

address = st.one_of(st.integers(0, 3), st.sampled_from((1 << 31, (1 << 32) - 1)), st.integers(0, (1 << 32) - 1))
half = st.one_of(st.integers(0, 2), st.integers(-(1 << 63), (1 << 63) - 1))
port = st.one_of(st.integers(0, 2), st.integers(0, 65535))
rest = st.integers(0, (1 << 24) - 1)


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


def ports_word(source: int, destination: int, others: int) -> int:
    return source | destination << 16 | others << 32


@settings(max_examples=300)
@given(source=address, destination=address, source_port=port, destination_port=port, others=rest)
def test_of_two_ipv4_endpoints_the_smaller_is_the_source(
    call, source, destination, source_port, destination_port, others
):
    addresses, ports = source | destination << 32, ports_word(source_port, destination_port, others)
    turned = call("is_turned_4", addresses, ports)
    assert turned == ((source, source_port) > (destination, destination_port))
    back = destination | source << 32, ports_word(destination_port, source_port, others)
    kept = call("turned_addresses", turned, addresses), call("turned_ports", turned, ports)
    assert kept == tuple(map(wrap, back if turned else (addresses, ports)))
    if (source, source_port) != (destination, destination_port):
        assert call("is_turned_4", *back) == 1 - turned


@settings(max_examples=300)
@given(source=st.tuples(half, half), destination=st.tuples(half, half), ports=st.tuples(port, port), others=rest)
def test_of_two_ipv6_endpoints_the_smaller_is_the_source(call, source, destination, ports, others):
    turned = call("is_turned_6", *source, *destination, ports_word(*ports, others))
    assert turned == ((*source, ports[0]) > (*destination, ports[1]))
    for own, other in zip(source, destination, strict=True):
        assert call("either", turned, own, other) == (other if turned else own)
