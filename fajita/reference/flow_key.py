"""The key of a packet, as the interpreted engine has it."""

from typing import NamedTuple

from fajita.key import Key
from fajita.reference.packet_view import PacketView


class KeyValues(NamedTuple):
    """The values of a key's fields, in their order; family: 4 or 6 where that makes a difference, else 0."""

    family: int
    fields: tuple[int, ...]


def key_values(key: Key, pkt: PacketView) -> KeyValues | None:
    """The packet's key as it stands in the headers now, ports 0 where the protocol has none; None if it has no key."""
    for packing in key.packings:
        if pkt.has_for_key(packing.layer):
            family, masked = packing.family, zip(key.fields, packing.masks, strict=True)
            return KeyValues(family, tuple([pkt.key_field(name, family) & mask for name, mask in masked]))
    return None


def turned(values: KeyValues) -> KeyValues:
    """The values of a 5-tuple for the other direction."""
    source, destination, source_port, destination_port, *rest = values.fields
    return KeyValues(values.family, (destination, source, destination_port, source_port, *rest))
