"""Each shipped network function alone, against the chain `three`, on one core: JSON lines, then a table as Markdown.

    python bench/network_functions.py [--flows 65536,1048576] [--packets 2097152] [--repeat 9] [--only virtual_server,…]
        [--json FILE]

Frames of 60 bytes from memory, flows drawn uniformly, every flow known before; a function's own frames where the usual
ones are not its business. Each takes turns with `three`, pass by pass, so that a noisy machine disturbs both alike;
time is that of the thread. of_three: the median of the ratios of neighbouring passes. What is not shipped is left out.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fajita import Chain, FrameBlock, InputError
from fajita.benchmark import put_back
from fajita.engine.compiled import CompiledEngine
from fajita.hyperscan import library
from fajita.io.flow_order import FlowOrder
from fajita.io.frames import RESHAPED
from fajita.io.synthetic import DEFAULT_GAP_NS, MINIMUM_SIZE, synthetic_block
from fajita.protocols import ACK_FLAG, SYN_FLAG
from fajita.registry import shipped_nfs
from fajita.suite.machine import describe_machine

Slots = NDArray[np.uint8]

THREE = "three"
CHAINS = Path(__file__).parents[1] / "chains"
CHUNK = 1 << 16
SERVERS = [f"192.0.2.{number}" for number in range(16)]
#: Bytes of an Ethernet frame with IPv4 and UDP.
SRC, DST, SRC_PORT, DST_PORT = (slice(*place) for place in ((26, 30), (30, 34), (34, 36), (36, 38)))
PROTOCOL, OFFSET, FLAGS = 23, 46, 47  # the latter of TCP
SERVICES = 16


def services(forwarding: str, algorithm: str) -> str:
    """So many services, of SERVERS each."""
    parts = []
    for number in range(SERVICES):
        servers = [
            f"{{address: 192.0.{number}.{server}"
            + (f", port: {8000 + number}}}" if forwarding == "nat" else f", mac: '02:00:00:00:00:{server:02x}'}}")
            for server in range(len(SERVERS))
        ]
        parts.append(
            f"{{address: 198.51.100.{number}, port: 80, protocol: udp, forwarding: {forwarding}, "
            f"algorithm: {algorithm}, servers: [{', '.join(servers)}]}}"
        )
    return f"virtual_server: {{services: [{', '.join(parts)}], timeout: 5min}}"


def balancer(algorithm: str) -> str:
    return f"load_balancer: {{servers: [{', '.join(SERVERS)}], algorithm: {algorithm}, timeout: 5min}}"


def rules(count: int) -> str:
    """So many in nftables' notation; the last lets all flows pass."""
    others = "\n".join(
        f"ip saddr 172.16.{number >> 8}.{number & 255} udp dport {1024 + number} drop" for number in range(count - 2)
    )
    head = "table inet filter {\nchain forward {\ntype filter hook forward priority filter; policy drop;"
    return f"{head}\nct state established,related accept\n{others}\nip saddr 10.0.0.0/8 accept\n}}\n}}\n"


NAT = "nat: {inside: [10.0.0.0/8], external: [203.0.113.0/27]}"


def to_services(slots: Slots) -> None:
    """Let every flow be one to a service."""
    number = (slots[:, SRC].sum(1) + slots[:, SRC_PORT].sum(1)) % SERVICES
    slots[:, DST] = np.stack([np.full_like(number, byte) for byte in (198, 51, 100)] + [number], 1)
    slots[:, DST_PORT] = (0, 80)


def to_tcp(flags: int, slots: Slots) -> None:
    """Let every frame be a segment without options."""
    slots[:, PROTOCOL], slots[:, OFFSET], slots[:, FLAGS] = 6, 5 << 4, flags


def to_anywhere(slots: Slots) -> None:
    """Let every flow be one to an address of its own, anywhere."""
    flow = slots[:, SRC].copy().view(">u4").reshape(-1).astype(np.uint32)
    flow ^= slots[:, SRC_PORT].copy().view(">u2").reshape(-1).astype(np.uint32) << np.uint32(16)
    slots[:, DST] = (flow * np.uint32(0x9E3779B1)).astype(">u4").view(np.uint8).reshape(-1, 4)


def to_anywhere_in_ipv6(slots: Slots) -> None:
    """The same within 2000::/3, in IPv6 packets of UDP without data: frames of 62 bytes."""
    to_anywhere(slots)
    flow = np.concatenate([slots[:, DST], slots[:, SRC]], 1)
    ports = slots[:, [34, 35, 36, 37]].copy()
    slots[:, 12:22] = (0x86, 0xDD, 0x60, 0, 0, 0, 0, 8, 17, 64)
    slots[:, 22:54] = 0
    slots[:, 22:24], slots[:, 34:38] = (0x20, 0x01), flow[:, 4:]
    slots[:, 38:46] = flow
    slots[:, 38] = 0x20 | slots[:, 38] & 0x1F
    slots[:, 54:58], slots[:, 58:62] = ports, (0, 8, 0, 0)


def with_tag(slots: Slots) -> None:
    """Put every frame in a VLAN: what does not fit any more is not captured."""
    slots[:, 16:60] = slots[:, 12:56].copy()
    slots[:, 12:16] = (0x81, 0x00, 0x00, 100)


#: By family: bits of a random prefix, its lengths and how common they are, as in the Internet's tables.
TABLES: dict[int, tuple[int, dict[int, float]]] = {
    4: (32, {16: 0.05, 20: 0.05, 22: 0.1, 23: 0.1, 24: 0.7}),
    6: (64, {29: 0.05, 32: 0.3, 40: 0.1, 44: 0.1, 48: 0.45}),
}


def routes(count: int, family: int) -> str:
    """So many, random, and a default route for the others."""
    random, (width, lengths) = np.random.default_rng(count), TABLES[family]
    numbers = random.integers(0, 1 << 32 if family == 4 else 1 << 61, 2 * count, dtype=np.uint64).tolist()
    chosen = random.choice(list(lengths), 2 * count, p=list(lengths.values())).tolist()
    upper = 0 if family == 4 else 1 << 61  # 2000::/3
    prefixes = dict.fromkeys(
        ((upper | number) >> (width - bits) << (width - bits), bits)
        for number, bits in zip(numbers, chosen, strict=True)
    )
    via = "via" if family == 4 else "via inet"
    lines = [f"{'default' if family == 4 else '::/0'} {via} 192.0.2.1 dev eth0"]
    for place, (number, bits) in enumerate(list(prefixes)[:count]):
        address = IPv4Address(number) if family == 4 else IPv6Address(number << 64)
        lines.append(f"{address}/{bits} {via} 192.0.2.{2 + place % 250} dev eth0")
    return "\n".join(lines)


def router(count: int, family: int) -> dict[str, Any]:
    """A router with so many routes."""
    files = {"neighbours": "\n".join(f"192.0.2.{n} dev eth0 lladdr 02:00:00:00:00:{n:02x}" for n in range(1, 252))}
    nf = "router: {routes: routes, neighbours: neighbours, interfaces: {eth0: '02:00:00:00:01:00'}}"
    return {"nf": nf, "files": files | {"routes": routes(count, family)}}


def with_patterns(count: int) -> dict[str, Any]:
    """So many patterns, each of twelve random letters: none of them is found."""
    letters = np.random.default_rng(count).integers(ord("a"), ord("z") + 1, (count, 12), np.uint8)
    lines = [f"{number}:/{bytes(word).decode()}/" for number, word in enumerate(letters)]
    return {"nf": "payload_match: {patterns: patterns.txt}", "files": {"patterns.txt": "\n".join(lines)}}


def tunnel(kind: str, mode: str) -> str:
    """One end of a tunnel."""
    local, remote = ("192.0.2.1", "192.0.2.2") if mode == "encapsulate" else ("192.0.2.2", "192.0.2.1")
    return f"tunnel: {{as: {mode}, kind: {kind}, mode: {mode}, local: {local}, remote: {remote}}}"


def as_they_come(slots: Slots) -> None:
    """Leave the frames as they are."""


@dataclass
class Case:
    """What is measured. nf: an item of a chain, as YAML. made: alters the usual frames.

    answers: every second packet is an answer to what the function makes of it. size: of frames. files: beside the
    chain, by name.
    """

    name: str
    nf: str
    made: Callable[[Slots], None] = as_they_come
    answers: bool = False
    size: int = MINIMUM_SIZE
    files: dict[str, str] = field(default_factory=dict)
    engine: CompiledEngine = field(init=False)
    block: FrameBlock = field(init=False)
    pristine: Slots = field(init=False)
    lying: list[NDArray[np.unsignedinteger]] = field(init=False)
    mpps: list[float] = field(default_factory=list)

    @property
    def needs(self) -> str:
        """The name of the NF."""
        return self.nf.partition(":")[0]

    def chain(self, folder: Path) -> Chain:
        """The function alone; of THREE the example."""
        if self.name == THREE:
            return Chain.load(CHAINS / "three.yaml")
        for name, text in self.files.items():
            (folder / name).write_text(text)
        path = folder / "chain.yaml"
        path.write_text(f"nfs:\n- {self.nf}\n")
        return Chain.load(path)

    def begin(self, folder: Path, flows: int, packets: int) -> None:
        """Make the packets, and an engine that knows all flows."""
        self.engine, self.mpps = CompiledEngine(self.chain(folder).plan), []
        order = FlowOrder("roundrobin", flows, 0)
        for first in range(0, flows, CHUNK):
            self.engine.process(self._frames(order, min(CHUNK, flows - first), first))
        self.block = self._frames(FlowOrder("uniform", flows, 1), packets, flows)
        slots: Slots = self.block.memory  # type: ignore[assignment]
        self.lying = [getattr(self.block, name).copy() for name in RESHAPED]
        if self.answers:
            self.pristine = slots.copy()
            self.engine.process(self.block)
            half = slots[::2]
            for one, other in ((SRC, DST), (SRC_PORT, DST_PORT)):
                self.pristine[::2, one], self.pristine[::2, other] = half[:, other], half[:, one]
            self.block.time_ns += np.uint64(packets * DEFAULT_GAP_NS)
        else:
            self.pristine = slots.copy()

    def _frames(self, order: FlowOrder, packets: int, first: int) -> FrameBlock:
        block = synthetic_block(order, packets, first=first, size=self.size, traffic="udp")
        self.made(block.memory)  # type: ignore[arg-type]
        return block

    def run(self) -> None:
        """A pass over all packets."""
        self.block.memory[:] = self.pristine  # type: ignore[index]
        put_back(self.block, self.lying)
        start = time.thread_time()  # of this thread alone: others may want the core, too
        self.engine.process(self.block)
        self.mpps.append(len(self.block) / (time.thread_time() - start) / 1e6)
        self.block.time_ns += np.uint64(len(self.block) * DEFAULT_GAP_NS)


def cases() -> list[Case]:
    """All that there are."""
    return [
        Case("policer, one rate", "policer: {rate: 1Gbps, burst: 64kB, key: five_tuple}"),
        Case("policer, two rates", "policer: {rate: 1Gbps, burst: 64kB, peak_rate: 2Gbps, key: five_tuple}"),
        *(Case(f"load_balancer, {name}", balancer(name)) for name in ALGORITHMS),
        *(Case(f"virtual_server, {name}", services("nat", name), to_services) for name in ALGORITHMS),
        Case("virtual_server, both ways", services("nat", "maglev"), to_services, answers=True),
        Case("virtual_server, direct", services("direct", "maglev"), to_services),
        Case("nat", NAT),
        Case("nat, both ways", NAT, answers=True),
        Case("connection_tracker", "connection_tracker:"),
        Case("connection_tracker, both ways", "connection_tracker:", answers=True),
        *(
            Case(f"firewall, {count:,} rules", "firewall: {rules: rules.nft}", files={"rules.nft": rules(count)})
            for count in (10, 10_000)
        ),
        Case(
            "firewall, 10,000 rules, both ways",
            "firewall: {rules: rules.nft}",
            answers=True,
            files={"rules.nft": rules(10_000)},
        ),
        Case("heavy_hitters", "heavy_hitters:"),
        Case("heavy_hitters, bytes of flows", "heavy_hitters: {by: five_tuple, count: bytes}"),
        Case("superspreaders", "superspreaders:"),
        Case("port_scan_detector", "port_scan_detector:", partial(to_tcp, ACK_FLAG)),
        Case("port_scan_detector, SYNs", "port_scan_detector:", partial(to_tcp, SYN_FLAG)),
        Case("syn_flood_guard", "syn_flood_guard:", partial(to_tcp, ACK_FLAG)),
        Case("syn_flood_guard, SYNs beyond the limit", "syn_flood_guard: {limit: 1}", partial(to_tcp, SYN_FLAG)),
        Case("flow_exporter", "flow_exporter:"),
        Case("flow_exporter, both ways", "flow_exporter: {key: connection}", answers=True),
        Case("payload_match, 1,000 patterns", **with_patterns(1000)),
        Case("ttl", "ttl:"),
        Case("vlan", "vlan: {only: [100], translate: {100: 200}}", with_tag),
        Case("vlan, a service tag", "vlan: {only: [100], service: 200}", with_tag),
        Case("vlan, stripped", "vlan: {strip: [100]}", with_tag),
        *(Case(f"tunnel, {kind}", tunnel(kind, "encapsulate")) for kind in ("ip_in_ip", "gre", "vxlan")),
        Case("tunnel, gre in and out", f"{tunnel('gre', 'encapsulate')}\n- {tunnel('gre', 'decapsulate')}"),
        Case("router, 10 routes", made=to_anywhere, **router(10, 4)),
        Case("router, 1,000,000 routes", made=to_anywhere, **router(1_000_000, 4)),
        Case("router, IPv6, 200,000 routes", made=to_anywhere_in_ipv6, size=62, **router(200_000, 6)),
    ]


ALGORITHMS = ("round_robin", "least_connections", "hash", "maglev")


def measure(three: Case, case: Case, flows: int, repeat: int) -> dict[str, object]:
    """A row for a case, pass by pass in turn with `three`. flows: that its packets have."""
    three.mpps.clear()
    for number in range(repeat + 1):  # the first pass warms the caches up
        for each in (three, case) if number % 2 else (case, three):
            each.run()
    rates, threes = case.mpps[-repeat:], three.mpps[-repeat:]
    median = statistics.median(rates)
    counters = case.engine.counters()
    return {
        "function": case.name,
        "flows": counters.tables[0].active if counters.tables else flows,
        "packets": len(case.block),
        "mpps": round(median, 2),
        "mpps_min": round(min(rates), 2),
        "mpps_max": round(max(rates), 2),
        "ns_per_packet": round(1000 / median, 2),
        "three_ns_per_packet": round(1000 / statistics.median(threes), 2),
        "of_three": round(statistics.median(own / other for own, other in zip(rates, threes, strict=True)), 3),
        "dropped": counters.packets_in - counters.packets_out,
    }


def table(rows: list[dict[str, object]]) -> str:
    """The figures as Markdown."""
    flows = list(dict.fromkeys(row["at"] for row in rows))
    found = {(row["function"], row["at"]): row for row in rows}
    heads = [f"{count:,} flows: Mpps | ns per packet | of `three`" for count in flows]
    lines = [f"| alone | {' | '.join(heads)} |", f"|---|{'---:|---:|---:|' * len(flows)}"]
    for name in dict.fromkeys(row["function"] for row in rows):
        cells = [
            f"{row['mpps']:.1f} | {row['ns_per_packet']:.1f} | {row['of_three']:.2f}"
            for row in (found[name, count] for count in flows)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", default="65536,1048576")
    parser.add_argument("--packets", type=int, default=1 << 21)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--only", default="", help="names of NFs with commas between")
    parser.add_argument("--json", type=Path, help="where the machine and all rows are written as well")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    wanted = set(options.only.split(",") if options.only else shipped_nfs()) & set(shipped_nfs())
    try:
        library()
    except InputError as error:
        if "payload_match" in wanted:
            print(f"payload_match is left out: {error}", file=sys.stderr)
        wanted -= {"payload_match"}
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for flows in map(int, options.flows.split(",")):
            three = Case(THREE, "rate_limiter:")
            three.begin(Path(folder), flows, options.packets)
            for case in (case for case in cases() if case.needs in wanted):
                case.begin(Path(folder), flows, options.packets)
                rows.append({"at": flows} | measure(three, case, flows, options.repeat))
                print(json.dumps(rows[-1]), flush=True)
    print(f"\n{table(rows)}")
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": describe_machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
