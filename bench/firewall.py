"""How fast the firewall is with ten rules and with ten thousand, and against going through the rules one by one.

    python bench/firewall.py [--rules 10,1000,10000] [--flows 65536,1048576] [--linear 10,1000]

Prints nanoseconds per packet: of known flows, which remember their rule, and of packets that each begin a flow, entry
in the table included. Rules are random, of addresses and ports that the packets have; the last accepts the rest.
`linear` is the same firewall with a loop over the rules.
"""

import argparse
import random
import time
from collections.abc import Iterator
from typing import Any

from fajita import NF, PASS, Array, Chain, Packet, TextFileValue, connection, u32, u64
from fajita.benchmark import measure
from fajita.engine.compiled import CompiledEngine
from fajita.io.flow_order import FlowOrder
from fajita.io.synthetic import synthetic_block
from fajita.nfs.firewall import Firewall
from fajita.nfs.firewall_rules.notation import read_rules

CHUNK = 1 << 16
PORTS = (443, 80, 8443, 8080)
PASSES = 9


def rules_text(count: int, seed: int = 1) -> str:
    """A file of rules for the clients and servers of `fajita.io.synthetic`."""
    draw = random.Random(seed)
    lines = []
    for _ in range(count - 1):
        client = f"10.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(256)}"
        server = f"198.18.{draw.randrange(16)}.{draw.randrange(256)}"
        conditions = [f"ip saddr {client}/{draw.choice((16, 20, 24, 24, 28, 32))}"] if draw.random() < 0.9 else []
        if not conditions or draw.random() < 0.8:
            conditions.append(f"ip daddr {server}/{draw.choice((24, 28, 32, 32))}")
        if draw.random() < 0.7:
            first = draw.choice(PORTS)
            conditions.append(f"udp dport {first}" if draw.random() < 0.7 else f"udp dport {first - 50}-{first + 50}")
        lines.append(" ".join([*conditions, draw.choice(("accept", "drop"))]))
    head = "table inet bench {\n  chain forward {\n    type filter hook forward priority filter; policy drop\n    "
    return head + "\n    ".join([*lines, "ip saddr 10.0.0.0/8 accept"]) + "\n  }\n}\n"


class Linear(NF):
    """Goes through the rules; each has one span of each field."""

    key = connection

    class Params:
        rules: TextFileValue

    class State:
        decisions: Array[u32, 2]

    class Core:
        counts: Array[u64, "counters"]  # noqa: F821

    def prepare(self) -> None:
        spans: dict[str, list[int]] = {name: [] for name in ("src", "dst", "protocol", "dport")}
        rules = read_rules(self.rules).rules
        for rule in rules:
            for name, bits in (("src", 32), ("dst", 32), ("protocol", 8), ("dport", 16)):
                ((first, last),) = rule.spans(name, bits)
                spans[name] += [first, last]
        self.src, self.dst, self.protocols, self.ports = (spans[n] for n in ("src", "dst", "protocol", "dport"))
        self.accepts = [int(rule.accepts) for rule in rules]
        self.counters = 2 * len(rules) + 2

    def packet(self, pkt: Packet, state: Any) -> int:
        way = 0 if pkt.forward else 1
        decision = state.decisions[way]
        if decision == 0:
            for rule in range(len(self.accepts)):
                if (
                    self.src[2 * rule] <= pkt.src <= self.src[2 * rule + 1]
                    and self.dst[2 * rule] <= pkt.dst <= self.dst[2 * rule + 1]
                    and self.protocols[2 * rule] <= pkt.protocol <= self.protocols[2 * rule + 1]
                    and self.ports[2 * rule] <= pkt.dst_port <= self.ports[2 * rule + 1]
                ):
                    decision = rule + 1
                    break
            state.decisions[way] = decision
        self.core.counts[2 * decision] += 1
        self.core.counts[2 * decision + 1] += pkt.length
        return PASS if decision != 0 and self.accepts[decision - 1] != 0 else pkt.drop("rule")


def new_flows_ns(chain: Chain, flows: int) -> float:
    """Nanoseconds of each packet that begins a flow; the best of some passes, each over an empty table."""
    best = float("inf")
    for _ in range(PASSES):
        engine, order, spent = CompiledEngine(chain.plan), FlowOrder("roundrobin", flows, 0), 0.0
        for first in range(0, flows, CHUNK):
            block = synthetic_block(order, min(CHUNK, flows - first), first=first, traffic="udp")
            start = time.thread_time()
            engine.process(block)
            spent += time.thread_time() - start
        best = min(best, spent * 1e9 / flows)
    return best


def known_flows_ns(chain: Chain, flows: int) -> float:
    """Nanoseconds of each packet of flows that are there, drawn uniformly; the best of some passes."""
    return 1000 / max(measure(chain.plan, flows=flows, packets=1 << 21, repeat=PASSES).passes)


def rows(arguments: argparse.Namespace) -> Iterator[tuple[str, int, int, float, float]]:
    firewalls: tuple[tuple[str, type[NF], list[int]], ...] = (
        ("firewall", Firewall, arguments.rules),
        ("linear", Linear, arguments.linear),
    )
    for name, nf, counts in firewalls:
        for count in counts:
            chain = Chain([nf(rules=TextFileValue("bench.nft", rules_text(count)))])
            for flows in arguments.flows:
                yield name, count, flows, known_flows_ns(chain, flows), new_flows_ns(chain, flows)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=numbers, default=[10, 100, 1000, 10_000])
    parser.add_argument("--flows", type=numbers, default=[65_536, 1_048_576])
    parser.add_argument("--linear", type=numbers, default=[10, 10_000])
    print(f"{'':10}{'rules':>8}{'flows':>11}{'known ns':>11}{'new ns':>11}")
    for name, count, flows, known, new in rows(parser.parse_args()):
        print(f"{name:10}{count:8,}{flows:11,}{known:11.1f}{new:11.1f}", flush=True)


if __name__ == "__main__":
    main()
