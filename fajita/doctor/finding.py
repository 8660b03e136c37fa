"""What was found of one thing that a run may need."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """missing: no run with DPDK is possible. warning: it is, with less than there could be."""

    ok = "ok"
    warning = "warning"
    missing = "missing"


@dataclass(frozen=True)
class Finding:
    """what: the thing. fix: the command that brings what is missing, or what to do instead; empty if all is there."""

    what: str
    state: State
    found: str
    fix: str = ""


def ok(what: str, found: str) -> Finding:
    """All is there."""
    return Finding(what, State.ok, found)


def warning(what: str, found: str, fix: str) -> Finding:
    """It goes without."""
    return Finding(what, State.warning, found, fix)


def missing(what: str, found: str, fix: str) -> Finding:
    """It does not go without."""
    return Finding(what, State.missing, found, fix)
