"""Where results are written: what is refused before the work, and what may be shared."""

import json

import pytest

from fajita.errors import InputError
from fajita.output_file import check_outputs, write_json, write_text


def test_two_outputs_in_one_file_are_refused_even_before_it_exists(tmp_path):
    (tmp_path / "link").symlink_to("file")
    for first, second in (("file", "file"), ("file", "link"), ("link", "./file")):
        with pytest.raises(InputError, match="--a and --b both write to"):
            check_outputs({"--a": f"{tmp_path}/{first}", "--b": f"{tmp_path}/{second}"}, [])


def test_standard_output_takes_one(tmp_path):
    check_outputs({"--a": "-", "--b": None, "--c": str(tmp_path / "x")}, [])
    with pytest.raises(InputError, match="--a and --c both write to standard output"):
        check_outputs({"--a": "-", "--b": None, "--c": "-"}, [])


def test_a_device_may_be_written_to_twice():
    check_outputs({"--a": "/dev/null", "--b": "/dev/null"}, [])


def test_a_path_without_a_name():
    with pytest.raises(InputError, match="--a is empty; name a file"):
        check_outputs({"--a": ""}, [])


def test_an_input_that_is_not_there_is_no_output(tmp_path):
    check_outputs({"--a": str(tmp_path / "new")}, [tmp_path / "absent", tmp_path / "new"])


def test_a_file_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_outputs({"--a": "file"}, [])


def test_text_and_json(tmp_path, capsys):
    path = tmp_path / "file"
    write_text(str(path), "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    write_text("-", "one\ntwo\n")
    assert capsys.readouterr().out == "one\ntwo\n"
    write_json(str(path), {"a": [1, 2]})
    assert json.loads(path.read_text()) == {"a": [1, 2]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(str(path), {"a": float("inf")})
    with pytest.raises(InputError, match="/dev/full: cannot write: No space left on device; name a file"):
        write_text("/dev/full", "x")
