"""Which compiled engine runs a plan with so many workers."""

from fajita.engine.compiled import CompiledEngine
from fajita.engine.parallel import ParallelEngine
from fajita.engine.spraying import SprayingEngine
from fajita.errors import InputError
from fajita.plan import Plan

AnyCompiledEngine = CompiledEngine | ParallelEngine | SprayingEngine


def compiled_engine(
    plan: Plan, workers: int, *, memory_bytes: int | None = None, balance_ns: int | None = None
) -> AnyCompiledEngine:
    """One worker runs in the caller's thread, several each in one of its own. balance_ns: of ParallelEngine."""
    if plan.tuning.sprays:
        if balance_ns is not None:
            raise InputError("packets that are sprayed need no balance", "", "leave out --balance or --spray")
        if plan.reshapes:
            raise InputError("packets that become longer or shorter cannot be sprayed", "", "leave out --spray")
        return SprayingEngine(plan, workers, memory_bytes=memory_bytes)
    if workers == 1 and balance_ns is None and not any(table.ends_at_ticks for table in plan.tables):
        return CompiledEngine(plan, memory_bytes=memory_bytes)
    return ParallelEngine(plan, workers, memory_bytes=memory_bytes, balance_ns=balance_ns)


def live_engine(plan: Plan, workers: int, *, memory_bytes: int | None = None) -> CompiledEngine | ParallelEngine:
    """One whose workers poll (fajita.engine.live). InputError for a chain that cannot run so."""
    if workers == 1 and not any(table.ends_at_ticks for table in plan.tables):
        return CompiledEngine(plan, memory_bytes=memory_bytes, live=True)
    if workers > 1 and plan.sharding.fields is None:
        what = "all packets of this chain go to one worker (fajita explain says why)"
        raise InputError(what, f"--cores {workers}", "--cores 1")
    return ParallelEngine(plan, workers, memory_bytes=memory_bytes, live=True)
