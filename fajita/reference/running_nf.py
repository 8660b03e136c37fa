"""An NF of the interpreted engine: its methods, its worker's variables, what it has counted and emitted."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from fajita.engine.counters import NFCounters
from fajita.key import Packing
from fajita.nf import BEFORE_LOOKUP, ENDED_BY, NF
from fajita.packet import Layer
from fajita.plan import NFPlan
from fajita.reference.flow_key import KeyValues
from fajita.reference.method import NFView, load_method
from fajita.reference.record import Record, record_class
from fajita.reference.records import Records
from fajita.splitmix import SplitMix

_METHODS = ("packet", "new_flow", "expire", "error", BEFORE_LOOKUP)


class RunningNF:
    """An NF with its worker's variables, what it has counted and its records.

    packings: those of its table's key. flows: the flow that each state is of. lands_here: the worker's.
    """

    def __init__(
        self,
        plan: NFPlan,
        packings: list[Packing],
        flows: WeakKeyDictionary[Record, KeyValues],
        lands_here: Callable[[int, int, int, int], bool],
    ) -> None:
        kind = type(plan.nf)
        self.plan = plan
        self.core = record_class("Core", kind.core_fields, plan.nf.core_arrays, maps=plan.nf.core_maps)()
        self.counters = NFCounters(drops=dict.fromkeys(plan.translated.reasons, 0))
        self.new_state = record_class("State", kind.state_fields, plan.nf.state_arrays, plan.translated.stored)
        self.records = Records(plan, packings, flows)
        self._lands_here, self._numbers = lands_here, SplitMix(plan.nf.name)
        self.become(plan.nf)
        self._methods = {name: load_method(plan.nf, name) for name in _METHODS}

    def is_about(self, family: int) -> bool:
        """Whether an NF with a key is about packets of a family: it may handle IPv4 or IPv6 alone."""
        about = self.plan.nf.about
        return about is None or family == {Layer.IPV4: 4, Layer.IPV6: 6}[about]

    def become(self, nf: NF) -> None:
        """Have the parameters of this one from now on."""
        self._self = NFView(nf, self.core, self.records.emit, self._lands_here, self._numbers)

    def say_why(self, ended_by: int) -> None:
        """Let `expire` know why states end from now on, if the NF asks."""
        if ENDED_BY in type(self.plan.nf).core_fields:
            self.core.kept[ENDED_BY] = ended_by

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a method if the NF has it."""
        method: Callable[..., Any] | None = self._methods[name]
        return method(self._self, *arguments) if method is not None else None
