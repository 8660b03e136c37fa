"""What can be left out of a kernel, or put in, to see what it is worth. What a chain does never depends on it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Tuning:
    """What the kernel of a chain is given.

    batching: packets are looked up and run one by one, or in bursts of which NFs get the packets of one flow at a time,
    or in whole bursts. pipelined: all packets of a burst are hashed before the first is searched for. ahead: tags,
    entries and frames are asked for before they are needed, and a burst is looked up while the one before is run.
    prefetch: so are elements of arrays, and lines of an entry beyond its first; not without `ahead`. auxiliary: entries
    remember where those of coarser tables are. sprays: workers run packets that are not their own (fajita.spraying),
    whose verdict is 0 before.
    """

    batching: Literal["packet", "flow", "burst"] = "burst"
    pipelined: bool = True
    ahead: bool = True
    prefetch: bool = True
    auxiliary: bool = True
    sprays: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefetch", self.prefetch and self.ahead)


#: Everything that helps.
FULL = Tuning()
