"""Which compiled engine runs a plan with so many workers."""

from fajita.engine.compiled import CompiledEngine
from fajita.engine.parallel import ParallelEngine
from fajita.engine.spraying import SprayingEngine
from fajita.plan import Plan

AnyCompiledEngine = CompiledEngine | ParallelEngine | SprayingEngine


def compiled_engine(plan: Plan, workers: int, *, memory_bytes: int | None = None) -> AnyCompiledEngine:
    """One worker runs in the caller's thread, several each in one of its own."""
    if plan.tuning.sprays:
        return SprayingEngine(plan, workers, memory_bytes=memory_bytes)
    if workers == 1 and not any(table.ends_at_ticks for table in plan.tables):
        return CompiledEngine(plan, memory_bytes=memory_bytes)
    return ParallelEngine(plan, workers, memory_bytes=memory_bytes)
