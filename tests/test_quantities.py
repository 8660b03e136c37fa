"""Quantities with units."""

from collections.abc import Callable
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fajita.quantities import (
    BurstValue,
    RateValue,
    parse_burst,
    parse_duration,
    parse_ipv4,
    parse_rate,
    parse_size,
)

NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "min": 6 * 10**10, "h": 36 * 10**11}
BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
PER_SECOND = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


@given(st.integers(0, 2**20), st.sampled_from(list(NANOSECONDS)), st.sampled_from(["", " ", "  "]))
def test_duration_is_in_nanoseconds(number: int, unit: str, space: str) -> None:
    assert parse_duration(f"{number}{space}{unit}") == number * NANOSECONDS[unit]


@given(st.integers(0, 2**20), st.sampled_from(list(BYTES)))
def test_size_is_in_bytes(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * BYTES[unit]


@given(st.integers(0, 2**20), st.sampled_from(list(PER_SECOND)), st.sampled_from(["bps", "pps"]))
def test_rate_is_per_second(number: int, prefix: str, unit: str) -> None:
    assert parse_rate(f"{number}{prefix}{unit}") == RateValue(number * PER_SECOND[prefix], unit)


@given(st.decimals(0, 10**6, places=3))
def test_fractions_are_exact(number: Decimal) -> None:
    assert parse_duration(f"{number:f}us") == int(number * 1000)


@given(st.integers(0, 2**32 - 1))
def test_address_is_a_number_in_host_order(address: int) -> None:
    assert parse_ipv4(str(IPv4Address(address))) == address
    assert parse_ipv4(IPv4Address(address)) == address


def test_burst_is_bytes_with_a_unit_and_packets_without() -> None:
    assert parse_burst("64kB") == BurstValue(64_000, "B")
    assert parse_burst(64) == BurstValue(64, "packets")
    assert parse_burst(BurstValue(1, "B")) == BurstValue(1, "B")
    assert parse_rate(RateValue(1, "bps")) == RateValue(1, "bps")


@pytest.mark.parametrize(
    ("parse", "value"),
    [
        *(
            (parse, value)
            for parse in (parse_rate, parse_size, parse_duration)
            for value in ("", "1", "k", "1 k B", "-1s")
        ),
        *((parse, value) for parse in (parse_rate, parse_size, parse_duration) for value in (1, 1.5, None, True, [])),
        (parse_rate, "1gbps"),
        (parse_rate, "1Tpps"),
        (parse_rate, "1kB"),
        (parse_size, "1KB"),
        (parse_size, "1Gbps"),
        (parse_size, "1e3B"),
        (parse_size, "٣B"),
        (parse_duration, "1d"),
        (parse_duration, "1S"),
        (parse_duration, ".5s"),
        (parse_duration, "1.s"),
        (parse_burst, True),
        (parse_burst, "64"),
        (parse_burst, 1.0),
    ],
)
def test_anything_else_is_refused_with_an_example(parse: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(ValueError, match="is not a quantity such as"):
        parse(value)


@pytest.mark.parametrize(
    "value", ["10.0.0", "10.0.0.256", "10.0.0.01", "10.0.0.1/24", "::1", "host", "", 1, 10.0, None]
)
def test_no_address(value: Any) -> None:
    with pytest.raises(ValueError, match=r"is not an IPv4 address such as 10\.0\.0\.1"):
        parse_ipv4(value)


@pytest.mark.parametrize(
    ("parse", "value", "unit"),
    [(parse_rate, "0.5pps", "pps"), (parse_size, "1.5B", "B"), (parse_duration, "0.1ns", "ns")],
)
def test_parts_of_the_smallest_unit_are_refused_not_lost(parse: Callable[[Any], Any], value: str, unit: str) -> None:
    with pytest.raises(ValueError, match=f"is not a whole number of {unit}"):
        parse(value)


@pytest.mark.parametrize(
    ("parse", "value"),
    [(parse_duration, "9223372036854775808ns"), (parse_size, "9" * 5000 + "B"), (parse_rate, "9223373Tbps")],
)
def test_more_than_the_kernel_can_count_is_refused(parse: Callable[[Any], Any], value: str) -> None:
    with pytest.raises(ValueError, match="is too much"):
        parse(value)


def test_largest_quantity() -> None:
    assert parse_duration("9223372036854775807ns") == 2**63 - 1
