"""Parameters that change during a run: when, for all that comes after, and what cannot."""

from typing import Any

import pytest

from fajita import NF, PASS, Chain, Change, FrameBlock, InputError, Packet, Sum, u64
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.load_balancer import LoadBalancer
from fajita.run import ENGINES, Run
from tests.command import write_capture
from tests.traffic import many_flows

SECOND = 10**9


class Counts(NF):
    """Adds up what the list says at the time, and what it says of the last packet."""

    class Params:
        steps: list[int] = [1]  # noqa: RUF012
        factor: int = 1
        ports: list[int] = [53]  # noqa: RUF012

    class Core:
        total: Sum[u64]

    def packet(self, pkt: Packet) -> int:
        if pkt.dst_port in self.ports:
            self.core.total += self.steps[0] * self.factor
        return PASS

    def summary(self, states: Any, core: dict[str, int]) -> dict[str, Any]:
        return {"total": core["total"], "step": self.steps[0]}


CHAIN = Chain([Counts(), FlowCounter()])
FRAMES = many_flows(10, repeats=1).frames


def blocks(*times_ns: list[int]) -> list[FrameBlock]:
    return [FrameBlock.from_frames(FRAMES[: len(times)], times) for times in times_ns]


def summary(run: Run) -> dict[str, int]:
    return run.report["nfs"][0]["summary"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("options", [{}, {"cores": 2}, {"spray": True, "cores": 2}, {"engine": "reference"}])
def test_a_change_comes_before_the_first_packet_of_its_time(options: dict[str, Any]) -> None:
    source = blocks([5 * SECOND, 6 * SECOND, 7 * SECOND - 1], [7 * SECOND, 6 * SECOND, 8 * SECOND])
    run = CHAIN.run(source, changes=[Change("counts", at="2s", steps=[100])], **options)
    assert summary(run) == {"total": 3 * 1 + 3 * 100, "step": 100}
    assert run.warnings == []


def test_changes_cut_a_block_and_add_up() -> None:
    changes = [Change("counts", at="4us", steps=[1000]), Change("counts", at="2us", steps=[10])]
    source = FrameBlock.from_frames(FRAMES)
    assert summary(CHAIN.run(source, changes=changes)) == {"total": 2 * 1 + 2 * 10 + 6 * 1000, "step": 1000}
    assert source.verdict.all()


def test_several_changes_at_once_and_at_the_beginning() -> None:
    changes = [Change("counts", at="0s", steps=[10]), Change("counts", at="0s", steps=[20])]
    assert summary(CHAIN.run(FrameBlock.from_frames(FRAMES), changes=changes))["total"] == 200


def test_a_run_leaves_nothing_behind_in_its_chain() -> None:
    change = Change("counts", at="0s", steps=[10])
    totals = [summary(CHAIN.run(blocks([0, 1]), changes=changes))["total"] for changes in ([], [change], [])]
    assert totals == [2, 20, 2]


@pytest.mark.parametrize("engine", ENGINES)
def test_between_blocks_the_run_can_be_looked_at_and_changed(engine: str) -> None:
    seen: list[int] = []

    def steer(run: Run) -> None:
        seen.append(run.core("counts")["total"])
        run.change("counts", steps=[10 * len(seen)])

    run = CHAIN.run(blocks([0], [1], [2]), before_block=steer, engine=engine)
    assert seen == [0, 10, 30]
    assert summary(run) == {"total": 60, "step": 30}
    with pytest.raises(InputError, match=r"counts cannot be changed: the run is over; change it between blocks"):
        run.change("counts", steps=[1])


def test_what_is_not_given_stays_as_it_was_changed_last() -> None:
    def steer(run: Run) -> None:
        if run.report["packets"]["in"]:
            run.change("load_balancer", down=["10.0.0.2"])

    chain = Chain([LoadBalancer(servers=["10.0.0.1", "10.0.0.2", "10.0.0.3"])])
    source = [FrameBlock.from_frames(part) for part in (FRAMES[:1], FRAMES[1:])]
    run = chain.run(source, before_block=steer, changes=[Change("load_balancer", at="0s", weights=[1, 5, 8])])
    assert run.report["nfs"][0]["summary"] == {"flows": {"10.0.0.1": 1, "10.0.0.2": 0, "10.0.0.3": 9}}


def test_a_capture_is_cut_too(tmp_path: Any) -> None:
    path = write_capture(tmp_path / "in.pcap", FRAMES, gap_us=1_000_000)
    run = CHAIN.run(path, out=tmp_path / "out.pcap", changes=[Change("counts", at="4s", steps=[100])])
    assert summary(run)["total"] == 4 + 600
    assert run.report["packets"]["out"] == 10


def test_a_change_that_never_comes_is_told() -> None:
    run = CHAIN.run(blocks([0, 1]), changes=[Change("counts", at="1h", steps=[7])])
    assert run.warnings == ["the run ended before counts was to change, at 1h"]
    assert summary(run) == {"total": 2, "step": 1}


def test_a_time_that_no_packet_can_have_never_comes() -> None:
    source = blocks([(1 << 64) - 2, (1 << 64) - 1])
    run = CHAIN.run(source, changes=[Change("counts", at="2000000h", steps=[7])])
    assert len(run.warnings) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"factor": 2},
            "counts cannot be given other factor while it runs; "
            "only what its methods read from lists can change, and these keep their lengths",
        ),
        (
            {"ports": [80], "steps": [2, 3]},
            "counts cannot be given other ports and steps while it runs; "
            "only what its methods read from lists can change, and these keep their lengths",
        ),
        ({"step": [1]}, "Counts has no parameter step; its parameters: steps, factor, ports"),
        ({"steps": 1}, "parameter steps of Counts: Input should be a valid list"),
    ],
)
def test_what_cannot_change(change: dict[str, Any], message: str) -> None:
    """Before anything runs if it is known then; else it ends the run."""
    with pytest.raises(InputError) as early:
        CHAIN.run(blocks([0]), changes=[Change("counts", at="1s", **change)])
    assert (str(early.value), early.value.run) == (message, None)
    with pytest.raises(InputError) as late:
        CHAIN.run(
            blocks([0], [1]), before_block=lambda run: run.report["packets"]["in"] and run.change("counts", **change)
        )
    assert str(late.value) == message
    assert late.value.run is not None
    assert late.value.run.report["packets"]["in"] == 1


def test_bad_changes() -> None:
    with pytest.raises(InputError, match="chain: no network function count; did you mean counts or"):
        CHAIN.run([], changes=[Change("count", at="1s", steps=[1])])
    with pytest.raises(InputError, match="a change of counts: at: '5' is not a quantity such as 30s"):
        Change("counts", at="5", steps=[1])
    with pytest.raises(InputError, match="a change of counts at 5s changes nothing; give it parameters"):
        Change("counts", at="5s")


def test_a_change_says_what_it_is() -> None:
    assert repr(Change("counts", at="5s", steps=[1])) == "Change('counts', at='5s', steps=[1])"
