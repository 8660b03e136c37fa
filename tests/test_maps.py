"""Maps in Core: what a class may declare, what an NF does with them in either engine, and how they are shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from fajita import NF, PASS, Array, Chain, FrameBlock, InputError, Map, Packet, connection, u32
from fajita.describe import describe
from fajita.engine.balancing import Balancing
from fajita.engine.compiled import CompiledEngine
from fajita.explain import explain
from fajita.kernel.bounds import REGIONS
from fajita.nf import MAXIMUM_ARRAYS
from fajita.nfs.flow_counter import FlowCounter
from fajita.reference import ReferenceEngine
from fajita.state_types import MapType
from fajita.translation import translate
from fajita.verify import verify_blocks
from tests.nfs.running import both_engines, run
from tests.nfs.scapy_frames import udp_frame
from tests.own_nf import load_own
from tests.test_differential import assert_engines_agree, given_traffic
from tests.traffic import Traffic, many_flows, traffic


class Numbers(NF):
    """Numbers the endpoints of connections; a number is given back when the last connection of its endpoint ends."""

    key = connection

    class Params:
        most: int = 5

    class State:
        src: u32
        port: u32

    class Core:
        numbers: Map[2, "most"]  # noqa: F821 - the name of a size looks like one of a type
        connections: Map[1, 100]
        given: u32
        refused: u32

    def new_flow(self, pkt: Packet, state: Any) -> None:
        state.src = pkt.src
        state.port = pkt.src_port
        number = self.core.numbers.get(pkt.src, pkt.src_port)
        if number < 0:
            number = self.core.given
            if self.core.numbers.set(pkt.src, pkt.src_port, number):
                self.core.given += 1
            else:
                self.core.refused += 1
        self.core.connections.set(number, self.core.connections.get(number) + 1)

    def packet(self, pkt: Packet, state: Any) -> int:
        if len(self.core.numbers) > 3 and self.core.numbers.get(pkt.dst, pkt.dst_port) >= 0:
            return pkt.drop("to one of many")
        return PASS

    def expire(self, state: Any) -> None:
        number = self.core.numbers.get(state.src, state.port)
        if self.core.connections.get(number) > 0:
            self.core.connections.set(number, self.core.connections.get(number) - 1)
        elif self.core.connections.remove(number):
            self.core.numbers.remove(state.src, state.port)


CHAIN = Chain([Numbers(timeout="5us"), FlowCounter(timeout="1ms"), Numbers(name="larger", most=1000, timeout="1ms")])


@given_traffic
@given(packets=traffic())
def test_engines_agree_on_maps(packets: Traffic) -> None:
    assert_engines_agree(CHAIN, packets)
    assert not REGIONS.violations


def test_engines_agree_on_maps_of_many_keys() -> None:
    assert_engines_agree(Chain([Numbers(most=4000, timeout="1ms")]), many_flows(3000, repeats=2))


FRAMES = [udp_frame(sport) for sport in (1, 2, 3, 1)]
CLIENT = 0xC0000207


@both_engines
def test_a_map_has_no_more_keys_than_its_size(engine: Any) -> None:
    result = run(engine, Numbers(most=2), FRAMES)
    core = result.engine.core(result.chain.plan.nfs[0])
    assert core["numbers"] == [{(CLIENT, 1): 0, (CLIENT, 2): 1}]
    assert core["connections"] == [{(0,): 0, (1,): 0, (2,): 0}]
    assert core["refused"] == [1]


@both_engines
def test_the_report_leaves_maps_out(engine: Any) -> None:
    result = run(engine, Numbers(), FRAMES)
    assert result.summary() == {"entries": 3, "given": [3], "refused": [0]}
    assert result.engine.core(result.chain.plan.nfs[0], arrays=False).keys() == {"given", "refused"}


def test_each_worker_has_its_own() -> None:
    (block,) = many_flows(40, repeats=1).blocks()
    result = Chain([Numbers()]).run(block, cores=2)
    maps = result.core("numbers")["numbers"]
    assert len(maps) == 2
    assert all(len(each) == 5 for each in maps)


def test_a_difference_of_maps_is_told_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ReferenceEngine.core

    def wrong(engine: ReferenceEngine, nf: Any, **options: Any) -> dict[str, Any]:
        core = right(engine, nf, **options)
        core["numbers"][0][CLIENT, 1] = 77
        return core

    monkeypatch.setattr(ReferenceEngine, "core", wrong)
    result = verify_blocks(Chain([Numbers()]).plan, [FrameBlock.from_frames(FRAMES)])
    assert "numbers, variable numbers, (3221225991, 1): reference has 77, compiled has 0" in str(result.difference)


def test_flows_do_not_change_their_worker_where_packet_looks_into_a_map() -> None:
    plan = Chain([Numbers()]).plan
    with pytest.raises(InputError, match="depends on variables of the flow's worker"):
        Balancing(plan, 1)


def test_maps_are_described_and_explained() -> None:
    assert describe("numbers", Numbers).core["numbers"] == 'Map[2, "most"]'
    text = explain(Chain([Numbers()]).plan)
    assert "numbers: numbers of each worker, Map[2, 5], 256 bytes" in text.replace("  ", " ")


def test_memory_of_a_map() -> None:
    assert MapType(1, 1).slots == 2
    assert MapType(2, 5).bytes == 64 + 8 * 24
    assert all(size < MapType(1, size).slots * 0.67 for size in range(2, 300))


def class_with(hint: Any, area: str = "Core", **attributes: Any) -> type[NF]:
    inner = type(area, (), {"__annotations__": {"things": hint}})
    body = {area: inner, "key": connection, "packet": lambda self, pkt, state: PASS} | attributes
    return type("Own", (NF,), body)


@pytest.mark.parametrize(
    ("hint", "what", "right"),
    [
        (Map[2], "is a Map that lacks the length of its key or its size", "write Map[2, 65536]"),
        (Map[0, 10], "has keys of 0 numbers", "1 to 4"),
        (Map[5, 10], "has keys of 5 numbers", "1 to 4"),
        (Map["two", 10], "has keys of 'two' numbers", "1 to 4"),
        (Map[2, 0], "has the size 0", "at least 1"),
        (Map[2, 1.5], "has the size 1.5", "an integer"),
    ],
)
def test_a_declaration_that_is_wrong(hint: Any, what: str, right: str) -> None:
    with pytest.raises(InputError) as caught:
        class_with(hint)
    assert caught.value.what == f"Own.Core.things {what}"
    assert caught.value.right == right


def test_a_state_has_no_maps() -> None:
    with pytest.raises(InputError, match=r"Own.State.things is a map.*maps are for Core"):
        class_with(Map[1, 10], "State")


def test_a_size_that_is_no_attribute_or_too_much() -> None:
    with pytest.raises(InputError, match="things has the size 'wide', which is no attribute of the NF"):
        class_with(Map[1, "wide"])()
    with pytest.raises(InputError, match=f"at most {MAXIMUM_ARRAYS['Core']:,} bytes of arrays and maps in Core"):
        class_with(Map[1, 1 << 40])()
    half = type("Core", (), {"__annotations__": {"a": Array[u32, 1 << 29], "m": Map[1, 1 << 27]}})
    with pytest.raises(InputError, match=r"Core.m has the size 134,217,728"):
        class_with(u32, "State", Core=half)()


HEAD = """\
from fajita import NF, PASS, Array, Map, five_tuple, u32


class Own(NF):
    key = five_tuple

    class State:
        packets: u32

    class Core:
        pairs: Map[2, 100]
        one: Map[1, 100]
        turn: u32
        counts: Array[u32, 9]

    def packet(self, pkt, state):
"""


@pytest.fixture
def own_nf(tmp_path: Path) -> Callable[..., NF]:
    """The NF whose `packet` has the lines given, from a file."""

    def load(*lines: str) -> NF:
        return load_own(tmp_path, HEAD + "".join(f"        {line}\n" for line in lines))

    return load


@pytest.mark.parametrize(
    ("line", "what", "right"),
    [
        ("self.core.pair.set(1, 2, 3)", "Own has no core variable pair", "did you mean pairs"),
        ("self.core.pairs.get(1, 2)", "`self.core.pairs.get(1, 2)` has no effect", "assign or return it"),
        ("x = self.core.pairs.get(1)", "get of pairs takes 2 numbers as the key, not 1 in all", "pairs is Map[2, 100]"),
        ("x = self.core.one.get(1, 2)", "get of one takes a number as the key, not 2 in all", "one is Map[1, 100]"),
        (
            "self.core.pairs.set(1, 2)",
            "set of pairs takes 2 numbers as the key and the value, not 2 in all",
            "pairs is",
        ),
        ("x = self.core.pairs.pop(1, 2)", "pairs is a map, which has no pop", "known: get, set, remove"),
        ("x = self.core.pairs.get(1, pkt.is_tcp)", "`pkt.is_tcp` is a bool where an integer is needed", ""),
        ("x = self.core.pairs.get(1, b=2)", "`self.core.pairs.get(1, b=2)` has keyword arguments", ""),
        ("x = self.core.turn.get(1)", "`self.core.turn` is no map", "of maps: get, set and remove"),
        ("self.core.counts.set(1, 2)", "`self.core.counts` is no map", "of maps: get, set and remove"),
        ("x = self.core.pairs", "a map cannot be assigned", "integers and conditions can"),
        ("x = self.core.pairs + 1", "`self.core.pairs` is a map where an integer is needed", ""),
        ("self.core.pairs = 1", "the map pairs cannot be assigned to", "change what is in it: self.core.pairs.set(…)"),
        ("self.core.pairs[1] = 1", "`self.core.pairs[1]` cannot be assigned to", "elements of lists"),
        ("x = self.core.pairs[1]", "`self.core.pairs` cannot be indexed", "only lists among the parameters, arrays"),
        ("x = 1 in self.core.one", "`self.core.one` is not a list of integers", ""),
        (
            "x = True == self.core.one.remove(1) == pkt.is_tcp",
            "`True == self.core.one.remove(1) == pkt.is_tcp` changes a map in its midst",
            "assign what that gives to a variable",
        ),
    ],
)
def test_a_line_that_is_refused(own_nf: Callable[..., NF], line: str, what: str, right: str) -> None:
    nf = own_nf("y = 1", line, "return PASS")
    with pytest.raises(InputError) as caught:
        translate(nf)
    assert caught.value.what.startswith(what)
    assert caught.value.right.startswith(right)
    assert caught.value.where.endswith(f"own.py:{HEAD.count(chr(10)) + 2}")


def test_an_effect_happens_though_the_result_is_known(own_nf: Callable[..., NF]) -> None:
    lines = translate(own_nf("x = self.core.one.set(1, 2) and False", "return PASS")).hooks["packet"].lines
    assert "map_set_1" in lines[0]


def test_what_a_map_says_is_not_asked_ahead(own_nf: Callable[..., NF], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fajita.prefetching.SMALLEST_ARRAY", 1)
    chain = Chain([own_nf("self.core.counts[self.core.one.get(pkt.src)] += 1", "return PASS")])
    assert chain.plan.nfs[0].translated.prefetch is None
    assert CompiledEngine(chain.plan) is not None
