"""The settings of a chain: what they are if nobody says anything, and what cannot be."""

import pytest

from fajita import Chain, InputError
from fajita.nfs.flow_counter import FlowCounter
from fajita.settings import MAXIMUM_CAPACITY, Settings, check_settings


def test_usually_nothing_ends_and_tables_grow() -> None:
    assert check_settings() == Settings(other="pass", timeout_ns=None, capacity=None, full="drop")


def test_what_can_be_said() -> None:
    given = check_settings(other="drop", timeout="1.5s", capacity=10_000, full="evict")
    assert given == Settings(other="drop", timeout_ns=1_500_000_000, capacity=10_000, full="evict")
    assert check_settings(capacity=1).capacity == 1
    assert check_settings(capacity=MAXIMUM_CAPACITY).capacity == 1 << 31
    assert check_settings(full="bypass").full == "bypass"


@pytest.mark.parametrize(
    ("setting", "value", "what", "right"),
    [
        ("other", "maybe", "other is 'maybe'", "pass or drop"),
        ("other", ["drop"], "other is ['drop']", "pass or drop"),
        ("full", "evct", "full is 'evct'", "drop or bypass or evict"),
        ("full", None, "full is None", "drop or bypass or evict"),
        ("full", True, "full is True", "drop or bypass or evict"),
        ("capacity", 0, "capacity is 0", "a number of flows, 1 to 2,147,483,648"),
        ("capacity", -1, "capacity is -1", "a number of flows"),
        ("capacity", MAXIMUM_CAPACITY + 1, "capacity is 2147483649", "a number of flows"),
        ("capacity", "10k", "capacity is '10k'", "a number of flows"),
        ("capacity", 1.5, "capacity is 1.5", "a number of flows"),
        ("capacity", True, "capacity is True", "a number of flows"),
        ("timeout", 30, "timeout of the chain: 30 is not a quantity such as 30s", ""),
        ("timeout", "30", "timeout of the chain: '30' is not a quantity such as 30s", ""),
        ("timeout", "0s", "timeout of the chain is 0s", "more than 0"),
        ("timeout", "-1s", "timeout of the chain: '-1s' is not a quantity", ""),
        ("timeout", "1e9h", "timeout of the chain: '1e9h' is not a quantity", ""),
        ("timeout", "99999999h", "timeout of the chain: '99999999h' is too much", ""),
    ],
)
def test_what_cannot_be(setting: str, value: object, what: str, right: str) -> None:
    with pytest.raises(InputError) as caught:
        Chain([FlowCounter()], **{setting: value})
    assert caught.value.what.startswith(what)
    assert caught.value.right.startswith(right)
