"""`fajita bench` with a suite, and comparing two results; a chain is in test_cli.py."""

import json
import signal

import pytest

from fajita.errors import InputError
from tests.command import CHAINS, THREE, call
from tests.suite.suites import THROUGHPUT, write

ONE = CHAINS / "one.yaml"


def test_a_suite_leaves_its_report(capsys, tmp_path):
    folder = tmp_path / "report"
    outputs = ("--out", folder, "--json", tmp_path / "all.json", "--csv", tmp_path / "all.csv")
    result = call(capsys, "bench", "--suite", write(tmp_path), *outputs)
    assert result == (0, f"the report is in {folder}\n", "")
    names = {"README.md", "report.html", "results.json", "few-flows.csv", "few-flows.png"}
    assert {path.name for path in folder.iterdir()} == names
    whole = json.loads((tmp_path / "all.json").read_text())
    assert whole == json.loads((folder / "results.json").read_text())
    assert (whole["suite"], whole["machine"]["quick"]) == ("few", False)
    (experiment,) = whole["experiments"]
    assert [row["flows"] for row in experiment["rows"]] == [3, 3, 20, 20]
    names, *rows = (tmp_path / "all.csv").read_text().splitlines()
    assert names.startswith("experiment,chain,flows,packets,cores")
    assert len(rows) == 4


def test_a_quick_suite_measures_less_and_says_so(capsys, tmp_path):
    result = call(capsys, "bench", "--suite", write(tmp_path), "--quick", "--out", tmp_path / "r", "--json", "-")
    whole = json.loads(result.out)
    assert whole["machine"]["quick"]
    assert [row["packets"] for row in whole["experiments"][0]["rows"]] == [32, 32]


def test_two_results_are_compared(capsys, tmp_path):
    for name, rate in (("old", 1.0), ("new", 2.0)):
        row = {"chain": "three", "flows": 5, "mpps": rate, "mpps_min": rate, "mpps_max": rate}
        (tmp_path / name).write_text(json.dumps([row]))
    result = call(capsys, "bench", "--compare", tmp_path / "old", tmp_path / "new")
    assert (result.status, result.err) == (0, "")
    assert result.out.splitlines()[-1].split() == ["three", "1.0", "2.0", "2.0", "faster"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "bench: nothing to measure; give a CHAIN, or --suite NAME, or --compare OLD NEW"),
        ((THREE, "--suite", "flows"), "bench: CHAIN and --suite together; give a CHAIN, or"),
        ((THREE, "--quick"), "bench: --quick is for a suite; give --suite NAME"),
        ((THREE, "--out", "x"), "bench: --out is for a suite; give --suite NAME"),
        (("--suite", "none"), "bench/suites/none.yaml: no suite none"),
        (("--suite", "flows", "--plot", "x.png"), "bench: --plot is for one chain"),
        (("--suite", "flows", "--flows", "9"), "bench: --flows is for one chain; leave it out with --suite"),
        (("--suite", "flows", "--no-prefetch"), "bench: --no-prefetch is for one chain"),
        (("--suite", "flows", "--cores", "1"), "bench: --cores is for one chain"),
        (("--compare", "a", "b", "--quick"), "bench: --quick is for a suite; leave it out with --compare"),
        (("--compare", "a", "b", "--out", "x"), "bench: --out is for a suite"),
        (("--compare", "a", "b", "--seed", "2"), "bench: --seed is for one chain"),
        (("--compare", "none", "none"), "none: cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_is_refused(capsys, arguments, complaint):
    result = call(capsys, "bench", *arguments)
    assert result.status == 2
    assert result.complaint.startswith(complaint)


def test_a_report_that_cannot_be_written_is_refused_before_the_work(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    result = call(capsys, "bench", "--suite", write(tmp_path), "--out", tmp_path / "file" / "x")
    assert result.status == 2
    assert "cannot put the report there: Not a directory" in result.complaint


def test_what_was_measured_before_an_error_is_written(capsys, tmp_path, monkeypatch):
    from fajita.suite import throughput

    measure = throughput.measure_group

    def fails_with_many_flows(folder, settings, progress):
        if settings[0].flows == 20:
            raise InputError("a table grew", right="know all flows")
        return measure(folder, settings, progress)

    monkeypatch.setattr(throughput, "measure_group", fails_with_many_flows)
    path = write(tmp_path)
    result = call(capsys, "bench", "--suite", path, "--out", tmp_path / "report")
    assert (result.status, result.out) == (2, f"the report is in {tmp_path / 'report'}\n")
    assert result.complaint == "a table grew; know all flows (after 1 of 1 experiments)"
    whole = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [row["flows"] for row in whole["experiments"][0]["rows"]] == [3, 3]

    path.write_text(THROUGHPUT.replace("[3, 20]", "[20]"))
    result = call(capsys, "bench", "--suite", path, "--out", tmp_path / "none")
    assert (result.status, result.out, result.complaint) == (2, "", "a table grew; know all flows")


def test_the_settings_of_a_chain_before_an_error_are_written(capsys, tmp_path, monkeypatch):
    import fajita.benchmark

    measure = fajita.benchmark.measure

    def fails_with_many_flows(*arguments, flows, **options):
        if flows == 20:
            raise InputError("not enough memory", right="ask for fewer")
        return measure(*arguments, flows=flows, **options)

    monkeypatch.setattr(fajita.benchmark, "measure", fails_with_many_flows)
    arguments = ("bench", ONE, "--packets", 100, "--repeat", 1, "--json", tmp_path / "rows.json")
    result = call(capsys, *arguments, "--flows", "10,20,30")
    assert (result.status, result.complaint) == (2, "not enough memory; ask for fewer (after 1 of 3 settings)")
    assert [row["flows"] for row in json.loads((tmp_path / "rows.json").read_text())] == [10]
    result = call(capsys, *arguments, "--flows", "20,30")
    assert (result.status, result.out, result.complaint) == (2, "", "not enough memory; ask for fewer")


def test_rows_say_how_they_were_measured_so_that_none_are_taken_for_others(capsys, tmp_path):
    arguments = ("bench", ONE, "--flows", 5, "--packets", 50, "--repeat", 1, "--json")
    assert call(capsys, *arguments, tmp_path / "usual").status == 0
    others = ("--size", 100, "--seed", 3, "--no-prefetch", "--shard", "source")
    assert call(capsys, *arguments, tmp_path / "other", *others).status == 0
    names = ("size", "seed", "shard", "sharing", "spray", "prefetch", "auxiliary")
    usual, other = (json.loads((tmp_path / name).read_text()) for name in ("usual", "other"))
    assert [usual[0][name] for name in names] == [60, 1, None, None, False, True, True]
    assert [other[0][name] for name in names] == [100, 3, "source", None, False, False, True]
    result = call(capsys, "bench", "--compare", tmp_path / "usual", tmp_path / "other")
    assert (result.status, result.complaint) == (
        2,
        f"no setting of {tmp_path / 'usual'} is in {tmp_path / 'other'}; compare results of the same benchmark",
    )


def test_sigterm_ends_a_suite_as_ctrl_c_does(capsys, tmp_path, monkeypatch):
    from fajita.suite import throughput

    measure = throughput.measure_group

    def asked_to_stop(folder, settings, progress):
        if settings[0].flows == 20:
            signal.raise_signal(signal.SIGTERM)
        return measure(folder, settings, progress)

    monkeypatch.setattr(throughput, "measure_group", asked_to_stop)
    result = call(capsys, "bench", "--suite", write(tmp_path), "--out", tmp_path / "report")
    assert (result.status, result.complaint) == (143, "interrupted after 1 of 1 experiments")
    whole = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [row["flows"] for row in whole["experiments"][0]["rows"]] == [3, 3]
