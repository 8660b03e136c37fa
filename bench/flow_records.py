"""Flow records of the chain of chains/flow_records.yaml against nfstream's: flows, packets and bytes of each direction.

python bench/flow_records.py CAPTURE… [--idle 30] [--folder FOLDER]

Needs nfstream (`pip install nfstream`, which is no dependency of fajita) beside fajita. Flows are matched by their
addresses, ports and protocol, either way around, and by the order in which they begin; what does not match is sorted
into the classes of DIFFERENCES.
"""

import argparse
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pyarrow.parquet as pq

from fajita import Chain
from fajita.export import export_state
from fajita.nfs.flow_counter import FlowCounter
from fajita.output_file import check_folder
from fajita.records import RecordFiles
from fajita.run import execute

#: How long nfstream lets a flow last: longer than any capture.
ACTIVE_SECONDS = 10**9

#: What two sets of flows with the same addresses, ports and protocol differ in, the first that applies.
DIFFERENCES = {
    "only fajita": "a tunnel of IP in IP, into which nfstream looks; a first fragment, whose ports nfstream leaves out",
    "only nfstream": "a flow in a tunnel of IP in IP, of which fajita has the outer one; first fragments without ports",
    "packets": "one of them has seen packets that the other has not",
    "bytes": "the same packets, another length",
    "vlan": "nfstream keeps the VLANs of a flow apart",
    "cut": "the same packets, another number of flows: idle for the timeout to the nanosecond, or to the millisecond",
    "place of the cut": "the same number of flows, each with packets that are another's for the other",
    "direction": "each of them has the other direction as the first",
}

Ends = tuple[tuple[str, int], tuple[str, int]]
FlowKey = tuple[Ends, int]


@dataclass(frozen=True)
class Flow:
    """One flow. counts: packets and bytes the way of the first packet, then the other way. vlan: where it counts."""

    begins_ms: int
    source: tuple[str, int]
    destination: tuple[str, int]
    protocol: int
    counts: tuple[int, int, int, int]
    vlan: int = 0

    @property
    def key(self) -> FlowKey:
        """The same for both directions."""
        first, second = sorted((self.source, self.destination))
        return (first, second), self.protocol

    @property
    def packets(self) -> int:
        return self.counts[0] + self.counts[2]

    @property
    def bytes(self) -> int:
        return self.counts[1] + self.counts[3]


def fajitas(capture: Path, idle: int, folder: Path) -> Iterator[Flow]:
    """The records that the chain wrote, and the flows that had not ended."""
    plan = Chain([FlowCounter(key="connection", timeout=f"{idle}s", records=True)]).plan
    check_folder(folder, "export")
    run = execute(plan, capture, records=RecordFiles(folder, plan))
    if run.error is not None:
        raise run.error
    export_state(run.engine, plan, folder)
    for name in ("flow_counter.records.parquet", "flow_counter.parquet"):
        for row in pq.read_table(folder / name).to_pylist():
            counts = row["packets"], row["bytes"], row["reverse_packets"], row["reverse_bytes"]
            ends = (row["src"], row["src_port"]), (row["dst"], row["dst_port"])
            yield Flow(row["first_ns"] // 10**6, *ends, row["protocol"], counts)


def nfstreams(capture: Path, idle: int) -> Iterator[Flow]:
    """What nfstream makes of the same frames, by the lengths that they had on the wire."""
    from nfstream import NFStreamer

    streamer = NFStreamer(
        source=str(capture),
        idle_timeout=idle,
        active_timeout=ACTIVE_SECONDS,
        n_dissections=0,
        statistical_analysis=False,
        accounting_mode=0,
        decode_tunnels=False,
        n_meters=1,
    )
    for flow in streamer:
        counts = flow.src2dst_packets, flow.src2dst_bytes, flow.dst2src_packets, flow.dst2src_bytes
        ends = (str(ip_address(flow.src_ip)), flow.src_port), (str(ip_address(flow.dst_ip)), flow.dst_port)
        yield Flow(flow.bidirectional_first_seen_ms, *ends, flow.protocol, counts, flow.vlan_id)


def by_key(flows: Iterable[Flow]) -> dict[FlowKey, list[Flow]]:
    """The flows of each key in the order in which they begin."""
    grouped: dict[FlowKey, list[Flow]] = defaultdict(list)
    for flow in flows:
        grouped[flow.key].append(flow)
    return {key: sorted(group, key=lambda flow: flow.begins_ms) for key, group in grouped.items()}


def difference(ours: list[Flow], theirs: list[Flow]) -> str | None:
    """The class of difference between the flows of one key; None if there is none."""
    if not theirs:
        return "only fajita"
    if not ours:
        return "only nfstream"
    if sum(flow.packets for flow in ours) != sum(flow.packets for flow in theirs):
        return "packets"
    if sum(flow.bytes for flow in ours) != sum(flow.bytes for flow in theirs):
        return "bytes"
    if len({flow.vlan for flow in theirs}) > 1:
        return "vlan"
    if len(ours) != len(theirs):
        return "cut"
    if [flow.packets for flow in ours] != [flow.packets for flow in theirs]:
        return "place of the cut"
    same = all(
        (one.source, one.counts) == (other.source, other.counts) for one, other in zip(ours, theirs, strict=True)
    )
    return None if same else "direction"


def compare(capture: Path, idle: int, folder: Path) -> None:
    ours, theirs = by_key(fajitas(capture, idle, folder)), by_key(nfstreams(capture, idle))
    print(f"\n{capture.name}")
    for name, grouped in (("fajita", ours), ("nfstream", theirs)):
        flows = [flow for group in grouped.values() for flow in group]
        packets, size = (sum(getattr(flow, what) for flow in flows) for what in ("packets", "bytes"))
        print(f"  {name:9} {len(flows):,} flows of {len(grouped):,} keys, {packets:,} packets, {size:,} bytes")
    found: dict[str, list[FlowKey]] = defaultdict(list)
    agreed: Counter[str] = Counter()
    for key in ours.keys() | theirs.keys():
        pair = ours.get(key, []), theirs.get(key, [])
        if what := difference(*pair):
            found[what].append(key)
        else:
            agreed.update(flows=len(pair[0]), packets=sum(flow.packets for flow in pair[0]))
    print(f"  the same  {agreed['flows']:,} flows with {agreed['packets']:,} packets, in both directions")
    for what, keys in found.items():
        print(f"  {what}: {len(keys):,} keys ({DIFFERENCES[what]})")
        for key in sorted(keys)[:3]:
            print(f"    {key}")
            for name, grouped in (("fajita", ours), ("nfstream", theirs)):
                for flow in grouped.get(key, [])[:4]:
                    print(f"      {name:9} {flow.begins_ms} {flow.source[0]}:{flow.source[1]} {flow.counts}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captures", nargs="+", type=Path)
    parser.add_argument("--idle", type=int, default=30, help="seconds without a packet that end a flow")
    parser.add_argument("--folder", type=Path, help="where the Parquet files stay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for capture in options.captures:
            compare(capture, options.idle, (options.folder or Path(temporary)) / capture.name)


if __name__ == "__main__":
    main()
