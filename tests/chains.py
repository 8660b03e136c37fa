"""Random chains of the shipped NFs, for tests: any order, keys, parameters and timeouts."""

import importlib
import pkgutil
from pathlib import Path
from random import Random
from typing import Any

import fajita.nfs
from fajita import InputError, TextFileValue
from fajita.chain import Chain
from fajita.hyperscan import library
from fajita.nf import NF
from fajita.settings import CHOICES

#: Idle times between the steps of `traffic.traffic`, so that some flows time out.
_TIMEOUTS = (None, None, "5us", "1ms", "1s")

#: Services at addresses of `traffic`.
_HTTPS = {
    "address": "192.0.2.7",
    "port": 443,
    "servers": [{"address": "10.0.0.1", "port": 53, "weight": 2}, {"address": "10.0.0.2"}],
}
_NAMES = {"address": "255.255.255.255", "port": 53, "protocol": "udp", "servers": [{"address": "10.0.0.2"}]}
_DIRECT = {
    "address": "192.0.2.7",
    "port": 53,
    "protocol": "udp",
    "forwarding": "direct",
    "servers": [{"address": f"10.0.0.{n}", "mac": f"02:00:00:00:00:0{n}"} for n in (1, 2, 3)],
}
#: Rules that part of `traffic.traffic` meets.
_RULES = (
    """table inet t { chain c { type filter hook forward priority 0; policy drop
        ct state established,related accept
        ip saddr { 10.0.0.0/8, 192.0.0.0/16 } meta l4proto { tcp, udp } th dport != 53 accept
        ip6 saddr ::/1 accept
        icmp type { echo-request, 3 } accept
        }
    }""",
    """table ip t { chain c { type filter hook forward priority 0; policy accept
        ct state invalid drop
        meta l4proto udp ct state new drop
        tcp sport > 1000 ip daddr < 128.0.0.0 drop
        }
    }""",
)
#: Routes to addresses of `traffic`, of every kind.
_ROUTES = [
    "10.0.0.0/31 dev eth0 proto kernel scope link src 10.0.0.0",
    "10.0.0.0/30 via 192.0.2.1 dev eth1",
    "blackhole 192.0.2.7",
    "unreachable 255.0.0.0/9",
    "prohibit 255.255.255.255",
    "2001:db8::/32 via fe80::1 dev eth1",
    "2001:db8::/127 dev eth0",
    "2001:db8::2/127 dev eth0",
    "default via inet6 fe80::1 dev eth1",
    "2001:db8::/126 via fe80::1 dev eth1",
    "throw ::/1",
    "blackhole ::1",
]
_NEIGHBOURS = [
    "10.0.0.1 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE",
    "192.0.2.1 dev eth1 lladdr 02:00:00:00:00:02 STALE",
    "2001:db8::2 dev eth0 lladdr 02:00:00:00:00:03 router REACHABLE",
    "fe80::1 dev eth1 lladdr 02:00:00:00:00:04 PERMANENT",
]
#: Parameters to choose from, for the NFs that cannot do without or that have more than one way to run.
_PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "ConnectionTracker": [
        {},
        {"checksums": False, "drop_invalid": True},
        {"loose": False, "liberal": True, "syn_sent": "1us", "udp": "1ms", "icmp": "1ms", "generic": "5us"},
    ],
    "Firewall": [{"rules": TextFileValue("random.nft", text)} for text in _RULES],
    "FlowCounter": [{}, {"records": True}],
    "FlowExporter": [{}, {"active": "1us"}, {"active": "5ms"}],
    "HeavyHitters": [
        {},
        {"by": "destination", "count": "bytes", "top": 2, "error": 0.05, "prefix": 20, "prefix_v6": 61},
        {"by": "address_pair", "top": 1, "error": 0.1, "confidence": 0.6},
        {"by": "five_tuple", "count": "bytes", "error": 0.01},
    ],
    "LoadBalancer": [
        {"servers": ["10.0.0.1"]},
        {"servers": ["10.0.0.1", "10.0.0.9", "172.16.0.1"]},
        {"servers": ["10.0.0.1", "10.0.0.9", "172.16.0.1"], "algorithm": "hash"},
        {"servers": ["10.0.0.1", "10.0.0.9", "172.16.0.1"], "algorithm": "maglev", "table_size": 251},
        {"servers": ["10.0.0.1", "10.0.0.9"], "algorithm": "maglev", "weights": [1, 4], "table_size": 13},
        {"servers": ["10.0.0.1", "10.0.0.9", "172.16.0.1"], "weights": [3, 1, 1]},
        {"servers": ["10.0.0.1", "10.0.0.9", "172.16.0.1"], "algorithm": "hash", "weights": [1, 2, 5]},
        {"servers": ["10.0.0.1", "10.0.0.9"], "algorithm": "least_connections", "weights": [2, 1]},
        {"servers": ["10.0.0.1", "10.0.0.9", "172.16.0.1"], "algorithm": "least_connections", "down": ["10.0.0.9"]},
        {"servers": ["10.0.0.1", "10.0.0.9"], "algorithm": "least_connections", "drop_down": True},
        {"servers": ["10.0.0.1", "10.0.0.9"], "down": ["10.0.0.1"], "drop_down": True},
    ],
    "Nat": [
        {"inside": ["10.0.0.0/8"], "external": ["192.0.2.7"], "ports": "1024-1027"},
        {
            "inside": ["10.0.0.1"],
            "external": ["10.0.0.2", "192.0.2.7"],
            "filtering": "endpoint_independent",
            "parity": False,
        },
        {
            "inside": ["10.0.0.0/8"],
            "external": ["192.0.2.7"],
            "mapping": "address_and_port_dependent",
            "allocation": "random",
            "static": [{"external": "192.0.2.7:53/udp", "inside": "10.0.0.1:53"}],
        },
        {"inside": ["10.0.0.0/8"], "external": ["192.0.2.6/31"], "other_protocols": "translate", "strict": True},
    ],
    "Policer": [
        {"rate": "10Mbps", "burst": "64kB"},
        {"rate": "1Mbps", "burst": "100B", "excess_burst": "200B", "colour_aware": True, "red": "AF13"},
        {"rate": "333kbps", "burst": "1kB", "peak_rate": "1Gbps", "green": "pass", "yellow": "drop", "red": 0},
        {"rate": "8Mbps", "burst": "1B", "peak_rate": "8Mbps", "peak_burst": "300B", "colour_aware": True},
    ],
    "PayloadMatch": [
        {"patterns": [r"1:/[\x00-\x7f]{3}/s", "2:/ab/i", r"70:/\x00.{2,9}[\x80-\xff]/s"]},
        {"patterns": [r"9:/[\x00-\xff]{5}/s"], "action": "drop", "streams": 2},
        {"patterns": [r"9:/[\x40-\x9f]/s"], "action": "mark", "mark": 7, "streams": 3},
    ],
    "PortScanDetector": [
        {"wait": "1us"},
        {"action": "drop", "wait": "1ms", "false_alarms": 0.4, "detection": 0.6},
        {"action": "mark", "mark": 7, "wait": "1s", "false_alarms": 0.3, "detection": 0.9, "benign_answered": 0.5},
    ],
    "RateLimiter": [
        {"rate": "1Gbps", "burst": "64kB"},
        {"rate": "1Mbps", "burst": "100B"},
        {"rate": "10Gbps", "burst": "1B"},
        {"rate": "100kpps", "burst": 1},
        {"rate": "1Mpps", "burst": 4},
    ],
    "Superspreaders": [
        {"registers": 64, "error": 0.01},
        {"by": "destination", "threshold": 2, "error": 0.1, "confidence": 0.6, "attempts": True},
    ],
    "SynFloodGuard": [
        {"limit": 1},
        {"limit": 2, "per": "service", "source_limit": 1, "wait": "1ms", "destinations": 1, "sources": 2},
        {"limit": 1, "retries": True, "wait": "1s"},
    ],
    "Router": [
        {"routes": ["10.0.0.0/8 via 192.0.2.1", "0.0.0.0/1 via 192.0.2.2", "::/0 via fe80::1"], "decrement_ttl": True},
        {
            "routes": _ROUTES,
            "neighbours": _NEIGHBOURS,
            "interfaces": {"eth0": "02:00:00:00:01:00", "eth1": "02:00:00:00:01:01"},
        },
        {"routes": _ROUTES, "neighbours": _NEIGHBOURS[1:], "decrement_ttl": True},
    ],
    "Tunnel": [
        {"kind": kind, "mode": mode, "local": local, "remote": remote}
        | ({"mtu": 200} if mode == "encapsulate" else {})
        | ({"gre_key": 7} if key else {})
        for kind, key in (("ip_in_ip", False), ("gre", False), ("gre", True), ("vxlan", False))
        for mode, local, remote in (
            ("encapsulate", "192.0.2.7", "10.0.0.2"),
            ("decapsulate", "10.0.0.2", "192.0.2.7"),
            ("decapsulate", "192.0.2.7", "10.0.0.2"),
            ("encapsulate", "fe80::1", "2001:db8::2"),
            ("decapsulate", "2001:db8::2", "fe80::1"),
            ("decapsulate", f"fe80{':ffff' * 7}", "2001:db8::2"),
        )
    ],
    "Ttl": [{}, {"decrement": 64}],
    "Vlan": [
        {},
        {"only": [7, 100], "translate": {100: 200}, "priorities": {0: 1, 7: 0}},
        {"untagged": "drop", "translate": {0: 7}},
        {"untagged": 7, "strip": [100], "service": 300},
    ],
    "VirtualServer": [
        {"services": [_HTTPS, _NAMES]},
        {"services": [_HTTPS | {"algorithm": "least_connections"}, _DIRECT], "down": ["10.0.0.1"], "drop_down": True},
        {"services": [_DIRECT | {"algorithm": "maglev", "table_size": 13}]},
        {"services": [_NAMES | {"algorithm": "hash"}], "down": ["10.0.0.2"], "closed_timeout": "5us"},
    ],
}


def has_patterns() -> bool:
    """Whether the library that patterns need is here."""
    try:
        library()
    except InputError:
        return False
    return True


def example_chains() -> list[Path]:
    """The chains that come with fajita, by name; without those that need a library which is not here."""
    paths = sorted((Path(__file__).parents[1] / "chains").glob("*.yaml"))
    return [path for path in paths if path.stem != "payload_match" or has_patterns()]


def shipped_nfs() -> list[type[NF]]:
    """Every NF class that a module of fajita.nfs defines, by name."""
    classes: set[type[NF]] = set()
    for module_info in pkgutil.iter_modules(fajita.nfs.__path__):
        module = importlib.import_module(f"fajita.nfs.{module_info.name}")
        classes |= {
            member
            for member in vars(module).values()
            if isinstance(member, type) and issubclass(member, NF) and member.__module__ == module.__name__
        }
    if not has_patterns():
        classes = {nf_class for nf_class in classes if nf_class.__name__ != "PayloadMatch"}
    return sorted(classes, key=lambda nf_class: nf_class.__name__)


def variants(nf_class: type[NF]) -> list[dict[str, Any]]:
    """The parameters to try an NF with."""
    return _PARAMETERS.get(nf_class.__name__, [{}])


def _random_nf(random: Random, name: str) -> NF:
    nf_class = random.choice(shipped_nfs())
    options: dict[str, Any] = dict(random.choice(variants(nf_class)))
    if nf_class.key is not None:
        options |= {"key": random.choice((nf_class.key, *nf_class.keys)), "timeout": random.choice(_TIMEOUTS)}
    return nf_class(name=name, **options)


def random_chain(seed: int) -> Chain:
    """One to five NFs, all choices by the seed."""
    random = Random(seed)
    nfs = [_random_nf(random, f"nf{index}") for index in range(random.randint(1, 5))]
    return Chain(nfs, name=f"random_{seed}", **random_settings(random))


def random_settings(random: Random) -> dict[str, Any]:
    """Settings of a chain; tables that are full after a few flows are as likely as such that grow."""
    return {name: random.choice(values) for name, values in CHOICES.items()} | {
        "timeout": random.choice(_TIMEOUTS),
        "capacity": random.choice((None, None, 1, 2, 3, 7)),
        "inner": random.random() < 0.4,
    }


def describe(chain: Chain) -> str:
    """The chain in one line, so that it can be written down again."""
    nfs = [f"{type(nf).__name__}(key={nf.granularity}, timeout_ns={nf.timeout_ns}, {nf.params()})" for nf in chain.nfs]
    return f"{chain.name}, {chain.settings}: " + " -> ".join(nfs)
