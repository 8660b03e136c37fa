"""Addresses of both families as one kind of key of a sketch, and as text."""

from ipaddress import IPv4Address, IPv6Address, ip_address

#: The upper 32 bits of the lower half of an IPv4 address as an IPv6 one, ::ffff:10.0.0.1 (RFC 4291, 2.5.5.2).
MAPPED = 0xFFFF << 32

HALF = (1 << 64) - 1


def halves(address: str) -> tuple[int, int]:
    """An address as a sketch has it: the upper and the lower 64 bits."""
    parsed = ip_address(address)
    number = int(parsed) if parsed.version == 6 else MAPPED | int(parsed)
    return number >> 64, number & HALF


def address_of(high: int, low: int) -> IPv4Address | IPv6Address:
    """The address of such halves."""
    if high == 0 and low >> 32 == MAPPED >> 32:
        return IPv4Address(low & 0xFFFFFFFF)
    return IPv6Address((high & HALF) << 64 | low & HALF)
