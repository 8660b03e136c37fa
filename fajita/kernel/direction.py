"""Both directions of a connection under one key: that of the direction whose source is the smaller.

The words are those of key.connection: source and destination address, then source port, destination port and protocol,
as they lie in the packet. Which of two addresses is the smaller does not matter, as long as both directions agree.
"""

from fajita.kernel.arithmetic import shift_right_unsigned
from fajita.kernel.function import kernel_function


@kernel_function
def is_turned(addresses, ports):
    """1 if this is the key of the other direction."""
    source, destination = addresses & 0xFFFFFFFF, shift_right_unsigned(addresses, 32)
    if source == destination:
        return (ports & 0xFFFF) > ((ports >> 16) & 0xFFFF)
    return source > destination


@kernel_function
def turned_addresses(addresses, direction):
    """The addresses exchanged if `direction` is 1."""
    return (addresses << 32) | shift_right_unsigned(addresses, 32) if direction else addresses


@kernel_function
def turned_ports(ports, direction):
    """The ports exchanged if `direction` is 1, the protocol where it was."""
    exchanged = ((ports & 0xFFFF) << 16) | ((ports >> 16) & 0xFFFF) | (ports & ~0xFFFFFFFF)
    return exchanged if direction else ports
