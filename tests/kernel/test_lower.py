"""Lowered functions compute what CPython computes of the same source."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llvmlite import ir

from fajita.kernel.bounds import allow_only
from fajita.kernel.entry import compiled
from fajita.kernel.function import KernelFunction, kernel_function, rare_function
from fajita.kernel.lower import constant
from fajita.kernel.memory import load_u8, store_64
from fajita.kernel.operation import I64
from fajita.reference.integer import wrap
from tests.kernel import forms
from tests.kernel.callees import Callees

NUMBERS = (1, 2)
FORMS = {name: form for name, form in vars(forms).items() if isinstance(form, KernelFunction)}


@kernel_function
def guarded_by_and(address, wanted):
    return address != 0 and load_u8(address) == wanted


@kernel_function
def guarded_by_or(address, wanted):
    return address == 0 or load_u8(address) == wanted


@kernel_function
def guarded_by_conditional(address, wanted):
    return load_u8(address) if address else wanted


@kernel_function
def triple(value):
    return 3 * value


@rare_function
def store_triple(address, value):
    store_64(address, triple(value))


@kernel_function
def calls(address, value):
    store_triple(address, value + 1)
    return triple(triple(value)) + store_triple(address + 8, value < 7)


@kernel_function
def large_constants(ignored, also_ignored):
    return 0xFFFF_FFFF_FFFF_FFFF - 0x1_0000_0000_0000_0000 + 0x8000_0000_0000_0000


@kernel_function
def wrapping(value, other):
    return (value + other) * value - other


OTHERS = {
    kernel.name: kernel
    for kernel in (guarded_by_and, guarded_by_or, guarded_by_conditional, calls, large_constants, wrapping)
}
CALLEES = Callees(FORMS | OTHERS)
ENTER = CALLEES.enter


@pytest.fixture(scope="module")
def call():
    @compiled(ENTER)
    def run(arguments):
        return ENTER(arguments)

    return CALLEES.bind(run)


small = st.integers(-20, 20)


@pytest.mark.parametrize("name", FORMS)
@given(a=small, b=small, c=small)
def test_every_form_computes_what_cpython_does(call, name, a, b, c):
    assert call(name, a, b, c) == (FORMS[name].function(a, b, c) or 0)


@given(value=st.integers(-(1 << 63), (1 << 63) - 1), other=st.integers(-(1 << 63), (1 << 63) - 1))
def test_arithmetic_wraps(call, value, other):
    assert call("wrapping", value, other) == wrap((value + other) * value - other)


def test_constants_are_cut_to_64_bits(call):
    assert call("large_constants") == wrap((1 << 63) - 1)
    assert constant(1 << 63).constant == -(1 << 63)


@pytest.mark.parametrize(("name", "of_nothing"), [("guarded_by_and", 0), ("guarded_by_or", 1)])
def test_a_load_behind_its_check_is_not_made_without_it(call, name, of_nothing):
    byte = np.array([9], np.uint8)
    allow_only([byte])
    assert call(name, 0, 9) == of_nothing  # a load at address 0 would end the process
    assert call(name, byte.ctypes.data, 9) == 1
    assert call(name, byte.ctypes.data, 8) == 0


def test_a_conditional_expression_evaluates_one_part(call):
    byte = np.array([9], np.uint8)
    allow_only([byte])
    assert call("guarded_by_conditional", 0, 5) == 5
    assert call("guarded_by_conditional", byte.ctypes.data, 5) == 9


def test_calls_of_functions_and_operations(call):
    words = np.zeros(2, np.int64)
    allow_only([words])
    assert call("calls", words.ctypes.data, 5) == 45
    assert words.tolist() == [18, 3]


def lower(kernel: KernelFunction) -> str:
    """The LLVM text of a module with a function that calls the kernel."""
    module = ir.Module()
    caller = ir.Function(module, ir.FunctionType(I64, []), "caller")
    builder = ir.IRBuilder(caller.append_basic_block())
    builder.ret(kernel.emit(builder, *[I64(0)] * kernel.arity))
    return str(module)


def test_a_branch_that_constants_rule_out_is_not_lowered():
    assert "br " not in lower(forms.static_branch)
    assert "br " not in lower(forms.NARROW_CLOSURE)


# Each of these is refused; none is ever called.


@kernel_function
def true_division(a):
    return a / 2


@kernel_function
def floor_division(a):
    return a // 2


@kernel_function
def modulo(a):
    return a % 2


@kernel_function
def power(a):
    return a**2


@kernel_function
def real_number(a):
    return a * 0.5


@kernel_function
def text(a):
    return "a"


@kernel_function
def attribute(a):
    return a.real


@kernel_function
def subscript(a):
    return a[0]


@kernel_function
def store_to_subscript(a):
    a[0] = 1


@kernel_function
def store_to_attribute(a):
    a.b = 1


@kernel_function
def augmented_subscript(a):
    a[0] += 1


@kernel_function
def set_display(a):
    return {a, 1}


@kernel_function
def list_display(a):
    return [a]


@kernel_function
def comprehension(a):
    return [x for x in range(a)]  # noqa: C416


@kernel_function
def for_over_a_list(a):
    for x in [1, 2]:
        a += x


@kernel_function
def for_else(a):
    for x in range(3):
        a += x
    else:
        a = 0


@kernel_function
def while_else(a):
    while a > 0:
        a -= 1
    else:
        a = 7


@kernel_function
def unpacking(a):
    b, c = triple(a)
    return b + c


@kernel_function
def tuple_as_a_value(a):
    b = a, a
    return b


@kernel_function
def keyword(a):
    return triple(value=a)


@kernel_function
def starred(a):
    return triple(*[a])


@kernel_function
def method(a):
    return a.bit_length()


@kernel_function
def identity(a):
    return a is a


@kernel_function
def not_in(a):
    return a not in NUMBERS


@kernel_function
def annotated(a):
    b: int = a
    return b


@kernel_function
def walrus(a):
    return (b := a) + b


@kernel_function
def raising(a):
    raise ValueError


@kernel_function
def asserting(a):
    assert a


@kernel_function
def inner_function(a):
    def inner():
        return 1

    return a + inner()


@kernel_function
def with_statement(a):
    with a:
        pass


@kernel_function
def match_statement(a):
    match a:
        case 1:
            return 2


REFUSED = [
    (true_division, "a / 2"),
    (floor_division, "a // 2"),
    (modulo, "a % 2"),
    (power, "a ** 2"),
    (real_number, "0.5"),
    (text, "'a'"),
    (attribute, "a.real"),
    (subscript, "a[0]"),
    (store_to_subscript, "a[0]"),
    (store_to_attribute, "a.b"),
    (augmented_subscript, "a[0] += 1"),
    (set_display, "{a, 1}"),
    (list_display, "[a]"),
    (comprehension, "x for x in range(a)"),
    (for_over_a_list, "for x in [1, 2]"),
    (for_else, "for x in range(3)"),
    (while_else, "while a > 0"),
    (unpacking, "b, c = triple(a)"),
    (tuple_as_a_value, "b = (a, a)"),
    (keyword, "triple(value=a)"),
    (starred, "*[a]"),
    (method, "a.bit_length()"),
    (identity, "a is a"),
    (not_in, "a not in NUMBERS"),
    (annotated, "b: int = a"),
    (walrus, "(b := a)"),
    (raising, "raise ValueError"),
    (asserting, "assert a"),
    (inner_function, "def inner()"),
    (with_statement, "with a"),
    (match_statement, "match a"),
]


@pytest.mark.parametrize(("kernel", "shown"), REFUSED, ids=str)
def test_other_python_is_refused_and_shown(kernel, shown):
    with pytest.raises(NotImplementedError) as caught:
        lower(kernel)
    assert str(caught.value).startswith(f"{kernel.name}: a kernel function cannot have `")
    assert shown in str(caught.value)
