"""Flow records of flow_exporter against those of nfpcapd, of the same captures: flow by flow, and what differs why.

    python bench/flow_exporter.py CAPTURE… [--idle 15] [--active 1800] [--shown 3]

Needs nfpcapd and nfdump (Debian's package nfdump). Flows are matched by their addresses, ports, protocol and type of
ICMP, and by the order in which they begin; compared are packets, bytes, TCP flags and the times of the first and
the last packet in milliseconds, which is what nfdump has (nfpcapd notes no type of service). What differs is sorted
into DIFFERENCES, the first that applies. Once with the longest time-outs that nfpcapd takes, and once with these.
"""

import argparse
import json
import os
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, field
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from fajita import Chain
from fajita.io.capture import open_capture
from fajita.io.writer import CaptureWriter
from fajita.nfs.flow_exporter import END_OF_FLOW, FlowExporter

#: Seconds; the longest time-out that nfpcapd takes.
LONGEST = 3600
ICMP_PROTOCOLS, UDP, DNS = (1, 58), 17, 53
#: As nfdump writes TCP flags, the highest bit first.
FLAGS = "CEUAPRSF"

DIFFERENCES = {
    "only fajita": "a tunnel, into which nfpcapd looks; fragments without their first, which it leaves out; IPv6 with "
    "extension headers, of which it takes the first for the protocol",
    "only nfpcapd": "a flow in a tunnel, of which fajita has the outer one; IPv6 with extension headers",
    "packets": "nfpcapd puts fragments together and counts one packet, fajita counts what came",
    "bytes": "the same packets, other bytes",
    "flags": "the same packets, other flags",
    "by packet": "nfpcapd makes a record of each packet of ICMP and of DNS; the same packets, bytes, flags",
    "after the end": "fajita begins a new record with a SYN after a FIN or RST; the same packets, bytes, flags",
    "cut": "the same packets, bytes and flags; nfpcapd looks for flows to end every 10 s or later, by whole seconds",
    "times": "the same packets in the same records, another first or last time",
}

Key = tuple[str, str, int, int, int, int]


@dataclass(frozen=True, order=True)
class Flow:
    """A record; times in milliseconds since 1970."""

    first: int
    last: int
    packets: int
    bytes: int
    flags: int
    reason: int = field(default=0, compare=False)


Flows = dict[Key, list[Flow]]


def grouped(flows: Iterable[tuple[Key, Flow]]) -> Flows:
    """The flows of each key in the order in which they begin."""
    found: Flows = defaultdict(list)
    for key, flow in flows:
        found[key].append(flow)
    return {key: sorted(group) for key, group in found.items()}


def fajitas(capture: Path, idle: int, active: int) -> Iterator[tuple[Key, Flow]]:
    nf = FlowExporter(timeout=f"{idle}s", active=f"{active}s")
    records = Chain([nf], fragments="flow").run(capture, drain=True).records("flow_exporter")
    for row in records.to_pylist():
        icmp = row["icmp_type"] << 8 | row["icmp_code"]
        key = row["src"], row["dst"], row["src_port"], row["dst_port"], row["protocol"], icmp
        first, last = (row[name] // 10**6 for name in ("first_ns", "last_ns"))
        yield key, Flow(first, last, row["packets"], row["bytes"], row["tcp_flags"], row["end_reason"])


def nfpcapds(capture: Path, idle: int, active: int) -> Iterator[tuple[Key, Flow]]:
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.pcap"
        with open_capture(capture) as source, CaptureWriter(plain) as target:
            for block in source:
                block.verdict[:] = 1
                target.write(block)
        records = Path(folder) / "records"
        records.mkdir()
        options = ["-r", str(plain), "-w", str(records), "-e", f"{active},{idle}", "-s", "65535"]
        subprocess.run(["nfpcapd", *options], check=True, capture_output=True)
        text = subprocess.run(
            ["nfdump", "-q", "-R", records, "-o", "json"],
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"TZ": "UTC"},
        ).stdout
    for row in json.loads(f"[{text.strip().rstrip(chr(44))}]"):
        yield _key_of(row), _flow_of(row)


def _key_of(row: dict[str, Any]) -> Key:
    src, dst = (str(ip_address(row.get(f"{end}4_addr") or row[f"{end}6_addr"])) for end in ("src", "dst"))
    protocol = row["proto"]
    if protocol in ICMP_PROTOCOLS:
        return src, dst, 0, 0, protocol, row["icmp_type"] << 8 | row["icmp_code"]
    return src, dst, row.get("src_port", 0), row.get("dst_port", 0), protocol, 0


def _flow_of(row: dict[str, Any]) -> Flow:
    first, last = (round(datetime.fromisoformat(f"{row[name]}+00:00").timestamp() * 1000) for name in ("first", "last"))
    flags = sum(1 << 7 - place for place, letter in enumerate(row.get("tcp_flags", "")) if letter == FLAGS[place])
    return Flow(first, last, row["in_packets"], row["in_bytes"], flags)


def total(flows: list[Flow]) -> Flow:
    """All of them as one."""
    flags = 0
    for flow in flows:
        flags |= flow.flags
    first, last = min(flow.first for flow in flows), max(flow.last for flow in flows)
    packets, size = (sum(getattr(flow, what) for flow in flows) for what in ("packets", "bytes"))
    return Flow(first, last, packets, size, flags)


def difference(key: Key, ours: list[Flow], theirs: list[Flow]) -> str | None:
    """In what the flows of one key differ; None: in nothing."""
    if ours == theirs:
        return None
    if not ours or not theirs:
        return "only fajita" if ours else "only nfpcapd"
    one, other = total(ours), total(theirs)
    if one.packets != other.packets:
        return "packets"
    if one.bytes != other.bytes:
        return "bytes"
    if one.flags != other.flags:
        return "flags"
    if [flow.packets for flow in ours] == [flow.packets for flow in theirs]:
        return "times"
    source_port, destination_port, protocol = key[2:5]
    is_dns = protocol == UDP and DNS in (source_port, destination_port)
    if len(theirs) == other.packets and (protocol in ICMP_PROTOCOLS or is_dns):
        return "by packet"
    return "after the end" if any(flow.reason == END_OF_FLOW for flow in ours[:-1]) else "cut"


def compare(capture: Path, idle: int, active: int, shown: int) -> str:
    """Prints what differs; gives a row for the table."""
    ours, theirs = grouped(fajitas(capture, idle, active)), grouped(nfpcapds(capture, idle, active))
    found: dict[str, list[Key]] = defaultdict(list)
    for key in ours.keys() | theirs.keys():
        found[difference(key, ours.get(key, []), theirs.get(key, [])) or "the same"].append(key)
    print(f"\n{capture.name}, {idle} s, {active} s")
    for what, keys in found.items():
        if what == "the same":
            continue
        print(f"  {what}: {len(keys):,} keys ({DIFFERENCES[what]})")
        for key in sorted(keys)[:shown]:
            print(f"    {key}")
            for name, flows in (("fajita", ours), ("nfpcapd", theirs)):
                for flow in flows.get(key, [])[:4]:
                    print(f"      {name:8} {astuple(flow)}")
    counts = [sum(map(len, flows.values())) for flows in (ours, theirs)]
    same = sum(len(ours[key]) for key in found["the same"])
    packets = [sum(flow.packets for flows in some.values() for flow in flows) for some in (ours, theirs)]
    others = ", ".join(f"{what} {len(keys):,}" for what, keys in sorted(found.items()) if what != "the same")
    return f"| {capture.name} | {counts[0]:,} | {counts[1]:,} | {same:,} | {packets[0]:,} | {packets[1]:,} | {others} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captures", nargs="+", type=Path)
    parser.add_argument("--idle", type=int, default=15)
    parser.add_argument("--active", type=int, default=1800)
    parser.add_argument("--shown", type=int, default=3, help="of each kind of difference, as examples")
    options = parser.parse_args()
    rounds = ((LONGEST, LONGEST), (options.idle, options.active))
    for idle, active in rounds:
        rows = [compare(capture, idle, active, options.shown) for capture in options.captures]
        print("\n| capture | records | nfpcapd's | the same | packets | nfpcapd's | keys that differ |")
        print("|---|---:|---:|---:|---:|---:|---|")
        print("\n".join(rows))


if __name__ == "__main__":
    main()
