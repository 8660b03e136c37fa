"""State-compute replication: packets are spread one by one, and every worker keeps all state (Xu et al., NSDI 2025).

For the flow that one core is too slow for. Each worker runs every packet through the NFs, so that all have the same
state at each packet, and the results are those of one worker; but what a packet costs beside state is spent once: in an
NF that keeps no state, and whose work on the packet nothing later in the chain looks at, by the packet's owner alone.
"""

from fajita.packet import ERROR_FIELDS, METADATA
from fajita.plan import NFPlan, Plan

#: What may change under the eyes of a worker that looks for headers and keys.
_HARMLESS = frozenset({"eth_dst", "eth_src", "ttl"})
_PORTS = frozenset({"src_port", "dst_port"})


def left_to_owner(plan: Plan) -> frozenset[int]:
    """The NFs that only the owner of a packet runs."""
    return frozenset(nf.index for nf in plan.nfs if _is_left_to_owner(plan, nf.index))


def _is_left_to_owner(plan: Plan, index: int) -> bool:
    nf = plan.nfs[index]
    if nf.table is not None or nf.translated.may_drop or "core" in nf.translated.hooks["packet"].arguments:
        return False
    return not nf.translated.writes & _looked_at(plan, plan.nfs[index + 1 :])


def _looked_at(plan: Plan, nfs: list[NFPlan]) -> set[str]:
    """The header fields that NFs look at, and what finds their entries."""
    names = set(_PORTS) if plan.datagrams else set()  # a first fragment leaves its ports for later ones
    for nf in nfs:
        names |= nf.translated.reads | (ERROR_FIELDS if nf.translated.takes_errors else set())
        names |= set(nf.nf.granularity.fields) if nf.nf.granularity is not None else set()
    return names


def needs_copies(plan: Plan) -> bool:
    """Whether a worker would rewrite what others look at of the same packet, so that each needs a copy of it."""
    owners = left_to_owner(plan)
    harmless = _HARMLESS - _looked_at(plan, [nf for nf in plan.nfs if nf.index not in owners])
    return any(nf.translated.writes - METADATA.keys() - (harmless if nf.index in owners else set()) for nf in plan.nfs)
