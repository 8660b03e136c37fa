"""NFs with arrays, bits, random numbers and hashes: both engines agree on them, and they do what they say."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given

from fajita import prefetching
from fajita.chain import Chain
from fajita.engine.compiled import CompiledEngine
from fajita.export import export_state
from fajita.fixed_hash import hash_of
from fajita.io.frames import FrameBlock
from fajita.kernel.bounds import CHECKED, REGIONS
from fajita.nf import NF
from fajita.nfs.destination_counter import DestinationCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.nfs.source_counter import SourceCounter
from fajita.plan import Plan
from fajita.reference import ReferenceEngine
from fajita.run import ENGINES
from fajita.splitmix import SplitMix
from fajita.tuning import Tuning
from fajita.verify import EndDifference, verify_blocks
from tests.array_nfs import ALL, BloomFilter, CountMin, Histogram, LargeState, PerHost, Reservoir
from tests.random_nf import random_nf
from tests.test_differential import FIRST_SEED, RANDOM_NFS, assert_engines_agree, given_traffic
from tests.traffic import Traffic, many_flows, traffic


@pytest.fixture(autouse=True, scope="module")
def elements_are_always_asked_for() -> Iterator[None]:
    """However small the arrays and few the flows, so that the hooks run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefetching, "SMALLEST_TOTAL", -1)
        patch.setattr(prefetching, "SMALLEST_ARRAY", 1)
        patch.setattr(prefetching, "MAXIMUM_LINES", 1)
        yield


@cache
def chain_of(nf_class: type[NF]) -> Chain:
    """The NF twice: as it comes, and with a timeout where it can have one."""
    timeout = {} if nf_class.key is None else {"timeout": "5us"}
    return Chain([nf_class(name="first", **timeout), nf_class(name="second")])


@cache
def everything() -> Chain:
    """All of them, and lookups in between."""
    nfs: list[NF] = [nf_class() for nf_class in ALL[:3]]
    nfs += [LoadBalancer(servers=["10.0.0.1", "10.0.0.9"]), DestinationCounter(timeout="1ms")]
    return Chain([*nfs, *(nf_class() for nf_class in ALL[3:])])


@cache
def without_links() -> Plan:
    """The same with a second segment, as what would be found by a link is looked up."""
    return everything().plan_with(Tuning(auxiliary=False))


@pytest.mark.parametrize("nf_class", ALL, ids=lambda nf_class: nf_class.__name__)
@given_traffic
@given(packets=traffic())
def test_engines_agree_on_an_nf_with_arrays(nf_class: type[NF], packets: Traffic) -> None:
    assert_engines_agree(chain_of(nf_class), packets)


@given_traffic
@given(packets=traffic())
def test_engines_agree_on_all_of_them_in_a_chain(packets: Traffic) -> None:
    assert_engines_agree(everything(), packets)
    assert verify_blocks(without_links(), packets.blocks()).difference is None
    assert not REGIONS.violations


def test_engines_agree_while_tables_with_large_entries_grow() -> None:
    assert_engines_agree(everything(), many_flows(3000, repeats=2))


@pytest.fixture(scope="module")
def random_chain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Chain]:
    """Makes the chain of an NF of random source, once."""
    folder = tmp_path_factory.mktemp("nfs")
    return cache(lambda seed: Chain([random_nf(1000 + seed, folder)(timeout="5us")]))


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + RANDOM_NFS))
@given_traffic
@given(packets=traffic())
def test_engines_agree_on_nfs_of_random_source(
    random_chain: Callable[[int], Chain], seed: int, packets: Traffic
) -> None:
    assert_engines_agree(random_chain(seed), packets)


def test_all_of_them_are_asked_for() -> None:
    planned = everything().plan
    assert planned.tables[-1].link is not None
    assert len(without_links().segments) == 2
    with_hook = {nf.nf.name for nf in planned.nfs if nf.translated.prefetch is not None}
    assert with_hook == {"count_min", "bloom_filter", "histogram", "per_host", "reservoir", "large_state"}


def rows_of(plan: Any, packets: Traffic) -> list[Any]:
    engine = CompiledEngine(plan)
    for block in packets.blocks():
        engine.process(block)
    return [[rows.tobytes() for rows in engine.rows(nf)] for nf in plan.nfs if nf.table is not None]


def test_prefetching_changes_nothing() -> None:
    packets = many_flows(500, repeats=2)
    plans = [everything().plan_with(Tuning(prefetch=prefetch)) for prefetch in (True, False)]
    assert rows_of(plans[0], packets) == rows_of(plans[1], packets)
    assert all(nf.translated.prefetch is None for nf in plans[1].nfs)


def blocks(packets: Traffic) -> FrameBlock:
    return FrameBlock.from_frames(packets.frames, np.array(packets.times_ns, np.uint64) + 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_count_min_sketch_never_counts_too_little(engine: str) -> None:
    packets = many_flows(300, repeats=3)
    run = Chain([CountMin(width=1024)]).run(blocks(packets), engine=engine)
    counts = run.core("count_min")["counts"].reshape(4, 1024)
    true = Counter[int]()
    for frame in packets.frames:
        true[int.from_bytes(frame[26:30], "big")] += len(frame)
    estimates = {source: min(int(counts[row, hash_of(row, source) % 1024]) for row in range(4)) for source in true}
    assert all(estimates[source] >= true[source] for source in true)
    assert sum(estimates[source] == true[source] for source in true) > 0.95 * len(true)
    assert run.core("count_min")["heaviest"] == max(estimates.values())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_bloom_filter_drops_the_first_of_every_flow(engine: str) -> None:
    run = Chain([BloomFilter()]).run(blocks(many_flows(300, repeats=3)), engine=engine)
    assert run.report["drops"] == {"bloom_filter": {"first": 300}}
    seen = run.core("bloom_filter")["seen"]
    assert seen.dtype == bool
    assert 850 < seen.sum() <= 900


@pytest.mark.parametrize("engine", ENGINES)
def test_numbers_of_hosts_index_arrays_of_the_worker(engine: str) -> None:
    run = Chain([PerHost(hosts=200)]).run(blocks(many_flows(300, repeats=2)), engine=engine)
    slots = run.table("per_host")["slot"].to_pylist()
    assert sorted(slots) == list(range(300))
    packets = run.core("per_host")["packets"]
    assert packets.tolist() == [2] * 200  # what lies outside is lost


@pytest.mark.parametrize("engine", ENGINES)
def test_random_numbers_are_those_of_the_name_one_after_the_other(engine: str) -> None:
    run = Chain([Reservoir(name="sampler")]).run(blocks(many_flows(3, repeats=1)), engine=engine)
    numbers, verdicts = SplitMix("sampler"), []
    for _ in range(3):
        numbers.below(1000)  # in new_flow
        verdicts.append(numbers.below(50) > 0 or numbers.below(2) == 0)
    assert run.report["packets"]["out"] == sum(verdicts)


def test_arrays_are_exported_as_lists(tmp_path: Any) -> None:
    chain, packets = Chain([Histogram(), LargeState()]), many_flows(20, repeats=3)
    tables = {}
    for engine in ENGINES:
        run = chain.run(blocks(packets), engine=engine)
        tables[engine] = [run.table(name) for name in ("histogram", "large_state")]
    assert tables["compiled"] == tables["reference"]
    histogram = tables["compiled"][0]
    assert histogram.schema.field("sizes").type == pa.list_(pa.uint16(), 12)
    assert histogram.schema.field("ways").type == pa.list_(pa.bool_(), 2)
    assert histogram["ways"].to_pylist() == [[False, True]] * 20
    assert [sum(sizes) for sizes in histogram["sizes"].to_pylist()] == [3] * 20
    (path, _) = export_state(run.engine, run.plan, tmp_path)
    assert pq.read_table(path) == histogram


def test_an_export_without_rows_has_the_same_columns() -> None:
    chain = Chain([Histogram()])
    empty, full = (chain.run(blocks(many_flows(count, repeats=1))).table("histogram") for count in (0, 1))
    assert empty.schema == full.schema


@pytest.mark.parametrize("engine", ENGINES)
def test_the_report_leaves_arrays_out_unless_asked(engine: str) -> None:
    class Telling(Reservoir):
        def summary(self, states: Any, core: dict[str, Any]) -> dict[str, Any]:
            return {"samples": states["sample"].shape, "kept": int((core["sample"][0] > 0).sum())}

    run = Chain([PerHost(), Telling()]).run(blocks(many_flows(30, repeats=1)), engine=engine)
    summaries = [nf["summary"] for nf in run.report["nfs"]]
    assert summaries == [{"entries": 30, "given": [30], "ended": 0}, {"samples": [30, 6], "kept": 30}]


class WrongElements(ReferenceEngine):
    """Has other values in an array of a state and in one of the worker."""

    def rows(self, nf: Any, *, arrays: bool = True) -> Any:
        sides = super().rows(nf, arrays=arrays)
        sides[0]["sample"][1, 2] += 1
        return sides

    def core(self, nf: Any, *, arrays: bool = True) -> dict[str, Any]:
        core = super().core(nf, arrays=arrays)
        core["sample"][0] += np.arange(100, dtype=np.uint64) // 50
        return core


def test_elements_that_differ_are_named() -> None:
    chain, block = Chain([Reservoir()]), blocks(many_flows(3, repeats=1))
    engines = {"right": ReferenceEngine, "wrong": WrongElements}
    result = verify_blocks(chain.plan, [block], lambda plan: {name: kind(plan) for name, kind in engines.items()})
    assert isinstance(result.difference, EndDifference)
    lines = result.difference.lines
    assert lines[0] == "reservoir, variable sample[50]: right has 0, wrong has 1"
    assert lines[10] == "reservoir, variable sample: 40 more of its elements"
    assert lines[11].startswith("reservoir, flow src=10.0.0.1 ")
    assert lines[11].endswith(", sample[2]: right has 0, wrong has 1")
    assert len(lines) == 12


@pytest.mark.parametrize("timeout", ["1us", "3us"])
def test_elements_of_packets_that_have_been_run_are_not_asked_for_again(timeout: str) -> None:
    """A burst of a later segment is run in parts, and some packets of its first part have no entry."""
    servers = ["10.0.0.1", "10.0.0.9"]
    nfs = [
        LoadBalancer(servers=servers),
        DestinationCounter(name="swept", timeout=timeout),
        PerHost(),
        LoadBalancer(name="again", servers=servers, key="five_tuple"),
        DestinationCounter(name="last"),
        SourceCounter(),
    ]
    plan = Chain(nfs, capacity=2, full="bypass").plan_with(Tuning(auxiliary=False))
    assert len(plan.segments) == 3
    assert plan.nfs[2].table == plan.nfs[5].table
    assert verify_blocks(plan, many_flows(100, repeats=2).blocks()).difference is None
    assert not REGIONS.violations


@pytest.mark.skipif(not CHECKED, reason="needs a build with bounds checks")
def test_nothing_is_touched_outside() -> None:
    assert_engines_agree(everything(), many_flows(200, repeats=1))
    assert verify_blocks(without_links(), many_flows(200, repeats=1).blocks()).difference is None
    assert not REGIONS.violations
