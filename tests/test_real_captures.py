"""All real captures of a folder beside the project: packets and flows equal an independent count, engines agree.

Skipped where the folder is missing. The independent count is a script that shares no code with fajita. With
FAJITA_EVERYTHING=1 every capture goes through every chain with 1, 2, 3 and 8 workers, which takes half an hour; else
through every second chain.
"""

import csv
import importlib.util
import os
from functools import partial
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fajita import Chain, InputError
from fajita.engine.compiled import CompiledEngine
from fajita.io.capture import open_capture
from fajita.nfs.flow_counter import FlowCounter
from fajita.verify import both_engines, verify_blocks

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
CAPTURES = SHARED / "pcaps"
ORACLE = SHARED / "oracle" / "captures.py"
EVERYTHING = os.environ.get("FAJITA_EVERYTHING") == "1"

pytestmark = [
    pytest.mark.skipif(
        not CAPTURES.is_dir() or not ORACLE.is_file(), reason="the real captures (../shared/pcaps) are not here"
    ),
    # The independent script leaves its files to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

#: Captures whose packet count is not the index's, with ours and why.
OTHER_PACKETS = {
    "small/suricata-verify--tls_DER-incomplete-content.pcap": (
        6,
        "record 7 claims 4,325,376 bytes; the index takes what is left",
    ),
}
#: Captures whose number of directional 5-tuples is not the independent one, with ours, theirs and why.
OTHER_FLOWS = {
    "small/zeek--mpls-6in6-broken.pcap.gz": (
        440,
        448,
        "8 of IPv4 behind fuzzed stacks of 17 to 23 MPLS labels; 8 are stepped over at most",
    ),
}


def _index() -> dict[str, dict[str, str]]:
    if not CAPTURES.is_dir():
        return {}
    with (CAPTURES / "INDEX.tsv").open() as file:
        return {row["file"]: row for row in csv.DictReader(file, delimiter="\t")}


INDEX = _index()


@pytest.fixture(scope="module")
def oracle() -> ModuleType:
    specification = importlib.util.spec_from_file_location("captures_oracle", ORACLE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def counting() -> Chain:
    return Chain([FlowCounter(), FlowCounter(name="connections", key="connection")])


def independent_flows(oracle: ModuleType, path: Path) -> int:
    """Directional 5-tuples of IPv4 and IPv6."""
    made: list[Any] = []
    state = oracle.S

    class Kept(state):  # type: ignore[valid-type,misc]
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    oracle.S = Kept
    try:
        oracle.one(path)
    finally:
        oracle.S = state
    return len(made[0].uni)


@pytest.mark.parametrize("name", INDEX)
def test_packets_and_flows_equal_the_independent_count(name: str, oracle: ModuleType, counting: Chain) -> None:
    path = CAPTURES / name
    engine = CompiledEngine(counting.plan)
    with open_capture(path) as capture:
        try:
            for block in capture:
                engine.process(block)
        except InputError:
            assert name in OTHER_PACKETS
    expected_packets, _ = OTHER_PACKETS.get(name, (int(INDEX[name]["packets"]), ""))
    assert capture.packets == expected_packets
    theirs = independent_flows(oracle, path)
    directional, connections = (table.created for table in engine.counters().tables)
    assert (directional, theirs) == OTHER_FLOWS.get(name, (theirs, theirs, ""))[:2]
    if name not in OTHER_FLOWS:
        assert connections == int(INDEX[name]["flows"])


#: Chains beside those of the folder chains/, as YAML.
CHAINS = {
    "hosts around a rewrite": """
nfs: [source_counter, load_balancer: {servers: [10.0.0.1, 10.0.0.2, 10.0.0.3]}, destination_counter]
""",
    "flows that end, inside tunnels": """
inner: true
fragments: flow
timeout: 1s
capacity: 50
full: evict
nfs:
  - flow_counter: {key: connection, records: true}
  - load_balancer: {servers: [10.0.0.1, 10.0.0.2, 10.0.0.3]}
  - flow_counter: {as: short_flows, timeout: 10ms}
  - source_counter
  - destination_counter
""",
    "hosts that workers share": """
fragments: flow
timeout: 1s
nfs:
  - load_balancer: {servers: [10.0.0.1, 10.0.0.2, 10.0.0.3]}
  - flow_counter: {records: true}
  - source_counter
  - destination_counter: {timeout: 10ms}
""",
}


#: Chains, and how many workers every second time: entries of their own, with a table full early too; replicas; a table
#: that they share. The other times it is one.
WORKERS = {"three": 2, "flows that end, inside tunnels": 3, "hosts around a rewrite": 3, "hosts that workers share": 8}
PARTS = 8


def _numbers_of_workers(chain: str, part: int) -> list[int]:
    """With which a chain has a part of the captures."""
    if EVERYTHING:
        return [1, 2, 3, 8]
    if (part + list(WORKERS).index(chain)) % 2:
        return []
    return [1 if part % 4 < 2 else WORKERS[chain]]


@pytest.mark.parametrize(
    ("chain", "part"),
    [(chain, part) for chain, part in product(WORKERS, range(PARTS)) if _numbers_of_workers(chain, part)],
)
def test_engines_agree_on_every_capture(chain: str, part: int, tmp_path: Path) -> None:
    file = ROOT / "chains" / f"{chain}.yaml"
    if chain in CHAINS:
        file = tmp_path / "chain.yaml"
        file.write_text(CHAINS[chain])
    plan = Chain.load(file).plan
    for name, workers in product(list(INDEX)[part::PARTS], _numbers_of_workers(chain, part)):
        with open_capture(CAPTURES / name) as capture:
            try:
                result = verify_blocks(plan, capture, partial(both_engines, cores=workers))
            except InputError:
                assert name in OTHER_PACKETS
                continue
        assert result.difference is None, f"{name}: {result.difference}"
