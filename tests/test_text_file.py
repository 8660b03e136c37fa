"""Parameters that are files: where they are looked for, what is refused."""

from pathlib import Path

import pytest

from fajita import NF, PASS, Chain, InputError, Packet, TextFile, TextFileValue
from fajita.text_file import MAXIMUM_BYTES, read_text_file

SOURCE = """
from fajita import NF, PASS, TextFile

class Lines(NF):
    class Params:
        words: TextFile
        other: str = "x"
    def prepare(self):
        self.count = len(self.words.text.splitlines())
    def packet(self, pkt):
        return PASS
"""


class Lines(NF):
    class Params:
        words: TextFile

    def packet(self, pkt: Packet) -> int:
        return PASS


def test_a_chain_names_files_relative_to_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "chains"
    folder.mkdir()
    (folder / "lines.py").write_text(SOURCE)
    (folder / "words.txt").write_text("größer\nkleiner\n")
    (folder / "c.yaml").write_text("nfs:\n  - ./lines.py:Lines: {words: ./words.txt, other: words.txt}\n")
    monkeypatch.chdir(tmp_path)
    (nf,) = Chain.load("chains/c.yaml").nfs
    assert (nf.count, nf.other) == (2, "words.txt")
    assert nf.words == TextFileValue("chains/words.txt", "größer\nkleiner\n")


def test_python_names_files_relative_to_where_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words.txt").write_text("a")
    monkeypatch.chdir(tmp_path)
    assert Lines(words="words.txt").words.text == "a"
    assert Lines(words=TextFileValue("made.txt", "b")).words.text == "b"


def test_lines_may_stand_in_the_chain(tmp_path: Path) -> None:
    (tmp_path / "lines.py").write_text(SOURCE)
    (tmp_path / "c.yaml").write_text("nfs:\n  - ./lines.py:Lines:\n      words:\n        - a word\n        - another\n")
    (nf,) = Chain.load(tmp_path / "c.yaml").nfs
    assert nf.words == TextFileValue("", "a word\nanother")
    where = str(nf.words.refuse("wrong", 2, 7, "other"))
    assert where == "line 2 of the parameter, column 7: wrong; other"


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("none.txt", "none.txt cannot be read: No such file or directory"),
        (".", "cannot be read: Is a directory"),
        (7, "7 is not the name of a file"),
        (["a", 7], "['a', 7] is not the name of a file, or a list of lines"),
        ("a\nb", "'a\\nb' is not the name of a file"),
    ],
)
def test_what_is_no_file_is_refused(value: object, what: str) -> None:
    with pytest.raises(InputError) as refused:
        Lines(words=value)
    assert what in refused.value.what


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(b"ab\xff")
    with pytest.raises(ValueError, match="trace is not text in UTF-8, from byte 2 on"):
        read_text_file(str(path))


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    with path.open("wb") as file:
        file.truncate(MAXIMUM_BYTES + 1)
    with pytest.raises(ValueError, match="trace has more than 67,108,864 bytes"):
        read_text_file(str(path))


def test_the_error_for_a_place_in_a_file() -> None:
    assert str(TextFileValue("f.txt", "").refuse("no", 2, 3, "yes")) == "f.txt:2:3: no; yes"
