import pytest

from fajita.errors import InputError
from fajita.suite.definition import FOLDER, load_suite
from tests.command import CHAINS
from tests.suite.suites import THROUGHPUT, write


def test_all_combinations_of_what_varies_are_measured(tmp_path):
    ((folder, experiment),) = load_suite(str(write(tmp_path))).experiments
    assert folder == tmp_path
    fixed = {"chain": "one.yaml", "packets": 64, "repeat": 2}
    assert experiment.settings(quick=False) == [
        {"flows": flows, "tuning": tuning} | fixed for flows in (3, 20) for tuning in ("everything", "without prefetch")
    ]


def test_quickly_less_is_measured(tmp_path):
    ((_, experiment),) = load_suite(str(write(tmp_path))).experiments
    settings = experiment.settings(quick=True)
    assert [(each["flows"], each["packets"], each["repeat"]) for each in settings] == [(2, 32, 1)] * 2


def test_a_suite_can_be_made_of_others(tmp_path):
    write(tmp_path)
    write(tmp_path, THROUGHPUT.replace("few-flows", "more-flows"), "more")
    whole = load_suite(str(write(tmp_path, "title: All\nsuites: [more, few]\n", "all")))
    assert (whole.name, whole.title) == ("all", "All")
    assert [experiment.name for _, experiment in whole.experiments] == ["more-flows", "few-flows"]


def test_suites_of_the_checkout_are_known_by_name(monkeypatch):
    monkeypatch.chdir(CHAINS.parent)
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    assert "paper" in names
    for name in names:
        assert load_suite(name).experiments


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("title: 3\nexperiments: []", ":1", "title: input should be a valid string"),
        ("title: A\nexperiments: []", "", "the suite has no experiments; give it `experiments` or `suites`"),
        ("title: A\nsuites: [few]", "", "the suite few contains itself; leave it out of `suites`"),
        ("title: A\nsuites: [none]", "", "there is no suite none"),
        (THROUGHPUT.replace("name: few-flows", "name: Few Flows"), ":4", "string should match pattern"),
        (THROUGHPUT.replace("    title", "    titel"), ":5", "experiments.0.titel: extra inputs are not permitted"),
        (THROUGHPUT.replace("figure:", "figur:"), ":11", "experiments.0.figur: extra inputs"),
        (THROUGHPUT.replace("    title: Few flows\n", ""), ":4", "experiments.0.title: field required"),
        (THROUGHPUT + THROUGHPUT.partition("experiments:\n")[2], "", "the name few-flows stands twice"),
        ("", "", "the file is empty"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, text, where, message):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        load_suite(str(path))
    assert str(error.value).startswith(f"{path}{where}: ")
    assert message in str(error.value)


def test_an_unknown_suite_is_told_from_the_known(tmp_path, monkeypatch):
    monkeypatch.chdir(CHAINS.parent)
    with pytest.raises(InputError, match=r"bench/suites/flow\.yaml: no suite flow; did you mean flows"):
        load_suite("flow")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"run this where bench/suites is, or name a file"):
        load_suite("flows")
