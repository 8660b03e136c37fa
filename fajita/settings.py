"""What a chain as a whole can be told: what becomes of other frames, when flows end, how many may be kept, tunnels."""

from dataclasses import dataclass
from typing import Any

from fajita.errors import InputError
from fajita.quantities import parse_duration

#: The settings that are one word of several, the usual one first.
CHOICES: dict[str, tuple[str, ...]] = {
    "other": ("pass", "drop"),
    "full": ("drop", "bypass", "evict"),
    "fragments": ("pass", "flow", "drop"),
}
#: More entries have no number in a table.
MAXIMUM_CAPACITY = 1 << 31


@dataclass(frozen=True)
class Settings:
    """The settings of a chain, checked.

    other: what becomes of frames that no NF is about. timeout_ns: idle time after which a state ends, for NFs without
    one of their own; None: never. capacity: entries of each table; None: as many as there is memory for. full: what
    becomes of the packet of a new flow that finds its table full: it is dropped, or it passes the NFs of the table by,
    or it takes the place of another flow. fragments: what becomes of a later fragment whose first has not come: NFs
    that ask for its flow do not see it, or it is of a flow with ports 0, or it is dropped before any NF. inner: NFs are
    about the packets inside tunnels.
    """

    other: str = "pass"
    timeout_ns: int | None = None
    capacity: int | None = None
    full: str = "drop"
    fragments: str = "pass"
    inner: bool = False


def share_of_capacity(capacity: int | None, number: int, workers: int) -> int | None:
    """The entries that a worker, counted from 0, may have of a table that may have so many in all; at least one."""
    if capacity is None:
        return None
    return max(1, capacity // workers + (number < capacity % workers))


class SettingError(InputError):
    """A setting that cannot be; `setting` names it."""

    def __init__(self, setting: str, what: str, right: str) -> None:
        super().__init__(what, "", right)
        self.setting = setting


def check_settings(
    *,
    other: object = "pass",
    timeout: object = None,
    capacity: object = None,
    full: object = "drop",
    fragments: object = "pass",
    inner: object = False,
) -> Settings:
    """The settings as a chain gives them, `timeout` with its unit; SettingError for what is none."""
    return Settings(
        other=_choice("other", other),
        timeout_ns=_duration("timeout", timeout),
        capacity=_capacity(capacity),
        full=_choice("full", full),
        fragments=_choice("fragments", fragments),
        inner=_truth("inner", inner),
    )


def _choice(setting: str, value: object) -> str:
    if value not in CHOICES[setting] or not isinstance(value, str):
        raise SettingError(setting, f"{setting} is {value!r}", " or ".join(CHOICES[setting]))
    return value


def _truth(setting: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise SettingError(setting, f"{setting} is {value!r}", "true or false")
    return value


def _duration(setting: str, value: object) -> int | None:
    if value is None:
        return None
    try:
        nanoseconds = parse_duration(value)
    except ValueError as error:
        raise SettingError(setting, f"{setting} of the chain: {error}", "") from None
    if nanoseconds <= 0:
        raise SettingError(setting, f"{setting} of the chain is {value}", "more than 0")
    return nanoseconds


def _capacity(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAXIMUM_CAPACITY:
        raise SettingError("capacity", f"capacity is {value!r}", f"a number of flows, 1 to {MAXIMUM_CAPACITY:,}")
    return value
