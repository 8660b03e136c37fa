"""Packets and bytes per source address."""

from fajita.nfs._address_counter import AddressCounter


class SourceCounter(AddressCounter):
    """Counts the packets and bytes of every source address.

    The summary is of those too that a timeout has ended; one that comes back after it is counted again.
    """
