"""Both directions of a connection under one key: that of the direction whose source is the smaller.

The words are those of key.connection, as they lie in the packet: addresses, then source port, destination port and
protocol. Which of two addresses is the smaller does not matter, as long as both directions agree.
"""

from fajita.kernel.arithmetic import shift_right_unsigned
from fajita.kernel.function import kernel_function


@kernel_function
def is_turned_4(addresses, ports):
    """1 if this is the key of the other direction."""
    source, destination = addresses & 0xFFFFFFFF, shift_right_unsigned(addresses, 32)
    if source == destination:
        return (ports & 0xFFFF) > ((ports >> 16) & 0xFFFF)
    return source > destination


@kernel_function
def is_turned_6(source_high, source_low, destination_high, destination_low, ports):
    """The same for IPv6."""
    if source_high != destination_high:
        return source_high > destination_high
    if source_low != destination_low:
        return source_low > destination_low
    return (ports & 0xFFFF) > ((ports >> 16) & 0xFFFF)


@kernel_function
def turned_addresses(addresses):
    """Two IPv4 addresses exchanged."""
    return (addresses << 32) | shift_right_unsigned(addresses, 32)


@kernel_function
def turned_ports(ports):
    """The ports exchanged, the protocol where it was."""
    return ((ports & 0xFFFF) << 16) | ((ports >> 16) & 0xFFFF) | (ports & ~0xFFFFFFFF)
