"""Integer arithmetic as NFs have it: 64 bits, signed, wrapping, and never an exception."""

from typing import Any

from fajita.kernel.operation import I1, I64, llvm_intrinsic, operation


def _safe_divisor(builder: Any, divisor: Any) -> tuple[Any, Any, Any]:
    """A divisor that no processor traps on; whether the given one is 0; whether it is -1."""
    is_zero = builder.icmp_signed("==", divisor, I64(0))
    is_minus_one = builder.icmp_signed("==", divisor, I64(-1))
    return builder.select(builder.or_(is_zero, is_minus_one), I64(1), divisor), is_zero, is_minus_one


def _rounds_up(builder: Any, remainder: Any, divisor: Any) -> Any:
    """Whether the quotient rounded towards zero is above the one rounded down."""
    differs = builder.icmp_signed("<", builder.xor(remainder, divisor), I64(0))
    return builder.and_(builder.icmp_signed("!=", remainder, I64(0)), differs)


@operation
def floor_divide(builder: Any, dividend: Any, divisor: Any) -> Any:
    """The quotient rounded down; 0 if the divisor is 0. -2**63 // -1 wraps to -2**63."""
    safe, is_zero, is_minus_one = _safe_divisor(builder, divisor)
    too_high = builder.zext(_rounds_up(builder, builder.srem(dividend, safe), safe), I64)
    quotient = builder.sub(builder.sdiv(dividend, safe), too_high)
    return builder.select(is_zero, I64(0), builder.select(is_minus_one, builder.neg(dividend), quotient))


@operation
def floor_modulo(builder: Any, dividend: Any, divisor: Any) -> Any:
    """What floor_divide leaves, with the sign of the divisor; 0 if the divisor is 0."""
    safe, is_zero, is_minus_one = _safe_divisor(builder, divisor)
    remainder = builder.srem(dividend, safe)
    result = builder.add(remainder, builder.select(_rounds_up(builder, remainder, safe), safe, I64(0)))
    return builder.select(builder.or_(is_zero, is_minus_one), I64(0), result)


@operation
def divide_unsigned(builder: Any, dividend: Any, divisor: Any) -> Any:
    """The quotient of two 64-bit patterns without sign, rounded down; `divisor` is not 0."""
    return builder.udiv(dividend, divisor)


@operation
def left_shift(builder: Any, value: Any, count: Any) -> Any:
    """Shift by the low six bits of `count`."""
    return builder.shl(value, builder.and_(count, I64(63)))


@operation
def right_shift(builder: Any, value: Any, count: Any) -> Any:
    """Shift by the low six bits of `count`, keeping the sign."""
    return builder.ashr(value, builder.and_(count, I64(63)))


@operation
def shift_right_unsigned(builder: Any, value: Any, count: Any) -> Any:
    """Shift by the low six bits of `count`, filling with zeros."""
    return builder.lshr(value, builder.and_(count, I64(63)))


@operation
def minimum(builder: Any, left: Any, right: Any) -> Any:
    """The smaller of two numbers."""
    return builder.select(builder.icmp_signed("<", left, right), left, right)


@operation
def maximum(builder: Any, left: Any, right: Any) -> Any:
    """The larger of two numbers."""
    return builder.select(builder.icmp_signed(">", left, right), left, right)


@operation
def is_above(builder: Any, left: Any, right: Any) -> Any:
    """Whether a 64-bit pattern is the larger of two without sign."""
    return builder.zext(builder.icmp_unsigned(">", left, right), I64)


@operation
def absolute(builder: Any, value: Any) -> Any:
    """The number without its sign; -2**63 stays as it is."""
    return builder.select(builder.icmp_signed("<", value, I64(0)), builder.neg(value), value)


@operation
def bit_length(builder: Any, value: Any) -> Any:
    """How many bits the number without its sign has: 0 of 0, 64 of -2**63."""
    zeros = llvm_intrinsic(builder, "llvm.ctlz.i64", I64, absolute.emit(builder, value), I1(0))
    return builder.sub(I64(64), zeros)
