"""What a kernel needs to say where packets land, if some NF of the chain asks (`self.lands_here`)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.engine.membership import Membership
from fajita.engine.sharder import byte_tables
from fajita.kernel.layout import CONTEXT
from fajita.plan import Plan


def place_landing(context: NDArray[np.int64], plan: Plan, membership: Membership) -> list[NDArray[Any]]:
    """Fill in the words of the context that are about it; the areas to which they lead, to be kept."""
    fields = plan.sharding.fields
    if fields is None or not plan.asks_landing:
        return []
    hashed, indirection = byte_tables(fields.key), membership.indirection
    words = (hashed.ctypes.data, indirection.ctypes.data, membership.worker)
    for name, word in zip(("bytes_hashed", "indirection", "worker"), words, strict=True):
        context[CONTEXT[name] // 8] = word
    return [hashed, indirection]
