"""What an NF gets for a map of its core in the interpreted engine."""

from fajita.integers import wrap
from fajita.reference.integer import Int64
from fajita.state_types import MapType


class MapView:
    """A map from so many integers to one that is not negative."""

    def __init__(self, values: dict[tuple[int, ...], int], kind: MapType) -> None:
        self._values, self._kind = values, kind

    def __len__(self) -> int:
        return len(self._values)

    def get(self, *key: int) -> Int64:
        """The value, -1 without one."""
        return Int64(self._values.get(_plain(key), -1))

    def set(self, *key_and_value: int) -> bool:
        """Whether the key has the value now: not if it is new to a map that is full, or the value is negative."""
        *key, value = _plain(key_and_value)
        if value < 0 or (tuple(key) not in self._values and len(self._values) == self._kind.length):
            return False
        self._values[tuple(key)] = value
        return True

    def remove(self, *key: int) -> bool:
        """Whether the key was there."""
        return self._values.pop(_plain(key), None) is not None


def _plain(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(wrap(int(number)) for number in numbers)
