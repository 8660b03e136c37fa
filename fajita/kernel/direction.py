"""Both directions of a connection under one key: that of the direction whose source is the smaller.

The words are those of key.connection, as they lie in the packet: addresses, then source port, destination port and
protocol. Which of two addresses is the smaller does not matter, as long as both directions agree.

There is no branch that depends on which it is: either of a packet's addresses may be the smaller, which no processor
can predict.
"""

from fajita.kernel.arithmetic import is_above, shift_right_unsigned
from fajita.kernel.function import kernel_function


@kernel_function
def _turned(addresses):
    return (addresses << 32) | shift_right_unsigned(addresses, 32)


@kernel_function
def _are_ports_turned(ports):
    return (ports & 0xFFFF) > ((ports >> 16) & 0xFFFF)


@kernel_function
def is_turned_4(addresses, ports):
    """1 if this is the key of the other direction."""
    turned = _turned(addresses)
    if turned == addresses:
        return _are_ports_turned(ports)
    return is_above(turned, addresses)


@kernel_function
def is_turned_6(source_high, source_low, destination_high, destination_low, ports):
    """The same for IPv6."""
    low_turned = (source_low > destination_low) | ((source_low == destination_low) & _are_ports_turned(ports))
    return (source_high > destination_high) | ((source_high == destination_high) & low_turned)


@kernel_function
def either(direction, word, other):
    """A word, or the other one if the direction is 1."""
    return word ^ ((word ^ other) & -direction)


@kernel_function
def turned_addresses(direction, addresses):
    """Two IPv4 addresses, exchanged if the direction is 1."""
    return either(direction, addresses, _turned(addresses))


@kernel_function
def turned_ports(direction, ports):
    """The ports exchanged if the direction is 1, the protocol where it was."""
    low = ports & 0xFFFFFFFF
    return (ports ^ low) | either(direction, low, ((low << 16) & 0xFFFFFFFF) | (low >> 16))
