"""Later fragments find the flow of their first: the memory of first fragments, and what reads and writes it.

What is remembered and found is what reference.fragments says. First fragments lie in a ring of slots in the order they
came, each with a number: its place in that order. From a head, chosen by a hash of the datagram, leads a chain of
numbers from the newest to ever older ones; it ends at one that is too old to count. So nothing is deleted, and a walk
is bounded by the ring (the hash is keyed: whoever writes the traffic cannot make a chain long).

The memory is searched and added to only when the frames of a burst are parsed, in their order, which is a burst ahead
of the NFs. Therefore the ring has more slots than count: what a packet's later segments refer to is still there.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from fajita.kernel.arithmetic import floor_modulo
from fajita.kernel.fields import start_of_ip, start_of_transport
from fajita.kernel.function import KernelFunction, kernel_function, rare_function
from fajita.kernel.hash import HASHES
from fajita.kernel.headers_word import protocol_of
from fajita.kernel.layout import BURST
from fajita.kernel.memory import copy, load_be16, load_u8, load_u16, load_u32, load_u64, store_32, store_64
from fajita.kernel.operation import I64, operation
from fajita.kernel.parse import PROTOCOL_SHIFT, REASON_SHIFT, extension_bytes
from fajita.packet import (
    AUTHENTICATION_EXTENSION,
    EXTENSIONS,
    FRAGMENT_EXTENSION,
    IPV6_FRAGMENT_BITS,
    IPV6_OFFSET_BITS,
    LATER_FRAGMENT,
    MAXIMUM_EXTENSIONS,
    REMEMBERED_NS,
    Layer,
)

#: The words (int64) that the memory begins with. DONE: frames of the block that have been here.
NEWEST, FOLLOWED, EARLY, DONE, SECRET_0, SECRET_1 = (8 * word for word in range(6))
HEADER_BYTES = 48
#: What tells a datagram, in five words: here that of the fragment at hand, and at the beginning of each slot.
_IDENTITY_WORDS = 5
_ASKED = HEADER_BYTES
#: For each packet of the bursts that may have to be looked up again, what `follow` found: headers and datagram.
_FOUND = _ASKED + 8 * _IDENTITY_WORDS
_FOUND_MASK = 2 * BURST - 1
_HEADS = _FOUND + 16 * 2 * BURST

#: Then, in a slot: the next older number of its chain, the time, the layers and protocol, and the ports by segment.
_OLDER, _TIME, _HEADERS, _PORTS = (8 * word for word in range(_IDENTITY_WORDS, _IDENTITY_WORDS + 4))

#: Packets whose slot may not be taken by another yet: those after it in its burst and in the next ones under way.
_SPARE = 3 * BURST
#: In the word that says which slot a packet is about: it is a later fragment.
_LATER = 1

#: The headers of a fragment that the chain drops: no other layer, and a reason that is none of OTHER_REASONS.
DROPPED = int(Layer.FRAGMENT) | 0xFF << REASON_SHIFT

_IS_FRAGMENT = int(Layer.FRAGMENT)
_HAS_FLOW, _HAS_PORTS, _HAS_IPV6 = int(Layer.FLOW), int(Layer.PORTS), int(Layer.IPV6)
_LAYERS_AND_OFFSETS = (1 << REASON_SHIFT) - 1
#: The last word of an identity has the family in its top byte.
_LAST = 8 * (_IDENTITY_WORDS - 1)
_IPV4_IDENTITY, _IPV6_IDENTITY = 4 << 56, 6 << 56


@dataclass(frozen=True)
class FragmentLayout:
    """Where things lie in the memory of first fragments, in bytes; slots: how many there are; heads: a power of two."""

    heads: int
    slots: int
    slot_bytes: int

    @property
    def first_slot(self) -> int:
        """The offset of the slots."""
        return _HEADS + 8 * self.heads

    @property
    def total(self) -> int:
        """Bytes of the whole."""
        return self.first_slot + self.slots * self.slot_bytes


def place_fragments(capacity: int, segments: int) -> FragmentLayout:
    """A head for each first fragment that counts, and ports for each segment in its slot."""
    ports_bytes = -(-4 * segments // 8) * 8
    return FragmentLayout(1 << (capacity - 1).bit_length(), capacity + _SPARE, _PORTS + ports_bytes)


@kernel_function
def begin_block(memory):
    """Another block begins, of which no frame has been seen."""
    store_64(memory + DONE, 0)


@kernel_function
def fragment_header(ip):
    """Where in an IPv6 packet that `parse` calls a fragment the fragment header is: of several the last that counts."""
    at, kind, found = ip + 40, load_u8(ip + 6), 0
    for _ in range(MAXIMUM_EXTENSIONS):
        if not (kind in EXTENSIONS or kind in (FRAGMENT_EXTENSION, AUTHENTICATION_EXTENSION)):
            break
        if kind == FRAGMENT_EXTENSION and load_be16(at + 2) & IPV6_FRAGMENT_BITS:
            found = at
            if load_be16(at + 2) & IPV6_OFFSET_BITS:
                break
        at, kind = at + extension_bytes(at, kind), load_u8(at)
    return found


@kernel_function
def write_identity(target, frame, headers):
    """Write down what tells the datagram of a fragment: see reference.parse.Datagram."""
    ip = start_of_ip(frame, headers)
    if headers & _HAS_IPV6:
        for word in range(_IDENTITY_WORDS - 1):
            store_64(target + 8 * word, load_u64(ip + 8 + 8 * word))
        store_64(target + _LAST, load_u32(fragment_header(ip) + 4) | _IPV6_IDENTITY)
    else:
        store_64(target, load_u64(ip + 12))
        for word in range(1, _IDENTITY_WORDS - 1):
            store_64(target + 8 * word, 0)
        store_64(target + _LAST, load_u16(ip + 4) | (load_u8(ip + 9) << 32) | _IPV4_IDENTITY)


@kernel_function
def is_same(left, right):
    """Whether two identities are the same."""
    differs = 0
    for word in range(_IDENTITY_WORDS):
        differs |= load_u64(left + 8 * word) ^ load_u64(right + 8 * word)
    return differs == 0


@operation
def hash_asked(builder: Any, memory: Any) -> Any:
    """The hash of the identity at hand."""
    places = (SECRET_0, SECRET_1, *range(_ASKED, _FOUND, 8))
    words = [load_u64.emit(builder, builder.add(memory, I64(place))) for place in places]
    return HASHES[_IDENTITY_WORDS].emit(builder, *words)


@kernel_function
def protocol_bits(headers):
    """The protocol, where it is in a headers word."""
    return protocol_of(headers) << PROTOCOL_SHIFT


@kernel_function
def place_of_flow_ports(moment, frame, headers, datagram):
    """Where the ports of a packet's flow are, of a later fragment those that its first had at a moment; or 0."""
    if headers & _IS_FRAGMENT and datagram & _LATER:
        slot = datagram - _LATER
        return slot + _PORTS + 4 * moment if load_u64(slot + _HEADERS) & _HAS_PORTS else 0
    return start_of_transport(frame, headers) if headers & _HAS_PORTS else 0


@kernel_function
def read_flow_port(ports, offset):
    """One of the ports at such a place."""
    return load_be16(ports + offset) if ports != 0 else 0


@cache
def fragment_functions(
    capacity: int, segments: int, setting: str
) -> tuple[KernelFunction, KernelFunction, KernelFunction]:
    """The functions of a memory that counts the newest `capacity` first fragments: follow, ports_at, with_ports.

    follow(memory, frame, time, index, headers_at, datagram_at): remember a fragment or find its first. It is frame
    `index` of its block, its headers lie at `headers_at` and are completed; left at `datagram_at`: which slot it is
    about, or 0. ports_at(segment, frame, headers, datagram): where the ports for a key lie; a first fragment leaves its
    own. with_ports(headers, datagram): the headers with what a key may ask for.
    """
    layout = place_fragments(capacity, segments)
    slots, slot_bytes, head_mask, first_slot = layout.slots, layout.slot_bytes, layout.heads - 1, layout.first_slot
    passes, joins_flow = setting == "pass", setting == "flow"

    @kernel_function
    def slot_of(memory, number):
        return memory + first_slot + floor_modulo(number, slots) * slot_bytes

    @kernel_function
    def search(memory, head):
        """Where in its chain the number stands that is the datagram's at hand; 0 if it is not remembered."""
        too_old, link = load_u64(memory + NEWEST) - capacity, head
        number = load_u64(link)
        while number > too_old:
            slot = slot_of(memory, number)
            if is_same(slot, memory + _ASKED):
                return link
            link = slot + _OLDER
            number = load_u64(link)
        return 0

    @kernel_function
    def remember(memory, head, link, time, headers):
        """A new slot at the beginning of the chain; an older one of the datagram is taken out of it."""
        if link != 0:
            store_64(link, load_u64(slot_of(memory, load_u64(link)) + _OLDER))
        number = load_u64(memory + NEWEST) + 1
        store_64(memory + NEWEST, number)
        slot = slot_of(memory, number)
        copy(slot, memory + _ASKED, 8 * _IDENTITY_WORDS)
        store_64(slot + _OLDER, load_u64(head))
        store_64(head, number)
        store_64(slot + _TIME, time)
        store_64(slot + _HEADERS, headers)
        return slot

    @kernel_function
    def young_slot(memory, link, time):
        """The slot of a first fragment that has come and is young enough, or 0."""
        if link == 0:
            return 0
        slot = slot_of(memory, load_u64(link))
        return slot if time - load_u64(slot + _TIME) < REMEMBERED_NS else 0

    @kernel_function
    def completed(memory, headers, slot):
        """The headers of a later fragment, counted, with what its first tells."""
        counter = memory + (FOLLOWED if slot != 0 else EARLY)
        store_64(counter, load_u64(counter) + 1)
        if slot != 0:
            return (headers & _LAYERS_AND_OFFSETS) | protocol_bits(load_u64(slot + _HEADERS)) | _HAS_FLOW
        if passes:
            return headers
        return (headers & _LAYERS_AND_OFFSETS) | protocol_bits(headers) | _HAS_FLOW if joins_flow else DROPPED

    @rare_function
    def follow(memory, frame, time, index, headers_at, datagram_at):
        found = memory + _FOUND + 16 * (index & _FOUND_MASK)
        # Otherwise a table had to grow, so that its burst is looked up again; a fragment counts once.
        if index >= load_u64(memory + DONE):
            headers, datagram = load_u64(headers_at), 0
            is_later = ((headers >> REASON_SHIFT) & 0xFF) == LATER_FRAGMENT
            if is_later or headers & _HAS_FLOW:
                write_identity(memory + _ASKED, frame, headers)
                head = memory + _HEADS + 8 * (hash_asked(memory) & head_mask)
                link = search(memory, head)
                if is_later:
                    slot = young_slot(memory, link, time)
                    headers, datagram = completed(memory, headers, slot), slot | (_LATER if slot != 0 else 0)
                else:
                    datagram = remember(memory, head, link, time, headers)
            store_64(found, headers)
            store_64(found + 8, datagram)
            store_64(memory + DONE, index + 1)
        store_64(headers_at, load_u64(found))
        store_64(datagram_at, load_u64(found + 8))

    @rare_function
    def ports_at(segment, frame, headers, datagram):
        if datagram & _LATER:
            return datagram - _LATER + _PORTS + 4 * segment
        transport = start_of_transport(frame, headers)
        if datagram != 0 and headers & _HAS_PORTS:
            for number in range(segment, segments):
                store_32(datagram + _PORTS + 4 * number, load_u32(transport))
        return transport

    @kernel_function
    def with_ports(headers, datagram):
        return headers | (load_u64(datagram - _LATER + _HEADERS) & _HAS_PORTS) if datagram & _LATER else headers

    return follow, ports_at, with_ports
