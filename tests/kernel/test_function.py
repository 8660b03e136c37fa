"""Kernel functions: what they can name, and that each stands once in a module."""

import pytest
from llvmlite import ir

from fajita.kernel.function import KernelFunction, burst_function, kernel_function, rare_function
from fajita.kernel.memory import store_be16
from fajita.kernel.operation import I64

OFFSET = 3


@kernel_function
def plus_offset(value):
    return value + OFFSET


@rare_function
def twice(value):
    return plus_offset(value) + plus_offset(value + 1)


@burst_function
def countdown(value):
    return countdown(value - 1) if value > 0 else value


@rare_function
def stores(value):
    store_be16(value, twice(value))


@kernel_function
def unknown_name(value):
    return value + NOWHERE  # noqa: F821


@kernel_function
def unknown_callee(value):
    return abs(value)


def module_with(*kernels: KernelFunction) -> str:
    """The LLVM text of a module with one function that calls the kernels, each twice."""
    module = ir.Module()
    builder = ir.IRBuilder(ir.Function(module, ir.FunctionType(I64, []), "caller").append_basic_block())
    for kernel in (*kernels, *kernels):
        result = kernel.emit(builder, *[I64(1)] * kernel.arity)
    builder.ret(result)
    return str(module)


def test_a_kernel_function_knows_its_name_and_arity():
    assert (repr(twice), twice.name, twice.arity) == ("twice", "twice", 1)


def test_a_function_is_lowered_once_in_a_module():
    text = module_with(twice, plus_offset)
    assert text.count("define internal") == 2
    assert module_with(twice).count("define internal") == 2  # and stands in another module too


def test_modules_have_a_function_alike_with_all_that_it_calls():
    first, second = module_with(stores), module_with(stores)
    assert first == second
    assert second.count("define internal") == 3
    assert second.count("declare") == 1  # of LLVM's own function
    assert module_with(twice, stores).count("define internal") == 3


@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [(plus_offset, ("alwaysinline",)), (twice, ("noinline", "cold")), (countdown, ("noinline",))],
    ids=str,
)
def test_the_decorator_says_where_it_is_inlined(kernel, attributes):
    assert kernel.attributes == attributes
    assert all(attribute in module_with(kernel) for attribute in attributes)


def test_a_function_may_call_itself():
    assert module_with(countdown).count("define internal") == 1


def test_namesakes_do_not_meet():
    def made(step):
        @rare_function
        def add(value):
            return value + step

        return add

    text = module_with(made(1000), made(2000))
    assert text.count("define internal") == 2
    assert "1000" in text
    assert "2000" in text


@pytest.mark.parametrize(("kernel", "name"), [(unknown_name, "NOWHERE"), (unknown_callee, "abs")], ids=str)
def test_a_name_that_is_not_known_is_told(kernel, name):
    for _ in range(2):
        with pytest.raises(NameError, match=f"{kernel.name}: a kernel function cannot use '{name}'"):
            module_with(kernel)
