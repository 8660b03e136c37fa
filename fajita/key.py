"""Granularity: the header fields an NF's state hangs on, and how they are packed into the words of a flow entry.

A packed key is one or more 64-bit words. The fields lie in them as in the packet, in network byte order, in the order
of the key, none across two words but an IPv6 address. The top byte of the last word is left free: there an entry marks
which of the NFs that share it have state in it. Where the fields lie differently in IPv4 and IPv6, a key has a packing
for each, and each a table of its own, so that an IPv4 flow is not kept in the space of an IPv6 flow.
"""

import re
from dataclasses import dataclass, replace

from fajita.errors import InputError, nearest
from fajita.packet import FIELDS, IPV6_FIELDS, Field, Layer

WORD_BITS = 64
#: Of the last word.
MARK_BITS = 8
#: A packed key may have so many words.
MAXIMUM_WORDS = 6


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
    """How a field of the key is read back: `bits` from bit `shift` of `word` on, in network byte order.

    Of the number that they are, `value_shift` and `value_mask` cut the field out.
    """

    name: str
    kind: str  # ipv4, ipv6, mac or int
    word: int
    shift: int
    bits: int
    value_shift: int
    value_mask: int

    @property
    def dtype(self) -> tuple[str, tuple[int, ...]]:
        """The numpy dtype and shape of its values, in host byte order; an IPv6 address is two u8, the upper half first.

        Not "2u8", which numpy parses by Python's ast, and that is not safe in several threads (CPython before 3.12).
        """
        if self.kind == "ipv6":
            return "u8", (2,)
        size = -(-self.value_mask.bit_length() // 8)
        return f"u{1 << (size - 1).bit_length()}", ()


@dataclass(frozen=True)
class Packing:
    """A key as packets of one family have it: 4, 6, or 0 where they do not differ. `layer`: what they must have.

    masks: by field, the bits of it that count (host order).
    """

    family: int
    layer: Layer
    words: int
    parts: tuple[KeyPart, ...]
    columns: tuple[KeyColumn, ...]
    masks: tuple[int, ...]

    def parts_by_field(self) -> tuple[KeyPart, ...]:
        """The parts such that none has bytes of several fields.

        A load of several fields of which one has just been stored has to wait until that has come to the cache.
        """
        ends = {(column.word, column.shift + column.bits) for column in self.columns}
        return tuple(piece for part in self.parts for piece in _split(part, ends))


def _split(part: KeyPart, ends: set[tuple[int, int]]) -> list[KeyPart]:
    """A part, cut in two halves, and these again, where a field ends in its midst."""
    half = part.bits // 2
    if part.mask != -1 or not any((part.word, part.shift + bit) in ends for bit in range(8, part.bits, 8)):
        return [part]
    low, high = (
        replace(part, bits=half),
        replace(part, bits=half, offset=part.offset + half // 8, shift=part.shift + half),
    )
    return [*_split(low, ends), *_split(high, ends)]


@dataclass(frozen=True)
class Key:
    """A granularity. `fields` are names of packet fields. symmetric: both directions of a connection are one entry."""

    name: str
    fields: tuple[str, ...]
    packings: tuple[Packing, ...]
    symmetric: bool = False

    def __repr__(self) -> str:
        return self.name


_KINDS = {"src": "ipv4", "dst": "ipv4", "eth_src": "mac", "eth_dst": "mac"}
#: An address in the IPv6 header (RFC 8200, 3), whole: only in keys, as no number of an NF is so long.
_IPV6_ADDRESSES = {
    "src": Field("src", "ip", 8, 128, Layer.IPV6),
    "dst": Field("dst", "ip", 24, 128, Layer.IPV6),
}


def key_of(
    *fields: str,
    name: str = "",
    layer: Layer | None = None,
    masks: dict[int, dict[str, int]] | None = None,
    symmetric: bool = False,
) -> Key:
    """A granularity of header fields: `key_of("src", "dst_port")`.

    layer: what a packet must have, by default all that the fields need; a field whose layer is not among it is 0
    where it is missing. masks: by family and field, the bits that count. InputError for a field there is not, for too
    many, and for fields that no packet has all of.
    """
    for field in fields:
        if field not in FIELDS:
            raise InputError(f"a packet has no field {field}", "", nearest(field, FIELDS))
    if len(set(fields)) < len(fields):
        raise InputError(f"a field stands twice in the key {'+'.join(fields)}", "", "name each once")
    packings = [
        _pack(family, places, layer, (masks or {}).get(family, {}))
        for family in _families(fields)
        if (places := _places_in(family, fields)) is not None
    ]
    if not packings:
        raise InputError(f"no packet has all fields of the key {'+'.join(fields)}", "", "IPv4's or IPv6's, not both")
    return Key(name or "+".join(fields), fields, tuple(packings), symmetric)


def _families(fields: tuple[str, ...]) -> tuple[int, ...]:
    return (4, 6) if any(FIELDS[field].start == "ip" for field in fields) else (0,)


def _places_in(family: int, fields: tuple[str, ...]) -> list[Field] | None:
    """Where packets of a family have the fields, or None if they lack one."""
    found = []
    for name in fields:
        field = FIELDS[name]
        if family == 6 and field.start == "ip":
            field = _IPV6_ADDRESSES.get(name) or IPV6_FIELDS.get(name) or field
        if field.start == "ip" and field.layer != {4: Layer.IPV4, 6: Layer.IPV6}[family]:
            return None
        found.append(field)
    return found


def _pack(family: int, fields: list[Field], layer: Layer | None, masks: dict[str, int]) -> Packing:
    needed = {0: Layer(0), 4: Layer.IPV4, 6: Layer.IPV6}[family]
    for field in fields if layer is None else ():
        needed |= field.layer
    parts: list[KeyPart] = []
    columns = []
    word = used = 0
    for field in fields:
        if used and used + field.bits > WORD_BITS:
            word, used = word + 1, 0
        kind = "ipv6" if field.bits == 128 else _KINDS.get(field.name, "int")
        columns.append(KeyColumn(field.name, kind, word, used, field.bits, field.shift, field.value_mask))
        parts += _parts(field, word, used, masks.get(field.name))
        used += field.bits
        word, used = word + max(0, used - 1) // WORD_BITS, (used - 1) % WORD_BITS + 1
    words = word + (2 if used > WORD_BITS - MARK_BITS else 1)
    if words > MAXIMUM_WORDS:
        names = "+".join(field.name for field in fields)
        raise InputError(f"the key {names} is too long", "", f"at most {8 * MAXIMUM_WORDS - 1} bytes")
    kept = tuple(masks.get(field.name, field.value_mask) for field in fields)
    return Packing(family, needed | (layer or Layer(0)), words, tuple(_joined(parts)), tuple(columns), kept)


def _parts(field: Field, word: int, shift: int, mask: int | None) -> list[KeyPart]:
    """The loads that a field takes; what the mask leaves nothing of is not loaded."""
    sizes = {48: [32, 16], 128: [64, 64]}.get(field.bits, [field.bits])
    wanted = (field.value_mask if mask is None else mask) << field.shift
    raw = wanted.to_bytes(field.bits // 8, "big")
    parts, done = [], 0
    for size in sizes:
        piece = int.from_bytes(raw[done // 8 : (done + size) // 8], "little")
        at = shift + done
        whole = piece == (1 << size) - 1
        parts.append(
            KeyPart(
                field.start,
                field.offset + done // 8,
                size,
                word + at // WORD_BITS,
                at % WORD_BITS,
                field.layer,
                -1 if whole else piece,
            )
        )
        done += size
    return [part for part in parts if part.mask != 0]


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


_FIVE_TUPLE = ("src", "dst", "src_port", "dst_port", "protocol")

five_tuple = key_of(*_FIVE_TUPLE, name="five_tuple", layer=Layer.FLOW)
#: A 5-tuple in both directions; `pkt.forward` tells whether a packet goes the way of the first one.
connection = key_of(*_FIVE_TUPLE, name="connection", layer=Layer.FLOW, symmetric=True)
source = key_of("src", name="source")
destination = key_of("dst", name="destination")
#: Source and destination, in this order.
address_pair = key_of("src", "dst", name="address_pair")
#: What a service is: protocol and destination port.
destination_port = key_of("protocol", "dst_port", name="destination_port", layer=Layer.FLOW | Layer.PORTS)
#: The outermost VLAN; 0 for untagged frames.
vlan = key_of("vlan", name="vlan", layer=Layer.ETHERNET)
#: One state for all IP packets.
everything = key_of(name="all", layer=Layer.IP)

#: Of an IPv6 prefix where only IPv4's is given: what one site's network has.
USUAL_IPV6_PREFIX = 64


def source_prefix(length: int, ipv6_length: int = USUAL_IPV6_PREFIX) -> Key:
    """The first `length` (1 to 32) bits of an IPv4 source address, `ipv6_length` (1 to 128) of an IPv6 one."""
    return _prefix("source_prefix", "src", length, ipv6_length)


def destination_prefix(length: int, ipv6_length: int = USUAL_IPV6_PREFIX) -> Key:
    """The first `length` (1 to 32) bits of an IPv4 destination address, `ipv6_length` (1 to 128) of an IPv6 one."""
    return _prefix("destination_prefix", "dst", length, ipv6_length)


def _prefix(name: str, field: str, length: int, ipv6_length: int) -> Key:
    if not 1 <= length <= 32 or not 1 <= ipv6_length <= 128:
        raise InputError(f"{name}({length}, {ipv6_length})", "", "1 to 32 bits of IPv4, 1 to 128 of IPv6")
    shown = f"{length}" if ipv6_length == USUAL_IPV6_PREFIX else f"{length}, {ipv6_length}"
    masks = {4: {field: _upper_bits(length, 32)}, 6: {field: _upper_bits(ipv6_length, 128)}}
    return key_of(field, name=f"{name}({shown})", masks=masks)


def _upper_bits(count: int, bits: int) -> int:
    return ((1 << count) - 1) << (bits - count)


#: The keys a chain can name, beside source_prefix(24), destination_prefix(24, 48) and fields with `+` between.
KEYS: dict[str, Key] = {
    key.name: key
    for key in (five_tuple, connection, source, destination, address_pair, destination_port, vlan, everything)
}
_PREFIXES = {"source_prefix": source_prefix, "destination_prefix": destination_prefix}


def find_key(text: str) -> Key:
    """The key of a chain's text: `source`, `source_prefix(24)`, `src+dst_port`; InputError if there is none."""
    if text in KEYS:
        return KEYS[text]
    if match := re.fullmatch(r"(\w+)\(\s*(\d{1,3})\s*(?:,\s*(\d{1,3})\s*)?\)", text):
        if match[1] in _PREFIXES:
            return _PREFIXES[match[1]](int(match[2]), int(match[3] or USUAL_IPV6_PREFIX))
    elif "+" in text or text in FIELDS:
        return key_of(*(part.strip() for part in text.split("+")))
    known = [*KEYS, *(f"{name}(24)" for name in _PREFIXES)]
    raise InputError(f"there is no key {text}", "", f"{nearest(text, known)}; or fields, such as src+dst_port")
