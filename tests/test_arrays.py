"""NFs with arrays, bits, random numbers and hashes: both engines agree on them, and they do what they say."""

from functools import cache

import pytest
from hypothesis import given

from fajita.chain import Chain
from fajita.nf import NF
from tests.array_nfs import ALL
from tests.test_differential import assert_engines_agree, given_traffic
from tests.traffic import Traffic, many_flows, traffic


@cache
def chain_of(nf_class: type[NF]) -> Chain:
    """The NF twice: as it comes, and with a timeout where it can have one."""
    timeout = {} if nf_class.key is None else {"timeout": "5us"}
    return Chain([nf_class(name="first", **timeout), nf_class(name="second")])


EVERYTHING = Chain([nf_class() for nf_class in ALL])


@pytest.mark.parametrize("nf_class", ALL, ids=lambda nf_class: nf_class.__name__)
@given_traffic
@given(packets=traffic())
def test_engines_agree_on_an_nf_with_arrays(nf_class: type[NF], packets: Traffic) -> None:
    assert_engines_agree(chain_of(nf_class), packets)


@given_traffic
@given(packets=traffic())
def test_engines_agree_on_all_of_them_in_a_chain(packets: Traffic) -> None:
    assert_engines_agree(EVERYTHING, packets)


def test_engines_agree_while_tables_with_large_entries_grow() -> None:
    assert_engines_agree(EVERYTHING, many_flows(3000, repeats=2))
