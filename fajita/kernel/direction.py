"""Both directions of a connection under one key: that of the direction whose source is the smaller.

The words are those of key.connection, as they lie in the packet: addresses, then source port, destination port and
protocol. Which of two addresses is the smaller does not matter, as long as both directions agree.

There is no branch in any of this: either of a packet's addresses may be the smaller, which no processor can predict.
"""

from fajita.kernel.arithmetic import shift_right_unsigned
from fajita.kernel.function import kernel_function


@kernel_function
def is_turned_4(addresses, ports):
    """1 if this is the key of the other direction."""
    source = ((addresses & 0xFFFFFFFF) << 16) | (ports & 0xFFFF)
    destination = (shift_right_unsigned(addresses, 32) << 16) | ((ports >> 16) & 0xFFFF)
    return source > destination


@kernel_function
def is_turned_6(source_high, source_low, destination_high, destination_low, ports):
    """The same for IPv6."""
    ports_turned = (ports & 0xFFFF) > ((ports >> 16) & 0xFFFF)
    low_turned = (source_low > destination_low) | ((source_low == destination_low) & ports_turned)
    return (source_high > destination_high) | ((source_high == destination_high) & low_turned)


@kernel_function
def either(direction, word, other):
    """A word, or the other one if the direction is 1."""
    return word ^ ((word ^ other) & -direction)


@kernel_function
def turned_addresses(direction, addresses):
    """Two IPv4 addresses, exchanged if the direction is 1."""
    return either(direction, addresses, (addresses << 32) | shift_right_unsigned(addresses, 32))


@kernel_function
def turned_ports(direction, ports):
    """The ports exchanged if the direction is 1, the protocol where it was."""
    difference = (ports ^ (ports >> 16)) & 0xFFFF & -direction
    return ports ^ difference ^ (difference << 16)
