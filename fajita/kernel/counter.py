"""The processor's time stamp counter, for Python to read."""

from fajita.kernel.entry import compiled, entry
from fajita.kernel.function import kernel_function
from fajita.kernel.pacing import cycles


@kernel_function
def read():
    """What it says now."""
    return cycles()


_enter = entry(read)


@compiled(_enter)
def read_counter(arguments):
    """Call read."""
    return _enter(arguments)
