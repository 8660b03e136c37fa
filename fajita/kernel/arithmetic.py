"""Integer arithmetic as NFs have it: 64 bits, signed, wrapping, and never an exception."""

from numba import njit


@njit(error_model="numpy")
def floor_divide(dividend, divisor):
    """int64: the quotient rounded down; 0 if the divisor is 0. -2**63 // -1 wraps to -2**63."""
    if divisor == 0:
        return 0
    if divisor == -1:
        return -dividend
    return dividend // divisor


@njit(error_model="numpy")
def floor_modulo(dividend, divisor):
    """int64: what is left by floor_divide, with the sign of the divisor; 0 if the divisor is 0."""
    if divisor == 0 or divisor == -1:
        return 0
    return dividend % divisor


@njit
def left_shift(value, count):
    """int64: shifted by the low six bits of `count`."""
    return value << (count & 63)


@njit
def right_shift(value, count):
    """int64: shifted by the low six bits of `count`, keeping the sign."""
    return value >> (count & 63)
