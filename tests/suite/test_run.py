import json
from pathlib import Path

import pytest

from fajita.errors import InputError
from fajita.suite import imbalance, throughput
from fajita.suite.definition import load_suite
from fajita.suite.run import KINDS, SuiteRun, run_suite
from tests.suite.suites import THROUGHPUT, write

OTHERS = {
    "latency": "{x: load, y: p99_us}",
    "startup": "{x: chain, y: seconds}",
    "ingest": "{x: size}",
    "imbalance": "{x: flows, y: imbalance_percent}",
}
SETTINGS = {
    "latency": "vary: {load: [0.5, 1.0]}\n    fixed: {chain: one.yaml, packets: 2000, flows: 9, repeat: 2, cores: 2}",
    "startup": "vary: {chain: [one.yaml]}\n    fixed: {cache: warm, repeat: 1}",
    "ingest": "vary: {size: [60, 100]}\n    fixed: {chain: one.yaml, packets: 200, to: file, repeat: 1}",
    "imbalance": "vary: {flows: [40, 80]}\n    fixed: {table: rewritten, windows: 3}",
}


def run(tmp_path, text=THROUGHPUT, **how):
    return run_suite(load_suite(str(write(tmp_path, text))), **how)


def test_every_setting_has_a_row(tmp_path):
    told = []
    whole = run(tmp_path, progress=lambda *what: told.append(what))
    (result,) = whole.results
    assert (whole.error, whole.interrupted) == (None, False)
    assert [(row["flows"], row["tuning"]) for row in result.rows] == [
        (flows, tuning) for flows in (3, 20) for tuning in ("everything", "without prefetch")
    ]
    assert told == [("Few flows", number, 12) for number in range(1, 13)]  # two passes and one before, four settings
    for row in result.rows:
        assert row["chain"] == "one"
        assert 0 < row["mpps_min"] <= row["mpps"] <= row["mpps_max"]
        assert row["roof_mpps"] > 0
        assert row["of_roof"] > 0
        assert row["ns_per_packet"] == pytest.approx(1000 / row["mpps"], rel=0.01)


@pytest.mark.parametrize("kind", OTHERS)
def test_every_kind_measures(tmp_path, kind):
    experiment = f"  - name: it\n    title: It\n    kind: {kind}\n    {SETTINGS[kind]}\n    figure: {OTHERS[kind]}\n"
    told = []
    (result,) = run(tmp_path, f"title: A\nexperiments:\n{experiment}", progress=lambda *what: told.append(what)).results
    assert [done for _, done, _ in told] == list(range(1, told[-1][2] + 1))
    figure = result.experiment.figure
    assert [row[figure.x] for row in result.rows] == (
        ["one"] if kind == "startup" else result.experiment.vary[figure.x]
    )
    assert all(row[figure.y] > 0 for row in result.rows)


def test_percentiles_of_latency_are_in_order_and_loads_are_shares_of_capacity(tmp_path):
    vary = "vary: {load: [0.1, 3.0]}\n    fixed: {chain: one.yaml, packets: 20000, flows: 9, repeat: 3}"
    text = f"title: A\nexperiments:\n  - name: it\n    title: It\n    kind: latency\n    {vary}\n"
    (result,) = run(tmp_path, text + "    figure: {x: load, y: p99_us}\n").results
    for row in result.rows:
        assert 0 <= row["p50_us"] <= row["p99_us"] <= row["p99_9_us"] <= row["longest_us"] + 0.1
        assert 0 <= row["machine_p99_us"] <= row["machine_longest_us"] + 0.1
        assert row["pauses_p99_us"] >= row["machine_p99_us"]
        assert row["calm_p99_us"] is None or 0 <= row["calm_p99_us"] <= row["longest_us"] + 0.1
        assert row["offered_mpps"] == pytest.approx(row["capacity_mpps"] * row["load"], rel=0.01, abs=0.005)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("flows: [3, 20]", "flows: [0]", "experiment few-flows: flows: input should be greater than or equal to 1"),
        ("flows: [3, 20]", "flow: [3]", "vary: no column flow; a throughput experiment has chain, cores"),
        ("without prefetch", "without anything", "no tuning without anything; known: one packet at a time, bursts"),
        ("repeat: 2", "repeat: two", "repeat: input should be a valid integer"),
        ("one.yaml", "none.yaml", "none.yaml: there is no such file"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(tmp_path, old, new, message):
    with pytest.raises(InputError) as error:
        run(tmp_path, THROUGHPUT.replace(old, new))
    assert message in str(error.value)


def test_settings_are_checked_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(throughput, "measure_group", lambda *_: pytest.fail("measured"))
    wrong = THROUGHPUT.partition("experiments:\n")[2].replace("few-flows", "wrong").replace("[3, 20]", "[-1]")
    with pytest.raises(InputError, match="experiment wrong"):
        run(tmp_path, THROUGHPUT + wrong)


def test_what_was_measured_before_an_interruption_is_kept(tmp_path):
    def progress(title, done, total):
        if done == 8:
            raise KeyboardInterrupt

    came = run(tmp_path, progress=progress)
    (result,) = came.results
    assert (came.error, came.interrupted) == (None, True)
    assert [row["flows"] for row in result.rows] == [3, 3]


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (InputError("a table grew"), "a table grew"),
        (MemoryError(), "experiment few-flows: not enough memory; ask for fewer packets or flows"),
    ],
)
def test_what_was_measured_before_an_error_is_kept(tmp_path, monkeypatch, raised, message):
    measure = throughput.measure_group

    def fails_with_many_flows(folder, settings, progress):
        if settings[0].flows == 20:
            raise raised
        return measure(folder, settings, progress)

    monkeypatch.setattr(throughput, "measure_group", fails_with_many_flows)
    came = run(tmp_path)
    (result,) = came.results
    assert (str(came.error), came.interrupted) == (message, False)
    assert [row["flows"] for row in result.rows] == [3, 3]


def test_an_interruption_before_the_first_row_leaves_nothing(tmp_path):
    def progress(title, done, total):
        raise KeyboardInterrupt

    assert run(tmp_path, progress=progress) == SuiteRun([], interrupted=True)


def test_kinds_are_those_of_the_files():
    assert set(KINDS) == {"throughput", *OTHERS}


def test_a_factor_is_to_the_figure_before_in_the_same_line_and_stands_beside_the_papers(tmp_path):
    (result,) = run(tmp_path, THROUGHPUT.rstrip() + "\n    paper_factors: {without prefetch: 1.6}\n").results
    assert result.experiment.figure.lines == "tuning"
    figures = {}
    for row in result.rows:
        before = figures.get(row["tuning"])
        assert row["factor"] == (None if before is None else pytest.approx(row["mpps"] / before, abs=0.006))
        assert row["paper_factor"] is None  # x are flows, of which the paper has none here
        figures[row["tuning"]] = row["mpps"]


def test_the_papers_factor_is_that_of_the_x(tmp_path):
    text = THROUGHPUT.replace("x: flows", "x: tuning").replace("lines: tuning", "lines: flows")
    (result,) = run(tmp_path, text.rstrip() + "\n    paper_factors: {without prefetch: 1.6}\n").results
    assert [row["paper_factor"] for row in result.rows] == [
        1.6 if row["tuning"] == "without prefetch" else None for row in result.rows
    ]


def test_an_imbalance_without_bound_is_none():
    setting = imbalance.Setting(flows=2, cores=8, windows=3)  # most cores have nothing
    (row,) = imbalance.measure_group(Path(), [setting], lambda: None)
    assert row["imbalance_percent"] is None
    json.dumps(row, allow_nan=False)
