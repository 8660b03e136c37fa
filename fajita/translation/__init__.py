"""An NF's Python source, checked against what NFs may do and translated for the kernel.

`translate(nf)` is the entry: it finds the methods, checks every name and type, and gives back plain functions on
addresses as text, with what the planner needs to know (fields read and written, whether it can drop).
"""

from fajita.translation.prefetches import ArrayAccess
from fajita.translation.translate import Hook, TranslatedNF, translate, with_prefetch

__all__ = ["ArrayAccess", "Hook", "TranslatedNF", "translate", "with_prefetch"]
