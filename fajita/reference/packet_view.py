"""What the interpreted engine hands to an NF as `pkt`: the fields of packet.FIELDS, read and written in the frame.

Header fields are in network byte order in the frame and numbers to an NF. A write repairs the checksums that cover the
field, before the next statement of the NF runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fajita.packet import (
    FIELDS,
    FLAGS,
    FLOW_PORTS,
    MAXIMUM_FRAME,
    MAXIMUM_GROWTH,
    METADATA,
    QUOTED,
    Field,
    Layer,
    Metadata,
    QuotedField,
    places,
)
from fajita.reference.checksum import follow, updated, updated_udp
from fajita.reference.integer import Int64
from fajita.reference.parse import Headers
from fajita.reference.quoted import quoted_headers, write_quoted
from fajita.reference.validity import are_checksums_valid


@dataclass(frozen=True)
class Dropped:
    """The verdict of `pkt.drop(reason)`."""

    reason: str


class Payload(Sequence[Int64]):
    """Captured bytes, such as those after the transport header; an index outside them reads 0."""

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    def __getitem__(self, index: Any) -> Any:
        return Int64(self._data[index] if 0 <= index < len(self._data) else 0)


class FrameBytes(Payload):
    """The captured bytes of the frame itself, which can be changed. changed: called after that."""

    def __init__(self, data: memoryview, changed: Callable[[], None]) -> None:
        super().__init__(data)
        self._changed = changed

    def __setitem__(self, index: int, value: int) -> None:
        if 0 <= index < len(self._data):
            self._data[index] = int(value) & 0xFF
        self._changed()


class PacketView:
    """One packet. frame: its captured bytes, writable; wire: bytes it had on the wire; times in nanoseconds."""

    __slots__ = (
        "_frame",
        "_headers",
        "_metadata",
        "_parse",
        "_time_ns",
        "_wire",
        "forward",
        "ports_of_first",
        "related",
    )

    def __init__(
        self,
        frame: memoryview,
        headers: Headers,
        wire: int,
        time_ns: int,
        parse: Callable[[memoryview], Headers] | None = None,
    ) -> None:
        """parse: finds the headers of a frame that has become another one."""
        self._frame, self._headers = frame, headers
        self._parse = parse or (lambda _: headers)
        self._wire, self._time_ns = wire, time_ns
        self._metadata = dict.fromkeys(METADATA, 0)
        #: For an NF keyed by `connection`, whether the packet goes the way of the first one; set before each NF.
        self.forward = True
        #: In `error`, whether the flow that the error is about has a state; set before each NF.
        self.related = True
        #: Of a later fragment that has found its first: the ports for its keys, flow_src_port and flow_dst_port.
        self.ports_of_first: dict[str, int] | None = None

    @property
    def length(self) -> Int64:
        """Bytes of the frame on the wire."""
        return Int64(self._wire)

    @property
    def captured_length(self) -> Int64:
        """Bytes of the frame that the capture holds."""
        return Int64(len(self._frame))

    @property
    def ip_length(self) -> Int64:
        """Bytes of the IP packet: what its header states, or the rest of the frame; 0 where there is none."""
        if not self.has(Layer.IP):
            return Int64(0)
        ip = self._headers.ip
        if self.has(Layer.IPV6):
            stated = int.from_bytes(self._frame[ip + 4 : ip + 6], "big")
            stated += 40 if stated else 0
        else:
            stated = int.from_bytes(self._frame[ip + 2 : ip + 4], "big")
        return Int64(stated or max(0, self._wire - ip))

    @property
    def time_ns(self) -> Int64:
        """The packet's own time, nanoseconds since 1970."""
        return Int64(self._time_ns)

    @property
    def frame(self) -> FrameBytes:
        """The captured bytes."""
        return FrameBytes(self._frame, self.look_again)

    def grow(self, at: int, count: int) -> None:
        """Insert zeros at an offset; nothing happens outside the frame, or if that would become too long."""
        at, count = int(at), int(count)
        if 0 <= at <= len(self._frame) and 1 <= count <= MAXIMUM_GROWTH and self._wire + count <= MAXIMUM_FRAME:
            self._become(bytes(self._frame[:at]) + bytes(count) + bytes(self._frame[at:]), self._wire + count)
        self.look_again()

    def shrink(self, at: int, count: int) -> None:
        """Remove bytes from an offset on; nothing happens where not all of them are there."""
        at, count = int(at), int(count)
        if at >= 0 and count >= 1 and at + count <= len(self._frame):
            self._become(bytes(self._frame[:at]) + bytes(self._frame[at + count :]), self._wire - count)
        self.look_again()

    def _become(self, frame: bytes, wire: int) -> None:
        self._frame, self._wire = memoryview(bytearray(frame)), wire

    def look_again(self) -> None:
        """Find the headers of the frame as it is now; it is no longer a fragment of a known datagram."""
        self._headers = self._parse(self._frame)
        self.ports_of_first = None

    @property
    def made(self) -> tuple[memoryview, int]:
        """The frame as it is now, and the bytes that it has on the wire."""
        return self._frame, self._wire

    @property
    def payload(self) -> Payload:
        """The captured bytes after the TCP, UDP or ICMP header, up to the end of the IP packet; else none."""
        layers, start = self._headers.layers, self._headers.transport
        if Layer.TCP in layers:
            # RFC 9293, 3.1: the data offset counts words of four bytes; one below 5 is not believed.
            start += max(20, (self._frame[start + 12] >> 4) * 4)
        elif layers & (Layer.UDP | Layer.ICMP):
            start += 8
        else:
            return Payload(self._frame[:0])
        return Payload(self._frame[start : max(start, self._headers.ip_end)])

    @property
    def payload_length(self) -> Int64:
        """Bytes of `payload`."""
        return Int64(len(self.payload))

    @property
    def tcp_options(self) -> Payload:
        """The captured bytes between the fixed TCP header and the payload; else none."""
        start = self._headers.transport
        if not self.has(Layer.TCP):
            return Payload(self._frame[:0])
        end = min(start + 4 * (self._frame[start + 12] >> 4), self._headers.ip_end)
        return Payload(self._frame[start + 20 : max(start + 20, end)])

    @property
    def tcp_options_length(self) -> Int64:
        """Bytes of `tcp_options`."""
        return Int64(len(self.tcp_options))

    @property
    def checksum_valid(self) -> bool:
        """Whether none of its checksums is known to be wrong."""
        return are_checksums_valid(self._frame[: self._headers.end], self._headers)

    def drop(self, reason: str) -> Dropped:
        """The verdict to drop the packet, counted under a reason of its own."""
        return Dropped(reason)

    def quoted(self) -> "PacketView | None":
        """The packet that this one quotes, if it is an ICMP error."""
        headers = quoted_headers(self._frame, self._headers)
        return None if headers is None else PacketView(self._frame, headers, self._wire, self._time_ns)

    @property
    def is_error(self) -> bool:
        """Whether it is an ICMP error, of which is known what flow it is about."""
        return quoted_headers(self._frame, self._headers) is not None

    def write_quoted(self, field: QuotedField, value: int) -> None:
        """Store the low bits of a value in the packet that this one quotes; nothing happens where there is none."""
        headers = quoted_headers(self._frame, self._headers)
        if headers is not None:
            write_quoted(self._frame, self._headers, headers, field, value)

    def has(self, layers: Layer) -> bool:
        """Whether all these layers are there."""
        return layers in self._headers.layers

    def has_for_key(self, layers: Layer) -> bool:
        """Whether a key that needs these layers can be read."""
        if self.ports_of_first is None:
            return layers in self._headers.layers
        return layers in self._headers.layers | Layer.PORTS

    @property
    def reason(self) -> int:
        """Index in OTHER_REASONS of why the packet has no 5-tuple."""
        return self._headers.reason

    @property
    def is_later_fragment(self) -> bool:
        """Whether there is no transport header, as another fragment has it."""
        return self._headers.is_later

    def read(self, field: Field) -> int:
        """The field as a number; 0 without its layer."""
        if not self.has(field.layer):
            return 0
        if field.start == "protocol":
            return self._headers.protocol
        at = self._start(field.start) + field.offset
        number = int.from_bytes(self._frame[at : at + field.bits // 8], "big")
        return (number >> field.shift) & field.value_mask

    def key_field(self, name: str, family: int) -> int:
        """A field as a key of that family has it: an IPv6 address as one number of 128 bits."""
        if family == 6 and name in ("src", "dst"):
            at = self._headers.ip + {"src": 8, "dst": 24}[name]
            return int.from_bytes(self._frame[at : at + 16], "big")
        if self.ports_of_first is not None and name in self.ports_of_first:
            return self.ports_of_first[name]
        for field in places(name):
            if self.has(field.layer):
                return self.read(field)
        return 0

    def write(self, field: Field, value: int) -> None:
        """Store the low bits of a value; nothing happens without a layer that may be written."""
        if not self._headers.layers & field.write_layer:
            return
        start = self._start(field.start)
        size, at = field.bits // 8, start + field.offset
        before = bytes(self._frame) if self._headers.enclosing else b""
        # Checksums cover words of two bytes, counted from the start of the header.
        words_from, words_to = start + field.offset // 2 * 2, start + -(-(field.offset + size) // 2) * 2
        old_words = self._words(words_from, words_to)
        number = int.from_bytes(self._frame[at : at + size], "big")
        number &= ~(field.value_mask << field.shift)
        number |= (value & field.value_mask) << field.shift
        self._frame[at : at + size] = number.to_bytes(size, "big")
        self._repair(field.repairs.split(), old_words, self._words(words_from, words_to))
        for checksum in self._headers.enclosing:
            follow(checksum, before, self._frame, self._headers.ip_end)

    def _start(self, header: str) -> int:
        if header == "ip":
            return self._headers.ip
        return self._headers.transport if header == "transport" else 0

    def _words(self, start: int, end: int) -> list[int]:
        return [int.from_bytes(self._frame[at : at + 2], "big") for at in range(start, end, 2)]

    def _repair(self, repairs: list[str], old_words: list[int], new_words: list[int]) -> None:
        if "ip" in repairs:
            self._update(self._headers.ip + 10, updated, old_words, new_words)
        if "pseudo" in repairs or "transport" in repairs:
            # ICMPv6 has the pseudo header of IPv6 (RFC 4443, 2.3), ICMP none (RFC 792).
            is_covered = "transport" in repairs or self.has(Layer.IPV6)
            if self.has(Layer.TCP):
                self._update(self._headers.transport + 16, updated, old_words, new_words)
            elif self.has(Layer.UDP):
                self._update(self._headers.transport + 6, updated_udp, old_words, new_words)
            elif self.has(Layer.ICMP) and is_covered:
                self._update(self._headers.transport + 2, updated, old_words, new_words)

    def _update(self, at: int, rule: Any, old_words: list[int], new_words: list[int]) -> None:
        checksum = int.from_bytes(self._frame[at : at + 2], "big")
        self._frame[at : at + 2] = rule(checksum, old_words, new_words).to_bytes(2, "big")


def _field_property(name: str) -> property:
    """Of a field that may be in several places: it is in the first whose layer is there."""

    fields = places(name)

    def read(pkt: PacketView) -> Int64:
        for field in fields:
            if pkt.has(field.layer):
                return Int64(pkt.read(field))
        return Int64(0)

    def write(pkt: PacketView, value: int) -> None:
        for field in fields:
            if pkt.has(field.layer):
                pkt.write(field, int(value))
                return

    return property(read, write if FIELDS[name].write_layer else None, doc=FIELDS[name].text)


def _flag_property(layers: Layer) -> property:
    return property(lambda pkt: pkt.has(layers))


def _flow_port_property(name: str) -> property:
    def read(pkt: PacketView) -> Int64:
        if pkt.is_later_fragment:
            return Int64(0 if pkt.ports_of_first is None else pkt.ports_of_first[name])
        return Int64(pkt.read(FIELDS[name]))

    return property(read)


def _quoted_property(quoted: QuotedField) -> property:
    def read(pkt: PacketView) -> Int64:
        view = pkt.quoted()
        return Int64(0 if view is None else view.read(quoted.field))

    def write(pkt: PacketView, value: int) -> None:
        pkt.write_quoted(quoted, int(value))

    return property(read, write if quoted.is_writable else None, doc=quoted.text)


def _metadata_property(metadata: Metadata) -> property:
    def read(pkt: PacketView) -> Int64:
        return Int64(pkt._metadata[metadata.name])

    def write(pkt: PacketView, value: int) -> None:
        pkt._metadata[metadata.name] = int(value) & metadata.value_mask

    return property(read, write, doc=metadata.text)


for _name in FIELDS:
    setattr(PacketView, _name, _field_property(_name))
for _name, _layers in FLAGS.items():
    setattr(PacketView, _name, _flag_property(_layers))
for _name, (_field, _) in FLOW_PORTS.items():
    setattr(PacketView, _name, _flow_port_property(_field))
for _name, _metadata in METADATA.items():
    setattr(PacketView, _name, _metadata_property(_metadata))
for _name, _quoted in QUOTED.items():
    setattr(PacketView, _name, _quoted_property(_quoted))
