"""The build with bounds checks: it sees one byte too many, and shipped chains have none."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from fajita.kernel.bounds import Regions

ROOT = Path(__file__).parents[2]

SINGLE_ACCESSES = """
import numpy as np
from fajita.kernel.bounds import REGIONS, allow_only
from fajita.kernel.entry import compiled
from tests.kernel.test_memory import CALLEES, ENTER, LOADS, STORES

@compiled(ENTER)
def run(arguments):
    return ENTER(arguments)

call = CALLEES.bind(run)
memory = np.arange(64, dtype=np.uint8)
start, end = memory.ctypes.data + 16, memory.ctypes.data + 48
allow_only([], [(start, 32)])


def violations(name, *arguments):
    REGIONS.violations.clear()
    call(name, *arguments)
    return REGIONS.violations.copy()


for name, size, *_ in [*LOADS, *STORES]:
    assert violations(name, start, 0) == violations(name, end - size, 0) == [], name
    before = memory.copy()
    for address in (start - 1, end - size + 1, end, 0):
        assert violations(name, address, 7) == [(address, size)], name
    assert (memory == before).all()  # what is out of bounds is not done

assert violations("clear", start, 32) == []
assert violations("clear", start, 33) == [(start, 33)]
assert violations("copy", start, start + 16, 16) == []
assert violations("copy", start, start + 16, 17) == [(start + 16, 17)]
assert violations("copy", start + 17, start, 16) == [(start + 17, 16)]
assert violations("copy", 0, 0, 0) == []
assert violations("prefetch", 0) == []
"""

A_CHAIN = """
from fajita import Chain
from fajita.engine.compiled import CompiledEngine
from fajita.kernel.bounds import REGIONS
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.source_counter import SourceCounter
from tests.traffic import many_flows

engine = CompiledEngine(Chain([SourceCounter(), FlowCounter(timeout="1s"), LoadBalancer(servers=["10.0.0.1"])]).plan)
for block in many_flows(1500, repeats=2).blocks():
    engine.process(block)
assert engine.counters().tables[1].active == 1500
assert not REGIONS.violations
assert REGIONS.checks > 3000 * 50
"""

A_LINK_FAR_FROM_THE_KEY = """
from fajita import Chain, five_tuple, u64
from fajita.engine.compiled import CompiledEngine
from fajita.kernel.bounds import REGIONS
from fajita.nfs.source_counter import SourceCounter
from tests.planning import with_state
from tests.traffic import many_flows

plan = Chain([with_state(0, [(u64, True)] * 120, [], None, five_tuple), SourceCounter()]).plan
assert plan.tables[0].links == {1: 960}
engine = CompiledEngine(plan)
for block in many_flows(100, repeats=2).blocks():
    engine.process(block)
assert not REGIONS.violations, REGIONS.violations
"""

LINKS_THAT_ARE_STALE = """
from fajita import Chain
from fajita.engine.compiled import CompiledEngine
from fajita.kernel.bounds import REGIONS
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.source_counter import SourceCounter
from tests.traffic import many_flows

for settings in ({}, {"capacity": 50, "full": "evict"}):
    nfs = [FlowCounter(), SourceCounter(timeout="20us"), DestinationCounter(timeout="1ms")]
    engine = CompiledEngine(Chain(nfs, **settings).plan)
    for block in many_flows(1000, repeats=2).blocks():
        engine.process(block)
    engine.drain()
    ends = engine.counters().tables[1]
    assert ends.expired + ends.evicted > 100
assert not REGIONS.violations
"""


def run_checked(script: str, tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text(script)
    environment = os.environ | {"FAJITA_CHECK_BOUNDS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(file)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_an_access_one_byte_out_of_bounds_is_noted_and_not_made(tmp_path, monkeypatch):
    """Nor by a kernel that another process compiled, in which the callback lay elsewhere."""
    monkeypatch.setenv("FAJITA_CACHE_DIR", str(tmp_path))
    run_checked(SINGLE_ACCESSES, tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
    assert kept
    run_checked(SINGLE_ACCESSES, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")} == kept


def test_a_chain_stays_within_its_memory(tmp_path):
    run_checked(A_CHAIN, tmp_path)


def test_links_stay_within_it_too_wherever_they_lie_and_point(tmp_path):
    run_checked(A_LINK_FAR_FROM_THE_KEY + LINKS_THAT_ARE_STALE, tmp_path)


def test_regions_that_touch_are_not_one():
    regions = Regions()
    regions.allow_only([(100, 10), (110, 10), (200, 0)])
    assert regions.checked(100, 10) == 100
    assert regions.checked(119, 1) == 119
    assert regions.checked(200, 0) == 200
    assert not regions.violations
    for address, size in ((105, 10), (99, 1), (120, 1), (200, 1)):
        assert regions.checked(address, size) not in (address, 0)
    assert regions.violations == [(105, 10), (99, 1), (120, 1), (200, 1)]
    assert regions.checks == 7


def test_nothing_is_allowed_before_it_is_said():
    regions = Regions()
    area = np.zeros(8, np.uint8)
    regions.checked(area.ctypes.data, 8)
    assert regions.violations == [(area.ctypes.data, 8)]
