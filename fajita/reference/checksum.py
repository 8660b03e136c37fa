"""The internet checksum (RFC 1071), kept right when a word that it covers changes (RFC 1624)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Bytes = bytes | memoryview


def fold(total: int) -> int:
    """Add the carries back in until 16 bits are left: one's complement addition."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def updated(checksum: int, old_words: Sequence[int], new_words: Sequence[int]) -> int:
    """The checksum after words were replaced: HC' = ~(~HC + ~m + m') (RFC 1624, eqn. 3)."""
    total = ~checksum & 0xFFFF
    total += sum(~word & 0xFFFF for word in old_words)
    total += sum(new_words)
    return ~fold(total) & 0xFFFF


def updated_udp(checksum: int, old_words: Sequence[int], new_words: Sequence[int]) -> int:
    """The same for UDP (RFC 768): 0 says that there is none and stays; a checksum that is 0 is sent as all ones."""
    if checksum == 0:
        return 0
    return updated(checksum, old_words, new_words) or 0xFFFF


@dataclass(frozen=True)
class EnclosingChecksum:
    """A checksum of a tunnel: it lies at byte `at` and covers the packet in the tunnel and all from `start` to it.

    rule: `updated` or `updated_udp`.
    """

    at: int
    start: int
    rule: Callable[[int, Sequence[int], Sequence[int]], int]


def follow(checksum: EnclosingChecksum, before: Bytes, frame: memoryview, end: int) -> None:
    """Repair a checksum of a tunnel whose contents, which end at byte `end`, were `before` and are other ones now.

    Mostly they have the same sum as before, as the packet has checksums of its own that were repaired.
    """
    old_words, new_words = words(before[checksum.start : end]), words(frame[checksum.start : end])
    if (sum(new_words) - sum(old_words)) % 0xFFFF != 0:
        at = checksum.at
        repaired = checksum.rule(int.from_bytes(frame[at : at + 2], "big"), old_words, new_words)
        frame[at : at + 2] = repaired.to_bytes(2, "big")


def words(data: Bytes) -> list[int]:
    """Bytes in network order as words of 16 bits; an odd last byte is followed by a zero (RFC 1071, 1)."""
    return [int.from_bytes(bytes(data[at : at + 2]).ljust(2, b"\0"), "big") for at in range(0, len(data), 2)]
