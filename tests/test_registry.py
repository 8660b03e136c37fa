"""Finding NFs by name: shipped ones, a user's modules and files, and every way in which that can fail."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fajita.errors import InputError
from fajita.nf import NF, snake_case
from fajita.registry import find_nf, shipped_nfs

NF_SOURCE = """\
from fajita import NF, PASS, five_tuple, u64


class {name}(NF):
    key = five_tuple

    class State:
        packets: u64

    def packet(self, pkt, state):
        state.packets += 1
        return PASS
"""


@pytest.fixture(autouse=True)
def _same_modules() -> Iterator[None]:
    before, path = set(sys.modules), list(sys.path)
    yield
    assert sys.path == path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, file: str, text: str) -> Path:
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def refused(name: str, folder: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        find_nf(name, folder)
    assert "\n" not in str(caught.value)
    return caught.value


def test_every_shipped_nf_is_found_by_the_name_of_its_file(tmp_path: Path) -> None:
    assert {"flow_counter", "load_balancer", "rate_limiter", "mac_swap"} <= set(shipped_nfs())
    for name in shipped_nfs():
        nf_class = find_nf(name, tmp_path)
        assert issubclass(nf_class, NF)
        assert snake_case(nf_class.__name__) == name
        assert nf_class.__doc__


@pytest.mark.parametrize("name", ["flow_countr", "FlowCounter", "flow-counter"])
def test_unknown_name_gives_the_nearest(name: str, tmp_path: Path) -> None:
    error = refused(name, tmp_path)
    assert error.what == f"there is no network function {name}"
    assert error.right.startswith("did you mean flow_counter")
    assert error.where == ""


def test_unknown_name_far_from_all_gives_the_known_ones(tmp_path: Path) -> None:
    assert "known: connection_tracker, destination_counter" in refused("zzzzzz", tmp_path).right


@pytest.mark.parametrize("name", ["./own.py:Own", "own:Own", "own.py:Own", "sub/../own.py:Own"])
def test_file_beside_the_chain(name: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path, "own.py", NF_SOURCE.format(name="Own"))
    nf = find_nf(name, tmp_path)()
    assert (nf.name, list(nf.state_fields)) == ("own", ["packets"])


def test_same_file_gives_the_same_class_by_whatever_name(tmp_path: Path) -> None:
    path = write(tmp_path, "own.py", NF_SOURCE.format(name="Own"))
    first = find_nf("./own.py:Own", tmp_path)
    assert find_nf("own:Own", tmp_path) is first
    assert find_nf(f"{path}:Own", tmp_path / "elsewhere") is first


def test_namesakes_in_two_folders_are_two_modules(tmp_path: Path) -> None:
    classes = []
    for folder in ("a", "b"):
        write(tmp_path, f"{folder}/own.py", NF_SOURCE.format(name="Own"))
        classes.append(find_nf("own:Own", tmp_path / folder))
    assert classes[0] is not classes[1]


def test_module_in_a_package_beside_the_chain(tmp_path: Path) -> None:
    write(tmp_path, "pack_of_nfs/own.py", NF_SOURCE.format(name="Own"))
    assert find_nf("pack_of_nfs.own:Own", tmp_path).__name__ == "Own"


def test_file_may_import_its_neighbours_while_it_loads(tmp_path: Path) -> None:
    write(tmp_path, "neighbour_of_own.py", "LIMIT = 3\n")
    write(tmp_path, "own.py", "from neighbour_of_own import LIMIT\n" + NF_SOURCE.format(name="Own"))
    assert find_nf("./own.py:Own", tmp_path).__name__ == "Own"


def test_postponed_annotations_are_resolved(tmp_path: Path) -> None:
    write(tmp_path, "own.py", "from __future__ import annotations\n" + NF_SOURCE.format(name="Own"))
    assert list(find_nf("./own.py:Own", tmp_path).state_fields) == ["packets"]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("./absent.py:Own", "there is no file ./absent.py"),
        ("absent_module:Own", "there is no module absent_module"),
        ("absent_package.module:Own", "there is no module absent_package"),
        ("fajita.absent:Own", "there is no module fajita.absent"),
        ("./folder:Own", "there is no file ./folder"),
        ("./text.txt:Own", "./text.txt is not a Python file"),
        ("./own.py:", "'./own.py:' does not name a class"),
        (":Own", "':Own' does not name a class"),
        ("..own:Own", "'..own:Own' does not name a class"),
        ("./own.py:Own.packet", "'./own.py:Own.packet' does not name a class"),
        ("a\0.py:Own", r"'a\x00.py:Own' does not name a class"),
        ("x" * 400 + ":Own", f"there is no module {'x' * 400}"),
        ("x" * 400 + ".py:Own", f"there is no file {'x' * 400}.py"),
    ],
)
def test_what_cannot_be_found(name: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    write(tmp_path, "text.txt", "")
    write(tmp_path, "own.py", NF_SOURCE.format(name="Own"))
    error = refused(name, tmp_path)
    assert error.what == what
    assert error.right


@pytest.mark.parametrize(
    ("source", "what", "line"),
    [
        ("x = 1\ny = = 2\n", "not valid Python: invalid syntax", 2),
        ("def f():\nreturn 1\n", "not valid Python: expected an indented block after function definition on line 1", 2),
        ("\n\n1 // 0\n", "importing ./own.py failed: ZeroDivisionError: integer division or modulo by zero", 3),
        ("import absent_thing\n", "importing ./own.py failed: ModuleNotFoundError: No module named 'absent_thing'", 1),
        ("import sys\nsys.exit('enough')\n", "importing ./own.py failed: SystemExit: enough", 2),
        ("import json\n\njson.loads('')\n", "importing ./own.py failed: JSONDecodeError: Expecting value", 3),
        ("from fajita import parse_all\n", "importing ./own.py failed: ImportError: cannot import name 'parse_all'", 1),
        ("raise ValueError('a\\nb')\n", "importing ./own.py failed: ValueError: a b", 1),
    ],
)
def test_module_that_fails_is_named_with_the_users_line(source: str, what: str, line: int, tmp_path: Path) -> None:
    path = write(tmp_path, "own.py", source)
    error = refused("./own.py:Own", tmp_path)
    assert error.what.startswith(what)
    assert error.where == f"{path}:{line}"


def test_failure_in_a_neighbour_names_the_neighbour(tmp_path: Path) -> None:
    path = write(tmp_path, "neighbour_that_fails.py", "\nraise RuntimeError('no')\n")
    write(tmp_path, "own.py", "import neighbour_that_fails\n")
    assert refused("./own.py:Own", tmp_path).where == f"{path}:2"


def test_file_that_failed_is_loaded_again_when_mended(tmp_path: Path) -> None:
    write(tmp_path, "own.py", "1 // 0\n")
    refused("./own.py:Own", tmp_path)
    write(tmp_path, "own.py", NF_SOURCE.format(name="Own"))
    assert find_nf("./own.py:Own", tmp_path).__name__ == "Own"


def test_mistake_in_an_nf_keeps_its_own_message_and_line(tmp_path: Path) -> None:
    path = write(tmp_path, "own.py", NF_SOURCE.format(name="Own").replace("packets: u64", "packets: float"))
    error = refused("./own.py:Own", tmp_path)
    assert error.what == "Own.State.packets has the type float"
    assert error.where == f"{path}:4"


def test_missing_class_names_the_nfs_of_the_module(tmp_path: Path) -> None:
    write(tmp_path, "own.py", NF_SOURCE.format(name="Own") + NF_SOURCE.format(name="Other"))
    error = refused("./own.py:Owm", tmp_path)
    assert error.what == "./own.py has no class Owm"
    assert error.right == "network functions in it: Own, Other"


@pytest.mark.parametrize("name", ["Plain", "function", "NUMBER", "NF"])
def test_what_is_not_an_nf_is_refused(name: str, tmp_path: Path) -> None:
    write(tmp_path, "own.py", "from fajita import NF\nNUMBER = 1\nclass Plain: pass\ndef function(): pass\n")
    assert refused(f"./own.py:{name}", tmp_path).what == f"{name} in ./own.py is not a network function"
