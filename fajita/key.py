"""Granularity: the header fields an NF's state hangs on, and how they are packed into the words of a flow entry.

A packed key is one or more 64-bit words. The fields lie in them as in the packet, in network byte order, in the order
of the key, none across two words. The top byte of the last word is left free: there an entry marks which of the NFs
that share it have state in it.
"""

import re
from dataclasses import dataclass

from fajita.errors import InputError, nearest
from fajita.packet import FIELDS, Field, Layer

WORD_BITS = 64
#: Of the last word.
MARK_BITS = 8
#: A key may have so many words.
MAXIMUM_WORDS = 3


@dataclass(frozen=True)
class KeyPart:
    """`bits` (8 to 64) loaded at `offset` bytes from the start of a header, put into `word` at bit `shift`.

    mask: what of it belongs to the key, as the bytes lie in memory, least significant first; -1 is all. layer: without
    it the part is 0.
    """

    start: str
    offset: int
    bits: int
    word: int
    shift: int
    layer: Layer
    mask: int = -1


@dataclass(frozen=True)
class KeyColumn:
    """How a field of the key is read back: `bits` at bit `shift` of `word`, in network byte order.

    Of the number that they are, `value_shift` and `value_mask` cut the field out.
    """

    name: str
    kind: str  # ipv4, mac or int
    word: int
    shift: int
    bits: int
    value_shift: int
    value_mask: int

    @property
    def dtype(self) -> str:
        """The numpy dtype of its values, in host byte order."""
        return f"u{1 << ((self.bits // 8) - 1).bit_length()}"


@dataclass(frozen=True)
class Key:
    """A granularity. `fields` are names of packet fields; `layer` must be there for a packet to have this key.

    masks: of a field only these bits count (host order). symmetric: both directions of a connection are one entry.
    """

    name: str
    fields: tuple[str, ...]
    layer: Layer
    words: int
    parts: tuple[KeyPart, ...]
    columns: tuple[KeyColumn, ...]
    masks: tuple[int, ...]
    symmetric: bool = False

    def __repr__(self) -> str:
        return self.name


_KINDS = {"src": "ipv4", "dst": "ipv4", "eth_src": "mac", "eth_dst": "mac"}


def key_of(
    *fields: str,
    name: str = "",
    layer: Layer | None = None,
    masks: dict[str, int] | None = None,
    symmetric: bool = False,
) -> Key:
    """A granularity of header fields: `key_of("src", "dst_port")`.

    layer: what a packet must have, by default all that the fields need; a field whose layer is not among it is 0
    where it is missing. masks: of a field only these bits count. InputError for a field there is not, or too many.
    """
    masks = masks or {}
    for field in fields:
        if field not in FIELDS:
            raise InputError(f"a packet has no field {field}", "", nearest(field, FIELDS))
    if len(set(fields)) < len(fields):
        raise InputError(f"a field stands twice in the key {'+'.join(fields)}", "", "name each once")
    if layer is None:
        layer = Layer(0)
        for field in fields:
            layer |= FIELDS[field].layer
    places, words = _places(fields)
    if words > MAXIMUM_WORDS:
        raise InputError(f"the key {'+'.join(fields)} is too long", "", f"at most {8 * MAXIMUM_WORDS - 1} bytes")
    parts = [part for field, place in zip(fields, places, strict=True) for part in _parts(field, place, masks)]
    columns = [_column(field, place) for field, place in zip(fields, places, strict=True)]
    return Key(
        name or "+".join(fields),
        fields,
        layer,
        words,
        tuple(_joined(parts)),
        tuple(columns),
        tuple(masks.get(field, FIELDS[field].value_mask) for field in fields),
        symmetric,
    )


def _places(fields: tuple[str, ...]) -> tuple[list[tuple[int, int]], int]:
    """Word and bit of each field, and how many words there are."""
    word = used = 0
    places = []
    for field in fields:
        bits = FIELDS[field].bits
        if used + bits > WORD_BITS:
            word, used = word + 1, 0
        places.append((word, used))
        used += bits
    return places, word + (2 if used > WORD_BITS - MARK_BITS else 1)


def _parts(name: str, place: tuple[int, int], masks: dict[str, int]) -> list[KeyPart]:
    field, (word, shift) = FIELDS[name], place
    mask = -1
    if name in masks or field.mask != -1:
        wanted = masks.get(name, field.value_mask) << field.shift
        mask = int.from_bytes(wanted.to_bytes(field.bits // 8, "big"), "little")
    # There is no load of 48 bits; MAC addresses are whole, so that no mask needs to be cut.
    sizes = [32, 16] if field.bits == 48 else [field.bits]
    parts, done = [], 0
    for size in sizes:
        parts.append(KeyPart(field.start, field.offset + done // 8, size, word, shift + done, field.layer, mask))
        done += size
    return parts


def _column(name: str, place: tuple[int, int]) -> KeyColumn:
    field: Field = FIELDS[name]
    return KeyColumn(name, _KINDS.get(name, "int"), *place, field.bits, field.shift, field.value_mask)


def _joined(parts: list[KeyPart]) -> list[KeyPart]:
    """The parts, with those that lie side by side in the packet and in the key as one load."""
    joined: list[KeyPart] = []
    for part in parts:
        last = joined[-1] if joined else None
        if (
            last is not None
            and (last.start, last.layer, last.word, last.mask, part.mask) == (part.start, part.layer, part.word, -1, -1)
            and last.offset + last.bits // 8 == part.offset
            and last.shift + last.bits == part.shift
            and last.bits + part.bits in (16, 32, 64)
        ):
            joined[-1] = KeyPart(
                last.start, last.offset, last.bits + part.bits, last.word, last.shift, last.layer, last.mask
            )
        else:
            joined.append(part)
    return joined


_FLOW = Layer.FLOW | Layer.IPV4
_FIVE_TUPLE = ("src", "dst", "src_port", "dst_port", "protocol")

five_tuple = key_of(*_FIVE_TUPLE, name="five_tuple", layer=_FLOW)
#: A 5-tuple in both directions; `pkt.forward` tells whether a packet goes the way of the first one.
connection = key_of(*_FIVE_TUPLE, name="connection", layer=_FLOW, symmetric=True)
source = key_of("src", name="source")
destination = key_of("dst", name="destination")
#: Source and destination, in this order.
address_pair = key_of("src", "dst", name="address_pair")
#: What a service is: protocol and destination port.
destination_port = key_of("protocol", "dst_port", name="destination_port", layer=_FLOW | Layer.PORTS)
#: The outermost VLAN; 0 for untagged frames.
vlan = key_of("vlan", name="vlan", layer=Layer.ETHERNET)
#: One state for all IPv4 packets.
everything = key_of(name="all", layer=Layer.IPV4)


def source_prefix(length: int) -> Key:
    """The first `length` (1 to 32) bits of the source address."""
    return _prefix("source_prefix", "src", length)


def destination_prefix(length: int) -> Key:
    """The first `length` (1 to 32) bits of the destination address."""
    return _prefix("destination_prefix", "dst", length)


def _prefix(name: str, field: str, length: int) -> Key:
    if not 1 <= length <= 32:
        raise InputError(f"{name}({length})", "", "1 to 32 bits")
    return key_of(field, name=f"{name}({length})", masks={field: 0xFFFFFFFF << (32 - length) & 0xFFFFFFFF})


#: The keys a chain can name, beside source_prefix(24), destination_prefix(24) and fields with `+` between.
KEYS: dict[str, Key] = {
    key.name: key
    for key in (five_tuple, connection, source, destination, address_pair, destination_port, vlan, everything)
}
_PREFIXES = {"source_prefix": source_prefix, "destination_prefix": destination_prefix}


def find_key(text: str) -> Key:
    """The key of a chain's text: `source`, `source_prefix(24)`, `src+dst_port`; InputError if there is none."""
    if text in KEYS:
        return KEYS[text]
    if match := re.fullmatch(r"(\w+)\(\s*(\d{1,3})\s*\)", text):
        if match[1] in _PREFIXES:
            return _PREFIXES[match[1]](int(match[2]))
    elif "+" in text or text in FIELDS:
        return key_of(*(part.strip() for part in text.split("+")))
    known = [*KEYS, *(f"{name}(24)" for name in _PREFIXES)]
    raise InputError(f"there is no key {text}", "", f"{nearest(text, known)}; or fields, such as src+dst_port")
