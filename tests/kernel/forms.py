"""Kernel functions, one for each form of statement and expression that `lower` knows.

They are plain Python too, so that CPython says what they should compute.
"""

from fajita.kernel.function import kernel_function

SEVEN = 7
NUMBERS = (2, 3, 5)
WIDE = False


@kernel_function
def if_elif_else(a, b, c):
    if a < b:
        result = 1
    elif a == b:
        result = 2
    elif c:
        result = 3
    else:
        result = 4
    return result


@kernel_function
def if_without_else(a, b, c):
    if a > b:
        a = b
    return a


@kernel_function
def while_loop(a, b, c):
    total, count = 0, a & 15
    while count > 0:
        total += count
        count -= 1
    return total


@kernel_function
def break_and_continue(a, b, c):
    total = 0
    for step in range(20):
        if step == (b & 15):
            continue
        if step > (a & 15):
            break
        total = total * 3 + step
    return total


@kernel_function
def while_true(a, b, c):
    n = 0
    while True:
        n += 1
        if n * n > (a & 0xFF):
            break
        if n == 5:
            continue
    return n


@kernel_function
def nested_loops(a, b, c):
    total = 0
    for i in range(a & 7):
        for j in range(i, b & 7):
            if j == 3:
                continue
            if i + j > 9:
                break
            k = j
            while k > 0:
                k >>= 1
                total += 1
        total = total * 2 + i
    return total


@kernel_function
def range_of_one(a, b, c):
    last = -1
    for step in range(a & 7):
        last = step
    return last


@kernel_function
def range_of_two(a, b, c):
    total = 0
    for step in range(-(a & 7), b & 7):
        total = total * 5 + step
    return total


@kernel_function
def range_with_step(a, b, c):
    total = 0
    for step in range(-(a & 7), b & 15, 3):
        total = total * 5 + step
    return total


@kernel_function
def range_downwards(a, b, c):
    total = 0
    for step in range(a & 15, -(b & 7), -2):
        total = total * 5 + step
    return total


@kernel_function
def bounds_are_evaluated_once(a, b, c):
    count, turns = a & 7, 0
    for step in range(count):
        count = 0
        turns += step + 1
    return turns


@kernel_function
def loop_variable_may_be_changed(a, b, c):
    total = 0
    for step in range(a & 7):
        step *= 10
        total += step
    return total


@kernel_function
def return_from_a_loop(a, b, c):
    for step in range(16):
        if step == (a & 31):
            return step * 100
    return -1


@kernel_function
def early_return(a, b, c):
    if a < 0:
        return a
    else:
        return -a
    return 99


@kernel_function
def conditional_expression(a, b, c):
    return (a if a > b else b) + (1 if c else 2 if a == b else 3)


@kernel_function
def chained_comparison(a, b, c):
    return (a < b <= c) + 2 * (a <= b < c < SEVEN) + 4 * (a != b == c)


@kernel_function
def comparisons(a, b, c):
    return (a == b) | (a != b) << 1 | (a < b) << 2 | (a <= b) << 3 | (a > b) << 4 | (a >= b) << 5


@kernel_function
def membership(a, b, c):
    return (a in (1, b, 7)) + 2 * (a in NUMBERS)


@kernel_function
def conditions(a, b, c):
    return 1 if (a < b and b < c) or (not a <= c and not (a > 5 or b > 5)) else 0


@kernel_function
def condition_of_numbers(a, b, c):
    total = 0
    if a and b:
        total += 1
    if a or c:
        total += 2
    if not c:
        total += 4
    return total


@kernel_function
def condition_as_a_number(a, b, c):
    both = a > 0 and b > 0
    return both + (a > b) * 2


@kernel_function
def swap(a, b, c):
    a, b = b, a
    a, b, c = c, a, b
    return a * 10000 + b * 100 + c


@kernel_function
def many_targets(a, b, c):
    x = y = a + 1
    x += b
    return x * y


@kernel_function
def augmented(a, b, c):
    a += b
    a *= 3
    a -= c
    a ^= b
    a |= 1
    a &= 0xFFFF
    a <<= 2
    a >>= 1
    return a


@kernel_function
def unary(a, b, c):
    return -a + ~b + +c + (not a)


@kernel_function
def static_branch(a, b, c):
    if WIDE:
        return a.nothing_that_could_be_lowered
    if SEVEN == 7:
        result = a + SEVEN
    else:
        result = a.neither
    return result


@kernel_function
def without_return(a, b, c):
    """A docstring is no statement."""
    a += 1


@kernel_function
def return_of_nothing(a, b, c):
    if a:
        return
    pass


def closure(step, wide):
    @kernel_function
    def closure_constants(a, b, c):
        if wide:
            a = b
        return a + step

    return closure_constants


NARROW_CLOSURE, WIDE_CLOSURE = closure(5, False), closure(9, True)
