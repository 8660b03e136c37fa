"""Running NFs on frames with either engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fajita import NF, Chain, FrameBlock
from fajita.change import changed_nf
from fajita.engine.compiled import CompiledEngine
from fajita.engine.counters import Counters
from fajita.engine.interface import Engine
from fajita.engine.rows import states_only
from fajita.io.frames import ETHERNET
from fajita.reference import ReferenceEngine

#: What every test of an NF's behaviour is run on.
both_engines = pytest.mark.parametrize("engine", [CompiledEngine, ReferenceEngine], ids=["compiled", "reference"])


@dataclass
class Result:
    """frames, verdicts: by packet, in order; 1 is a packet that goes on."""

    frames: list[bytes]
    verdicts: list[int]
    counters: Counters
    chain: Chain
    engine: Engine

    def rows(self, nf: int = 0) -> list[tuple[int, ...]]:
        """The key and the state of each entry that an NF has."""
        return [row for side in self.engine.rows(self.chain.plan.nfs[nf]) for row in side.tolist()]

    def summary(self, nf: int = 0) -> dict[str, Any]:
        """What the report says of an NF."""
        plan = self.chain.plan.nfs[nf]
        states: Any = None
        if plan.table is not None:
            states = states_only(self.engine.rows(plan), self.chain.plan.tables[plan.table].key, plan)
        return plan.nf.summary(states, self.engine.core(plan))


def run(
    engine: type[Engine],
    nfs: NF | Sequence[NF] | Chain,
    frames: Sequence[bytes],
    times_ns: Sequence[int] | None = None,
    *,
    wire: Sequence[int] | None = None,
    links: Sequence[int] | int = ETHERNET,
    **settings: str,
) -> Result:
    """Run a new engine over the frames, in two blocks; settings: of the chain, if it is not given as one."""
    chain = nfs if isinstance(nfs, Chain) else Chain([nfs] if isinstance(nfs, NF) else nfs, **settings)
    block = FrameBlock.from_frames(frames, times_ns, wire)
    block.link[:] = np.asarray(links, np.uint8)
    running = engine(chain.plan)  # type: ignore[call-arg]
    half = block.head(len(block) // 2)
    running.process(half)
    running.process(block.part(len(half), len(block)))
    made = [bytes(block.frame(index)) for index in range(len(block))]
    return Result(made, block.verdict.tolist(), running.counters(), chain, running)


def change(engine: Engine, name: str, **params: Any) -> None:
    """Give an NF of a running engine other parameters; all that it is not given are as they were at the beginning."""
    plan = next(nf for nf in engine.plan.nfs if nf.nf.name == name)
    engine.change(plan, changed_nf(plan, plan.nf, params))
