"""How several workers divide a chain's work, for people: which gets a packet, whose entries are, and why."""

from collections.abc import Iterator

from fajita.plan import Plan, TablePlan
from fajita.sharding import OWN, SHARED, ends, why_not_own


def sharding_lines(plan: Plan) -> Iterator[str]:
    """A paragraph."""
    yield "several workers (--cores):"
    sharding = plan.sharding
    if plan.tuning.sprays:
        yield "  packets go to them in turn, and all keep all states (--spray)"
        return
    if sharding.fields is None:
        yield "  all packets go to one, the others have nothing to do"
    else:
        yield f"  a packet goes to one by a hash of {_hashed(plan)}"
    yield f"    because: {sharding.why}"
    yield f"    what would change that: {sharding.change}"
    if sharding.fields is not None:
        yield f"    live (--dpdk): {_by_ports(plan)}"
    for table in plan.tables:
        yield f"  table {table.index} ({table.key}): {_whose(plan, table)}"
    for nf in plan.nfs if sharding.fields is not None else ():
        if nf.nf.together is not None:
            yield f"  {nf.nf.name} has packets that agree in {nf.nf.together} together, at one worker"
        if nf.translated.asks_landing:
            yield f"  {nf.nf.name} asks where packets land (lands_here): what it does depends on the number of workers"


def _hashed(plan: Plan) -> str:
    fields = plan.sharding.fields
    assert fields is not None
    listed = ", ".join(fields.fields)
    both = ", the same in both directions" if fields.symmetric else ""
    return f"{listed}{both}, as it came in"


def _by_ports(plan: Plan) -> str:
    """Who spreads the packets of a live run."""
    unseen = {
        "packets inside tunnels": plan.settings.inner,
        "later fragments": bool(plan.datagrams),
        "what ICMP errors are about": plan.takes_errors,
    }
    but = " and ".join(name for name, is_asked in unseen.items() if is_asked)
    by_port = f"the port does it where it can hash by that, but for {but}" if but else "the port does it where it can"
    return f"{by_port}; workers hand over what has come to another"


def _whose(plan: Plan, table: TablePlan) -> str:
    """Whose the entries of a table are, and why."""
    fields = plan.sharding.fields
    if fields is None:
        return "one worker has it"
    if table.sharing == OWN:
        return "each worker has its own, no key is met by two"
    why = why_not_own(table, fields, plan.segments, plan.nfs)
    if table.sharing == SHARED:
        reason = ends(table, plan.nfs) or "this was asked for"
        return f"shared by all, as {why}, and {reason}"
    return f"replicated, each worker has entries that are merged when they are read, as {why}"
