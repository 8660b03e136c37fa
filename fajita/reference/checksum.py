"""The internet checksum (RFC 1071), kept right when a word that it covers changes (RFC 1624)."""

from collections.abc import Sequence


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
