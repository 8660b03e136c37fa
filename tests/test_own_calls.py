"""NFs whose hooks call methods of their own: both engines agree, of which one has no calls."""

from functools import cache

from hypothesis import given

from fajita.chain import Chain
from tests.own_call_nfs import Calling
from tests.test_differential import assert_engines_agree, given_traffic
from tests.traffic import Traffic, traffic


@cache
def chain() -> Chain:
    return Chain([Calling(timeout="5us"), Calling(name="second", limit=2)])


@given_traffic
@given(packets=traffic())
def test_engines_agree(packets: Traffic) -> None:
    assert_engines_agree(chain(), packets)
