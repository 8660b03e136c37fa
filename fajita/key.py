"""Granularity: the header fields an NF's state hangs on, and how they are packed into the words of a flow entry.

A packed key is one or more 64-bit words. The fields lie in them as in the packet, in network byte order. The top
byte of the last word is left free: there an entry marks which of the NFs that share it have state in it.
"""

from dataclasses import dataclass

from fajita.packet import Layer


@dataclass(frozen=True)
class KeyPart:
    """`bits` loaded at `offset` bytes from the start of a header, put into `word` at bit `shift`; 0 without `layer`."""

    start: str
    offset: int
    bits: int
    word: int
    shift: int
    layer: Layer


@dataclass(frozen=True)
class KeyColumn:
    """How a field of the key is read back: `bits` at bit `shift` of `word`, in network byte order."""

    name: str
    kind: str  # ipv4 or int
    word: int
    shift: int
    bits: int


@dataclass(frozen=True)
class Key:
    """A granularity. `fields` are names of packet fields; `layer` must be there for a packet to have this key."""

    name: str
    fields: tuple[str, ...]
    layer: Layer
    words: int
    parts: tuple[KeyPart, ...]
    columns: tuple[KeyColumn, ...]

    def __repr__(self) -> str:
        return self.name


five_tuple = Key(
    "five_tuple",
    ("src", "dst", "src_port", "dst_port", "protocol"),
    Layer.FLOW | Layer.IPV4,
    2,
    (
        KeyPart("ip", 12, 64, 0, 0, Layer.IPV4),
        KeyPart("transport", 0, 32, 1, 0, Layer.PORTS),
        KeyPart("ip", 9, 8, 1, 32, Layer.IPV4),
    ),
    (
        KeyColumn("src", "ipv4", 0, 0, 32),
        KeyColumn("dst", "ipv4", 0, 32, 32),
        KeyColumn("src_port", "int", 1, 0, 16),
        KeyColumn("dst_port", "int", 1, 16, 16),
        KeyColumn("protocol", "int", 1, 32, 8),
    ),
)
source = Key(
    "source", ("src",), Layer.IPV4, 1, (KeyPart("ip", 12, 32, 0, 0, Layer.IPV4),), (KeyColumn("src", "ipv4", 0, 0, 32),)
)
destination = Key(
    "destination",
    ("dst",),
    Layer.IPV4,
    1,
    (KeyPart("ip", 16, 32, 0, 0, Layer.IPV4),),
    (KeyColumn("dst", "ipv4", 0, 0, 32),),
)

#: The keys a chain can name.
KEYS: dict[str, Key] = {key.name: key for key in (five_tuple, source, destination)}
