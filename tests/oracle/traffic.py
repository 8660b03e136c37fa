"""IPv4 packets that a connection tracker has to think about, the same for the same seed; checksums are right."""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.oracle.packets import checksum, with_header_checksum

ICMP, TCP, UDP = 1, 6, 17
FIN, SYN, RST, PSH, ACK, URG = (1 << bit for bit in range(6))
#: What ends send, often and seldom.
_USUAL = (ACK, ACK, ACK, PSH | ACK, PSH | ACK, FIN | ACK, RST, RST | ACK, SYN, SYN | ACK)
_UNUSUAL = (0, FIN, SYN | FIN, SYN | RST, ACK | URG, FIN | ACK | URG, SYN | URG, RST | URG, 0x3F)
_ERRORS = (3, 4, 5, 11, 12)
_QUERIES = (8, 8, 8, 13, 15, 17)
_REPLIES = {8: 0, 13: 14, 15: 16, 17: 18}


def ipv4(protocol: int, source: bytes, destination: bytes, body: bytes) -> bytes:
    """An IPv4 packet."""
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0)
    return with_header_checksum(header + source + destination + body)


def transport_checksum(protocol: int, source: bytes, destination: bytes, body: bytes) -> int:
    """The checksum of TCP and UDP, pseudo header included."""
    return checksum(source + destination + struct.pack("!HH", protocol, len(body)) + body)


def tcp(
    ends: "Ends", backward: bool, flags: int, sequence: int, acknowledgment: int, window: int, rest: bytes
) -> bytes:
    """A segment; rest: options, in whole words, and data, as `options(…) + data` leaves them."""
    source, destination, source_port, destination_port = ends.seen(backward)
    length, body = rest[0], rest[1:]
    offset = (5 + length // 4) << 4
    numbers = (sequence % 2**32, acknowledgment % 2**32)
    segment = struct.pack("!HHIIBBHHH", source_port, destination_port, *numbers, offset, flags, window, 0, 0) + body
    right = transport_checksum(TCP, source, destination, segment)
    return ipv4(TCP, source, destination, segment[:16] + right.to_bytes(2, "big") + segment[18:])


def options(*parts: bytes) -> bytes:
    """Options padded to whole words, behind their length."""
    joined = b"".join(parts)
    joined += b"\1" * (-len(joined) % 4)
    return bytes([len(joined)]) + joined


@dataclass
class Ends:
    """Two ends of connections."""

    source: bytes
    destination: bytes
    source_port: int
    destination_port: int

    def seen(self, backward: bool) -> tuple[bytes, bytes, int, int]:
        """As a packet has them."""
        if backward:
            return self.destination, self.source, self.destination_port, self.source_port
        return self.source, self.destination, self.source_port, self.destination_port


@dataclass
class Conversation:
    """TCP between two ends that do mostly what they should, and often enough what they should not."""

    random: random.Random
    ends: Ends
    #: Of each end: what it sends next, what it has acknowledged; the last of all that was sent.
    next: list[int] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    step: int = 0

    def __post_init__(self) -> None:
        self.next = [self.random.choice((self.random.getrandbits(32), 2**32 - 5)) for _ in range(2)]

    def segment(self) -> bytes:
        """The next one."""
        choose = self.random.random
        if self.sent and choose() < 0.05:
            return self.random.choice(self.sent[-5:])
        backward, flags = self._handshake() if choose() < 0.9 else (choose() < 0.5, None)
        if flags is None:
            flags = self.random.choice(_USUAL if choose() < 0.9 else _UNUSUAL)
        data = self.random.choice((0, 0, 1, 100, 1400)) if not flags & (SYN | RST) else 0
        sequence, acknowledgment = self.next[backward], self.next[not backward]
        is_astray = choose() < 0.1
        if is_astray and choose() < 0.6:
            sequence += self._astray()
        elif is_astray:
            acknowledgment += self._astray()
        if not flags & ACK and choose() < 0.8:
            acknowledgment = 0
        if flags & RST and choose() < 0.2:
            sequence = 0
        rest = self._options(flags, acknowledgment) + b"x" * data
        made = tcp(self.ends, backward, flags, sequence, acknowledgment, self._window(), rest)
        if choose() < (0.2 if is_astray else 0.95):
            self.next[backward] = sequence + data + bool(flags & SYN) + bool(flags & FIN)
        self.sent.append(made)
        return made

    def _handshake(self) -> tuple[bool, int | None]:
        """Which way, and the flags if the handshake is not yet done."""
        self.step += 1
        if self.step > 3:
            return self.random.random() < 0.5, self._going_on()
        return self.step == 2, (SYN, SYN | ACK, ACK)[self.step - 1]

    def _going_on(self) -> int:
        if self.random.random() < 0.08:
            self.step = self.random.choice((0, 3))
            return self.random.choice((FIN | ACK, FIN | ACK, FIN | ACK, RST, RST | ACK))
        return self.random.choice((ACK, PSH | ACK))

    def _astray(self) -> int:
        distance = self.random.choice((1, 2, 1400, 30_000, 65_535, 66_001, 200_000, 2**31 - 1, 2**31, 2**31 + 1))
        return distance if self.random.random() < 0.5 else -distance

    def _window(self) -> int:
        return self.random.choice((0, 500, 8192, 8192, 65_535, 65_535))

    def _options(self, flags: int, acknowledgment: int) -> bytes:
        if self.random.random() < 0.3:
            return options()
        if flags & SYN:
            scale = self.random.choice((0, 2, 7, 14, 15))
            choices = (b"\2\4\5\xb4", b"\4\2", bytes([3, 3, scale]), b"\1", b"\0", b"\3\2", b"\4\3\0", b"\5\1", b"\4")
            return options(*self.random.sample(choices, self.random.randint(1, 4)), *self._rest())
        timestamp = b"\1\1\x08\x0a" + bytes(8)
        edges = [(acknowledgment + self._astray()) % 2**32 for _ in range(2)]
        blocks = struct.pack("!BB4I", 5, 18, edges[0] - 10 & 0xFFFFFFFF, edges[0], edges[1] - 10 & 0xFFFFFFFF, edges[1])
        return options(*self.random.choice(((timestamp,), (blocks,), (timestamp, blocks), (blocks[:-1],), (b"\5\2",))))

    def _rest(self) -> tuple[bytes, ...]:
        return (b"\4\2", b"\3\3\5") if self.random.random() < 0.7 else ()


def datagram(chosen: random.Random, ends: Ends) -> bytes:
    """UDP, one way or the other; some with a length that is wrong."""
    source, destination, source_port, destination_port = ends.seen(chosen.random() < 0.4)
    data = b"x" * chosen.randint(0, 30)
    length = 8 + len(data)
    if chosen.random() < 0.1:
        length = chosen.choice((0, 7, length + 1, length - 1, 65_535))
    body = struct.pack("!HHHH", source_port, destination_port, length, 0) + data
    right = transport_checksum(UDP, source, destination, body) if chosen.random() < 0.8 else 0
    return ipv4(UDP, source, destination, body[:6] + right.to_bytes(2, "big") + body[8:])


def with_icmp_checksum(body: bytes) -> bytes:
    """The ICMP message with its checksum."""
    return body[:2] + checksum(body[:2] + b"\0\0" + body[4:]).to_bytes(2, "big") + body[4:]


def query(chosen: random.Random, ends: Ends) -> bytes:
    """An ICMP query or a reply to one, or a message of another type."""
    asked = chosen.choice(_QUERIES)
    answers = chosen.random() < 0.5
    source, destination, _, _ = ends.seen(answers != (chosen.random() < 0.1))
    kind = _REPLIES[asked] if answers else asked
    if chosen.random() < 0.1:
        kind = chosen.choice((1, 6, 9, 10, 19, 40, 255))
    code = int(chosen.random() < 0.05)
    body = struct.pack("!BBHHH", kind, code, 0, chosen.randint(1, 2), chosen.randint(0, 5)) + b"x" * 20
    return ipv4(ICMP, source, destination, with_icmp_checksum(body))


def error(chosen: random.Random, about: bytes) -> bytes:
    """An ICMP error about a packet: to its source, from anybody, and quoting it; now and then not so."""
    kind = chosen.choice(_ERRORS)
    quoted = about[: chosen.choice((28, 28, 28, 60, 24, 23, 20, 19, 4))]
    source = chosen.choice((about[16:20], bytes((10, 9, 9, chosen.randint(1, 3)))))
    destination = about[12:16] if chosen.random() < 0.85 else bytes((10, 9, 9, 9))
    body = struct.pack("!BBHI", kind, chosen.choice((0, 1, 3)), 0, 0) + quoted
    return ipv4(ICMP, source, destination, with_icmp_checksum(body))


def other(chosen: random.Random, ends: Ends) -> bytes:
    """A packet of another protocol, told by its addresses."""
    source, destination, _, _ = ends.seen(chosen.random() < 0.5)
    return ipv4(chosen.choice((50, 89, 253)), source, destination, bytes(24))


def damaged(chosen: random.Random, packet: bytes) -> bytes:
    """The packet with one bit of what its transport checksum covers turned round."""
    at = chosen.randrange(20, len(packet))
    return packet[:at] + bytes([packet[at] ^ 1 << chosen.randrange(8)]) + packet[at + 1 :]


def traffic(seed: int, packets: int) -> Iterator[bytes]:
    """Packets between few ends, so that most meet something that is known of them."""
    chosen = random.Random(seed)
    pairs = [
        Ends(bytes((10, 1, 0, chosen.randint(1, 20))), bytes((10, 2, 0, number % 250 + 1)), 1024 + number, 80)
        for number in range(max(packets // 60, 4))
    ]
    talks = [Conversation(chosen, ends) for ends in pairs]
    recent: list[bytes] = []
    for _ in range(packets):
        at = chosen.randrange(len(pairs))
        draw = chosen.random()
        if draw < 0.8:
            made = talks[at].segment()
        elif draw < 0.86:
            made = datagram(chosen, pairs[at // 4])
        elif draw < 0.92:
            made = query(chosen, pairs[at // 4])
        elif draw < 0.98 and recent:
            made = error(chosen, chosen.choice(recent[-20:]))
        else:
            made = other(chosen, pairs[at // 4])
        recent.append(made)
        yield damaged(chosen, made) if chosen.random() < 0.01 else made
