"""The numbers that network functions compute with: 64 bits, signed."""


def wrap(value: int) -> int:
    """The signed 64-bit number with the same low 64 bits (two's complement)."""
    return ((value + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)
