"""The memory of first fragments that the kernel reads and writes."""

import numpy as np

from fajita.engine.side import secret
from fajita.kernel import fragments as kernel
from fajita.plan import Plan


class FragmentMemory:
    """What a worker remembers of first fragments; of a plan that needs none of it just the counters."""

    def __init__(self, plan: Plan) -> None:
        layout = kernel.place_fragments(plan.datagrams, plan.moments) if plan.datagrams else None
        #: In pages that take memory when they are first used.
        self.words = np.zeros((layout.total if layout else kernel.HEADER_BYTES) // 8, np.int64)
        # So that 0, the end of a chain, is too old from the beginning.
        self._set(kernel.NEWEST, plan.datagrams)
        self._set(kernel.SECRET_0, secret())
        self._set(kernel.SECRET_1, secret())

    def _set(self, word: int, value: int) -> None:
        self.words[word // 8] = value

    def begin_block(self) -> None:
        """Another block begins, of which no frame has been seen."""
        self._set(kernel.DONE, 0)

    @property
    def followed(self) -> int:
        """Later fragments that found their first."""
        return int(self.words[kernel.FOLLOWED // 8])

    @property
    def early(self) -> int:
        """Later fragments that did not."""
        return int(self.words[kernel.EARLY // 8])
