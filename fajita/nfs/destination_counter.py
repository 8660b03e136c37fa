"""Packets and bytes per destination address."""

from fajita import destination
from fajita.nfs._address_counter import AddressCounter


class DestinationCounter(AddressCounter):
    """Counts the packets and bytes of every destination address.

    The summary is of those too that a timeout has ended; one that comes back after it is counted again.
    """

    key = destination
    counted = "destinations"
