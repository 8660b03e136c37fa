"""From a chain to its plan: NFs checked, tables assigned, shards chosen, entries laid out."""

from fajita.assignment import assign_tables
from fajita.constant_lists import ConstantLists
from fajita.entry_layout import aligned, lay_out
from fajita.errors import InputError
from fajita.nf import EXPIRE_IN, NF
from fajita.packet import MAXIMUM_DATAGRAMS, Layer
from fajita.plan import LINE_BYTES, NFPlan, Plan, TablePlan, TableSide
from fajita.prefetching import add_prefetch
from fajita.rss import HashFields
from fajita.settings import Settings
from fajita.sharding import choose_sharding
from fajita.translation import translate
from fajita.tuning import FULL, Tuning

#: Elements of a list among an NF's parameters: 1 GiB.
MAXIMUM_LIST = 1 << 27


def make_plan(
    name: str,
    nfs: list[NF],
    settings: Settings,
    tuning: Tuning = FULL,
    *,
    fields: HashFields | None = None,
    sharing: str | None = None,
) -> Plan:
    """Check the NFs' sources and plan the chain; InputError for what cannot be run.

    fields, sharing: how several workers divide their work, if not as `choose_sharding` would.
    """
    plans = [_plan_nf(index, nf, settings) for index, nf in enumerate(nfs)]
    tables, segments = assign_tables(plans, evicts=settings.full == "evict", links=tuning.auxiliary)
    _add_sides(tables, plans)
    for table in tables:
        _time(table, [plans[index] for index in table.nfs])
    sharding = choose_sharding(tables, segments, plans, settings, fields=fields, sharing=sharing)
    for table in tables:
        lay_out(table, plans, [other.index for other in tables if other.link and other.link.table == table.index])
    for plan in plans:
        add_prefetch(plan, [] if plan.table is None else tables[plan.table].sides, tuning)
    core_bytes, datagrams = _place_core(plans), _datagrams(plans, tables, settings)
    constants = _place_constants(plans)
    return Plan(name, settings, plans, tables, segments, core_bytes, constants, sharding, datagrams, tuning)


def _plan_nf(index: int, nf: NF, settings: Settings) -> NFPlan:
    timeout_ns = nf.timeout_ns if nf.timeout_ns is not None or nf.granularity is None else settings.timeout_ns
    return NFPlan(index, translate(nf), timeout_ns=timeout_ns)


def _add_sides(tables: list[TablePlan], plans: list[NFPlan]) -> None:
    index = 0
    for table in tables:
        for packing in table.key.packings:
            if any(plans[nf].handles(packing) for nf in table.nfs):
                table.sides.append(TableSide(index, packing))
                index += 1
        for nf in table.nfs:
            if not any(plans[nf].handles(side.packing) for side in table.sides):
                what = (
                    f"{plans[nf].nf.name} is about {plans[nf].nf.about!r}, of which no packet has the key {table.key}"
                )
                raise InputError(what, "", "another key")


def _time(table: TablePlan, nfs: list[NFPlan]) -> None:
    """When states of a table end."""
    fixed = [nf.timeout_ns for nf in nfs if nf.timeout_ns is not None]
    chosen = [nf.nf.shortest_expire_in for nf in nfs if EXPIRE_IN in nf.translated.stored]
    if fixed or chosen:
        table.idle_ends, table.shortest_timeout_ns = True, min(fixed, default=None)
        table.has_chosen_timeouts, table.round_ns = bool(chosen), max(1, min(fixed + chosen) // 2)


def _datagrams(plans: list[NFPlan], tables: list[TablePlan], settings: Settings) -> int:
    """How many datagrams to remember: some if an NF asks for a packet's flow or its ports, or the chain drops by it."""
    needed = [side.packing.layer for table in tables for side in table.sides]
    needed += [plan.layer for plan in plans if plan.table is None]
    has_ports = any({"src_port", "dst_port"} & set(table.key.fields) for table in tables)
    has_ports = has_ports or any(plan.translated.reads_flow_ports for plan in plans)
    asks = has_ports or any(layer & Layer.FLOW for layer in needed) or settings.fragments == "drop"
    return MAXIMUM_DATAGRAMS if asks else 0


def _place_core(plans: list[NFPlan]) -> int:
    offset = 0
    for plan in plans:
        for name, kind in type(plan.nf).core_fields.items():
            offset = aligned(offset, kind.bytes)
            plan.core_offsets[name] = offset
            offset += kind.bytes
        offset = aligned(offset, 8)
    for plan in plans:
        if plan.translated.draws:
            plan.random, offset = offset, offset + 8
    for plan in plans:
        for name, array in plan.nf.core_arrays.items():
            plan.core_offsets[name] = offset = aligned(offset, LINE_BYTES)
            offset = aligned(offset + array.bytes, 8)
        for name, map_ in plan.nf.core_maps.items():
            plan.core_offsets[name] = offset = aligned(offset, LINE_BYTES)
            offset += map_.bytes
    return offset


def _place_constants(plans: list[NFPlan]) -> ConstantLists:
    constants = ConstantLists()
    for plan in plans:
        for name, elements in plan.translated.lists.items():
            if len(elements) > MAXIMUM_LIST:
                raise InputError(f"{plan.nf.name}: {name} has {len(elements)} elements", "", f"at most {MAXIMUM_LIST}")
            plan.constant_offsets[name] = constants.add(elements)
    return constants
