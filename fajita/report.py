"""The report of a run, as data: what DESIGN calls the stable interface of `fajita run --json`."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.engine.counters import Counters, TableCounters
from fajita.nf import NF
from fajita.plan import NFPlan, Plan
from fajita.run import Run


def make_report(run: Run) -> dict[str, Any]:
    """The report. In `drops`, `other` are frames that no NF was about, `table …` packets of flows without an entry.

    fragments: later ones that found the flow of their first, and that did not, where an NF asks for it.
    """
    report = _counts(run, run.engine.counters())
    for nf, summary in zip(report["nfs"], _summaries(run), strict=True):
        nf["summary"] = summary
    return report


def make_snapshot(run: Run) -> dict[str, Any]:
    """The report while a run goes on: what takes no look at every entry, so neither summaries nor counts of keys.

    Of a table of which each worker has a replica it has the entries of all replicas.
    """
    return _counts(run, run.engine.counters(distinct=False))


def _counts(run: Run, counters: Counters) -> dict[str, Any]:
    plan = run.plan
    seconds, loads = run.seconds, run.engine.loads()
    tables = _tables(run, counters)
    busy = seconds.read + seconds.process + seconds.write
    return {
        "chain": plan.name,
        "engine": run.engine_name,
        "cores": len(loads),
        "packets": {
            "in": counters.packets_in,
            "out": counters.packets_out,
            "dropped": counters.packets_in - counters.packets_out,
            "other": sum(counters.other.values()),
        },
        "bytes": {"in": counters.bytes_in, "out": counters.bytes_out},
        "drops": _drops(plan, counters),
        "other": counters.other,
        "fragments": asdict(counters.fragments),
        "flows": _flows(plan, counters),
        "tables": tables,
        "memory": {"limit_bytes": run.engine.memory_bytes, "used_bytes": sum(table["bytes"] for table in tables)},
        "nfs": [_nf(nf, counters) for nf in plan.nfs],
        "shards": [
            {"core": number, "packets": load.packets, "busy_seconds": round(load.busy_seconds, 6)}
            for number, load in enumerate(loads)
        ],
        "sharding": {"by": _spread_by(plan), "balance": run.engine.balance()},
        "seconds": {name: round(value, 6) for name, value in asdict(seconds).items()},
        "mpps": round(counters.packets_in / busy / 1e6, 3) if busy else 0.0,
        "warnings": run.warnings,
        "interrupted": run.interrupted,
        "error": None if run.error is None else str(run.error),
    }


def _spread_by(plan: Plan) -> str | None:
    """What says whose a packet is: the key that is hashed, or `turn` if packets are sprayed; None: all are one's."""
    if plan.tuning.sprays:
        return "turn"
    return None if plan.sharding.fields is None else plan.sharding.fields.name


def _drops(plan: Plan, counters: Counters) -> dict[str, dict[str, int]]:
    drops = {
        nf.nf.name: {reason: count for reason, count in counted.drops.items() if count}
        for nf, counted in zip(plan.nfs, counters.nfs, strict=True)
    }
    if plan.settings.other == "drop":
        # An NF may have been given this name too.
        drops["other"] = drops.get("other", {}) | counters.other
    if plan.settings.full == "drop":
        names = _table_names(plan)
        drops |= {names[i]: {"full": counted.refused} for i, counted in enumerate(counters.tables) if counted.refused}
    if plan.drops_fragments and counters.fragments.early:
        drops["fragments"] = drops.get("fragments", {}) | {"before its first": counters.fragments.early}
    return {name: reasons for name, reasons in drops.items() if reasons}


def _table_names(plan: Plan) -> list[str]:
    """What the tables are called among the reasons for drops; no NF can be. Numbers as `explain` gives them."""
    keys = [table.key.name for table in plan.tables]
    return [f"table {key}" if keys.count(key) == 1 else f"table {number} {key}" for number, key in enumerate(keys)]


def _flows(plan: Plan, counters: Counters) -> dict[str, int]:
    """Of the finest table, the first whose key has the most fields."""
    counted = TableCounters()
    if plan.tables:
        counted = counters.tables[max(plan.tables, key=lambda table: len(table.key.fields)).index]
    return {name: getattr(counted, name) for name in ("created", "active", "expired", "evicted", "refused")}


def _tables(run: Run, counters: Counters) -> list[dict[str, Any]]:
    return [
        {
            "key": table.key.name,
            "sharing": table.sharing,
            "entries": counted.active,
            "capacity": capacity,
            "bytes": size,
            "created": counted.created,
            "expired": counted.expired,
            "evicted": counted.evicted,
            "refused": counted.refused,
        }
        for table, counted, (capacity, size) in zip(
            run.plan.tables, counters.tables, run.engine.table_memory(), strict=True
        )
    ]


def _nf(nf: NFPlan, counters: Counters) -> dict[str, Any]:
    counted = counters.nfs[nf.index]
    dropped = sum(counted.drops.values())
    return {
        "name": nf.nf.name,
        "type": type(nf.nf).__name__,
        "in": counted.received,
        "out": counted.received - dropped,
        "dropped": dropped,
        "records": counted.records,
    }


def _summaries(run: Run) -> list[dict[str, Any]]:
    """What each NF says of its states; those of a table are read together."""
    summaries = {nf.index: _summary(run, nf, np.empty(0, [])) for nf in run.plan.nfs if nf.table is None}
    for table in run.plan.tables:
        # To take the arrays of every entry would be for nothing where nobody looks at them.
        for arrays in (True, False):
            nfs = [run.plan.nfs[index] for index in table.nfs if _sees_arrays(run.plan.nfs[index]) == arrays]
            states = run.engine.rows_of(nfs, arrays=arrays, keys=False) if nfs else ()
            for nf, sides in zip(nfs, states, strict=True):
                # To put together what is in one piece would be to copy it.
                found = [side for side in sides if len(side)] or sides[:1]
                summaries[nf.index] = _summary(run, nf, found[0] if len(found) == 1 else np.concatenate(found))
    return [summaries[nf.index] for nf in run.plan.nfs]


def _sees_arrays(nf: NFPlan) -> bool:
    return type(nf.nf).summary is not NF.summary


def _summary(run: Run, nf: NFPlan, states: NDArray[np.void]) -> dict[str, Any]:
    # A user's own code, whose mistake must not cost the rest of the report.
    try:
        summary = _plain(run.nf_now(nf).summary(states, run.engine.core(nf, arrays=_sees_arrays(nf))))
        if not isinstance(summary, dict):
            raise TypeError(f"a dict is needed, not {summary!r}")
    except Exception as error:
        return {"error": f"{type(error).__name__} in {type(nf.nf).__name__}.summary: {error}"}
    return summary


def _plain(value: Any) -> Any:
    """What JSON can hold: numpy's numbers and arrays as Python's, and anything unknown as text."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no such number
    return value if isinstance(value, str | int | float | None) else str(value)
