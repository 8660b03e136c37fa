"""Plans for tests, and what to look at in them."""

import linecache
from collections.abc import Sequence
from typing import Any

from fajita.chain import Chain
from fajita.key import Key, source
from fajita.nf import NF, PASS
from fajita.nfs.load_balancer import LoadBalancer
from fajita.plan import Plan
from fajita.state_types import Bits, array_of, flag
from fajita.tuning import Tuning

SERVERS = ["10.0.0.1", "10.0.0.2"]


def balancer(**options: Any) -> NF:
    return LoadBalancer(servers=SERVERS, **options)


def plan(*nfs: NF) -> Plan:
    return Chain(nfs).plan


def without_links(*nfs: NF) -> Plan:
    return Chain(nfs).plan_with(Tuning(auxiliary=False))


def tables(plan: Plan) -> list[tuple[str, list[str]]]:
    return [(table.key.name, [plan.nfs[index].nf.name for index in table.nfs]) for table in plan.tables]


def with_state(
    number: int, state: Sequence[tuple[Any, bool]], core: Sequence[Any], timeout: str | None, key: Key = source
) -> NF:
    """An NF with fields of these types, which it stores or not."""
    members = {
        "key": key,
        "State": type("State", (), {"__annotations__": {f"s{i}": kind for i, (kind, _) in enumerate(state)}}),
        "Core": type("Core", (), {"__annotations__": {f"c{i}": kind for i, kind in enumerate(core)}}),
        "packet": storing([(f"s{i}", kind) for i, (kind, is_stored) in enumerate(state) if is_stored]),
    }
    return type("WithState", (NF,), members)(name=f"nf{number}", timeout=timeout)


def storing(fields: Sequence[tuple[str, Any]]) -> Any:
    """A method `packet` that stores these fields; its source is where Python looks for that of any function."""
    stores = [
        f"    state.{name}{'[0]' if array_of(kind) else ''} = {'True' if kind is flag or kind in BITS else '1'}\n"
        for name, kind in fields
    ]
    lines = ["def packet(self, pkt, state):\n", *stores, "    return PASS\n"]
    source = "".join(lines)
    file = f"<{source}>"
    linecache.cache[file] = (len(source), None, lines, file)
    names: dict[str, Any] = {"PASS": PASS}
    exec(compile(source, file, "exec"), names)
    return names["packet"]


BITS = (Bits[9], Bits[1000])
