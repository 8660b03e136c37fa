"""Show that the two engines agree on a chain and its traffic, or where they first do not.

Both get copies of every block in memory of their own. After each block all verdicts, all bytes and all records are
compared, at the end all counters, the state of every flow and the variables of every worker; then once more, with the
records, when all flows are ended.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita.engine.counters import Counters
from fajita.engine.interface import Engine
from fajita.io.frames import BSD_NULL, ETHERNET, LINUX_SLL, LINUX_SLL2, PPP, RAW_IP, FrameBlock
from fajita.key import KeyColumn, Packing
from fajita.plan import NFPlan, Plan
from fajita.run import make_engine

#: So many differing counters and rows are told one by one; the rest as a number.
MAXIMUM_SHOWN = 10


@dataclass(frozen=True)
class Outcome:
    """What an engine made of a frame."""

    engine: str
    goes_on: bool
    frame: bytes


@dataclass(frozen=True)
class PacketDifference:
    """The first packet on which the engines differ. number: from 1, as in Wireshark; link: a code of io.frames."""

    number: int
    link: int
    frame: bytes
    outcomes: tuple[Outcome, Outcome]

    def __str__(self) -> str:
        first, second = self.outcomes
        shorter, longer = sorted((len(first.frame), len(second.frame)))
        changed = {at for at in range(shorter) if first.frame[at] != second.frame[at]} | {*range(shorter, longer)}
        lines = [f"packet {self.number}, {len(self.frame)} bytes, as it came in:", *hex_lines(self.frame)]
        lines += dissect(self.frame, self.link)
        for outcome in self.outcomes:
            lines += [f"{outcome.engine}: {'passed' if outcome.goes_on else 'dropped'}"]
            lines += hex_lines(outcome.frame, changed) if changed else []
        return "\n".join(lines)


@dataclass(frozen=True)
class RecordDifference:
    """The first record of an NF that differs after packets that were the same. packets: how many had been run by then.

    number: from 1, among the NF's records of this family since then; outcomes: the record by engine, as text.
    """

    nf: str
    packets: int
    number: int
    outcomes: dict[str, str]

    def __str__(self) -> str:
        lines = [f"all packets agree, but after {self.packets:,} of them {self.nf} emits record {self.number}:"]
        return "\n".join([*lines, *(f"{engine}: {record}" for engine, record in self.outcomes.items())])


@dataclass(frozen=True)
class EndDifference:
    """Counters, states or worker variables that differ after all packets were the same, one line each."""

    lines: tuple[str, ...]

    def __str__(self) -> str:
        shown = list(self.lines[:MAXIMUM_SHOWN])
        if len(self.lines) > MAXIMUM_SHOWN:
            shown.append(f"and {len(self.lines) - MAXIMUM_SHOWN} more")
        return "\n".join(["all packets agree, but at the end:", *shown])


@dataclass(frozen=True)
class VerifyResult:
    """packets: how many were compared, those of a differing block included. difference: None if there is none."""

    packets: int
    difference: PacketDifference | RecordDifference | EndDifference | None


def both_engines(plan: Plan, cores: int = 1) -> dict[str, Engine]:
    """The two engines of fajita, with so many workers each."""
    return {name: make_engine(plan, name, cores=cores) for name in ("reference", "compiled")}


def verify_blocks(
    plan: Plan,
    blocks: Iterable[FrameBlock],
    make_engines: Callable[[Plan], dict[str, Engine]] = both_engines,
) -> VerifyResult:
    """Run two engines over the same blocks, which stay as they are; stops at the first block that differs.

    make_engines gives two engines by name.
    """
    engines = make_engines(plan)
    packets = 0
    for block in blocks:
        copies = [_private_copy(block) for _ in engines]
        for engine, copy in zip(engines.values(), copies, strict=True):
            engine.process(copy)
        before, packets = packets, packets + len(block)
        if difference := _packet_difference(block, dict(zip(engines, copies, strict=True))):
            return VerifyResult(packets, difference)
        if wrong_record := _record_difference(plan, engines, before):
            return VerifyResult(packets, wrong_record)
    for engine in engines.values():
        engine.settle()
    if wrong_record := _record_difference(plan, engines, packets):
        return VerifyResult(packets, wrong_record)
    lines = tuple(_end_differences(plan, engines))
    if not lines:
        for engine in engines.values():
            engine.drain()
        if wrong_record := _record_difference(plan, engines, packets):
            return VerifyResult(packets, wrong_record)
        lines = tuple(f"{line}, after all flows have ended" for line in _end_differences(plan, engines))
    return VerifyResult(packets, EndDifference(lines) if lines else None)


def _private_copy(block: FrameBlock) -> FrameBlock:
    """The same frames, one after the other in one new area."""
    frames = [bytes(block.frame(index)) for index in range(len(block))]
    copy = FrameBlock.from_frames(frames, block.time_ns.copy(), first=block.first)
    copy.wire[:], copy.link[:] = block.wire, block.link
    return copy


def _packet_difference(block: FrameBlock, results: dict[str, FrameBlock]) -> PacketDifference | None:
    first, second = results.values()
    same_frames = np.array_equal(np.asarray(first.memory), np.asarray(second.memory))
    same = [np.array_equal(getattr(first, name), getattr(second, name)) for name in ("verdict", "captured", "wire")]
    has_moved = bool(first.grown or second.grown)
    if same_frames and all(same) and not has_moved:
        return None
    index = next(
        (
            index
            for index in range(len(block))
            if first.verdict[index] != second.verdict[index]
            or first.wire[index] != second.wire[index]
            or first.frame(index) != second.frame(index)
        ),
        None,
    )
    if index is None:
        return None
    left, right = (
        Outcome(name, bool(result.verdict[index]), bytes(result.frame(index))) for name, result in results.items()
    )
    return PacketDifference(block.first + index + 1, int(block.link[index]), bytes(block.frame(index)), (left, right))


def _record_difference(plan: Plan, engines: dict[str, Engine], packets: int) -> RecordDifference | None:
    """The first difference in what was emitted since the last call, after so many packets."""
    for nf in plan.nfs:
        if not nf.translated.may_emit or nf.table is None:
            continue
        taken = [engine.take_records(nf) for engine in engines.values()]
        for side, first, second in zip(plan.tables[nf.table].sides, *taken, strict=True):
            if np.array_equal(first, second):
                continue
            both = min(len(first), len(second))
            number = next(iter(np.flatnonzero(first[:both] != second[:both]).tolist()), both)
            rows = [rows[number].tolist() if number < len(rows) else None for rows in (first, second)]
            texts = _record_texts(nf, side.packing, rows)
            return RecordDifference(nf.nf.name, packets, number + 1, dict(zip(engines, texts, strict=True)))
    return None


def _record_texts(nf: NFPlan, packing: Packing, rows: list[tuple[Any, ...] | None]) -> list[str]:
    """A record of each engine, None if it has none: the flow, the fields, and the elements in which the two differ."""
    texts = ["nothing" if row is None else ": ".join(_row_texts(nf, packing, row)) for row in rows]
    left, right = rows
    if left is not None and right is not None:
        first_array = len(packing.columns) + len(type(nf.nf).state_fields)
        for name, one, other in zip(nf.nf.state_arrays, left[first_array:], right[first_array:], strict=True):
            for index in np.flatnonzero(one != other)[:MAXIMUM_SHOWN].tolist():
                texts = [
                    f"{text} {name}[{index}]={elements[index]}"
                    for text, elements in zip(texts, (one, other), strict=True)
                ]
    return texts


def _end_differences(plan: Plan, engines: dict[str, Engine]) -> Iterator[str]:
    names, (first, second) = list(engines), engines.values()
    yield from _unequal(_flat_counters(plan, first.counters()), _flat_counters(plan, second.counters()), names)
    for nf in plan.nfs:
        left, right = first.core(nf), second.core(nf)
        yield from _unequal(_named_scalars(nf, left), _named_scalars(nf, right), names)
        for what, one, other in _named_arrays(nf, left, right):
            yield from _unequal_arrays(what, one, other, names)
        if nf.table is not None:
            yield from _unequal_states(plan, nf, engines.values(), names)


def _unequal(first: dict[str, Any], second: dict[str, Any], names: list[str]) -> Iterator[str]:
    for what in dict.fromkeys([*first, *second]):
        if (left := first.get(what, "nothing")) != (right := second.get(what, "nothing")):
            yield f"{what}: {names[0]} has {left}, {names[1]} has {right}"


def _flat_counters(plan: Plan, counters: Counters) -> dict[str, int]:
    """Every counter by a name of its own."""
    nested = asdict(counters)
    nested["nfs"] = {nf.nf.name: counted for nf, counted in zip(plan.nfs, nested["nfs"], strict=True)}
    nested["tables"] = {
        f"table {table.index} ({table.key})": counted
        for table, counted in zip(plan.tables, nested["tables"], strict=True)
    }
    flat: dict[str, int] = {}

    def flatten(path: str, value: dict[str, Any]) -> None:
        for name, inner in value.items():
            if isinstance(inner, dict):
                flatten(f"{path}{name}, ", inner)
            else:
                flat[f"{path}{name}"] = inner

    flatten("", nested.pop("nfs") | nested.pop("tables") | nested)
    return flat


def _unequal_arrays(what: str, left: NDArray[Any], right: NDArray[Any], names: list[str]) -> Iterator[str]:
    """The elements in which two arrays differ, the first ones of many."""
    indices = np.flatnonzero(left != right)
    for index in indices[:MAXIMUM_SHOWN].tolist():
        yield f"{what}[{index}]: {names[0]} has {left[index].item()}, {names[1]} has {right[index].item()}"
    if len(indices) > MAXIMUM_SHOWN:
        yield f"{what}: {len(indices) - MAXIMUM_SHOWN} more of its elements"


def _named_scalars(nf: NFPlan, core: dict[str, Any]) -> dict[str, int]:
    """Variables and what is in maps."""
    scalars = (name for name in core if name not in nf.nf.core_arrays and name not in nf.nf.core_maps)
    named = {what: value for name in scalars for what, value in _of_workers(nf, name, core[name])}
    maps = [(what, map_) for name in nf.nf.core_maps for what, map_ in _of_workers(nf, name, core[name])]
    return named | {f"{what}, {key}": value for what, map_ in maps for key, value in map_.items()}


def _named_arrays(
    nf: NFPlan, left: dict[str, Any], right: dict[str, Any]
) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    for name in nf.nf.core_arrays:
        of_both = zip(_of_workers(nf, name, left[name]), _of_workers(nf, name, right[name]), strict=True)
        yield from ((what, one, other) for (what, one), (_, other) in of_both)


def _of_workers(nf: NFPlan, name: str, value: Any) -> list[tuple[str, Any]]:
    """A variable by a name for messages: one value, or that of each worker."""
    what = f"{nf.nf.name}, variable {name}"
    values = value if isinstance(value, list) else [value]
    if len(values) == 1:
        return [(what, values[0])]
    return [(f"{what} of worker {worker}", each) for worker, each in enumerate(values)]


def _unequal_states(plan: Plan, nf: NFPlan, engines: Iterable[Engine], names: list[str]) -> Iterator[str]:
    """The flows whose states differ, and the elements in which their arrays do."""
    first, second = (_states_by_flow(plan, nf, engine) for engine in engines)
    left, right = ({flow: text for flow, (text, _) in states.items()} for states in (first, second))
    yield from _unequal(left, right, names)
    for flow in (flow for flow in first if flow in second):
        for name, one, other in zip(nf.nf.state_arrays, first[flow][1], second[flow][1], strict=True):
            yield from _unequal_arrays(f"{flow}, {name}", one, other, names)


def _states_by_flow(plan: Plan, nf: NFPlan, engine: Engine) -> dict[str, tuple[str, tuple[NDArray[Any], ...]]]:
    """The state of an NF by the flow it is of: its fields as text, and its arrays."""
    assert nf.table is not None
    fields, states = type(nf.nf).state_fields, {}
    for side, rows in zip(plan.tables[nf.table].sides, engine.rows(nf), strict=True):
        for row in rows.tolist():
            flow, text = _row_texts(nf, side.packing, row)
            states[f"{nf.nf.name}, {flow}"] = (text, row[len(side.packing.columns) + len(fields) :])
    return states


def _row_texts(nf: NFPlan, packing: Packing, row: tuple[Any, ...]) -> tuple[str, str]:
    """What a row says: the flow, and the fields of the state."""
    columns = packing.columns
    key, state = row[: len(columns)], row[len(columns) :]
    flow = " ".join(f"{column.name}={_key_text(column, value)}" for column, value in zip(columns, key, strict=True))
    fields = zip(type(nf.nf).state_fields, state, strict=False)
    return f"flow {flow}", " ".join(f"{name}={value}" for name, value in fields) or "an entry"


def _key_text(column: KeyColumn, value: Any) -> str:
    if column.kind == "ipv6":
        high, low = value
        return str(IPv6Address(int(high) << 64 | int(low)))
    return str(IPv4Address(value)) if column.kind == "ipv4" else str(value)


def hex_lines(frame: bytes, marked: set[int] | None = None) -> list[str]:
    """A frame in rows of 16 bytes after their offset; rows with bytes to be marked have carets below."""
    marked = marked or set()
    lines = []
    for start in range(0, len(frame), 16):
        row = range(start, min(start + 16, len(frame)))
        lines.append(f"  {start:04x}  " + " ".join(f"{frame[at]:02x}" for at in row))
        if marked & set(row):
            lines.append((" " * 8 + " ".join("^^" if at in marked else "  " for at in row)).rstrip())
    return lines


def dissect(frame: bytes, link: int) -> list[str]:
    """What scapy sees in a frame, one line a header or field; a line that says why if it sees nothing."""
    try:
        from scapy.layers import ppp
        from scapy.layers.inet import IP
        from scapy.layers.inet6 import IPv6
        from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Ether, Loopback
        from scapy.packet import Raw

        is_ipv6 = bool(frame) and frame[0] >> 4 == 6
        has_address = bool(frame) and frame[0] == 0xFF
        kinds = {
            ETHERNET: Ether,
            RAW_IP: IPv6 if is_ipv6 else IP,
            LINUX_SLL: CookedLinux,
            LINUX_SLL2: CookedLinuxV2,
            BSD_NULL: Loopback,
            PPP: ppp.HDLC if has_address else ppp.PPP,
        }
        text: str = kinds.get(link, Raw)(frame).show(dump=True)
        return [f"  {line}" for line in text.rstrip().splitlines()]
    except Exception as error:  # a dissector may fail in any way on a hostile frame
        return [f"  scapy cannot take it apart: {type(error).__name__}: {error}"]
