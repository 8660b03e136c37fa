"""Addresses of both families as one kind of key of a sketch, and as text."""

from ipaddress import IPv4Address, IPv6Address

#: The upper 32 bits of the lower half of an IPv4 address as an IPv6 one, ::ffff:10.0.0.1 (RFC 4291, 2.5.5.2).
MAPPED = 0xFFFF << 32

#: What the arrays of a network function may take.
MAXIMUM_BYTES = 1 << 32

HALF = (1 << 64) - 1


def address_of(high: int, low: int) -> IPv4Address | IPv6Address:
    """The address of such halves."""
    if high == 0 and low >> 32 == MAPPED >> 32:
        return IPv4Address(low & 0xFFFFFFFF)
    return IPv6Address((high & HALF) << 64 | low & HALF)


def check_memory(size: int, what: str) -> None:
    """ValueError for a sketch that is too large."""
    if size > MAXIMUM_BYTES:
        raise ValueError(f"a sketch of {size:,} bytes; at most {MAXIMUM_BYTES:,} are possible: give {what}")
