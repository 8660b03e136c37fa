import json

import pytest

from fajita.errors import InputError
from fajita.suite.compare import compare


def row(flows, mpps, spread=0.1, **more):
    return {"chain": "three", "flows": flows, "mpps": mpps, "mpps_min": mpps - spread, "mpps_max": mpps + spread} | more


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(json.dumps(content))
    return str(path)


def test_only_what_exceeds_the_noise_is_a_change(tmp_path):
    old = write(tmp_path, "old", [row(1, 10.0), row(2, 10.0), row(3, 10.0), row(4, 10.0, 2.0), row(5, 1.0)])
    new = write(tmp_path, "new", [row(1, 12.0), row(2, 8.0), row(3, 10.25, 0.01), row(4, 12.0, 2.0), row(6, 1.0)])
    assert [(each["flows"], each["factor"], each["verdict"]) for each in compare(old, new)] == [
        ("1", 1.2, "faster"),
        ("2", 0.8, "slower"),
        ("4", 1.2, "as before"),  # the ranges meet
        ("3", 1.025, "as before"),  # less than can be told
    ]


def test_suites_are_compared_experiment_by_experiment(tmp_path):
    def whole(mpps):
        parts = {"a": [row(1, mpps)], "b": [row(1, 5.0)], "start": [{"chain": "three", "seconds": 1.0}]}
        return {"experiments": [{"name": name, "rows": rows} for name, rows in parts.items()]}

    rows = compare(write(tmp_path, "old", whole(4.0)), write(tmp_path, "new", whole(8.0)))
    assert [(each["experiment"], each["old"], each["new"], each["verdict"]) for each in rows] == [
        ("a", 4.0, 8.0, "faster"),
        ("b", 5.0, 5.0, "as before"),
    ]


def test_what_was_measured_does_not_tell_settings_apart(tmp_path):
    rows = [
        row(
            1,
            mpps,
            cache_misses=mpps / 7,
            factor=mpps / 3,
            paper_factor=None,
            burst=int(mpps),
            of_roof=mpps,
            tuning="no",
        )
        for mpps in (4.0, 8.0)
    ]
    old, new = (write(tmp_path, name, [each]) for name, each in zip(("old", "new"), rows, strict=True))
    assert [each["verdict"] for each in compare(old, new)] == ["faster"]


def test_every_column_that_can_be_set_tells_settings_apart(tmp_path):
    settings = [
        {"tuning": "everything"},
        {"tuning": "prefetch"},
        {"to": "file"},
        {"to": "verdicts"},
        {"sharing": "shared"},
        {"size": 1514},
        {"seed": 2},
        {"shard": "source"},
        {"spray": True},
        {"prefetch": False},
        {"auxiliary": False},
    ]
    old = write(tmp_path, "old", [row(1, 1.0 + number, **one) for number, one in enumerate(settings)])
    assert [each["factor"] for each in compare(old, old)] == [1.0] * len(settings)


def test_what_an_option_usually_is_need_not_be_told(tmp_path):
    usual = {"size": 60, "seed": 1, "shard": None, "sharing": None, "spray": False, "prefetch": True}
    old = write(tmp_path, "old", [row(1, 4.0), row(1, 1.0, size=100)])
    new = write(tmp_path, "new", [row(1, 8.0, **usual), row(1, 1.0, **usual | {"size": 100})])
    rows = compare(old, new)
    assert [(each["size"], each["factor"], each["verdict"]) for each in rows] == [
        ("60", 2.0, "faster"),
        ("100", 1.0, "as before"),
    ]


@pytest.mark.parametrize(
    "content", ["{", "3", "[3]", "{}", '[{"mpps_min": 1}, {"mpps_min": "x"}]', '{"experiments": [1]}']
)
def test_what_holds_no_results_is_refused(tmp_path, content):
    path = tmp_path / "old"
    path.write_text(content)
    with pytest.raises(InputError, match=r"old: holds no results of a benchmark; a file that bench --json wrote"):
        compare(str(path), str(path))


def test_a_missing_file_and_results_of_other_settings_are_refused(tmp_path):
    one, other = write(tmp_path, "one", [row(1, 1.0)]), write(tmp_path, "other", [row(2, 1.0)])
    with pytest.raises(InputError, match="cannot be read: No such file"):
        compare(one, str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"no setting of .* is in"):
        compare(one, other)
