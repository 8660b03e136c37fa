"""What the names in an NF's method stand for, and what the method was seen to use."""

import ast
from dataclasses import dataclass, field
from typing import Any

from fajita.integers import AnyIntegers
from fajita.nf import NF
from fajita.state_types import StateType
from fajita.translation.locate import Method


@dataclass(frozen=True)
class Value:
    """A translated expression: its text, its type (int, bool, list, array, str or verdict), its value where it is
    known; of an array which it is.
    """

    text: str
    type: str
    known: Any = None


@dataclass
class Scope:
    """One method under translation.

    pkt, state: the names the method gives its parameters. locals: types of the variables assigned so far on every
    path. used: which of the kernel's arguments the translation needs. lists: the lists it indexes, by their name in the
    kernel. stored: the fields and arrays of the state it assigns. unstored: the fields that no method assigns.
    reshapes: it changes more of a frame than its fields. growth: by so many bytes at most it makes one longer.
    is_changed: the frame itself may be another one by now. is_stale: since its headers were found.
    draws: it draws random numbers. emits: how often `self.emit(state)` stands in it. loops: how many loops are around
    what is translated now. is_hint: what is translated only asks for memory ahead, and may be wrong.
    rewrites_per_flow: every header field it writes gets, on every path, a value made of parameters and of the state's
    fields named in rewrites_from alone.
    """

    nf: NF
    method: Method
    prefix: str
    pkt: str | None
    state: str | None
    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    lists: dict[str, list[int] | AnyIntegers] = field(default_factory=dict)
    stored: set[str] = field(default_factory=set)
    unstored: frozenset[str] = frozenset()
    emits: int = 0
    loops: int = 0
    is_hint: bool = False
    rewrites_from: set[str] = field(default_factory=set)
    rewrites_per_flow: bool = True
    draws: bool = False
    reshapes: bool = False
    growth: int = 0
    is_changed: bool = False
    is_stale: bool = False
    locals: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)

    def state_fields(self) -> dict[str, StateType]:
        """The fields of the NF's state."""
        return type(self.nf).state_fields

    def core_fields(self) -> dict[str, StateType]:
        """The variables of the NF's worker."""
        return type(self.nf).core_fields

    def drop_code(self, reason: str) -> int:
        """The number that the packet function returns to drop for this reason; 0 is PASS."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason) + 1


#: The methods that give a verdict, and which.
VERDICTS_OF = {"packet": ("PASS", "DROP"), "error": ("PASS", "DROP"), "before_lookup": ("LOOK_UP", "PASS", "DROP")}
#: What before_lookup returns in the kernel for LOOK_UP; PASS is 0, reasons to drop are counted from 1.
LOOK_UP_CODE = -1
#: What its first foresight returns where it takes an element of an array to know more, which is asked for.
AWAITS_CODE = -2

#: The reason counted for a plain `return DROP`.
PLAIN_DROP = "dropped"


def head_of(statement: ast.stmt) -> ast.AST:
    """What of a statement is evaluated whatever comes of it."""
    if isinstance(statement, ast.If):
        return statement.test
    return statement.iter if isinstance(statement, ast.For) else statement
