"""DPDK in this process: without huge pages, NICs or devices; tests add devices. Skipped where it has not been built."""

from collections.abc import Iterator
from itertools import count

import pytest

from fajita.dpdk.library import library
from fajita.errors import InputError

#: The environment of all tests of a process: it can be begun once.
ARGUMENTS = "--no-huge --no-pci -m 384 -l 0"

_numbers = count()


@pytest.fixture(autouse=True, scope="session")
def environment() -> None:
    """DPDK has begun."""
    try:
        library()
    except InputError as error:
        pytest.skip(str(error))
    from fajita.dpdk.environment import begin_environment

    begin_environment(ARGUMENTS)


@pytest.fixture
def add_device(environment: None) -> Iterator[object]:
    """Adds a device with a driver and arguments and gives its name; it is taken away after the test."""
    from fajita.dpdk import environment as dpdk

    names: list[str] = []

    def add(driver: str, arguments: str = "") -> str:
        names.append(name := f"{driver}{next(_numbers)}")
        dpdk.add_device(f"{name},{arguments}" if arguments else name)
        return name

    yield add
    for name in names:
        dpdk.remove_device(name)
