"""What can be left out of a kernel, or put in, to see what it is worth. What a chain does never depends on it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """What the kernel of a chain is given.

    prefetch: elements of arrays, and lines of an entry beyond its first, are asked for before the NFs run. auxiliary:
    entries remember where those of coarser tables are. sprays: workers run packets that are not their own
    (fajita.spraying), whose verdict is 0 before.
    """

    prefetch: bool = True
    auxiliary: bool = True
    sprays: bool = False


#: Everything that helps.
FULL = Tuning()
