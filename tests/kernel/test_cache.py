"""Compiled kernels on disk: kept, found again, and no fault of theirs is the user's."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import caching, config

from fajita import Chain, InputError
from fajita.kernel import cache
from fajita.kernel.generate import generate
from fajita.nfs.flow_counter import FlowCounter
from fajita.nfs.source_counter import SourceCounter

#: As small as a module of `generate` could be.
SOURCE = """\
from fajita.kernel.entry import compiled, entry
from fajita.kernel.function import kernel_function


@kernel_function
def add_{0}(value):
    return value + {0}


enter = entry(add_{0})


@compiled(enter)
def run(arguments):
    return enter(arguments)
"""
FIRST, SECOND = SOURCE.format(1), SOURCE.format(2)

IN_ANOTHER_PROCESS = f"""
from fajita.kernel.cache import cache_folder, load_kernel
assert load_kernel({FIRST!r})(41) == 42
print(cache_folder())
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache of its own for one test."""
    monkeypatch.setenv("FAJITA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(config, "CACHE_DIR", config.CACHE_DIR)
    cache.cache_folder.cache_clear()
    yield tmp_path / "cache"
    cache.cache_folder.cache_clear()


def start_process(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", IN_ANOTHER_PROCESS],
        env=os.environ | {"FAJITA_CACHE_DIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return out.strip()


def kept(folder: Path, *suffixes: str) -> dict[Path, tuple[int, int]]:
    """Files and what changes if one is written anew: numba replaces files and never alters them."""
    files = (path for path in folder.rglob("*") if path.suffix in suffixes)
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def test_a_kernel_is_compiled_once(folder):
    assert cache.load_kernel(FIRST)(41) == 42
    before = kept(folder, ".py", ".nbi", ".nbc")
    assert sorted(path.suffix for path in before) == [".nbc", ".nbi", ".py"]
    assert cache.load_kernel(FIRST)(41) == 42
    assert kept(folder, ".py", ".nbi", ".nbc") == before


def test_another_process_finds_it(folder):
    cache.load_kernel(FIRST)
    before = kept(folder, ".py", ".nbi", ".nbc")
    assert finish(start_process(folder)) == str(cache.cache_folder())
    assert kept(folder, ".py", ".nbi", ".nbc") == before


def test_another_source_is_another_kernel(folder):
    assert [cache.load_kernel(source)(0) for source in (FIRST, SECOND)] == [1, 2]
    assert len(kept(folder, ".py")) == len(kept(folder, ".nbi")) == len(kept(folder, ".nbc")) == 2


def test_other_chains_are_other_sources():
    chains = [[FlowCounter()], [FlowCounter(timeout="1s")], [SourceCounter()], [FlowCounter(), SourceCounter()]]
    assert len({generate(Chain(nfs).plan) for nfs in chains}) == len(chains)


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"x" * 99],
    ids=["empty", "cut short", "garbage"],
)
def test_a_damaged_file_is_replaced(folder, suffix, damage):
    cache.load_kernel(FIRST)
    (path,) = kept(folder, suffix)
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    assert cache.load_kernel(FIRST)(41) == 42  # what is damaged goes
    assert cache.load_kernel(FIRST)(41) == 42  # and is made anew
    assert len(kept(folder, ".nbi", ".nbc")) == 2
    before = kept(folder, ".nbi", ".nbc")
    assert cache.load_kernel(FIRST)(41) == 42
    assert kept(folder, ".nbi", ".nbc") == before


def test_a_damaged_source_is_written_anew(folder):
    cache.load_kernel(FIRST)
    (path,) = kept(folder, ".py")
    path.write_text(FIRST[:100])
    assert cache.load_kernel(FIRST)(41) == 42
    assert path.read_text() == FIRST


def test_a_kernel_runs_though_it_cannot_be_kept(folder, monkeypatch):
    def full_disk(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_data", full_disk)
    assert cache.load_kernel(FIRST)(41) == 42
    assert not kept(folder, ".nbi", ".nbc")


def test_a_fault_of_the_source_shows_itself(folder):
    with pytest.raises(NotImplementedError, match=r"cannot have `value / 0`"):
        cache.load_kernel(SOURCE.format(0).replace("value + 0", "value / 0"))


def test_processes_that_compile_the_same_kernel_at_once(folder):
    for process in [start_process(folder) for _ in range(2)]:
        finish(process)
    assert cache.load_kernel(FIRST)(41) == 42
    assert sorted(path.suffix for path in kept(folder, ".py", ".nbi", ".nbc")) == [".nbc", ".nbi", ".py"]


def test_a_folder_that_cannot_be_made_is_replaced_by_a_temporary_one(tmp_path):
    (tmp_path / "file").write_text("a file is no folder")
    used = Path(finish(start_process(tmp_path / "file" / "cache")))
    assert used.name.startswith("fajita-")
    assert not used.exists()  # gone with the process


def test_the_home_of_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FAJITA_CACHE_DIR", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert cache.cache_home() == tmp_path / "a"
    monkeypatch.delenv("FAJITA_CACHE_DIR")
    assert cache.cache_home() == tmp_path / "b" / "fajita"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_home() == tmp_path / "c" / ".cache" / "fajita"


def test_a_folder_without_room_is_one_clear_line(folder, monkeypatch):
    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "_write_whole", full)
    with pytest.raises(InputError, match=r"cannot keep the compiled kernel: No space left on device; make room there"):
        cache.load_kernel(FIRST)


def test_what_could_not_be_written_leaves_nothing_behind(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        cache._write_whole(tmp_path / "kernel.py", "\ud800")
    assert list(tmp_path.iterdir()) == []
