"""Quantities with units, as people write them: 1Gbps, 100kpps, 64kB, 30s, 10.0.0.1."""

import ipaddress
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BeforeValidator

from fajita.errors import InputError

_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµ]*)\s*")

_RATE_UNITS = {
    f"{prefix}{unit}": (factor, unit)
    for unit in ("bps", "pps")
    for prefix, factor in (("", 1), ("k", 10**3), ("M", 10**6), ("G", 10**9), ("T", 10**12))
    if not (unit == "pps" and prefix == "T")
}
_SIZE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DURATION_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}


#: What an amount has to stay below: the kernel computes in 64 bits, signed.
_MAXIMUM = 1 << 63


def _split(value: Any, units: Any, example: str) -> tuple[Decimal, str]:
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in units:
        raise ValueError(f"{value!r} is not a quantity such as {example} (units: {', '.join(units)})")
    return Decimal(match[1]), match[2]


def _whole(value: Any, number: Decimal, factor: int, unit: str) -> int:
    """The amount in the smallest unit, which cannot be divided."""
    amount = number * factor
    if amount >= _MAXIMUM:
        raise ValueError(f"{value!r} is too much; less than 2**63 {unit} fit")
    if amount != int(amount):
        raise ValueError(f"{value!r} is not a whole number of {unit}")
    return int(amount)


@dataclass(frozen=True)
class RateValue:
    """A rate: `per_second` bits if `unit` is bps, packets if it is pps."""

    per_second: int
    unit: str


def parse_rate(value: Any) -> RateValue:
    """Turn 1Gbps or 100kpps into a RateValue; ValueError says what would be right."""
    if isinstance(value, RateValue):
        return value
    number, unit = _split(value, _RATE_UNITS, "1Gbps or 100kpps")
    factor, kind = _RATE_UNITS[unit]
    return RateValue(_whole(value, number, factor, kind), kind)


def parse_size(value: Any) -> int:
    """Turn 64kB into bytes."""
    number, unit = _split(value, _SIZE_UNITS, "64kB")
    return _whole(value, number, _SIZE_UNITS[unit], "B")


def given_size(option: str, value: Any) -> int:
    """The bytes of a size that an option was given; InputError that names it."""
    try:
        return parse_size(value)
    except ValueError:
        right = f"a number and a unit, such as 4GB (units: {', '.join(_SIZE_UNITS)})"
        raise InputError(f"{option} {value}", right=right) from None


def given_duration(option: str, value: Any) -> int:
    """The nanoseconds, more than 0, that an option was given; InputError that names it."""
    try:
        nanoseconds = parse_duration(value)
    except ValueError:
        nanoseconds = 0
    if nanoseconds <= 0:
        right = f"a number and a unit, such as 100ms (units: {', '.join(_DURATION_UNITS)})"
        raise InputError(f"{option} {value}", right=right)
    return nanoseconds


@dataclass(frozen=True)
class BurstValue:
    """What a token bucket holds: bytes if `unit` is B, packets if it is packets."""

    amount: int
    unit: str


def parse_burst(value: Any) -> BurstValue:
    """Turn 64kB, or a whole number of packets, into a BurstValue."""
    if isinstance(value, BurstValue):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return BurstValue(value, "packets")
    return BurstValue(parse_size(value), "B")


def parse_duration(value: Any) -> int:
    """Turn 30s into nanoseconds."""
    number, unit = _split(value, _DURATION_UNITS, "30s")
    return _whole(value, number, _DURATION_UNITS[unit], "ns")


def parse_ipv4(value: Any) -> int:
    """Turn 10.0.0.1 into a number in host order."""
    if isinstance(value, str | ipaddress.IPv4Address):
        try:
            return int(ipaddress.IPv4Address(value))
        except ipaddress.AddressValueError:
            pass
    raise ValueError(f"{value!r} is not an IPv4 address such as 10.0.0.1")


# Types for the `Params` of an NF. A chain gives text, as does a default, and the NF gets numbers.
if TYPE_CHECKING:
    Rate: TypeAlias = RateValue | str
    ByteSize: TypeAlias = int | str
    Burst: TypeAlias = BurstValue | str | int
    Duration: TypeAlias = int | str
else:
    #: Bits or packets per second.
    Rate = Annotated[RateValue, BeforeValidator(parse_rate)]
    #: Bytes.
    ByteSize = Annotated[int, BeforeValidator(parse_size)]
    #: A number of bytes with a unit, or a whole number of packets.
    Burst = Annotated[BurstValue, BeforeValidator(parse_burst)]
    #: Nanoseconds.
    Duration = Annotated[int, BeforeValidator(parse_duration)]

#: An IPv4 address as a number in host order.
IPv4 = Annotated[int, BeforeValidator(parse_ipv4)]
