"""Parameters of an NF that change while its chain runs, between two packets.

A kernel is not made anew for that: the lists that an NF's methods index lie in memory, where they are replaced.
Everything else that a parameter decides is in the kernel itself, so that it has to stay as it is.
"""

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any

import numpy as np

from fajita.errors import InputError, nearest
from fajita.io.frames import FrameBlock
from fajita.nf import NF
from fajita.plan import NFPlan, Plan
from fajita.quantities import parse_duration
from fajita.translation import TranslatedNF, translate


class Change:
    """What an NF is given anew while a run goes on.

    nf: its name in the chain. at: when, in the time of the packets since the first one, with its unit: before the first
    packet that is so much later. params: parameters of the NF as a chain gives them; all others stay as they are.
    """

    def __init__(self, nf: str, /, *, at: str, **params: Any) -> None:
        self.nf, self.params, self.at = nf, params, at
        try:
            self.after_ns = parse_duration(at)
        except ValueError as error:
            raise InputError(f"a change of {nf}: at: {error}") from None
        if not params:
            raise InputError(f"a change of {nf} at {at} changes nothing", "", "give it parameters of the NF")

    def __repr__(self) -> str:
        params = "".join(f", {name}={value!r}" for name, value in self.params.items())
        return f"Change({self.nf!r}, at={self.at!r}{params})"


def changed_nf(plan: NFPlan, now: NF, params: dict[str, Any]) -> TranslatedNF:
    """An NF with other parameters, translated; InputError where the kernel of `plan` would have to be another one.

    now: the NF as it is, after changes before.
    """
    kind = type(now)
    changed = kind.__new__(kind)
    changed.replaces = plan.nf
    kind.__init__(changed, name=now.name, key=now.granularity, **now.given | params)
    translated = translate(changed)
    if not _is_same_code(plan.translated, translated):
        names = " and ".join(params)
        right = "only what its methods read from lists can change, and these keep their lengths"
        raise InputError(f"{now.name} cannot be given other {names} while it runs", "", right)
    return translated


def _is_same_code(before: TranslatedNF, after: TranslatedNF) -> bool:
    """Whether both are the same functions but for the elements of lists, whose lengths stand in the functions.

    What a matcher looks for stays as it is too.
    """
    hooks = [
        {name: (hook.arguments, hook.lines) for name, hook in translated.hooks.items()}
        for translated in (before, after)
    ]
    return hooks[0] == hooks[1] and before.nf.core_maps == after.nf.core_maps


def check_changes(plan: Plan, changes: Iterable[Change]) -> None:
    """InputError for changes that cannot be made, one after the other, before any packet is run."""
    named = {nf.nf.name: nf for nf in plan.nfs}
    now = {name: nf.nf for name, nf in named.items()}
    for change in sorted(changes, key=attrgetter("after_ns")):
        if change.nf not in named:
            raise InputError(f"no network function {change.nf}", plan.name, nearest(change.nf, named))
        now[change.nf] = changed_nf(named[change.nf], now[change.nf], change.params).nf


class Schedule:
    """Changes that are still to come. make: makes one."""

    def __init__(self, changes: Iterable[Change], make: Callable[[Change], None]) -> None:
        self._coming = sorted(changes, key=attrgetter("after_ns"))
        self._make = make
        self._first_ns: int | None = None

    def warnings(self) -> list[str]:
        """What is to be said at the end of changes that were not due by then."""
        return [f"the run ended before {change.nf} was to change, at {change.at}" for change in self._coming]

    def parts(self, block: FrameBlock) -> Iterator[FrameBlock]:
        """A block in parts, to be run one after the other: before each, what is due by then is changed."""
        start = 0
        while self._coming and start < len(block):
            if self._first_ns is None:
                self._first_ns = int(block.time_ns[0])
            due_ns = self._first_ns + self._coming[0].after_ns
            if due_ns >= 1 << 64:
                break
            late = np.flatnonzero(block.time_ns[start:] >= np.uint64(due_ns))
            if not len(late):
                break
            stop = start + int(late[0])
            if stop > start:
                yield block.part(start, stop)
            self._make(self._coming.pop(0))
            start = stop
        if start < len(block) or not len(block):
            yield block.part(start, len(block)) if start else block
