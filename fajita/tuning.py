"""What can be left out of a kernel, to see what it is worth. What a chain does never depends on it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """What the kernel of a chain is given.

    prefetch: elements of arrays, and lines of an entry beyond its first, are asked for before the NFs run. auxiliary:
    entries remember where those of coarser tables are.
    """

    prefetch: bool = True
    auxiliary: bool = True


#: Everything that helps.
FULL = Tuning()
